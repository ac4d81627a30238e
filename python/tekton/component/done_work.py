"""Remembers which messages a handler is done with, so that one which comes again is not done again.

A stream hands out at least once: what was done, and not noted by it before the connection or the control plane broke,
comes again. Here it is known, as long as this process lives, of the newest MOST messages.
"""

from collections import OrderedDict
from typing import Final

from tekton.bus.envelope import Envelope

__all__ = ["DoneWork"]

MOST: Final = 10_000


class DoneWork:
    """What of one stream was done, by number and id."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._done: OrderedDict[tuple[int, str], None] = OrderedDict()

    def __contains__(self, envelope: Envelope) -> bool:
        return _key(envelope) in self._done

    def add(self, envelope: Envelope) -> None:
        """*envelope* is done. The oldest is forgotten for one too many."""
        self._done[_key(envelope)] = None
        if len(self._done) > self._most:
            self._done.popitem(last=False)

    def clear(self) -> None:
        """Whoever hands out begins anew: what was done is asked for once more on purpose."""
        self._done.clear()


def _key(envelope: Envelope) -> tuple[int, str]:
    # A stream that is restored from a backup may give a number to another message.
    return envelope.sequence, envelope.message.message_id
