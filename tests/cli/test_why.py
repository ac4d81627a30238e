"""why: the chain of causes."""

import json
from typing import Any

import pytest


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch, double: Any) -> None:
    """The moment ten seconds after `double.AT`."""

    class Frozen:
        def time(self) -> float:
            return double.AT + 10.0

    monkeypatch.setattr("tekton.cli.why.SYSTEM_CLOCK", Frozen())


def test_why_goes_down_to_the_first_cause_and_shows_its_evidence(
    tekton: Any, plane: Any, double: Any, now: None
) -> None:
    plane.components = [double.view("greeter"), double.view("rhetor"), double.view("hermes")]
    plane.whys = {
        "greeter": double.why("greeter", "starting", waiting_for=["rhetor"], dependents=["ui"]),
        "rhetor": double.why(
            "rhetor", "failed", reason="hermes is failed (exit code 1)", failed_dependencies=["hermes"]
        ),
        "hermes": double.why(
            "hermes", "failed", reason="exit code 1", evidence=["Traceback", "OSError: port 8001 in use"]
        ),
    }
    plane.whys["greeter"]["history"] = [
        {"kind": "state", "at": double.AT, "previous": "initializing", "state": "starting", "reason": None},
        {"kind": "registered", "at": double.AT - 80.0, "previous": "unknown", "state": "registering", "reason": None},
    ]

    result = tekton("why", "greeter")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "greeter is starting (10s ago): waiting for rhetor",
        "  because rhetor is failed (10s ago): hermes is failed (exit code 1)",
        "    because hermes is failed (10s ago): exit code 1",
        "  needed by   ui",
        "",
        "Evidence (hermes)",
        "  Traceback",
        "  OSError: port 8001 in use",
        "",
        "Last transitions",
        "  10s ago  initializing → starting",
        "  1m ago   registered",
    ]
    assert result.stderr == "help: tekton logs hermes, then tekton restart hermes\n"


def test_why_says_when_the_next_restart_comes(tekton: Any, plane: Any, double: Any, now: None) -> None:
    plane.components = [double.view("hermes")]
    plan = {"attempt": 3, "max": 5, "next_in": 8.2, "gave_up": False}
    plane.whys["hermes"] = double.why("hermes", "failed", reason="exit code 1", restart=plan)

    assert "  restart     attempt 3 of 5 in 8s" in tekton("why", "hermes").stdout.splitlines()


def test_why_says_when_restarts_were_given_up(tekton: Any, plane: Any, double: Any, now: None) -> None:
    plane.components = [double.view("hermes")]
    plan = {"attempt": 5, "max": 5, "next_in": None, "gave_up": True}
    plane.whys["hermes"] = double.why("hermes", "failed", reason="exit code 1", restart=plan)

    assert "  restart     given up after 5 of 5" in tekton("why", "hermes").stdout.splitlines()


def test_why_of_a_healthy_component_is_one_line(tekton: Any, plane: Any, double: Any, now: None) -> None:
    plane.components = [double.view("hermes")]

    result = tekton("why", "hermes")

    assert result.stdout == "hermes is ready (10s ago)\n"
    assert result.stderr == ""


def test_why_ends_on_components_that_wait_for_each_other(tekton: Any, plane: Any, double: Any, now: None) -> None:
    plane.components = [double.view("a"), double.view("b")]
    plane.whys = {
        "a": double.why("a", "starting", waiting_for=["b"]),
        "b": double.why("b", "starting", waiting_for=["a"]),
    }

    assert tekton("why", "a").stdout.count("\n") == 2


def test_why_passes_over_a_dependency_that_nobody_knows(tekton: Any, plane: Any, double: Any, now: None) -> None:
    plane.components = [double.view("a")]
    plane.whys["a"] = double.why("a", "failed", failed_dependencies=["ghost"])

    assert tekton("why", "a").stdout.splitlines()[0] == "a is failed (10s ago): it needs ghost"


def test_why_as_json_holds_the_causes(tekton: Any, plane: Any, double: Any) -> None:
    plane.components = [double.view("a"), double.view("b")]
    plane.whys["a"] = double.why("a", "failed", failed_dependencies=["b"])

    document = json.loads(tekton("why", "a", "--json").stdout)

    assert document["component_id"] == "a"
    assert [cause["component_id"] for cause in document["causes"]] == ["b"]


def test_why_of_a_mistyped_name_has_exit_status_5(tekton: Any, plane: Any) -> None:
    assert tekton("why", "nobody").exit_code == 5
