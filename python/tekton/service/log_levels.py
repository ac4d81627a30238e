"""Levels of the control plane's own loggers that were changed while it runs: for a while, or until it ends.

What held before holds again when the time is over, or when somebody takes the change back. A reload of the
configuration changes what held before, not what holds.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tekton.clock import Clock
from tekton.utils.log_levels import ROOT, known_loggers, levels, own_level, set_level
from tekton.utils.tekton_ids import nearest_name

MOST_CHANGED: Final = 100


class UnknownLoggerError(ValueError):
    """There is no such logger; `nearest` is the one that was probably meant, if any."""

    def __init__(self, logger: str) -> None:
        self.nearest = nearest_name(logger, known_loggers())
        super().__init__(f"there is no logger {logger[:128]!r}")


@dataclass(frozen=True, slots=True)
class Changed:
    """A level that was changed: `until` when (seconds since 1970), and what held before."""

    level: str
    until: float | None
    before: str | None


class LogLevels:
    """Changes levels; see the module. Its timers run on the loop in whose thread it is used."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed: dict[str, Changed] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def changed(self) -> Mapping[str, Changed]:
        """The levels that were changed, by logger."""
        return self._changed

    def levels(self) -> dict[str, str]:
        """The level of every logger that has one of its own, and that of `root`."""
        return levels()

    def change(self, logger: str, level: str, seconds: float | None = None) -> None:
        """Let *level* hold for *logger* and those below it; after *seconds*, what held before.

        Raises UnknownLoggerError, and ValueError for an unknown level or for more than 100 changed loggers.
        """
        if logger not in known_loggers():
            raise UnknownLoggerError(logger)
        if logger not in self._changed and len(self._changed) >= MOST_CHANGED:
            raise ValueError(f"the levels of {MOST_CHANGED} loggers are changed already")
        before = self._changed[logger].before if logger in self._changed else own_level(logger)
        set_level(logger, level)
        self._forget_timer(logger)
        until = None if seconds is None else self._clock.time() + seconds
        self._changed[logger] = Changed(level, until, before)
        if seconds is not None:
            self._timers[logger] = asyncio.get_running_loop().call_later(seconds, self.restore, logger)

    def restore(self, logger: str) -> None:
        """Let hold again what held before. Does nothing to a logger whose level was not changed."""
        self._forget_timer(logger)
        changed = self._changed.pop(logger, None)
        if changed is not None:
            set_level(logger, changed.before)

    def configured(self) -> None:
        """The level of `root` has just been set anew: from now on it is what held before."""
        if (changed := self._changed.get(ROOT)) is not None:
            self._changed[ROOT] = Changed(changed.level, changed.until, own_level(ROOT))
            set_level(ROOT, changed.level)

    def stop(self) -> None:
        """Take every change back."""
        for logger in list(self._changed):
            self.restore(logger)

    def _forget_timer(self, logger: str) -> None:
        if (timer := self._timers.pop(logger, None)) is not None:
            timer.cancel()
