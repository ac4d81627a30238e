"""What the results of parts are together."""

from typing import Any

import pytest

from tekton.a2a.aggregation import Strategies
from tekton.utils.tekton_errors import InvalidTaskError


@pytest.mark.parametrize(
    ("name", "results", "whole"),
    [
        ("first", {"a": 1, "b": 2}, 1),
        ("last", {"a": 1, "b": 2}, 2),
        ("all", {"a": 1, "b": [2]}, {"a": 1, "b": [2]}),
        ("merge", {"a": {"x": 1, "y": {"z": 1}}, "b": {"y": {"z": 2}, "x": None}}, {"y": {"z": 2}}),
        ("vote", {"a": 1, "b": {"x": 1, "y": 2}, "c": {"y": 2, "x": 1}}, {"x": 1, "y": 2}),
        ("vote", {"a": 2, "b": 1, "c": 1, "d": 2}, 2),
        ("vote", {"a": "1", "b": 1, "c": 1}, 1),
    ],
)
def test_the_whole_is_what_the_strategy_says(name: str, results: dict[str, Any], whole: Any) -> None:
    assert Strategies().get(name).aggregate(results) == whole


def test_only_objects_can_be_merged() -> None:
    with pytest.raises(InvalidTaskError, match="the result of b is no object"):
        Strategies().get("merge").aggregate({"a": {}, "b": 1})


def test_some_strategies_do_with_less_than_all() -> None:
    strategies = Strategies()

    assert [name for name in ("first", "last", "all", "merge", "vote") if not strategies.get(name).needs_all] == [
        "first",
        "vote",
    ]


@pytest.mark.parametrize(
    ("results", "open_parts", "settled"),
    [
        ([1, 1], 1, True),
        ([1], 1, False),
        ([1, 2], 0, False),
        ([1, 2, 1], 1, False),
        ([1, 2, 1], 0, True),
        ([1, 2, 1, 3, 1], 1, True),
        ([1, 1, 1], 4, False),
    ],
)
def test_a_vote_is_settled_when_those_that_are_open_cannot_change_it(
    results: list[int], open_parts: int, settled: bool
) -> None:
    strategy = Strategies().get("vote")

    assert strategy.is_settled({str(place): result for place, result in enumerate(results)}, open_parts) is settled


def test_nothing_but_a_vote_is_settled_before_all_have_ended() -> None:
    strategies = Strategies()

    assert not any(strategies.get(name).is_settled({"a": 1}, 0) for name in ("first", "last", "all", "merge"))


def test_a_strategy_can_be_registered_and_an_unknown_one_is_refused() -> None:
    strategies = Strategies()
    strategies.register("longest", lambda results: max(results.values(), key=len))

    assert strategies.get("longest").aggregate({"a": "x", "b": "xyz"}) == "xyz"
    with pytest.raises(InvalidTaskError, match="'shortest' is not one of all, first, last, longest, merge, vote"):
        strategies.get("shortest")
