"""chaos kill: what a failure would do, shown, and done."""

import json
from pathlib import Path
from typing import Any

import pytest

IMPACT = {
    "component_id": "rhetor",
    "usable": True,
    "comes_back": True,
    "capabilities": [
        {"capability": "chat", "before": ["rhetor"], "after": ["local"], "state": "fallback", "left": ["cloud"]},
        {"capability": "summary", "before": ["rhetor"], "after": [], "state": "unavailable", "left": []},
    ],
    "components": [
        {"component_id": "ergon", "effect": "degrades", "through": None},
        {"component_id": "web", "effect": "goes_on", "through": "ergon"},
    ],
}
SHOWN = """\
rhetor  restarted by its policy

CAPABILITY  NOW     THEN
chat        rhetor  local (fallback), then cloud
summary     rhetor  nobody

COMPONENT  THEN
ergon      degraded, until it is back
web        goes on, without it (through ergon)
"""


@pytest.fixture
def rhetor(plane: Any) -> Any:
    plane.answers["GET /api/components/rhetor/impact"] = (200, IMPACT)
    answer = {"component_id": "rhetor", "signal": "KILL", "pids": [4711]}
    plane.answers["POST /api/components/rhetor/kill"] = (200, answer)
    return plane


def test_a_dry_run_shows_who_survives_and_kills_nobody(tekton: Any, rhetor: Any) -> None:
    result = tekton("chaos", "kill", "rhetor", "--dry-run")

    assert (result.exit_code, result.stdout, result.stderr) == (0, SHOWN, "")
    assert [method for method, _ in rhetor.requests] == ["GET"]


def test_else_the_same_is_shown_and_it_is_killed(tekton: Any, rhetor: Any) -> None:
    result = tekton("chaos", "kill", "rhetor")

    assert (result.exit_code, result.stdout) == (0, SHOWN)
    assert result.stderr == "\nrhetor  KILL sent to 1 process group\n"
    assert rhetor.bodies == [{"signal": "KILL", "hold": False}]


def test_what_is_held_stays_down(tekton: Any, rhetor: Any) -> None:
    result = tekton("chaos", "kill", "rhetor", "--hold")

    assert result.stdout.startswith("rhetor  down until somebody starts it\n")
    assert rhetor.bodies == [{"signal": "KILL", "hold": True}]


def test_for_a_program_it_is_one_object(tekton: Any, rhetor: Any) -> None:
    dry = json.loads(tekton("chaos", "kill", "rhetor", "--dry-run", "-o", "json").stdout)
    done = json.loads(tekton("chaos", "kill", "rhetor", "-o", "json").stdout)

    assert dry == {**IMPACT, "dry_run": True, "killed": []}
    assert done == {**IMPACT, "dry_run": False, "killed": [4711]}


def test_one_that_cannot_be_used_is_missed_by_nobody(tekton: Any, rhetor: Any) -> None:
    impact = {**IMPACT, "usable": False, "capabilities": [], "components": []}
    rhetor.answers["GET /api/components/rhetor/impact"] = (200, impact)

    result = tekton("chaos", "kill", "rhetor", "--dry-run")

    assert result.stdout.splitlines() == [
        "rhetor  cannot be used now: nothing changes for those who call it",
    ]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    components = {
        "rhetor": {"command": "x", "capabilities": ["chat"], "restart": {"policy": "no"}},
        "local": {"command": "x", "port": 1},
        "user": {"command": "x", "dependencies": ["rhetor"], "on_dependency_failure": "restart"},
    }
    text = json.dumps({"components": components, "fallbacks": {"chat": [{"component": "local"}]}})
    (tmp_path / "components.json").write_text(text)
    return tmp_path


def test_it_is_known_from_the_configuration_before_anything_runs(tekton: Any, config: Path) -> None:
    result = tekton("chaos", "kill", "rhetor", "--dry-run", "--offline", "-c", str(config))

    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        [
            "rhetor  down until somebody starts it",
            "",
            "CAPABILITY  NOW     THEN",
            "chat        rhetor  local (fallback)",
            "",
            "COMPONENT  THEN",
            "user       restarted, when it is back",
        ],
    )


def test_a_name_that_is_not_configured_is_told_with_the_nearest(tekton: Any, config: Path) -> None:
    result = tekton("chaos", "kill", "rethor", "--dry-run", "--offline", "-c", str(config))

    assert result.exit_code == 5
    assert "rhetor" in result.stderr


def test_what_does_not_run_cannot_be_killed(tekton: Any, config: Path) -> None:
    result = tekton("chaos", "kill", "rhetor", "--offline", "-c", str(config))

    assert (result.exit_code, "--dry-run" in result.stderr) == (2, True)
