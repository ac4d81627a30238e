"""ps, start, stop, restart and wait."""

import json
from typing import Any

import pytest


@pytest.fixture
def five(plane: Any, double: Any) -> Any:
    plane.components = [
        double.view("engram", uptime=725.0, port=8000, pid=101),
        double.view("greeter", "starting", note="waiting for rhetor"),
        double.view("hermes", uptime=725.0, port=8001, pid=100),
        double.view("rhetor", "degraded", uptime=41.5, port=8003, pid=102, restarts=2, note="fallback: local_llm"),
        double.view("synthesis", "failed", restarts=5, port=8009, note="exit code 137; retry in 8 s"),
    ]
    return plane


def test_ps_prints_one_row_per_component_and_what_needs_attention(tekton: Any, five: Any) -> None:
    result = tekton("ps")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "COMPONENT  STATE     RESTARTS  UPTIME  PORT  PID  NOTE",
        "engram     ready            0  12m     8000  101",
        "greeter    starting         0  -       -     -    waiting for rhetor",
        "hermes     ready            0  12m     8001  100",
        "rhetor     degraded         2  41s     8003  102  fallback: local_llm",
        "synthesis  failed           5  -       8009  -    exit code 137; retry in 8 s",
        "",
        "5 components: 2 ready, 1 degraded, 1 starting, 1 failed        tekton why synthesis",
    ]
    assert result.stderr == ""


def test_status_is_another_name_for_ps(tekton: Any, five: Any) -> None:
    assert tekton("status").stdout == tekton("ps").stdout


def test_ps_shows_only_the_components_that_are_named(tekton: Any, five: Any) -> None:
    assert tekton("ps", "-o", "name", "rhetor", "hermes").stdout == "rhetor\nhermes\n"


def test_ps_of_a_mistyped_name_says_what_was_probably_meant(tekton: Any, five: Any) -> None:
    result = tekton("ps", "hermse")

    assert result.exit_code == 5
    assert result.stdout == ""
    assert result.stderr == "error[component_not_found]: no component 'hermse'\nhelp: did you mean 'hermes'?\n"


def test_ps_as_json_is_the_answer_of_the_api(tekton: Any, five: Any) -> None:
    document = json.loads(tekton("ps", "-o", "json").stdout)

    assert [component["component_id"] for component in document["components"]] == [
        "engram",
        "greeter",
        "hermes",
        "rhetor",
        "synthesis",
    ]
    assert document["components"] == five.components
    assert json.loads(tekton("ps", "--json").stdout) == document


def test_ps_as_jsonl_is_one_component_a_line(tekton: Any, five: Any) -> None:
    lines = tekton("ps", "-o", "jsonl").stdout.splitlines()

    assert [json.loads(line) for line in lines] == five.components


def test_ps_without_components_says_so(tekton: Any, plane: Any) -> None:
    assert tekton("ps").stdout.splitlines()[-1] == "no components"


def test_a_note_cannot_break_the_table_or_reach_the_terminal(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("evil", "failed", note="one\ntwo\x1b[2Jthree")]

    result = tekton("ps", color=True)

    assert "one two [2Jthree" in result.stdout
    assert "\x1b[2J" not in result.stdout


@pytest.mark.parametrize(("verb", "done"), [("start", "started"), ("stop", "stopped"), ("restart", "restarted")])
def test_an_operation_waits_until_it_is_done(tekton: Any, plane: Any, double: Any, verb: str, done: str) -> None:
    plane.components = [double.view("hermes"), double.view("engram")]

    result = tekton(verb, "hermes", "engram")

    assert result.exit_code == 0
    assert result.stdout == ""
    assert [line.split(" in ")[0] for line in result.stderr.splitlines()] == [f"hermes  {done}", f"engram  {done}"]
    assert plane.requests == [("POST", f"/api/components/{name}/{verb}?wait=1") for name in ("hermes", "engram")]


