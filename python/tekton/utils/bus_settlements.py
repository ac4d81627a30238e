"""What became of deliveries, on its way to the control plane: in batches, and again when the connection was lost."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from tekton.utils.bus_frames import settling

__all__ = ["Settlements"]

_MOST: Final = 1024
"""How many are told in one frame."""

_Kind = tuple[str, tuple[tuple[str, float | str], ...]]
"""The operation, and its details."""


@dataclass(slots=True, eq=False)
class _Word:
    """What is to be told of one delivery."""

    sequence: int
    kind: _Kind
    told: bool = False
    counts: "asyncio.Future[bool]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Settlements:
    """Those of one consumption. *send* sends a frame; `number` is that of the consumption on the connection, or 0."""

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self.number = 0
        self._send = send
        self._words: dict[int, list[_Word]] = {}
        self._flush: asyncio.Handle | None = None
        self._all_settled = asyncio.Event()

    async def tell(self, sequence: int, op: str, **details: float | str | None) -> bool:
        """Tell, without details that are None, and return whether it counts. Cancelled, it may count nevertheless."""
        given = tuple((name, value) for name, value in details.items() if value is not None)
        word = _Word(sequence, (op, given))
        self._words.setdefault(sequence, []).append(word)
        self._flush_soon()
        try:
            return await word.counts
        finally:
            self._forget(word)

    def begin(self, number: int) -> None:
        """There is a new connection: tell all that was not answered, at once."""
        self.number = number
        for word in self._all():
            word.told = False
        self._tell_all()

    def break_off(self) -> None:
        """The connection is gone."""
        self.number = 0

    def answer(self, sequences: Iterable[int], *, counts: bool) -> None:
        """The control plane has noted what it was told of these, or it came too late."""
        for sequence in sequences:
            word = next((word for word in self._words.get(sequence, ()) if word.told and not word.counts.done()), None)
            if word is not None:
                word.counts.set_result(counts)

    def give_up(self) -> None:
        """Nothing of what was not answered counts."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        for word in self._all():
            if not word.counts.done():
                word.counts.set_result(False)

    async def settled(self) -> None:
        """Return when all that was told is answered."""
        while self._words:
            self._all_settled.clear()
            await self._all_settled.wait()

    def _forget(self, word: _Word) -> None:
        words = self._words[word.sequence]
        words.remove(word)
        if not words:
            del self._words[word.sequence]
        if not self._words:
            self._all_settled.set()

    def _flush_soon(self) -> None:
        if self._flush is None and self.number:
            self._flush = asyncio.get_running_loop().call_soon(self._tell_all)

    def _all(self) -> Iterator[_Word]:
        return (word for words in self._words.values() for word in words)

    def _tell_all(self) -> None:
        self._flush = None
        batches: dict[_Kind, list[int]] = {}
        for word in self._all():
            if self.number and not word.told:
                word.told = True
                batches.setdefault(word.kind, []).append(word.sequence)
        for (op, details), sequences in batches.items():
            for first in range(0, len(sequences), _MOST):
                self._send(settling(op, self.number, sequences[first : first + _MOST], dict(details)))
