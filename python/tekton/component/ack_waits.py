"""Keeps a stream from taking back what a handler still works on."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from tekton.bus.bus import Delivery
from tekton.utils.tekton_errors import TektonError

__all__ = ["AckWaits"]

_SHORTEST: Final = 0.01


class AckWaits:
    """Says of each delivery in hand, every third of *ack_wait* seconds, that it takes longer; for *longest* seconds.

    Who works on one for longer than that may have hung: *ack_wait* later at most somebody else gets it.
    """

    def __init__(self, ack_wait: float, longest: float) -> None:
        self._every = max(ack_wait / 3, _SHORTEST)
        self._longest = longest
        self._held: dict[Delivery, float] = {}

    @contextmanager
    def holding(self, delivery: Delivery) -> Iterator[None]:
        """In here *delivery* is in hand."""
        self._held[delivery] = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            del self._held[delivery]

    async def run(self) -> None:
        """Go on with it until cancelled."""
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(self._every)
            since = now() - self._longest
            late = [delivery for delivery, begun in self._held.items() if begun >= since]
            await asyncio.gather(*map(_extend, late))


async def _extend(delivery: Delivery) -> None:
    # Whoever settles it hears what is the matter.
    with suppress(TektonError):
        await delivery.in_progress()
