"""What takes a while to look at: measured in the background, and told as it was found last."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from tekton.background import BackgroundGroup
from tekton.core.metrics.metrics import Reading

_logger = logging.getLogger("tekton.metrics")

Measurement = Callable[[], Awaitable[Iterable[Reading]]]
"""Reads what takes its time, beside the event loop."""


class Measured:
    """Each of its measurements is made once at a time: one that hangs holds up nobody, and is told as it was."""

    def __init__(self) -> None:
        self._measurements: list[Measurement] = []
        self._found: dict[Measurement, Sequence[Reading]] = {}
        self._underway: dict[Measurement, asyncio.Task[None]] = {}
        self._failing: set[Measurement] = set()
        self._group = BackgroundGroup("measurements")

    def add(self, *measurements: Measurement) -> None:
        """Make *measurements* too."""
        self._measurements += measurements

    def begin(self) -> None:
        """Begin every measurement that is not under way. Returns at once."""
        for one in self._measurements:
            if one not in self._underway or self._underway[one].done():
                self._underway[one] = self._group.spawn(self._measure(one), "measurement")

    async def stop(self) -> None:
        """Measure no more."""
        await self._group.stop()

    def read(self) -> Iterator[Reading]:
        """What was found last."""
        for found in list(self._found.values()):
            yield from found

    async def _measure(self, measurement: Measurement) -> None:
        try:
            self._found[measurement] = list(await measurement())
            self._failing.discard(measurement)
        except Exception as error:
            if measurement not in self._failing:
                self._failing.add(measurement)
                _logger.error("something could not be measured", exc_info=error)
