"""Tests of tekton.core.startup.failures: who failed, and because of whom."""

from tekton.core.startup.failures import StartFailures
from tekton.utils.tekton_errors import ComponentError, DependencyError


def test_whom_a_component_blocks_follows_from_the_last_failures() -> None:
    failures = StartFailures()
    failures.note("ergon", DependencyError("ergon", ["hermes", "engram"]))
    failures.note("rhetor", DependencyError("rhetor", ["hermes"]))
    assert failures.blocked_by("hermes") == ["ergon", "rhetor"]

    failures.note("ergon", DependencyError("ergon", ["engram"]))
    failures.note("rhetor", ComponentError("rhetor", "boom"))

    assert failures.blocked_by("hermes") == []
    assert failures.blocked_by("engram") == ["ergon"]
    assert str(failures.of("rhetor")) == "rhetor: boom"


def test_what_is_forgotten_leaves_nothing_behind() -> None:
    failures = StartFailures()
    failures.note("ergon", DependencyError("ergon", ["hermes"]))
    failures.forget("ergon")
    failures.forget("ergon")

    assert failures.of("ergon") is None
    assert failures.blocked_by("hermes") == []


def test_nobody_in_a_circle_is_blocked_by_the_others() -> None:
    failures = StartFailures()
    failures.note("a", DependencyError("a", ["b"], cycle=["a", "b"]))

    assert failures.blocked_by("b") == []