def test_an_operation_can_be_asked_for_without_waiting(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes")]

    result = tekton("restart", "--no-wait", "hermes")

    assert result.stderr == "hermes  restart requested\n"
    assert plane.requests == [("POST", "/api/components/hermes/restart")]


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (504, "start_timeout", 4),
        (424, "dependency_failed", 1),
        (409, "component_failed", 1),
        (409, "illegal_transition", 6),
        (403, "forbidden", 7),
        (401, "unauthenticated", 7),
        (503, "unavailable", 1),
        (404, "component_not_found", 5),
    ],
)
def test_a_refusal_becomes_an_exit_status(
    tekton: Any, plane: Any, double: Any, *, status: int, code: str, exit_code: int
) -> None:
    plane.answers["POST /api/components/hermes/start"] = double.problem(status, code, "it is so", hint="do that")

    result = tekton("start", "hermes")

    assert result.exit_code == exit_code, result.output + result.stderr
    assert result.stderr == f"error[{code}]: it is so\nhelp: do that\n"


def test_a_failed_operation_does_not_keep_the_others_from_theirs(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes")]

    result = tekton("start", "typo", "hermes")

    assert result.exit_code == 5
    assert "error[component_not_found]" in result.stderr
    assert "hermes  started" in result.stderr


def test_an_operation_that_takes_too_long_is_given_up(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes")]
    plane.delay = 5.0

    result = tekton("start", "hermes", "--timeout", "50ms")

    assert result.exit_code == 4
    assert "gave up after 0.05 s" in result.stderr


def test_wait_returns_when_the_state_is_there_already(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes")]

    result = tekton("wait", "hermes")

    assert result.exit_code == 0
    assert result.stderr.startswith("hermes  ready after ")


def test_wait_returns_when_the_state_comes(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes", "starting")]
    others = double.change(2, "engram", "starting", "ready")
    plane.publish_after_snapshot(others, double.change(3, "hermes", "starting", "ready"))

    assert tekton("wait", "hermes", "--timeout", "10s").exit_code == 0


@pytest.mark.parametrize("goal", ["stopped", "state=stopped"])
def test_wait_knows_other_states(tekton: Any, plane: Any, double: Any, goal: str) -> None:
    plane.components = [double.view("hermes", "stopped")]

    assert tekton("wait", "hermes", "--for", goal).exit_code == 0


def test_wait_for_a_state_that_does_not_exist_is_a_mistake_in_the_command(tekton: Any, plane: Any) -> None:
    result = tekton("wait", "hermes", "--for", "state=redy")

    assert result.exit_code == 2
    assert "one of unknown, registering" in result.stderr


def test_wait_gives_up_after_its_timeout_and_says_what_it_saw(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes", "starting")]

    result = tekton("wait", "hermes", "--timeout", "50ms")

    assert result.exit_code == 4
    assert "gave up after 0.05 s (waiting for state ready; it is starting)" in result.stderr


def test_wait_for_a_mistyped_name_fails_at_once(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes")]

    assert tekton("wait", "hermse").exit_code == 5


def test_wait_accepts_a_component_that_is_configured_but_not_registered(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes", "unknown", generation=0)]
    plane.publish_after_snapshot(double.change(2, "hermes", "starting", "ready"))

    assert tekton("wait", "hermes", "--timeout", "10s").exit_code == 0


def test_wait_for_readiness_ends_when_the_component_failed_for_good(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes", "failed", reason="exit code 1")]
    plane.whys["hermes"] = double.why("hermes", "failed", restart=None)

    result = tekton("wait", "hermes")

    assert result.exit_code == 1
    assert result.stderr == "error[component_failed]: hermes has failed: exit code 1\nhelp: tekton why hermes\n"


def test_wait_for_readiness_goes_on_while_a_restart_is_coming(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes", "failed")]
    plan = {"attempt": 1, "max": 5, "next_in": 0.5, "gave_up": False}
    plane.whys["hermes"] = double.why("hermes", "failed", restart=plan)
    plane.publish_after_snapshot(double.change(2, "hermes", "starting", "ready"))

    assert tekton("wait", "hermes", "--timeout", "10s").exit_code == 0


def test_wait_survives_a_restart_of_the_control_plane(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes", "starting")]
    plane.on_stream = [plane.drop_streams, lambda: plane.publish(double.change(2, "hermes", "starting", "ready"))]

    assert tekton("wait", "hermes", "--timeout", "10s").exit_code == 0
