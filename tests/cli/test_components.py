"""start, stop, restart and kill."""

from typing import Any, get_args

import pytest

from tekton.cli.components import SIGNALS
from tekton.service.api.kill import SignalName


@pytest.mark.parametrize(("verb", "done"), [("start", "started"), ("stop", "stopped"), ("restart", "restarted")])
def test_an_operation_waits_until_it_is_done(tekton: Any, plane: Any, double: Any, verb: str, done: str) -> None:
    plane.components = [double.view("hermes", "stopped"), double.view("engram", "stopped")]

    result = tekton(verb, "hermes", "engram")

    assert result.exit_code == 0
    assert result.stdout == ""
    assert [line.split(" in ")[0] for line in result.stderr.splitlines()] == [f"hermes  {done}", f"engram  {done}"]
    posted = [request for request in plane.requests if request[0] == "POST"]
    assert posted == [("POST", f"/api/components/{name}/{verb}?wait=1") for name in ("hermes", "engram")]


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
    plane.components = [double.view("hermes", "stopped")]

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


def test_kill_sends_sigkill_to_the_process_groups(tekton: Any, plane: Any, double: Any) -> None:
    answer = {"component_id": "hermes", "signal": "KILL", "pids": [101, 102]}
    plane.answers["POST /api/components/hermes/kill"] = (200, answer)

    result = tekton("kill", "hermes")

    assert result.exit_code == 0
    assert result.stderr == "hermes  KILL sent to 2 process groups\n"
    assert plane.bodies == [{"signal": "KILL"}]


@pytest.mark.parametrize("signal", ["TERM", "SIGTERM", "term", "15"])
def test_a_signal_may_be_written_as_one_likes(tekton: Any, plane: Any, signal: str) -> None:
    plane.answers["POST /api/components/hermes/kill"] = (200, {"pids": [101]})

    assert tekton("kill", "hermes", "--signal", signal).stderr == "hermes  TERM sent to 1 process group\n"
    assert plane.bodies == [{"signal": "TERM"}]


def test_a_signal_that_does_not_exist_is_a_mistake_in_the_command(tekton: Any, plane: Any) -> None:
    result = tekton("kill", "hermes", "-s", "BANG")

    assert result.exit_code == 2
    assert "'BANG' is none of ABRT, ALRM" in result.stderr
    assert plane.requests == []


def test_the_signals_of_the_command_are_those_of_the_api() -> None:
    assert get_args(SignalName) == SIGNALS


def test_rm_takes_out_what_run_has_added(tekton: Any, plane: Any, double: Any) -> None:
    answer = {"operation": "delete", "component_id": "billing", "done": True}
    plane.answers["GET /api/components/billing"] = (200, {"supervised": True})
    plane.answers["DELETE /api/components/billing/spec"] = (200, answer)

    result = tekton("rm", "billing")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "billing  removed\n")


def test_rm_leaves_what_is_configured(tekton: Any, plane: Any, double: Any) -> None:
    problem = {"code": "component_configured", "detail": "hermes stands in the configuration", "status": 409}
    plane.answers["GET /api/components/hermes"] = (200, {"supervised": True})
    plane.answers["DELETE /api/components/hermes/spec"] = (409, problem)

    assert tekton("rm", "hermes").exit_code == 6


def test_rm_forgets_what_registered_itself_and_has_ended(tekton: Any, plane: Any, double: Any) -> None:
    items = [{"instance_uuid": "a", "state": "failed"}, {"instance_uuid": "b", "state": "ready"}]
    plane.answers["GET /api/components/ledger"] = (200, {"supervised": False})
    plane.answers["GET /api/components/ledger/instances"] = (200, {"items": items})
    plane.answers["DELETE /api/components/ledger"] = (200, {})

    assert tekton("rm", "ledger").stderr == "ledger  removed\n"
    assert [path for method, path in plane.requests if method == "DELETE"] == ["/api/components/ledger?instance_uuid=a"]


def test_what_runs_is_not_said_to_be_started(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes"), double.view("worker", replicas=2)]

    assert tekton("start", "hermes").stderr == "hermes  already running\n"
    assert tekton("start", "worker").stderr.startswith("worker  started in ")


# By force.


@pytest.mark.parametrize(("verb", "done"), [("start", "started"), ("restart", "restarted")])
def test_a_forced_start_says_what_it_has_passed_over(
    tekton: Any, plane: Any, double: Any, verb: str, done: str
) -> None:
    plane.components = [double.view("hermes", "stopped")]
    plane.whys["hermes"] = double.why("hermes", forced_past=["engram", "ghost"])

    result = tekton(verb, "--force", "hermes")

    assert result.exit_code == 0
    first, second = result.stderr.splitlines()
    assert first == "hermes  passed over: engram, ghost"
    assert second.startswith(f"hermes  {done} in ")
    assert ("POST", f"/api/components/hermes/{verb}?wait=1&force=1") in plane.requests


def test_it_says_so_of_one_that_fails_too(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes", "stopped")]
    plane.whys["hermes"] = double.why("hermes", "failed", forced_past=["engram"])
    plane.answers["POST /api/components/hermes/start"] = double.problem(409, "component_failed", "exit code 1")

    result = tekton("start", "--force", "hermes")

    assert result.exit_code == 1
    assert result.stderr.startswith("hermes  passed over: engram\nerror[component_failed]: exit code 1\n")


def test_a_forced_start_of_what_lacks_nothing_or_runs_says_nothing_more(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes", "stopped"), double.view("engram")]
    plane.whys["engram"] = double.why("engram", forced_past=["ghost"])

    result = tekton("start", "--force", "hermes", "engram")

    first, second = result.stderr.splitlines()
    assert first.startswith("hermes  started in ")
    assert second == "engram  already running"


def test_a_stop_cannot_be_forced(tekton: Any, plane: Any) -> None:
    assert tekton("stop", "--force", "hermes").exit_code == 2
