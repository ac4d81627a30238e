"""Histories: what clients asked for and what they were told, kept for a verdict afterwards.

An operation is invoked, and then it returns, is refused, fails, or is never heard of again. The last is the normal
fate of a request whose connection was cut: it may take effect at any later time, or never. Time is a count of these
events; an operation is before another when it had returned before the other was invoked.

    history = History()
    operation = history.invoke("client 1", "rhetor", "register", instance, "1.0")
    ...
    history.returned(operation, instance, "registering", 1, "1.0")

`linearizability.py` and `watches.py` judge; `component_model.py` says what a registry should answer. A history can be
recorded by many threads, and be kept in a file (JSON lines, about 100 bytes per operation).
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

Values = tuple[str | int | None, ...]

_T = TypeVar("_T")


class Operation(msgspec.Struct, array_like=True):
    """One request of one client.

    `returned`: it was done, `result` is the answer. `refused`: it was not done because of the state of things; `result`
    names the reason. `failed`: it was not done, and that says nothing about the state. `unknown`: nobody knows.
    """

    process: str
    key: str
    action: str
    arguments: Values
    begin: int
    end: int | None = None
    outcome: Literal["returned", "refused", "failed", "unknown"] = "unknown"
    result: Values = ()

    def __str__(self) -> str:
        end = "…" if self.end is None else self.end
        asked = " ".join(map(str, (self.action, *self.arguments)))
        told = " ".join(map(str, self.result)) or "nothing"
        return f"[{self.begin}, {end}] {self.process}: {asked} -> {self.outcome}: {told}"


class History:
    """Operations in the order in which they were invoked."""

    def __init__(self, operations: Iterable[Operation] = ()) -> None:
        self._operations = list(operations)
        self._lock = threading.Lock()
        self._now = max((max(one.begin, one.end or 0) for one in self._operations), default=-1)

    def invoke(self, process: str, key: str, action: str, *arguments: str | int | None) -> Operation:
        """Note that *process* is about to ask for *action* on *key*; `unknown` until more is said about it."""
        with self._lock:
            self._now += 1
            operation = Operation(process, key, action, arguments, self._now)
            self._operations.append(operation)
        return operation

    def returned(self, operation: Operation, *result: str | int | None) -> None:
        """*operation* was done, and *result* was the answer."""
        self._end(operation, "returned", result)

    def refused(self, operation: Operation, *reason: str) -> None:
        """*operation* was not done, because of the state that its key was in."""
        self._end(operation, "refused", reason)

    def failed(self, operation: Operation, *reason: str) -> None:
        """*operation* was not done, for a reason that has nothing to do with its key."""
        self._end(operation, "failed", reason)

    def __len__(self) -> int:
        return len(self._operations)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._operations)

    def by_key(self) -> dict[str, list[Operation]]:
        """The operations of each key."""
        keys: dict[str, list[Operation]] = {}
        for operation in self._operations:
            keys.setdefault(operation.key, []).append(operation)
        return keys

    def save(self, path: Path) -> None:
        """Write the history to a file, one operation a line."""
        path.write_bytes(msgspec.json.Encoder().encode_lines(self._operations))

    @classmethod
    def load(cls, path: Path) -> "History":
        """Read what `save` wrote."""
        return cls(msgspec.json.Decoder(Operation).decode_lines(path.read_bytes()))

    def _end(self, operation: Operation, outcome: Literal["returned", "refused", "failed"], result: Values) -> None:
        with self._lock:
            self._now += 1
            operation.end, operation.outcome, operation.result = self._now, outcome, result


def reduced(items: list[_T], fails: Callable[[list[_T]], bool]) -> list[_T]:
    """*items* without those that are not needed for *fails* to be true. O(n²) calls at worst, O(log n) at best."""
    size = len(items) // 2 or 1
    while size:
        for start in range(len(items) - size, -1, -size):
            shorter = items[:start] + items[start + size :]
            if fails(shorter):
                items = shorter
        size //= 2
    return items
