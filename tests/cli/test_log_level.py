"""log-level: how much the control plane logs."""

import json
from typing import Any

import pytest

ANSWER = {
    "levels": {"root": "info", "tekton.gateway": "debug", "tekton.audit": "error"},
    "changed": {
        "tekton.gateway": {"level": "debug", "until": 1769860800.0, "before": None},
        "tekton.audit": {"level": "error", "until": None, "before": "info"},
    },
}


@pytest.fixture(autouse=True)
def _answers(plane: Any) -> None:
    plane.answers["GET /api/log-levels"] = (200, ANSWER)
    plane.answers["PUT /api/log-levels"] = (200, ANSWER)


def test_all_levels_are_shown_with_what_becomes_of_them(tekton: Any) -> None:
    assert tekton("log-level").stdout.splitlines() == [
        "root            info",
        "tekton.gateway  debug until 2026-01-31T12:00:00.000Z, then as the logger above it",
        "tekton.audit    error  (changed)",
    ]


def test_a_level_is_changed_for_a_while(tekton: Any, plane: Any) -> None:
    result = tekton("log-level", "tekton.gateway", "debug", "--for", "10m")

    assert plane.bodies == [{"logger": "tekton.gateway", "level": "debug", "for": 600.0}]
    assert result.stdout == "tekton.gateway  debug until 2026-01-31T12:00:00.000Z, then as the logger above it\n"


def test_a_change_is_taken_back(tekton: Any, plane: Any) -> None:
    result = tekton("log-level", "tekton.other", "--reset", "-o", "text")

    assert plane.bodies == [{"logger": "tekton.other", "level": None, "for": None}]
    assert result.stderr == "tekton.other  as before\n"


def test_programs_get_what_the_control_plane_answers(tekton: Any) -> None:
    assert json.loads(tekton("log-level", "-o", "json").stdout) == ANSWER


@pytest.mark.parametrize(
    "words", [("tekton",), ("tekton", "debug", "--reset"), ("--reset",), ("--for", "1m"), ("tekton", "loud")]
)
def test_half_a_command_is_refused(tekton: Any, words: tuple[str, ...]) -> None:
    assert tekton("log-level", *words).exit_code == 2


def test_a_level_that_there_is_not_is_refused_with_those_that_there_are(tekton: Any) -> None:
    assert (
        "Invalid value for 'LEVEL': 'loud' is not one of 'debug', 'info',"
        in tekton("log-level", "tekton", "loud").stderr
    )
