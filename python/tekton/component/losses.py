"""Tells the log what the limits of a stream have dropped before a handler was done with it."""

import asyncio
import logging
from typing import Final

from tekton.bus.bus import Consumption

__all__ = ["Losses"]

EVERY: Final = 10.0
"""Seconds between one warning and the next."""

_logger = logging.getLogger("tekton.component")


class Losses:
    """What was lost of the work called *name*, and told. What it lost before it began is told at once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._told = 0

    async def watch(self, consumption: Consumption) -> None:
        """Look after *consumption* until cancelled, and once more then."""
        try:
            while True:
                self._tell(consumption.lost)
                await asyncio.sleep(EVERY)
        finally:
            self._tell(consumption.lost)

    def _tell(self, lost: int) -> None:
        if lost <= self._told:
            return
        more, self._told = lost - self._told, lost
        text = "%s: the limits of the stream have dropped up to %d messages that were not done, %d by now"
        _logger.warning(text, self._name, more, lost)
