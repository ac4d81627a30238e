"""What one frame with several messages has: as many as fit."""

from collections.abc import Iterator, Sequence
from typing import Final

from tekton.bus.envelope import Envelope

BATCH: Final = 65536
"""Bytes that a frame with several messages has at most, unless one message alone has more."""
_HEAD: Final = 64
"""Bytes that an envelope has beside its message and its subject, about."""


def parts(envelopes: Sequence[Envelope]) -> Iterator[Sequence[Envelope]]:
    """*envelopes* in order, in runs that fit into a frame, or may be on their way at a time."""
    start = size = 0
    for place, envelope in enumerate(envelopes):
        more = envelope.size + len(envelope.subject) + _HEAD
        if size and size + more > BATCH:
            yield envelopes[start:place]
            start, size = place, 0
        size += more
    if start < len(envelopes):
        yield envelopes[start:]
