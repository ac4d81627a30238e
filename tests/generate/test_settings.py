"""What goes with the control plane into a container of its own."""

import json
from pathlib import Path
from typing import Any

import pytest

from tekton.generate.settings import Settings
from tekton.utils.tekton_config import TektonConfig

SECURITY = {"roles": {"deployer": {"permissions": ["components:control"]}}, "principals": {"ci": ["deployer"]}}
FALLBACKS = {"chat": [{"component": "local_llm", "parameters": {"model": "${SMALL:-llama3}"}}]}


@pytest.fixture
def settings(make_system: Any) -> Settings:
    found: Settings = make_system(main={"log_level": "debug"}, security=SECURITY, fallbacks=FALLBACKS).settings
    return found


def loaded(settings: Settings, place: Path, **environ: str) -> TektonConfig:
    """What a control plane makes of them, when they lie in *place*."""
    place.mkdir()
    for name, text in settings.files.items():
        (place / name).write_text(text)
    return TektonConfig.load(place / Path(settings.named).name, environ={"HOME": str(place), **environ}, cwd=place)


def test_a_system_without_any_has_none(make_system: Any) -> None:
    settings = make_system().settings

    assert (dict(settings.files), settings.made, dict(settings.variables)) == ({}, None, {})


def test_the_control_plane_gets_everything_but_the_components(settings: Settings, tmp_path: Path) -> None:
    config = loaded(settings, tmp_path / "there")

    assert settings.named == "/etc/tekton/tekton.json"
    assert config.components == {}
    assert config.log_level == "debug"
    assert (list(config.roles), config.principals) == (["deployer"], {"ci": ("deployer",)})
    assert [(one.component, one.parameters) for one in config.fallbacks["chat"]] == [("local_llm", {"model": "llama3"})]


@pytest.mark.parametrize("given", [{"security": SECURITY}, {"fallbacks": FALLBACKS}, {"main": {"log_level": "debug"}}])
def test_each_of_them_is_enough(make_system: Any, tmp_path: Path, given: dict[str, Any]) -> None:
    config = loaded(make_system(**given).settings, tmp_path / "there")

    assert bool(config.roles) == ("security" in given)
    assert bool(config.fallbacks) == ("fallbacks" in given)
    assert (config.log_level == "debug") == ("main" in given)


def test_variables_stay_open_but_those_that_a_container_has_by_itself(make_system: Any) -> None:
    main = {"log_level": "${LEVEL:-info}", "data_dir": "${HOME}/${ORGANISATION}"}

    settings = make_system(main=main, fallbacks=FALLBACKS).settings

    assert dict(settings.variables) == {"LEVEL": "info", "ORGANISATION": None, "SMALL": "llama3"}


def test_what_has_to_be_left_behind_is_told(make_system: Any) -> None:
    components = {
        "a": {"command": "x", "breaker": {"failure_threshold": 2}},
        "b": {"command": "x", "on_dependency_failure": "restart", "breaker": {"failure_threshold": 3}},
        "c": {"command": "x"},
    }

    (note,) = make_system(components).settings.notes()

    assert note.endswith("for components that it runs itself: on_dependency_failure (b), breaker (a, b).")


def test_files_that_the_main_file_names_are_told(make_system: Any, tmp_path: Path) -> None:
    for name in ("one.crt", "one.key"):
        (tmp_path / name).write_text("")
    main = {"security": {"tls_cert": "one.crt", "tls_key": "one.key"}}

    first, second = make_system({"c": {"command": "x"}}, main).settings.notes()

    assert "needs files that are not mounted here, for security.tls_cert, security.tls_key." in first
    assert "TLS" in second


def test_a_file_with_a_secret_is_known(make_system: Any) -> None:
    hidden = {"security": {"jwt_secret": "${S:-Zk3vQ9pLm2Xa5hJ0Yk3vQ9pLm2XaZk3vQwR8tU1}"}}

    assert [make_system(security=one).settings.secret for one in (SECURITY, hidden)] == [False, True]


def test_the_copy_of_components_json_has_no_command(settings: Settings) -> None:
    assert settings.made == "components.json"
    assert json.loads(settings.files[settings.made]) == {"components": {}, "fallbacks": FALLBACKS}
