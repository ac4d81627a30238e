"""why: the chain of causes."""

import json
import time
from typing import Any

import pytest


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch, double: Any) -> None:
    """The moment ten seconds after `double.AT`, in UTC."""

    class Frozen:
        def time(self) -> float:
            return double.AT + 10.0

    monkeypatch.setattr("tekton.cli.why.SYSTEM_CLOCK", Frozen())
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.fixture
def chain(plane: Any, double: Any) -> Any:
    """greeter waits for rhetor, which failed because hermes did; ui needs greeter."""
    plane.components = [double.view("greeter")]
    plan = {"attempt": 2, "max": 5, "next_in": 4.2, "gave_up": False}
    plane.whys["greeter"] = double.why(
        "greeter",
        "starting",
        waiting_for=["rhetor"],
        dependents=["ui", "web"],
        affected=[{"component_id": "ui", "through": None}, {"component_id": "web", "through": "ui"}],
        awaited_by=["ui"],
        causes=[
            double.cause(
                "hermes",
                "failed",
                reason="port 8001 is in use by python (4312)",
                restart=plan,
                evidence=["Traceback", "OSError: port 8001 in use"],
            ),
            double.cause("rhetor", "failed", reason="hermes failed", because=["hermes"]),
        ],
        history=[
            {"kind": "state", "at": double.AT, "previous": "initializing", "state": "starting", "reason": None},
            {
                "kind": "registered",
                "at": double.AT - 80.0,
                "previous": "unknown",
                "state": "registering",
                "reason": None,
            },
        ],
    )
    return plane.whys["greeter"]


def test_why_goes_down_to_the_first_cause_and_shows_its_evidence(tekton: Any, chain: Any, now: None) -> None:
    result = tekton("why", "greeter")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "greeter is starting (10s ago): waiting for rhetor",
        "  because rhetor is failed (10s ago): hermes failed",
        "    because hermes is failed (10s ago): port 8001 is in use by python (4312)",
        "      restart     attempt 2 of 5 in 4s",
        "  awaited by  ui",
        "  if it stops ui, web (through ui)",
        "",
        "Last lines of its log (hermes)",
        "  Traceback",
        "  OSError: port 8001 in use",
        "",
        "Last transitions",
        "  22:13:20.000  10s ago  initializing → starting",
        "  22:12:00.000  1m ago   registered",
    ]
    assert result.stderr == "help: tekton logs hermes\n"


def test_why_advises_a_restart_when_none_is_coming(tekton: Any, chain: Any) -> None:
    chain["causes"][0]["restart"] = None

    assert tekton("why", "greeter").stderr == "help: tekton logs hermes, then tekton restart hermes\n"


def test_why_tells_what_the_probes_say(tekton: Any, plane: Any, double: Any, now: None) -> None:
    plane.components = [double.view("hermes")]
    silent = {"reason": None, "finding": None, "age": None, "latency": None, "failing": 0, "failures": 3}
    bad = {"finding": "status 503", "age": 2.0, "latency": 0.0123}
    checks = [
        {
            **silent,
            "role": "ready",
            "name": "http /ready",
            "healthy": False,
            "reason": "status 503",
            **bad,
            "failing": 4,
        },
        {**silent, "role": "liveness", "name": "http /live", "healthy": True, **bad, "failing": 1},
        {**silent, "role": "check", "name": "tcp 8001", "healthy": True},
    ]
    evidence = ["slow query"]
    plane.whys["hermes"] = double.why("hermes", "degraded", reason="unhealthy", health=checks, evidence=evidence)

    assert tekton("why", "hermes").stdout.splitlines() == [
        "hermes is degraded (10s ago): unhealthy",
        "  ready       http /ready: unwell (2s ago, in 12 ms): status 503",
        "  liveness    http /live: failing 1 of 3 (2s ago, in 12 ms): status 503",
        "  probe       tcp 8001: well",
        "",
        "Last lines of its log (hermes)",
        "  slow query",
    ]


