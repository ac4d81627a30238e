"""What one frame with several messages has."""

import random

from tekton.bus.batches import BATCH, parts
from tekton.bus.envelope import Envelope
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message


def envelope(size: int) -> Envelope:
    return Envelope("orders.new", Message("event", "x" * size, MessageContext("billing")))


def test_nothing_makes_no_frame() -> None:
    assert list(parts([])) == []


def test_frames_have_all_in_order_and_as_much_as_fits() -> None:
    rng = random.Random(7)
    envelopes = [envelope(rng.choice((10, 1000, 30_000, BATCH + 1))) for _ in range(200)]

    frames = list(parts(envelopes))

    sizes = [len(Envelope.pack(1, frame)) for frame in frames]
    firsts = [len(Envelope.pack(1, frame[:1])) for frame in frames]
    assert [one for frame in frames for one in frame] == envelopes
    assert all(size <= BATCH or len(frame) == 1 for size, frame in zip(sizes, frames))
    # What an envelope has beside its message and its subject is reckoned at 64 bytes, which is too much.
    assert all(size + first > BATCH - 64 * len(frame) - 64 for size, first, frame in zip(sizes, firsts[1:], frames))
