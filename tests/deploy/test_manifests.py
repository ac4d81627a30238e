"""The manifests of deploy/ are such as Kubernetes and Docker take, and what the specification says of them holds."""

import subprocess
from functools import cache
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from deployed import check_compose, check_kubernetes

ROOT = Path(__file__).resolve().parents[2]
VOLUMES = {"tekton": "tekton-core", "hermes": "hermes", "engram": "engram"}
FOLDERS = ("base", "overlays/development", "overlays/production")

needs_kubectl = pytest.mark.skipif(which("kubectl") is None, reason="kubectl is not here")


@cache
def built(folder: str) -> dict[str, Any]:
    """The objects of a kustomization, checked, by kind."""
    command = ["kubectl", "kustomize", ROOT / "deploy" / "kubernetes" / folder]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    return {one["kind"]: one for one in check_kubernetes(made.stdout)}


def container(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = built(folder)["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    return found


@needs_kubectl
@pytest.mark.parametrize("folder", FOLDERS)
def test_the_names_are_those_of_the_specification(folder: str) -> None:
    objects = built(folder)

    assert objects["Deployment"]["metadata"]["name"] == container(folder)["name"] == "tekton-core"
    assert objects["Service"]["metadata"]["name"] == "tekton-core-service"
    assert objects["Service"]["spec"]["ports"][0]["port"] == 8010
    variables = {one["name"]: one["value"] for one in container(folder)["env"]}
    wanted = {"TEKTON_HOST": "0.0.0.0", "TEKTON_PORT": "8010", "TEKTON_DATA_DIR": "/data"}
    assert (wanted | {"HERMES_URL": "http://hermes-service:8001/api"}).items() <= variables.items()


@needs_kubectl
@pytest.mark.parametrize("folder", FOLDERS)
def test_probes_ask_what_the_specification_says(folder: str) -> None:
    found = container(folder)

    assert found["livenessProbe"]["httpGet"]["path"] == "/api/health"
    assert found["readinessProbe"]["httpGet"]["path"] == "/api/ready"
    secure = "HTTPS" if folder == "overlays/production" else None
    assert {found[f"{kind}Probe"]["httpGet"].get("scheme") for kind in ("startup", "liveness", "readiness")} == {secure}


@needs_kubectl
@pytest.mark.parametrize("folder", FOLDERS)
def test_a_container_has_next_to_no_rights(folder: str) -> None:
    found, pod = container(folder), built(folder)["Deployment"]["spec"]["template"]["spec"]

    assert found["securityContext"]["readOnlyRootFilesystem"]
    assert found["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]


@needs_kubectl
def test_what_is_deployed_for_good_keeps_its_data_and_what_is_tried_does_not() -> None:
    assert built("overlays/production")["PersistentVolumeClaim"]["metadata"]["name"] == "tekton-data-pvc"
    assert "PersistentVolumeClaim" not in built("overlays/development")


def test_the_compose_file_is_one_and_its_names_are_those_of_the_specification() -> None:
    document = check_compose((ROOT / "deploy" / "compose.yaml").read_text())

    services = document["services"]
    core, hermes, engram = services["tekton-core"], services["hermes"], services["engram"]
    assert core["ports"] == ["127.0.0.1:8010:8010"]
    assert hermes["ports"] == ["127.0.0.1:8001:8001"]
    assert engram["ports"] == ["127.0.0.1:8000:8000"]
    assert [f"{name}-data:/data" in services[of]["volumes"] for name, of in VOLUMES.items()] == [True] * 3
    url = {"HERMES_URL": "http://hermes:8001/api"}
    wanted = {"TEKTON_HOST": "0.0.0.0", "TEKTON_PORT": "8010", "TEKTON_DATA_DIR": "/data"}
    assert (wanted | url).items() <= core["environment"].items()
    wanted = {"HERMES_HOST": "0.0.0.0", "HERMES_PORT": "8001", "HERMES_DB_PATH": "/data/hermes.db"}
    assert wanted.items() <= hermes["environment"].items()
    wanted = {"ENGRAM_HOST": "0.0.0.0", "ENGRAM_PORT": "8000"}
    assert (wanted | url).items() <= engram["environment"].items()
    assert "hermes" in engram["depends_on"]