def test_why_says_when_restarts_were_given_up(tekton: Any, plane: Any, double: Any, now: None) -> None:
    plane.components = [double.view("hermes")]
    plan = {"attempt": 5, "max": 5, "next_in": None, "gave_up": True}
    plane.whys["hermes"] = double.why("hermes", "failed", reason="exit code 1", restart=plan)

    assert "  restart     given up after 5 of 5" in tekton("why", "hermes").stdout.splitlines()


def test_why_says_when_it_is_forgotten(tekton: Any, plane: Any, double: Any, now: None) -> None:
    plane.components = [double.view("hermes")]
    plane.whys["hermes"] = double.why("hermes", "failed", reason="no heartbeat for 30 s", forget_in=130.0)

    assert "  forgotten   in 2m, unless it comes back" in tekton("why", "hermes").stdout.splitlines()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("rhetor", "  capability  chat is served by local (1m ago); behind it: cloud"),
        ("local", "  fallback    for chat, served by local (1m ago)"),
        ("user", "  capability  chat is served by local (1m ago); behind it: cloud"),
    ],
)
def test_why_says_who_serves_what_has_fallbacks(
    tekton: Any, plane: Any, double: Any, now: None, name: str, line: str
) -> None:
    chain = [{"component": "local", "parameters": {}}, {"component": "cloud", "parameters": {}}]
    service: dict[str, Any] = {"capability": "chat", "state": "fallback", "served_by": ["local"], "primary": ["rhetor"]}
    service["since"] = double.AT - 50.0
    plane.components = [double.view(name)]
    plane.whys[name] = double.why(name, served=[{**service, "fallbacks": chain}])

    assert line in tekton("why", name).stdout.splitlines()


@pytest.mark.parametrize(
    ("state", "served_by", "said"),
    [
        ("normal", ["rhetor"], "rhetor; behind it: local, cloud"),
        ("fallback", ["cloud"], "cloud"),
        ("unavailable", [], "nobody"),
    ],
)
def test_why_names_no_fallback_as_the_next_that_cannot_be_used(
    tekton: Any, plane: Any, double: Any, now: None, state: str, served_by: list[str], said: str
) -> None:
    chain = [{"component": "local", "parameters": {}}, {"component": "cloud", "parameters": {}}]
    service = {"capability": "chat", "state": state, "served_by": served_by, "primary": ["rhetor"], "since": None}
    plane.components = [double.view("rhetor")]
    plane.whys["rhetor"] = double.why("rhetor", served=[{**service, "fallbacks": chain}])

    assert f"  capability  chat is served by {said}" in tekton("why", "rhetor").stdout.splitlines()


def test_why_of_a_healthy_component_says_what_breaks_without_it(
    tekton: Any, plane: Any, double: Any, now: None
) -> None:
    plane.components = [double.view("hermes")]
    affected = [{"component_id": "api", "through": None}]
    plane.whys["hermes"] = double.why("hermes", affected=affected, evidence=["nothing of interest"])

    result = tekton("why", "hermes")

    assert result.stdout == "hermes is ready (10s ago)\n  if it stops api\n"
    assert result.stderr == ""


def test_why_shows_a_circle_of_dependencies(tekton: Any, plane: Any, double: Any, now: None) -> None:
    plane.components = [double.view("a")]
    causes = [double.cause("b", "unknown", since=None, because=["a"])]
    plane.whys["a"] = double.why("a", "unknown", since=None, failed_dependencies=["b"], cycle=["a", "b"], causes=causes)

    result = tekton("why", "a")

    assert result.stdout.splitlines() == [
        "a is unknown: it needs b",
        "  cycle       a -> b -> a",
        "  because b is unknown: waiting for a",
    ]
    assert result.stderr == "help: take one of these dependencies out of the configuration, then tekton reload\n"


def test_why_says_how_to_start_what_was_left_out(tekton: Any, plane: Any, double: Any, now: None) -> None:
    plane.components = [double.view("a")]
    plane.whys["a"] = double.why("a", "unknown", since=None, reason="not started (profile gpu)")

    result = tekton("why", "a")

    assert result.stdout == "a is unknown: not started (profile gpu)\n"
    assert result.stderr == "help: tekton start a\n"


