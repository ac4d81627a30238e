"""The verb trace: the list of traces, and one of them as a waterfall."""

import json
from typing import Any

import pytest

from tekton.cli.trace import bar, length

AT = 1_700_000_000.0
ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def summary(**fields: Any) -> dict[str, Any]:
    plain = {"trace_id": ID, "name": "POST /api/generate", "component": "rhetor", "started_at": AT, "duration": 2.0}
    return {**plain, "status": "ok", "spans": 3, "errors": 0, "components": ["rhetor", "engram"], **fields}


def span(name: str, depth: int, at: float, duration: float, **fields: Any) -> dict[str, Any]:
    plain = {"trace_id": ID, "span_id": name, "parent_id": "", "name": name, "kind": "internal", "component": "rhetor"}
    rest = {"instance": "", "status": "unset", "message": "", "attributes": {}, "events": [], "dropped": 0}
    return {**plain, **rest, "started_at": AT + at, "duration": duration, "depth": depth, **fields}


SPANS = [
    span("POST /api/generate", 0, 0.0, 2.0),
    span("search", 1, 0.5, 0.012, component="engram"),
    span("ask the model", 1, 1.0, 1.0, status="error", message="too\x1b[31m late"),
]


def test_traces_are_listed_the_oldest_of_them_first(tekton: Any, plane: Any) -> None:
    items = [summary(errors=1), summary(trace_id="f" * 32, name="start\x1b[31m engram", components=["tekton"])]
    plane.answers["GET /api/traces"] = (200, {"items": items, "cursor": None})

    result = tekton("trace", "ls")

    heading, first, second = result.stdout.splitlines()
    assert heading.split() == ["TRACE", "STARTED", "DURATION", "SPANS", "ERRORS", "COMPONENTS", "NAME"]
    assert first.split()[0] == "f" * 12
    assert first.endswith("tekton           start [31m engram")
    assert second.split()[0] == ID[:12]
    assert second.split()[3:] == ["2.00", "s", "3", "1", "rhetor", "→", "engram", "POST", "/api/generate"]


def test_what_is_wanted_is_asked_for(tekton: Any, plane: Any) -> None:
    plane.answers["GET /api/traces"] = (200, {"items": [], "cursor": None})

    result = tekton(
        "trace", "ls", "--component", "rhetor", "--name", "gen", "--min", "500ms", "--failed", "-n", "5", "--json"
    )

    assert json.loads(result.stdout) == {"items": [], "cursor": None}
    [asked] = [one for one in plane.requests if "/api/traces" in str(one)]
    for part in ("component=rhetor", "name=gen", "min_duration=0.5", "status=error", "limit=5"):
        assert part in str(asked)


def test_a_trace_is_shown_as_a_waterfall(tekton: Any, plane: Any) -> None:
    plane.answers[f"GET /api/traces/{ID}"] = (200, {"trace": summary(errors=1), "spans": SPANS})

    lines = tekton("trace", "show", ID).stdout.splitlines()

    assert lines[0].startswith(ID)
    assert lines[1] == "3 spans in 2.00 s, 1 error"
    assert lines[3:] == [
        "SPAN                COMPONENT  DURATION  SHARE  TIME",
        "POST /api/generate  rhetor       2.00 s   100%  ████████████████████████",
        "  search            engram        12 ms   0.6%        ▏",
        "  ✗ ask the model   rhetor       1.00 s    50%              ████████████",
        "",
        "rhetor: ask the model: too [31m late",
    ]


def test_the_beginning_of_an_id_is_enough(tekton: Any, plane: Any) -> None:
    plane.answers["GET /api/traces"] = (200, {"items": [summary(), summary(trace_id="f" * 32)], "cursor": None})
    plane.answers[f"GET /api/traces/{ID}"] = (200, {"trace": summary(), "spans": SPANS})

    assert tekton("trace", "show", "4BF9").stdout.startswith(ID)
    assert json.loads(tekton("trace", "show", "-o", "json").stdout)["trace"]["trace_id"] == ID


def test_a_beginning_of_several_ids_is_not_enough(tekton: Any, plane: Any) -> None:
    items = [summary(), summary(trace_id="4bf90000" + "0" * 24)]
    plane.answers["GET /api/traces"] = (200, {"items": items, "cursor": None})

    result = tekton("trace", "show", "4bf9")

    assert result.exit_code == 2
    assert "2 traces begin with 4bf9" in result.stderr


@pytest.mark.parametrize("given", [["abcd"], []])
def test_a_trace_that_is_not_there_is_not_found(tekton: Any, plane: Any, given: list[str]) -> None:
    plane.answers["GET /api/traces"] = (200, {"items": [], "cursor": None})

    result = tekton("trace", "show", *given)

    assert result.exit_code == 5
    assert "no trace" in result.stderr


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, "0 µs"), (0.000012, "12 µs"), (0.0032, "3.2 ms"), (0.045, "45 ms"), (0.31, "0.31 s"), (75.0, "1m")],
)
def test_lengths_have_the_unit_in_which_they_are_short(seconds: float, shown: str) -> None:
    assert length(seconds) == shown


@pytest.mark.parametrize(
    ("begin", "duration", "shown"),
    [
        (0.0, 2.0, "████████"), (1.0, 1.0, "    ████"), (2.0, 0.0, "       ▏"), (-1.0, 0.5, "██"),
        (0.0, 9.0, "████████"),
        (9.0, 1.0, "       █"),
    ],
)  # fmt: skip
def test_a_bar_stays_in_its_place_whatever_the_clocks_say(begin: float, duration: float, shown: str) -> None:
    assert bar(span("x", 0, begin, duration), summary(), width=8) == shown


def test_a_trace_that_took_no_time_has_bars_all_the_same() -> None:
    assert bar(span("x", 0, 0.0, 0.0), summary(duration=0.0), width=8) == "▏"
