"""What the event streams of numbered things share: where they begin, and in which pieces they are sent."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tekton.gateway.request import Request
from tekton.gateway.sse import event

AT_ONCE: Final = 16
"""So many are read at a time: one may have a megabyte."""
PIECE: Final = 64 * 1024
"""Bytes that are sent at a time, unless one event has more."""
RESET: Final = event(b'{"reason":"position not known"}', "reset")
"""The first event, where there is no such position: all comes from the beginning on."""
LISTENING: Final = b": listening\n\n"

_NUMBER: Final = re.compile(r"[0-9]{1,15}")


def position(request: Request, after: int) -> int:
    """Behind which number a client wants to have what comes: its `Last-Event-ID`, or *after*."""
    last = request.headers.get("last-event-id")
    return int(last) if last is not None and _NUMBER.fullmatch(last) else after


def in_pieces(events: Iterable[bytes]) -> Iterator[bytes]:
    """*events*, put together to pieces."""
    told: list[bytes] = []
    size = 0
    for one in events:
        told.append(one)
        size += len(one)
        if size >= PIECE:
            yield b"".join(told)
            told, size = [], 0
    if told:
        yield b"".join(told)