def test_why_says_that_nobody_knows_a_dependency(tekton: Any, plane: Any, double: Any, now: None) -> None:
    plane.components = [double.view("a")]
    causes = [double.cause("ghost", None, since=None)]
    plane.whys["a"] = double.why("a", "failed", failed_dependencies=["ghost"], causes=causes)

    result = tekton("why", "a")

    assert result.stdout.splitlines() == [
        "a is failed (10s ago): it needs ghost",
        "  because ghost is unknown: nobody has registered or configured it",
    ]
    assert result.stderr == "help: add ghost to components.json, or start what registers it\n"


def test_why_of_one_that_waits_for_a_stopped_one_advises_to_start_that(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("a")]
    causes = [double.cause("hermes", "stopped", reason="stopped")]
    plane.whys["a"] = double.why("a", "unknown", failed_dependencies=["hermes"], causes=causes)

    assert tekton("why", "a").stderr == "help: tekton start hermes\n"


def test_why_as_json_is_the_answer_of_the_api(tekton: Any, chain: Any) -> None:
    assert json.loads(tekton("why", "greeter", "--json").stdout) == chain


def test_why_of_a_mistyped_name_has_exit_status_5(tekton: Any, plane: Any) -> None:
    assert tekton("why", "nobody").exit_code == 5


def test_why_says_what_the_start_of_a_dependency_waits_for(tekton: Any, plane: Any, double: Any, now: None) -> None:
    plane.components = [double.view("a")]
    causes = [double.cause("b", "starting", phase="http /ready")]
    plane.whys["a"] = double.why("a", "unknown", since=None, waiting_for=["b"], causes=causes)

    assert tekton("why", "a").stdout.splitlines() == [
        "a is unknown: waiting for b",
        "  because b is starting (10s ago): waiting for http /ready",
    ]


def test_why_does_not_name_hundreds_of_dependents(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("hermes")]
    affected = [{"component_id": f"c{number}", "through": None} for number in range(100)]
    plane.whys["hermes"] = double.why("hermes", affected=affected)

    names = ", ".join(f"c{number}" for number in range(12))
    assert tekton("why", "hermes").stdout.splitlines()[1] == f"  if it stops {names} and 88 more"


# Replicas and force.


def test_the_history_names_the_replica(tekton: Any, plane: Any, double: Any, now: None) -> None:
    uuids = [f"{number}{double.INSTANCE[1:]}1" for number in (1, 2, 3)]
    plane.components = [double.view("worker", replicas=2)]
    views = [{"instance_uuid": uuid, "replica": replica} for replica, uuid in enumerate(uuids[:2])]
    plane.answers["GET /api/components/worker/instances"] = (200, {"items": views})
    changes = [double.change(0, "worker", "starting", "ready", instance_uuid=uuid) for uuid in uuids]
    plane.whys["worker"] = double.why("worker", history=changes)

    assert tekton("why", "worker").stdout.splitlines()[2:] == [
        "Last transitions",
        "  22:13:20.000  worker             10s ago  starting → ready",
        "  22:13:20.000  worker.1           10s ago  starting → ready",
        "  22:13:20.000  worker (30000000)  10s ago  starting → ready",
    ]


def test_why_says_what_a_start_was_forced_past(tekton: Any, plane: Any, double: Any, now: None) -> None:
    plane.components = [double.view("a")]
    plane.whys["a"] = double.why("a", "failed", reason="exit code 1", forced_past=["hermes", "ghost"])

    assert tekton("why", "a").stdout.splitlines() == [
        "a is failed (10s ago): exit code 1",
        "  by force    started past hermes, ghost, which could not be used",
    ]


def test_why_does_not_say_it_twice(tekton: Any, plane: Any, double: Any, now: None) -> None:
    plane.components = [double.view("a")]
    plane.whys["a"] = double.why("a", reason="started by force past ghost", forced_past=["ghost"])

    assert tekton("why", "a").stdout == "a is ready (10s ago): started by force past ghost\n"
