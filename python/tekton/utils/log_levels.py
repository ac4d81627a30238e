"""Levels of loggers that change while the program runs, and what they were before.

The logger called `` (or `root`) is the one from which all others have their level, unless they have one of their own.
"""

import logging
from typing import Final

from tekton.utils.log_query import LEVELS

ROOT: Final = "root"
_NUMBERS: Final = {name: getattr(logging, name.upper()) for name in LEVELS}


def level_number(level: str) -> int:
    """The number of *level*. Raises ValueError for one that there is not."""
    if level not in _NUMBERS:
        raise ValueError(f"unknown log level {level!r}; one of {', '.join(_NUMBERS)}")
    return int(_NUMBERS[level])


def set_level(logger: str, level: str | None) -> None:
    """Let *logger*, and those below it without a level of their own, log what is of at least *level*.

    None takes its own level from it again. Raises ValueError for a level that there is not, and for `root` without one.
    """
    if level is None and logger in ("", ROOT):
        raise ValueError("the root logger always has a level")
    named(logger).setLevel(logging.NOTSET if level is None else level_number(level))


def own_level(logger: str) -> str | None:
    """The level that *logger* has itself; None when it has that of the logger above it."""
    number = named(logger).level
    return None if number == logging.NOTSET else level_name(number)


def effective_level(logger: str) -> str:
    """The level that holds for *logger*."""
    return level_name(named(logger).getEffectiveLevel())


def level_name(number: int) -> str:
    """The name of the level *number*, or of the next below it."""
    return max((name for name in LEVELS if _NUMBERS[name] <= number), key=_NUMBERS.__getitem__, default=LEVELS[0])


def named(logger: str) -> logging.Logger:
    """The logger called *logger*; it comes into being when it is not there yet."""
    return logging.getLogger(None if logger in ("", ROOT) else logger)


def known_loggers() -> set[str]:
    """The names of all loggers that there are, those included that only have others below them."""
    return {ROOT, *logging.root.manager.loggerDict}


def levels() -> dict[str, str]:
    """The level of `root`, and of every logger that has one of its own, by name."""
    own = {
        name: level_name(logger.level)
        for name, logger in sorted(logging.root.manager.loggerDict.items())
        if isinstance(logger, logging.Logger) and logger.level != logging.NOTSET
    }
    return {ROOT: level_name(logging.root.level)} | own
