"""critical-path: what the last start took."""

import json
from pathlib import Path
from typing import Any

import pytest

BEGAN = 1_700_000_000.0


def one(name: str, *at: float | None, waited: tuple[str, ...] = (), state: str = "ready", **fields: Any) -> Any:
    """A record; *at* is when it was started, its process ran, and it was ready, after the beginning."""
    times = [None if moment is None else BEGAN + moment for moment in at]
    named = dict(zip(("started_at", "launched_at", "ready_at"), times, strict=True))
    blocked_by = waited[-1] if waited else None
    return {
        "component_id": name,
        "waited": list(waited),
        "queued_at": BEGAN,
        "state": state,
        "blocked_by": blocked_by,
        **named,
        **fields,
    }


@pytest.fixture
def startup(plane: Any) -> Any:
    found = {
        "components": [
            one("hermes", 0.0, 0.125, 0.5),
            one("engram", 0.5, 0.625, 2.0, waited=("hermes",)),
            one("athena", None, None, None, state="unknown", blocked_by="ghost"),
        ],
        "critical_path": ["hermes", "engram"],
        "duration": 2.0,
        "began_at": BEGAN,
        "done": True,
    }
    plane.answers["GET /api/startup"] = (200, found)
    return found


def test_the_chain_is_shown_with_what_each_took(tekton: Any, startup: Any) -> None:
    result = tekton("critical-path")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "COMPONENT  WAITED  STARTING  UNTIL READY  SHARE  FOR",
        "hermes     0.00 s    0.12 s       0.38 s    25%",
        "engram     0.50 s    0.12 s       1.38 s    75%  hermes",
        "",
        "2 of 3 components ready in 2.00 s",
    ]


def test_a_process_of_which_nothing_is_known_has_no_time_of_its_own(tekton: Any, startup: Any) -> None:
    startup["components"][0]["launched_at"] = None

    assert tekton("critical-path").stdout.splitlines()[1] == "hermes     0.00 s         -       0.50 s    25%"


def test_a_start_that_goes_on_says_so(tekton: Any, startup: Any) -> None:
    startup["done"] = False

    assert tekton("critical-path").stdout.splitlines()[-1] == "2 of 3 components ready in 2.00 s so far"


def test_a_start_of_nothing_says_so(tekton: Any, plane: Any) -> None:
    empty = {"components": [], "critical_path": [], "duration": 0.0, "began_at": None, "done": True}
    plane.answers["GET /api/startup"] = (200, empty)

    assert tekton("critical-path").stdout == "nothing was started\n"


def test_json_is_the_answer_of_the_api(tekton: Any, startup: Any) -> None:
    assert json.loads(tekton("critical-path", "-o", "json").stdout) == startup


def test_a_trace_has_a_row_per_component_and_a_bar_per_phase(tekton: Any, startup: Any, tmp_path: Path) -> None:
    result = tekton("critical-path", "--trace", "start.json")

    assert result.stderr == "3 components written to start.json\n"
    events = json.loads((tmp_path / "start.json").read_text())["traceEvents"]
    rows = {event["tid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    assert rows == {0: "tekton up", 1: "hermes", 2: "engram", 3: "athena"}
    bars = [
        (rows[event["tid"]], event["name"], event["ts"], event["dur"], event["cat"])
        for event in events
        if event["ph"] == "X"
    ]
    assert bars == [
        ("hermes", "waiting", 0, 0, "critical"),
        ("hermes", "starting", 0, 125_000, "critical"),
        ("hermes", "until ready", 125_000, 375_000, "critical"),
        ("engram", "waiting", 0, 500_000, "critical"),
        ("engram", "starting", 500_000, 125_000, "critical"),
        ("engram", "until ready", 625_000, 1_375_000, "critical"),
    ]
