"""What of the file cannot be read: gone round, and told. Once in the log, and as a number for as long as we run.

A damaged page is no reason to refuse what is on others. So what cannot be read is left out where many are looked at,
and stays where it is; who asks for it is told that it is damaged.
"""

import logging
from typing import Final

__all__ = ["Damage"]

MOST: Final = 10_000
"""So many are known apart; a file with more of them is beyond telling."""
_NAMED: Final = 20
"""So many are named in the log."""

_logger = logging.getLogger("tekton.work")


class Damage:
    """The things that could not be read so far, by what they are called. Of any thread."""

    def __init__(self) -> None:
        self._found: set[str] = set()

    def __len__(self) -> int:
        return len(self._found)

    def note(self, what: str, error: Exception) -> None:
        """*what* cannot be read, as *error* says."""
        if what in self._found or len(self._found) >= MOST:
            return
        self._found.add(what)
        if len(self._found) <= _NAMED:
            _logger.error("%s cannot be read: %s", what, error)
        elif len(self._found) == _NAMED + 1:
            _logger.error("more cannot be read, and is not named any more: restore a backup")
