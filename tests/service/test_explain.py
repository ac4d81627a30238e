"""Explaining: what is behind a state, and what hangs on a component."""

import msgspec
import pytest

from tekton.core.lifecycle import ComponentState
from tekton.core.startup_coordinator import Why
from tekton.service.explain import MOST_CAUSES, Affected, RestartPlan, affected_by, chain, explain, forgotten_in


def why(name: str, *, waiting: tuple[str, ...] = (), failed: tuple[str, ...] = (), state: str = "failed") -> Why:
    return Why(
        component_id=name,
        state=ComponentState(state),
        reason=None,
        since=1.0,
        phase=None,
        waiting_for=waiting,
        failed_dependencies=failed,
        cycle=(),
        dependents=(),
        last_error=None,
    )


def names(top: Why, *others: Why) -> list[str]:
    known = {other.component_id: other for other in others}
    return [name for name, _ in chain(top, known.get)]


def test_the_first_cause_comes_first() -> None:
    hermes, rhetor = why("hermes"), why("rhetor", failed=("hermes",))

    assert names(why("greeter", waiting=("rhetor",)), rhetor, hermes) == ["hermes", "rhetor"]


def test_what_has_failed_is_told_before_what_is_waited_for() -> None:
    top = why("api", waiting=("cache",), failed=("store",))

    assert names(top, why("cache", state="starting"), why("store")) == ["store", "cache"]


def test_a_cause_of_two_effects_is_told_once() -> None:
    top = why("api", failed=("a", "b"))

    assert names(top, why("a", failed=("hermes",)), why("b", failed=("hermes",)), why("hermes")) == ["hermes", "a", "b"]


def test_a_circle_ends() -> None:
    assert names(why("a", failed=("b",)), why("b", failed=("c",)), why("c", failed=("a", "b"))) == ["c", "b"]


def test_a_dependency_that_nobody_knows_is_a_cause() -> None:
    assert chain(why("a", failed=("ghost",)), lambda _: None) == [("ghost", None)]


def test_a_long_chain_is_not_told_to_its_end() -> None:
    links = {f"c{number}": why(f"c{number}", failed=(f"c{number + 1}",)) for number in range(10_000)}

    assert len(chain(links["c0"], links.get)) == MOST_CAUSES


def test_what_is_affected_is_told_nearest_first_and_by_way_of_what() -> None:
    graph = {"web": ["api", "cache"], "api": ["hermes"], "cache": ["store"], "cli": ["web"], "hermes": [], "store": []}

    assert affected_by(graph, "hermes") == [Affected("api", None), Affected("web", "api"), Affected("cli", "web")]
    assert affected_by(graph, "cli") == []
    assert affected_by(graph, "ghost") == []


def test_components_that_need_one_another_are_affected_once() -> None:
    assert affected_by({"a": ["b"], "b": ["a"]}, "a") == [Affected("b", None)]


def test_the_reason_is_the_best_that_is_known() -> None:
    assert explain(why("a"), None, [], [], "suspected").reason == "suspected"


def test_a_list_says_when_the_next_restart_comes_or_that_none_does() -> None:
    assert RestartPlan(1, 5, 7.2, gave_up=False).note == "retry in 8 s"
    assert RestartPlan(5, 5, None, gave_up=True).note == "gave up after 5 restarts"
    assert RestartPlan(1, 1, None, gave_up=True).note == "gave up after 1 restart"
    assert RestartPlan(1, 5, None, gave_up=False).note is None


def test_what_failed_by_itself_has_no_cause_though_a_dependency_is_down() -> None:
    down = {"store": why("store")}
    own = msgspec.structs.replace(why("api", failed=("store",)), reason="liveness: status 503")
    theirs = msgspec.structs.replace(
        why("api", failed=("store",)), last_error="api cannot start: store failed (exit 1)"
    )

    assert chain(own, down.get) == []
    assert [name for name, _ in chain(theirs, down.get)] == ["store"]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.0, "0 s"), (0.2, "1 s"), (121.0, "3 min"), (7200.0, "120 min"), (7201.0, "3 h"), (2e6, "24 d")],
)
def test_when_something_is_forgotten_is_told_in_one_unit(seconds: float, told: str) -> None:
    assert forgotten_in(seconds) == f"forgotten in {told}"
