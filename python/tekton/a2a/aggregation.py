"""What the results of the parts of a task are together.

    first     that of the first part, in the order of the plan, that was completed
    last      that of the last part of the plan; all have to be completed
    all       an object with the result of each part; all have to be completed
    merge     the results, which are objects, merged in the order of the plan (RFC 7396); all have to be completed
    vote      the result that most of them have; of those with as many, the first. It ends when no part can change it

A strategy is a pure function: after a crash it may be asked again, and has to say the same.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from tekton.a2a.merge_patch import merged
from tekton.utils.tekton_errors import InvalidTaskError

__all__ = ["Aggregate", "Settled", "Strategies", "Strategy"]

Aggregate = Callable[[Mapping[str, Any]], Any]
"""Makes one result of those of the parts: by name, in the order of the plan, one at least. It must return at once."""

_encode = msgspec.json.Encoder(order="sorted").encode


Settled = Callable[[Mapping[str, Any], int], bool]
"""Whether so many results more, whatever they are, would change nothing of what these are together."""


def _never(_: Mapping[str, Any], __: int) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Strategy:
    """How results are put together. With *needs_all*, one part that fails makes the whole fail, at once.

    Without, the whole does with the parts that have ended shortly before its deadline, and with fewer when *is_settled*
    says so.
    """

    name: str
    aggregate: Aggregate
    needs_all: bool
    is_settled: Settled = _never


class Strategies:
    """Strategies by name: those of the module, and whatever is registered."""

    def __init__(self) -> None:
        self._strategies: dict[str, Strategy] = {}
        self.register("first", _first, needs_all=False)
        self.register("last", _last)
        self.register("all", dict)
        self.register("merge", _merge)
        self.register("vote", _vote, needs_all=False, is_settled=_vote_is_settled)

    def register(
        self, name: str, aggregate: Aggregate, *, needs_all: bool = True, is_settled: Settled = _never
    ) -> None:
        """Offer a strategy, in place of the one of that name if there is one."""
        self._strategies[name] = Strategy(name, aggregate, needs_all, is_settled)

    def get(self, name: str) -> Strategy:
        """The strategy of that name. Raises InvalidTaskError, which names those that there are."""
        try:
            return self._strategies[name]
        except KeyError:
            known = ", ".join(sorted(self._strategies))
            raise InvalidTaskError("/strategy", f"{str(name)[:64]!r} is not one of {known}") from None


def _first(results: Mapping[str, Any]) -> Any:
    return next(iter(results.values()))


def _last(results: Mapping[str, Any]) -> Any:
    return list(results.values())[-1]


def _merge(results: Mapping[str, Any]) -> Any:
    whole: dict[str, Any] = {}
    for name, result in results.items():
        if not isinstance(result, dict):
            raise InvalidTaskError("/strategy", f"the result of {name} is no object, and cannot be merged")
        whole = merged(whole, result)
    return whole


def _vote(results: Mapping[str, Any]) -> Any:
    ballots = [(_encode(result), result) for result in results.values()]
    counted = Counter(text for text, _ in ballots)
    most = max(counted.values())
    return next(result for text, result in ballots if counted[text] == most)


def _vote_is_settled(results: Mapping[str, Any], open_parts: int) -> bool:
    if len(results) <= open_parts:
        return False
    most, second, *_ = *(count for _, count in Counter(map(_encode, results.values())).most_common(2)), 0
    return most > second + open_parts
