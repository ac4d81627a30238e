"""The manifests of a system."""

import json
import subprocess
from pathlib import Path
from shutil import which
from typing import Any

import pytest
import yaml
from deployed import check_kubernetes

from tekton.generate.blueprint import Blueprint
from tekton.generate.kubernetes import kubernetes

Objects = dict[tuple[str, str], dict[str, Any]]


def named(objects: list[dict[str, Any]]) -> Objects:
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}


@pytest.fixture
def objects(system: Blueprint) -> Objects:
    return named(check_kubernetes(kubernetes(system).shown))


def container(workload: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = workload["spec"]["template"]["spec"]["containers"][0]
    return found


def variables(workload: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container(workload)["env"] if "value" in one}


def test_there_is_a_workload_for_each_component_and_a_service_for_each_port(objects: Objects) -> None:
    assert set(objects) == {
        ("PersistentVolumeClaim", "tekton-data-pvc"),
        ("Deployment", "tekton-core"),
        ("Service", "tekton-core-service"),
        ("Deployment", "hermes"),
        ("Service", "hermes-service"),
        ("Job", "migrate"),
        ("Deployment", "local-llm"),
        ("Service", "local-llm-service"),
        ("Deployment", "watcher"),
        ("NetworkPolicy", "tekton-core"),
        ("NetworkPolicy", "tekton-components"),
    }


def test_the_control_plane_is_that_of_the_manifests_of_the_repository(objects: Objects) -> None:
    base = Path(__file__).parents[2] / "deploy" / "kubernetes" / "base" / "deployment.yaml"
    theirs, ours = container(yaml.safe_load(base.read_text())), container(objects["Deployment", "tekton-core"])

    same = (
        "name",
        "imagePullPolicy",
        "ports",
        "env",
        "resources",
        "securityContext",
        "startupProbe",
        "livenessProbe",
        "readinessProbe",
    )
    # Which components there are is not of the control plane, but for the one that the specification names.
    theirs["env"] = [one for one in theirs["env"] if one["name"] != "HERMES_URL"]
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}


def test_probes_are_those_of_the_component(objects: Objects) -> None:
    hermes, llm = container(objects["Deployment", "hermes"]), container(objects["Deployment", "local-llm"])

    assert hermes["readinessProbe"]["httpGet"] == {"path": "/api/ready", "port": "http"}
    assert hermes["startupProbe"]["failureThreshold"] == 60
    assert llm["readinessProbe"]["tcpSocket"] == {"port": "http"}
    assert llm["livenessProbe"]["exec"] == {"command": ["sh", "-c", "test $PORT"]}
    assert "readinessProbe" not in container(objects["Deployment", "watcher"])


