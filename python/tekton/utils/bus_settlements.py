"""What became of deliveries, on its way to the control plane: in batches, and again when the connection was lost."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from tekton.utils.bus_frames import settling

__all__ = ["MOST", "Settlements"]

MOST: Final = 1024
"""How many are told in one frame."""

_Kind = tuple[str, tuple[tuple[str, float | str], ...]]
"""The operation, and its details."""


@dataclass(slots=True, eq=False)
class _Word:
    """What is to be told of one delivery."""

    sequence: int
    kind: _Kind
    counts: "asyncio.Future[bool]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Settlements:
    """Those of one consumption. *send* sends a frame; `number` is that of the consumption on the connection, or 0.

    What was told is answered in this order, delivery by delivery. So it is known until its answer comes or the
    connection breaks, also when nobody waits for that any more: else the next word would take the answer for its own.
    """

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self.number = 0
        self._send = send
        self._untold: dict[_Word, None] = {}
        self._told: dict[int, list[_Word]] = {}
        self._flush: asyncio.Handle | None = None
        self._all_settled = asyncio.Event()

    async def tell(self, sequence: int, op: str, **details: float | str | None) -> bool:
        """Tell, without details that are None, and return whether it counts. Cancelled, it may count nevertheless."""
        word = _Word(sequence, _kind(op, details))
        self._untold[word] = None
        self._flush_soon()
        try:
            return await word.counts
        finally:
            self._untold.pop(word, None)
            self._look()

    def say(self, sequences: Sequence[int], op: str, **details: float | str | None) -> None:
        """Tell of several, up to 1024, at once, if there is a connection. Nobody waits for the answer."""
        if not self.number:
            return
        kind = _kind(op, details)
        words = [_Word(sequence, kind) for sequence in sequences]
        for word in words:
            word.counts.cancel()
        self._tell(kind, words)

    def begin(self, number: int) -> None:
        """There is a new connection: tell all that was not answered, at once."""
        self._untell()
        self.number = number
        self._tell_all()

    def break_off(self) -> None:
        """The connection is gone."""
        self.number = 0
        self._untell()
        self._look()

    def answer(self, sequences: Iterable[int], *, counts: bool) -> None:
        """The control plane has noted what it was told of these, or it came too late."""
        for sequence in sequences:
            words = self._told.get(sequence)
            if words is None:
                continue
            word = words.pop(0)
            if not words:
                del self._told[sequence]
            if not word.counts.done():
                word.counts.set_result(counts)
        self._look()

    def give_up(self) -> None:
        """Nothing of what was not answered counts."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        self._untell()
        for word in self._untold:
            if not word.counts.done():
                word.counts.set_result(False)
        self._untold.clear()
        self._look()

    async def settled(self) -> None:
        """Return when all that was told is answered."""
        while self._untold or self._told:
            self._all_settled.clear()
            await self._all_settled.wait()

    def _look(self) -> None:
        if not self._untold and not self._told:
            self._all_settled.set()

    def _untell(self) -> None:
        """What was told is to be told again, unless nobody waits for its answer."""
        told = [word for words in self._told.values() for word in words if not word.counts.done()]
        self._told.clear()
        self._untold = dict.fromkeys([*told, *self._untold])

    def _flush_soon(self) -> None:
        if self._flush is None and self.number:
            self._flush = asyncio.get_running_loop().call_soon(self._tell_all)

    def _tell_all(self) -> None:
        self._flush = None
        if not self.number:
            return
        batches: dict[_Kind, list[_Word]] = {}
        for word in self._untold:
            batches.setdefault(word.kind, []).append(word)
        self._untold.clear()
        for kind, words in batches.items():
            for first in range(0, len(words), MOST):
                self._tell(kind, words[first : first + MOST])

    def _tell(self, kind: _Kind, words: Sequence[_Word]) -> None:
        op, details = kind
        frame = settling(op, self.number, [word.sequence for word in words], dict(details))
        for word in words:
            self._told.setdefault(word.sequence, []).append(word)
        self._send(frame)


def _kind(op: str, details: dict[str, float | str | None]) -> _Kind:
    return op, tuple((name, _clean(value)) for name, value in details.items() if value is not None)


def _clean(value: float | str) -> float | str:
    # A lone surrogate, as in the name of a file, has no UTF-8: the frame would fail, and with it the words of others.
    return value.encode(errors="replace").decode() if isinstance(value, str) else value
