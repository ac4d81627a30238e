"""An answer that is made while it is sent: in pieces, as fast as the client takes them, however long it becomes.

When the source fails half-way, the answer has begun with success already. So whoever makes it says what is sent at the
end then, lest the beginning be taken for the whole.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from tekton.gateway.piped_body import PipedBody
from tekton.gateway.rsgi import HttpProtocol
from tekton.gateway.streams import Streams

_NOTHING = [("cache-control", "no-store"), ("x-content-type-options", "nosniff")]

_logger = logging.getLogger("tekton.gateway")


@dataclass(frozen=True, slots=True)
class LongBody:
    """The answer of a handler whose body is *pieces*, one after the other, and *cut* behind them when they fail."""

    pieces: AsyncIterator[bytes]
    media_type: str
    cut: bytes = b""
    headers: Sequence[tuple[str, str]] = ()


async def send_long(answer: LongBody, proto: HttpProtocol, streams: Streams) -> None:
    """Send *answer* to its end, or until the client leaves. Raises UnavailableError where there are too many streams.

    The first piece is made before anything is sent: what fails there can be answered as what it is.
    """
    pieces = answer.pieces
    first = await anext(pieces, b"")
    body = PipedBody(proto, 200, [("content-type", answer.media_type), *answer.headers, *_NOTHING], streams)
    try:
        await body.send(first)
        async for piece in _all(answer):
            await body.send(piece)
    except OSError:
        _logger.debug("the client has left before the end of an answer")
    finally:
        body.close()
        if (close := getattr(pieces, "aclose", None)) is not None:
            await close()


async def _all(answer: LongBody) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.pieces:
            yield piece
    except Exception:
        _logger.exception("an answer ends before its end")
        yield answer.cut
