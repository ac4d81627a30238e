"""What a bus client sends."""

import pytest

from tekton.bus.bus import MAX_MESSAGE
from tekton.bus.envelope import Envelope
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message
from tekton.utils.bus_frames import batches
from tekton.utils.tekton_errors import MessageTooLargeError


def envelope(size: int) -> Envelope:
    return Envelope("orders.new", Message("event", "x" * size, MessageContext("billing")))


def test_several_messages_are_in_as_few_frames_as_it_takes() -> None:
    envelopes = [envelope(1000) for _ in range(200)]

    frames = list(batches(envelopes))

    assert [one for frame in frames for one in frame] == envelopes
    assert len(frames) == 4


def test_where_one_is_too_large_none_is_sent() -> None:
    """Not even those that came before it."""
    envelopes = [envelope(60_000), envelope(60_000), envelope(MAX_MESSAGE)]

    with pytest.raises(MessageTooLargeError):
        batches(envelopes)
