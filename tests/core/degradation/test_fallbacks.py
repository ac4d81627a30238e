"""Tests of tekton.core.degradation.fallbacks: the order of a chain, and the cycles that are refused."""

import pytest

from tekton.core.degradation.fallbacks import Fallback, Fallbacks
from tekton.utils.tekton_errors import FallbackCycleError


def chains(*edges: str, capability: str = "llm") -> Fallbacks:
    """Fallbacks such as `a>b`, or `a>b:5` with a priority."""
    made = Fallbacks()
    for edge in edges:
        add(made, edge, capability)
    return made


def add(made: Fallbacks, edge: str, capability: str = "llm") -> None:
    names, _, priority = edge.partition(":")
    primary, component = names.split(">")
    made.add(Fallback(capability, primary, component, priority=int(priority or 0)))


def names(made: Fallbacks, primary: str, capability: str = "llm") -> list[str]:
    return [fallback.component for fallback in made.chain(capability, primary)]


def test_equal_priorities_are_tried_as_they_were_added() -> None:
    assert names(chains("a>b", "a>c", "a>d"), "a") == ["b", "c", "d"]


def test_a_lower_priority_is_tried_earlier() -> None:
    assert names(chains("a>b:5", "a>c", "a>d:-1"), "a") == ["d", "c", "b"]


def test_fallbacks_of_fallbacks_come_after_all_of_the_first() -> None:
    assert names(chains("a>b", "b>x", "a>c", "x>y", "c>x"), "a") == ["b", "c", "x", "y"]


def test_a_fallback_for_the_same_components_is_replaced() -> None:
    made = chains("a>b", "a>c")

    made.add(Fallback("llm", "a", "b", {"model": "x"}, priority=1))

    assert names(made, "a") == ["c", "b"]
    assert made.chain("llm", "a")[1].parameters == {"model": "x"}


def test_capabilities_have_chains_of_their_own() -> None:
    made = chains("a>b")
    add(made, "b>a", "embedding")

    assert names(made, "a") == ["b"]
    assert names(made, "b", "embedding") == ["a"]
    assert list(made) == [("llm", "a"), ("embedding", "b")]


@pytest.mark.parametrize(
    ("edges", "last", "cycle"),
    [
        ((), "a>a", ["a", "a"]),
        (("a>b",), "b>a", ["b", "a", "b"]),
        (("a>b", "b>c", "c>d"), "d>a", ["d", "a", "b", "c", "d"]),
        (("a>b", "a>c", "c>d", "b>x"), "d>a", ["d", "a", "c", "d"]),
    ],
)
def test_a_cycle_is_refused_with_its_way_and_changes_nothing(
    edges: tuple[str, ...], last: str, cycle: list[str]
) -> None:
    made = chains(*edges)
    before = names(made, "a")

    with pytest.raises(FallbackCycleError, match="llm go in a circle") as refused:
        add(made, last)

    assert refused.value.cycle == cycle
    assert names(made, "a") == before


def test_what_is_removed_is_not_in_the_chain_and_may_be_added_the_other_way_round() -> None:
    made = chains("a>b", "a>c")

    made.remove("llm", "a", "b")
    assert names(made, "a") == ["c"]
    made.remove("llm", "a")
    made.remove("llm", "a")
    add(made, "b>a")

    assert names(made, "b") == ["a"]
    assert list(made) == [("llm", "b")]
