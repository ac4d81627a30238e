"""The judge is judged: histories that are right are accepted, and of each kind of wrong one, none.

Right histories are made by a registry that does what it should, with random concurrency. Wrong ones are those, with one
mistake seeded. `TEKTON_HISTORIES` is how many of each are tried (default 60).
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations
from random import Random

import pytest

from tekton.testing.component_model import ComponentModel
from tekton.testing.history import History, Operation, Values
from tekton.testing.linearizability import State, check

HISTORIES = int(os.environ.get("TEKTON_HISTORIES", "60"))
MODEL = ComponentModel()
STATES = ("initializing", "starting", "ready", "degraded", "failed", "stopping", "stopped")


@dataclass
class Call:
    """An operation under way: it takes effect at `at` (None: never), and returns at `until` (None: never)."""

    operation: Operation
    at: int | None
    until: int | None


class TrueRegistry:
    """One component id that behaves, under clients whose calls overlap."""

    def __init__(self, rng: Random, *, clients: int = 4, unknown: float = 0.05, key: str = "a") -> None:
        self._rng = rng
        self._clients = clients
        self._unknown = unknown
        self._key = key
        self.history = History()
        self.state: State = None
        self.past: list[State] = [None]
        self._versions = iter(range(1_000_000))

    def run(self, operations: int) -> History:
        calls: list[Call] = []
        now = 0
        while operations or any(call.until is not None for call in calls):
            now += 1
            idle = [
                f"c{number}"
                for number in range(self._clients)
                if all(c.operation.process != f"c{number}" for c in calls)
            ]
            if operations and idle and self._rng.random() < 0.5:
                calls.append(self._call(self._rng.choice(idle), now))
                operations -= 1
            for call in [call for call in calls if call.at is not None and call.at <= now]:
                self._take_effect(call)
            for call in [call for call in calls if call.until is not None and call.until <= now]:
                self._answer(call)
                calls.remove(call)
            calls = [call for call in calls if call.until is not None or call.at is not None]
        return self.history

    def _call(self, process: str, now: int) -> Call:
        action, *arguments = self._draw()
        operation = self.history.invoke(process, self._key, action, *arguments)
        if action != "read" and self._rng.random() < self._unknown:
            at = now + self._rng.randrange(40) if self._rng.random() < 0.5 else None
            return Call(operation, at, None)
        at = now + self._rng.randrange(4)
        return Call(operation, at, at + self._rng.randrange(4))

    def _draw(self) -> tuple[str, ...]:
        held = self.state
        instance = held[0] if isinstance(held, tuple) and self._rng.random() < 0.8 else f"i{self._rng.randrange(5)}"
        return self._rng.choice(
            [
                ("read",),
                ("read",),
                ("register", f"i{self._rng.randrange(5)}", str(next(self._versions))),
                ("set_state", str(instance), self._rng.choice(STATES)),
                ("set_state", str(instance), "failed"),
                ("make_ready", str(instance)),
                ("deregister", str(instance)),
            ]
        )

    def _take_effect(self, call: Call) -> None:
        operation, call.at = call.operation, None
        asked = Operation(operation.process, self._key, operation.action, operation.arguments, 0)
        after = (self.state,) if operation.action == "read" else MODEL.step(self.state, asked)
        if not after and self._refuses(operation):
            operation.outcome = "refused"
        answer = self.state if operation.action == "deregister" or not after else after[0]
        operation.result = answer if isinstance(answer, tuple) else ()
        if after and after[0] != self.state:
            self.state = after[0]
            self.past.append(self.state)

    def _refuses(self, operation: Operation) -> bool:
        asked = Operation("", "", operation.action, operation.arguments, 0, 1, "refused")
        return bool(MODEL.step(self.state, asked))

    def _answer(self, call: Call) -> None:
        operation = call.operation
        if operation.outcome == "refused":
            self.history.refused(operation, "no")
        else:
            self.history.returned(operation, *operation.result)


def true_history(seed: int, operations: int = 120, **settings: float) -> History:
    history = TrueRegistry(Random(seed), **settings).run(operations).by_key()  # type: ignore[arg-type]
    for operation in (one for some in history.values() for one in some):
        if operation.end is None:
            operation.outcome, operation.result = "unknown", ()
    return History(one for some in history.values() for one in some)


def completed(history: History, *actions: str) -> list[Operation]:
    return [one for one in history if one.outcome == "returned" and one.action in actions]


@pytest.mark.parametrize("strict", [False, True])
def test_what_a_true_registry_did_is_linearizable(strict: bool) -> None:
    for seed in range(HISTORIES):
        assert check(true_history(seed), MODEL, strict=strict) == []


# One mistake each. A mutation returns False when this history offers no occasion for it.


def stale_read(history: History, rng: Random) -> bool:
    """A read answers what was true once, before a write that had been acknowledged."""
    alone = [
        one
        for one in completed(history, "read")
        if all(other is one or before(other, one) or before(one, other) for other in history)
    ]
    reads = [one for one in alone if one.result]
    if not reads:
        return False
    read = rng.choice(reads)
    instance, state, generation, version = read.result
    read.result = (instance, state, generation, str(version) + "-old")
    return True


def repeated_old_read(history: History, rng: Random) -> bool:
    """A read answers exactly what an earlier one did, though something else was read in between."""
    reads = sorted(completed(history, "read"), key=lambda one: one.begin)
    for first, middle, last in zip(reads, reads[1:], reads[2:], strict=False):
        generations = [one.result[2:] for one in (first, middle, last)]
        if before(first, middle) and before(middle, last) and all(generations) and generations[0] != generations[1]:
            last.result = first.result
            return unreachable_again(first, middle)
    return False


def unreachable_again(first: Operation, middle: Operation) -> bool:
    """A version is written once, so what was replaced cannot come back."""
    return first.result[3] != middle.result[3]


def lost_write(history: History, rng: Random) -> bool:
    """An acknowledged registration is not there for anybody who reads afterwards."""
    reads = completed(history, "read")
    for write in completed(history, "register"):
        later = [read for read in reads if before(write, read)]
        between = [
            one
            for one in history
            if later
            and one is not write
            and one.action != "read"
            and one.begin < later[0].end
            and (one.end is None or one.end > write.begin)
        ]
        if later and not between:
            later[0].result = ()
            return True
    return False


def double_apply(history: History, rng: Random) -> bool:
    """A registration was applied twice: the generation went up by two."""
    writes = [one for one in completed(history, "register") if one.result]
    if not writes:
        return False
    write = rng.choice(writes)
    instance, state, generation, version = write.result
    write.result = (instance, state, int(generation or 0) + 1, version)
    return True


def resurrection(history: History, rng: Random) -> bool:
    """A component that was acknowledged as removed is made ready."""
    for removal in completed(history, "deregister"):
        end = removal.end or 0
        if all(one is removal or before(one, removal) or one.begin > end for one in history):
            later = [one for one in history if one.begin > end]
            for one in later:
                one.begin += 2
                one.end = one.end and one.end + 2
            instance, _, generation, version = removal.result
            ready = Operation(
                "ghost",
                removal.key,
                "make_ready",
                (instance,),
                end + 1,
                end + 2,
                "returned",
                (instance, "ready", generation, version),
            )
            history._operations.append(ready)
            return True
    return False


MISTAKES: list[Callable[[History, Random], bool]] = [
    stale_read,
    repeated_old_read,
    lost_write,
    double_apply,
    resurrection,
]


def before(one: Operation, other: Operation) -> bool:
    return one.end is not None and one.end < other.begin


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: one.__name__)
def test_a_history_with_a_mistake_is_rejected(mistake: Callable[[History, Random], bool]) -> None:
    made = 0
    for seed in range(5 * HISTORIES):
        history = true_history(seed, 60, clients=3, unknown=0.0)
        if mistake(history, Random(seed)):
            made += 1
            assert check(history, MODEL), f"seed {seed}"
    assert made >= 10


def op(
    number: int, end: int | None, action: str, *arguments: str, result: Values = (), process: str = "c"
) -> Operation:
    outcome = "unknown" if end is None else "returned"
    return Operation(process, "a", action, arguments, number, end, outcome, result)  # type: ignore[arg-type]


REGISTERED = ("i", "registering", 1, "1")


@pytest.mark.parametrize("seen", [(), REGISTERED])
def test_an_unknown_write_may_have_happened_or_not(seen: Values) -> None:
    assert check([op(0, None, "register", "i", "1"), op(1, 2, "read", result=seen)], MODEL) == []


def test_an_unknown_write_may_happen_late_but_only_once() -> None:
    late = [op(0, None, "register", "i", "1"), op(1, 2, "read"), op(3, 4, "read", result=REGISTERED)]
    twice = [*late, op(5, 6, "deregister", "i", result=REGISTERED), op(7, 8, "read", result=REGISTERED)]

    assert check(late, MODEL) == []
    assert check(twice, MODEL)[0].operation is twice[-1]


def test_an_unknown_write_that_was_seen_cannot_be_unseen() -> None:
    history = [op(0, None, "register", "i", "1"), op(1, 2, "read", result=REGISTERED), op(3, 4, "read")]

    (violation,) = check(history, MODEL)

    assert violation.operation is history[2]


def test_reads_that_overlap_a_write_may_see_either_but_not_back_and_forth() -> None:
    write = op(0, 9, "register", "i", "1", result=REGISTERED)
    forth = [write, op(1, 2, "read", process="d"), op(3, 4, "read", result=REGISTERED, process="d")]
    back = [write, op(1, 2, "read", result=REGISTERED, process="d"), op(3, 4, "read", process="d")]

    assert check(forth, MODEL) == []
    assert len(check(back, MODEL)) == 1


def test_a_failed_operation_must_not_be_seen() -> None:
    failed = Operation("c", "a", "register", ("i", "1"), 0, 1, "failed", ("storage_full",))

    assert check([failed, op(2, 3, "read")], MODEL) == []
    assert len(check([failed, op(2, 3, "read", result=REGISTERED)], MODEL)) == 1


def test_a_refusal_without_a_reason_is_a_violation_only_when_refusals_are_judged() -> None:
    refused = [Operation("c", "a", "register", ("i", "1"), 0, 1, "refused", ("component_exists",))]

    assert check(refused, MODEL) == []
    assert len(check(refused, MODEL, strict=True)) == 1


def test_keys_are_judged_apart() -> None:
    good, bad = op(0, 1, "read"), op(2, 3, "read", result=REGISTERED)
    bad.key = "b"

    assert [violation.key for violation in check([good, bad], MODEL)] == ["b"]


def test_a_violation_shows_what_was_possible_and_what_happened_since() -> None:
    history = [
        op(0, 1, "register", "i", "1", result=REGISTERED),
        op(2, 3, "read", result=REGISTERED),
        op(4, 5, "deregister", "i", result=REGISTERED),
        op(6, 7, "read", result=REGISTERED),
    ]

    (violation,) = check(history, MODEL)

    assert violation.states == (None,)
    assert violation.window == (history[3],)
    assert str(violation).splitlines() == [
        "a: nothing explains [6, 7] c: read -> returned: i registering 1 1",
        "  possible before: None",
        "  [6, 7] c: read -> returned: i registering 1 1",
    ]


def brute_force(operations: list[Operation]) -> bool:
    """Tries every order."""

    def explains(order: tuple[Operation, ...]) -> bool:
        states: list[State] = [None]
        for place, one in enumerate(order):
            if any(before(later, one) for later in order[place + 1 :]):
                return False
            states = [after for state in states for after in MODEL.step(state, one)]
        return bool(states)

    known = [one for one in operations if one.outcome == "returned"]
    unknown = [one for one in operations if one.outcome == "unknown"]
    return any(explains(order) for chosen in subsets(unknown) for order in permutations(known + chosen))


def subsets(items: list[Operation]) -> Iterator[list[Operation]]:
    for bits in range(1 << len(items)):
        yield [item for place, item in enumerate(items) if bits >> place & 1]


def test_the_verdict_is_that_of_trying_every_order() -> None:
    verdicts = set()
    for seed in range(5 * HISTORIES):
        rng = Random(seed)
        history = list(true_history(seed, 6, clients=3, unknown=0.2))
        for one in history:
            if one.outcome == "returned" and one.result and rng.random() < 0.3:
                one.result = rng.choice([other.result for other in history if other.outcome == "returned"])
        expected = brute_force(history)
        verdicts.add(expected)

        assert (check(history, MODEL) == []) == expected, f"seed {seed}"
    assert verdicts == {True, False}


def test_a_long_history_of_many_keys_is_judged() -> None:
    operations: list[Operation] = []
    for key in range(20):
        registry = TrueRegistry(Random(key), unknown=0.01, key=str(key))
        operations += registry.run(500)
    for one in operations:
        if one.end is None:
            one.outcome, one.result = "unknown", ()

    assert check(operations, MODEL, strict=True) == []
