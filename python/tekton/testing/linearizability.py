"""Is a history linearizable: does each operation seem to happen at one instant between its call and its return?

The search of Wing and Gong (1993) with the memory of Lowe (2017), done just in time: the events are read in order, and
what is remembered is every *configuration* the object can be in: its state, and which of the operations in progress
have taken effect already. When an operation returns, the configurations in which it has taken effect, or can do so
now, survive. None left is a violation. So memory grows with what is in progress at once, not with the history.

Three things keep configurations few:

* Keys are independent of each other (Herlihy and Wing 1990): each is judged alone.
* A read in progress that agrees with a configuration is taken there at once; it changes nothing, so that costs no other
  possibility.
* Of two configurations that differ in unknown operations only, the one that has used up fewer includes the other:
  an unknown operation need never happen.

What it is bad at: very many writes of one key in progress at once, and hundreds of unknown ones on one key.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tekton.testing.history import History, Operation

State = Hashable

_SHOWN = 20


class Model(Protocol):
    """How one key behaves when one thing happens after another."""

    @property
    def initial(self) -> State:
        """The state before the first operation."""
        ...

    @property
    def reads(self) -> frozenset[str]:
        """The actions that change nothing."""
        ...

    def step(self, state: State, operation: Operation) -> Sequence[State]:
        """The states that *operation* can lead to from *state* with the outcome that it had; none: it cannot be.

        For an unknown operation: the states to which it leads if it happens; none when it would change nothing.
        """
        ...


@dataclass(frozen=True, slots=True)
class Violation:
    """A key for which there is no order.

    `operation` is the first whose answer cannot be explained, `states` are those possible before `window`: what
    happened since the last moment in which nothing was in progress and only one state was possible.
    """

    key: str
    operation: Operation
    states: tuple[State, ...]
    window: tuple[Operation, ...]

    def __str__(self) -> str:
        lines = [f"{self.key}: nothing explains {self.operation}"]
        lines.append(f"  possible before: {', '.join(map(str, self.states))}")
        if len(self.window) > _SHOWN:
            lines.append(f"  … {len(self.window) - _SHOWN} earlier operations")
        lines += [f"  {operation}" for operation in self.window[-_SHOWN:]]
        return "\n".join(lines)


def check(history: History | Iterable[Operation], model: Model, *, strict: bool = False) -> list[Violation]:
    """The violations in *history*, at most one per key; empty when it is linearizable.

    Refusals are taken at their word (nothing was done); with *strict* they must be explained by the state as well.
    About 10 µs per operation when little is concurrent.
    """
    history = history if isinstance(history, History) else History(history)
    found = (_check_key(key, operations, model, strict) for key, operations in history.by_key().items())
    return [violation for violation in found if violation is not None]


class _Configuration(NamedTuple):
    """`done`: operations in progress that have taken effect; `used`: unknown ones that have."""

    state: State
    done: frozenset[int]
    used: frozenset[int]


class _Search:
    """All configurations that one key can be in."""

    def __init__(self, operations: Sequence[Operation], model: Model) -> None:
        self._operations = operations
        self._model = model
        self._writes: dict[int, None] = {}
        self._reads: dict[int, None] = {}
        self._unknown: dict[int, None] = {}
        self.configurations = [_Configuration(model.initial, frozenset(), frozenset())]

    @property
    def quiet(self) -> bool:
        """Nothing is in progress, and only one state is possible."""
        return len(self.configurations) == 1 and not self._writes and not self._reads

    @property
    def states(self) -> tuple[State, ...]:
        return tuple(dict.fromkeys(one.state for one in self.configurations))

    def begin(self, number: int) -> None:
        operation = self._operations[number]
        if operation.action in self._model.reads:
            if operation.end is not None:
                self._reads[number] = None
                self.configurations = [self._with_reads(one, (number,)) for one in self.configurations]
        elif operation.end is None:
            self._unknown[number] = None
        else:
            self._writes[number] = None

    def end(self, number: int) -> bool:
        """*number* has returned; False when that cannot be."""
        survivors = _Few()
        for found in self._reach(number):
            survivors.add(found._replace(done=found.done - {number}))
        self._reads.pop(number, None)
        self._writes.pop(number, None)
        self.configurations = list(survivors)
        return bool(self.configurations)

    def _reach(self, number: int) -> Iterable[_Configuration]:
        """The configurations in which *number* has taken effect, with as little else as possible."""
        seen = _Few()
        queue = [one for one in self.configurations if seen.add(one)]
        for one in queue:
            if number in one.done:
                yield one
                continue
            # The queue grows while it is read.
            queue.extend(after for after in self._successors(one) if seen.add(after))

    def _successors(self, one: _Configuration) -> Iterable[_Configuration]:
        for write in self._writes:
            if write not in one.done:
                for state in self._model.step(one.state, self._operations[write]):
                    yield self._with_reads(_Configuration(state, one.done | {write}, one.used), self._reads)
        for unknown in self._unknown:
            if unknown not in one.used:
                for state in self._model.step(one.state, self._operations[unknown]):
                    yield self._with_reads(_Configuration(state, one.done, one.used | {unknown}), self._reads)

    def _with_reads(self, one: _Configuration, reads: Iterable[int]) -> _Configuration:
        fitting = [
            read for read in reads if read not in one.done and self._model.step(one.state, self._operations[read])
        ]
        return one._replace(done=one.done.union(fitting)) if fitting else one


class _Few:
    """Configurations without those that another one includes."""

    def __init__(self) -> None:
        self._kept: dict[tuple[State, frozenset[int]], list[_Configuration]] = {}

    def add(self, one: _Configuration) -> bool:
        """Keep *one*; False when what is kept includes it."""
        alike = self._kept.setdefault((one.state, one.done), [])
        if any(other.used <= one.used for other in alike):
            return False
        alike[:] = [other for other in alike if not one.used <= other.used]
        alike.append(one)
        return True

    def __iter__(self) -> Iterator[_Configuration]:
        for alike in self._kept.values():
            yield from alike


def _check_key(key: str, operations: Sequence[Operation], model: Model, strict: bool) -> Violation | None:
    said_nothing = {"failed"} if strict else {"failed", "refused"}
    operations = [one for one in operations if one.outcome not in said_nothing]
    events = [(one.begin, number, False) for number, one in enumerate(operations)]
    events += [(one.end, number, True) for number, one in enumerate(operations) if one.end is not None]
    search = _Search(operations, model)
    since, states = 0, search.states
    for time, number, ends in sorted(events):
        if search.quiet:
            since, states = time, search.states
        if not ends:
            search.begin(number)
        elif not search.end(number):
            window = (one for one in operations if one.begin <= time and (one.end is None or one.end >= since))
            return Violation(key, operations[number], states, tuple(window))
    return None
