"""Which message has caused the code that runs: it is handled, or was when the task that runs was begun.

What is published in its course comes of it: `tekton.mcp.course` makes that so. Here is only what `tekton.background`
has to know, too: what runs for as long as its owner is caused by nobody.
"""

from contextvars import ContextVar
from typing import Final, NamedTuple

__all__ = ["CAUSE", "Cause"]


class Cause(NamedTuple):
    """A message, and how many have caused one another before it."""

    message_id: str
    hops: int


CAUSE: Final[ContextVar[Cause | None]] = ContextVar("cause", default=None)
"""The message in whose course the code runs; a task begins with that of the one which has started it."""
