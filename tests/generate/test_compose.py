"""The compose.yaml of a system."""

import json
from typing import Any

import pytest
from deployed import check_compose

from tekton.generate.blueprint import Blueprint
from tekton.generate.compose import compose


@pytest.fixture
def services(system: Blueprint) -> dict[str, Any]:
    found: dict[str, Any] = check_compose(compose(system).shown)["services"]
    return found


def test_the_control_plane_is_called_as_in_the_specification(services: dict[str, Any]) -> None:
    core = services["tekton-core"]

    assert core["environment"]["TEKTON_DATA_DIR"] == "/data"
    assert core["volumes"] == ["tekton-data:/data"]
    assert core["command"] == ["python", "-m", "tekton.service.main"]


def test_each_component_is_a_service_that_waits_for_what_it_depends_on(services: dict[str, Any]) -> None:
    needs = services["local_llm"]["depends_on"]

    assert {name: how["condition"] for name, how in needs.items()} == {
        "local_llm-credential": "service_completed_successfully",
        "hermes": "service_healthy",
        "migrate": "service_completed_successfully",
    }
    # There is nothing of the name `elsewhere` to wait for.
    assert list(services["watcher"]["depends_on"]) == ["watcher-credential", "local_llm"]


def test_what_no_command_can_ask_is_not_waited_for(services: dict[str, Any], system: Blueprint) -> None:
    assert "healthcheck" not in services["watcher"]
    assert "only Tekton knows: watcher." in compose(system).shown


def test_variables_stay_open_and_secrets_are_asked_for(services: dict[str, Any]) -> None:
    environment = services["local_llm"]["environment"]

    assert environment["API_KEY"] == "${API_KEY:?}"
    assert (environment["ORG"], environment["TOKEN_LIMIT"], environment["PRICE"]) == ("${ORGANISATION:?}", "7", "$$5")
    assert services["local_llm"]["command"] == ["llm", "--model", "${MODEL:-small}", "$$HOME"]
    assert services["local_llm"]["env_file"] == [".env"]


def test_a_component_is_told_where_everything_is(services: dict[str, Any]) -> None:
    hermes, local_llm = services["hermes"]["environment"], services["local_llm"]["environment"]

    assert hermes["TEKTON_URL"] == "http://tekton-core:8010"
    assert (hermes["HERMES_URL"], hermes["HERMES_HOST"], hermes["PORT"]) == ("http://hermes:8001", "0.0.0.0", "8001")
    assert local_llm["HERMES_URL"] == "http://hermes:8001/api"
    assert local_llm["LOCAL_LLM_MAX_INSTANCES"] == "3"
    assert "LOCAL_LLM_URL" not in local_llm


def test_only_a_component_and_its_own_helper_find_its_key(services: dict[str, Any]) -> None:
    having = [name for name, one in services.items() if any("hermes-credential:" in place for place in one["volumes"])]

    assert having == ["hermes-credential", "hermes"]
    assert "--subject hermes --role component" in services["hermes-credential"]["command"][2]
    assert "hermes-credential:/credential:ro" in services["hermes"]["volumes"]


def test_limits_replicas_and_times_are_taken_over(services: dict[str, Any]) -> None:
    hermes, local_llm = services["hermes"], services["local_llm"]

    assert (hermes["mem_limit"], hermes["pids_limit"], hermes["ulimits"]) == (512 << 20, 64, {"nofile": 1024})
    assert (hermes["restart"], services["migrate"]["restart"]) == ("unless-stopped", "no")
    assert (local_llm["scale"], local_llm["stop_grace_period"], local_llm["profiles"]) == (2, "25s", ["gpu"])
    assert "ports" not in local_llm
    assert hermes["ports"] == ["127.0.0.1:8001:8001"]


def test_the_main_file_goes_with_the_control_plane_alone(make_system: Any) -> None:
    services = check_compose(compose(make_system(main={"log_level": "debug"})).shown)["services"]

    assert services["tekton-core"]["environment"]["TEKTON_CONFIG_FILE"] == "/etc/tekton/tekton.json"
    assert "./tekton.json:/etc/tekton/tekton.json:ro" in services["tekton-core"]["volumes"]


def test_roles_and_fallbacks_go_with_the_control_plane_too(make_system: Any) -> None:
    fallbacks = {"chat": [{"component": "local_llm", "parameters": {"model": "${SMALL}", "price": "$$5"}}]}
    system = make_system(security={"principals": {"ci": ["operator"]}}, fallbacks=fallbacks)
    document = check_compose(compose(system).shown)
    core = document["services"]["tekton-core"]

    assert "./security.json:/etc/tekton/security.json:ro" in core["volumes"]
    assert core["configs"] == [{"source": "tekton-components", "target": "/etc/tekton/components.json"}]
    assert core["environment"]["TEKTON_CONFIG_FILE"] == "/etc/tekton/components.json"
    assert core["environment"]["SMALL"] == "${SMALL:?}"
    # Compose makes one dollar sign of two.
    content = document["configs"]["tekton-components"]["content"].replace("$$", "$")
    assert json.loads(content) == {"components": {}, "fallbacks": fallbacks}


def test_a_variable_with_a_default_may_be_missing(make_system: Any) -> None:
    main = {"log_level": "${LEVEL:-info}", "port": "${TEKTON_PORT:-8010}"}
    services = check_compose(compose(make_system(main=main)).shown)["services"]

    assert services["tekton-core"]["environment"]["LEVEL"] == "${LEVEL:-}"
    # What the container itself needs is not for others to say.
    assert services["tekton-core"]["environment"]["TEKTON_PORT"] == "8010"


def test_what_compose_cannot_do_stands_at_the_top(make_system: Any) -> None:
    components = {"web": {"command": "x", "liveness": {"exec": ["true"]}, "breaker": {"failure_threshold": 2}}}

    about = compose(make_system(components)).shown.partition("\nname:")[0]

    assert "breaker (web)" in about
    assert "startup and liveness are not asked: web." in about
