"""What a message is made to say before it is published: what has caused it, and until when somebody waits."""

from collections.abc import Sequence

from tekton.bus.envelope import Envelope
from tekton.core.degradation.deadline import time_left
from tekton.mcp.course import caused
from tekton.mcp.message import Message
from tekton.utils.causes import CAUSE


def all_caused(envelopes: Sequence[Envelope]) -> Sequence[Envelope]:
    """*envelopes* with messages as `caused` makes them: the same ones, unless something has caused them here."""
    if CAUSE.get() is None:
        return envelopes
    return [Envelope(one.subject, caused(one.message), one.reply) for one in envelopes]


def patience(message: Message, timeout: float, now: float) -> float:
    """Seconds for which somebody waits for an answer: *timeout*, and what is left of the call that he is in.

    And no longer than *message* says itself. *now* is in seconds since 1970. Raises ValueError for a *timeout* that
    cannot be.
    """
    if not timeout > 0:
        raise ValueError(f"timeout is {timeout:g}, and has to be above 0")
    left, deadline = time_left(), message.context.deadline
    waits = [timeout]
    if left is not None:
        waits.append(left)
    if deadline is not None:
        waits.append(deadline - now)
    return min(waits)