def test_replicas_are_replaced_without_a_gap_and_a_single_one_is_never_two(objects: Objects) -> None:
    several, single = objects["Deployment", "local-llm"], objects["Deployment", "hermes"]

    assert several["spec"]["replicas"] == 2
    assert several["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert variables(several)["LOCAL_LLM_MAX_INSTANCES"] == "3"
    assert single["spec"]["strategy"] == {"type": "Recreate"}


def test_a_component_is_told_where_everything_is(objects: Objects) -> None:
    told = variables(objects["Deployment", "local-llm"])

    assert told["TEKTON_URL"] == "http://tekton-core-service:8010"
    assert told["HERMES_URL"] == "http://hermes-service:8001/api"
    assert told["LOCAL_LLM_URL"] == "http://$(POD_IP):8012"
    assert told["LOCAL_LLM_ALLOWED_HOSTS"] == "local-llm-service"


def test_variables_and_secrets_come_from_a_secret(objects: Objects, system: Blueprint) -> None:
    llm = objects["Deployment", "local-llm"]

    assert container(llm)["envFrom"] == [{"secretRef": {"name": "local-llm-env"}}]
    assert (variables(llm)["ORG"], variables(llm)["PRICE"]) == ("$(ORGANISATION)", "$$5")
    assert "API_KEY" not in variables(llm)
    assert container(llm)["command"] == ["llm", "--model", "small", "$$HOME"]
    said = kubernetes(system).files["local-llm.yaml"]
    assert "The secret local-llm-env has what is not written here: API_KEY, ORGANISATION." in said
    assert "--from-env-file=.env" in said


def test_limits_are_taken_over(objects: Objects) -> None:
    assert container(objects["Deployment", "hermes"])["resources"]["limits"] == {"memory": 512 << 20}
    assert objects["Deployment", "local-llm"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 25


JWT_SECRET = {"security": {"jwt_secret": "${S:-Zk3vQ9pLm2Xa5hJ0Yk3vQ9pLm2XaZk3vQwR8tU1}"}}


@pytest.mark.parametrize(("main", "kind"), [({"log_level": "debug"}, "configMap"), (JWT_SECRET, "secret")])
def test_the_main_file_is_a_secret_if_there_may_be_one_in_it(make_system: Any, main: dict[str, Any], kind: str) -> None:
    made = kubernetes(make_system(main=main))

    core = named(check_kubernetes(made.shown))["Deployment", "tekton-core"]
    assert any(kind in volume for volume in core["spec"]["template"]["spec"]["volumes"] if volume["name"] == "config")
    assert f"{kind}Generator" in made.files["kustomization.yaml"]
    assert "tekton.json" in made.files


def test_roles_and_fallbacks_go_with_the_control_plane_too(make_system: Any) -> None:
    fallbacks = {"chat": [{"component": "local_llm", "parameters": {"model": "${SMALL}"}}]}
    made = kubernetes(make_system(security={"principals": {"ci": ["operator"]}}, fallbacks=fallbacks))

    core = named(check_kubernetes(made.shown))["Deployment", "tekton-core"]
    assert variables(core)["TEKTON_CONFIG_FILE"] == "/etc/tekton/components.json"
    assert container(core)["envFrom"] == [{"secretRef": {"name": "tekton-core-env"}}]
    assert "The secret tekton-core-env has what is not written here: SMALL." in made.files["core.yaml"]
    assert json.loads(made.files["core-components.json"]) == {"components": {}, "fallbacks": fallbacks}
    (generated,) = yaml.safe_load(made.files["kustomization.yaml"])["configMapGenerator"]
    assert generated == {
        "name": "tekton-core-config",
        "files": ["components.json=core-components.json", "security.json"],
    }


def test_a_secret_is_not_for_everybody_in_the_pod(make_system: Any) -> None:
    core = named(check_kubernetes(kubernetes(make_system(main=JWT_SECRET)).shown))["Deployment", "tekton-core"]

    (volume,) = (one for one in core["spec"]["template"]["spec"]["volumes"] if one["name"] == "config")
    assert volume["secret"]["defaultMode"] == 0o440


def test_what_kubernetes_cannot_do_stands_at_the_top(make_system: Any) -> None:
    made = kubernetes(make_system({"web": {"command": "x", "breaker": {"failure_threshold": 2}}}))

    assert "breaker (web)" in made.files["core.yaml"].partition("\napiVersion:")[0]


@pytest.mark.skipif(which("kubectl") is None, reason="kubectl is not here")
def test_kustomize_takes_the_folder(make_system: Any, tmp_path: Path) -> None:
    made = kubernetes(make_system(main={"log_level": "debug"}, fallbacks={"chat": [{"component": "hermes"}]}))
    folder = tmp_path / "kubernetes"
    folder.mkdir()
    for name, text in made.files.items():
        (folder / name).write_text(text)

    built = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=True)

    found = named(check_kubernetes(built.stdout))
    (config,) = (one for (kind, _), one in found.items() if kind == "ConfigMap")
    assert set(config["data"]) == {"tekton.json", "components.json"}
    assert found["Deployment", "hermes"]["metadata"]["labels"]["app.kubernetes.io/part-of"] == "llm"
