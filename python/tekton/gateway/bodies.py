"""Reading request bodies, with the size limit and the deadline that the server does not have."""

import asyncio
import re
from collections.abc import Coroutine, Sequence
from typing import Any, Literal

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.gateway.errors import BodyTimeoutError, BodyTooLargeError, MalformedRequestError, UnsupportedMediaTypeError
from tekton.gateway.rsgi import BodyFuture, Headers, HttpProtocol

Takes = Literal["json", "anything", "nothing"]
"""Of which media type a body must be that a route takes."""


class BodyReader:
    """Reads bodies, each of which must be complete *timeout* seconds after its headers.

    One timer watches all of them: they have the same timeout, so the one that waits longest is due first. A timer
    (or `asyncio.timeout`) for each costs more than all other checks of a heartbeat.
    """

    def __init__(self, timeout: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self._timeout = timeout
        self._monotonic = clock.monotonic
        self._waiting: dict[BodyFuture, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def read(
        self, proto: HttpProtocol, headers: Headers, limit: int, takes: Takes = "json"
    ) -> Coroutine[Any, Any, bytes] | None:
        """The whole body, at most *limit* bytes, to be awaited; None when there is none.

        What a route takes nothing of is taken off the connection all the same, and then empty: the server closes a
        connection on which it has answered before the body has come, and a client that still sends would learn of that
        and not of the answer.

        Raises BodyTooLargeError (before anything is read when the length is announced, else at the first byte too
        many), UnsupportedMediaTypeError for a body that should be and is not said to be JSON in UTF-8,
        BodyTimeoutError, or MalformedRequestError when the body breaks off.
        """
        length = headers.get("content-length")
        if length == "0" or (length is None and "transfer-encoding" not in headers):
            return None
        if takes == "json":
            check_json(headers)
        if length is not None and int(length) > limit:
            raise BodyTooLargeError(limit)
        body = self._read_chunks(proto, limit) if length is None else self._read_whole(proto)
        return body if takes != "nothing" else _dropped(body)

    async def _read_whole(self, proto: HttpProtocol) -> bytes:
        body = proto()
        self._waiting[body] = self._monotonic() + self._timeout
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._timeout, self._cancel_due)
        try:
            return await body
        except asyncio.CancelledError:
            self._pass_on_cancellation()
            raise BodyTimeoutError(self._timeout) from None
        except RuntimeError:  # granian's RSGIProtocolClosed
            raise MalformedRequestError("the body broke off") from None
        finally:
            del self._waiting[body]

    async def _read_chunks(self, proto: HttpProtocol, limit: int) -> bytes:
        chunks: list[bytes] = []
        size = empty = 0
        try:
            async with asyncio.timeout(self._timeout):
                async for chunk in proto:
                    size += len(chunk)
                    if size > limit:
                        raise BodyTooLargeError(limit)
                    empty += not chunk
                    chunks.append(chunk)
        except TimeoutError:
            raise BodyTimeoutError(self._timeout) from None
        # One empty chunk is the end. With trailers, or when the body breaks off, there is one more.
        if empty > 1:
            raise MalformedRequestError("the body broke off, or has trailers")
        return b"".join(chunks)

    def _cancel_due(self) -> None:
        self._timer = None
        now = self._monotonic()
        for body, due in self._waiting.items():
            if due > now:
                self._timer = asyncio.get_running_loop().call_later(due - now, self._cancel_due)
                break
            body.cancel()

    @staticmethod
    def _pass_on_cancellation() -> None:
        # The future was cancelled by us, unless it was the task that somebody cancelled.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError


async def _dropped(body: Coroutine[Any, Any, bytes]) -> bytes:
    await body
    return b""


def check_json(headers: Headers) -> None:
    """Return if a body with *headers* is said to be JSON in UTF-8, as it is. Raises UnsupportedMediaTypeError."""
    media_types = headers.get_all("content-type")
    if len(media_types) != 1 or media_types[0] != "application/json":
        _check_json(media_types)
    if "content-encoding" in headers and ",".join(headers.get_all("content-encoding")) != "identity":
        raise UnsupportedMediaTypeError("a compressed body")


_JSON = re.compile(r"application/(?:[\w.-]+\+)?json", re.IGNORECASE | re.ASCII)
_CHARSET = re.compile(r"charset\s*=\s*(.*)", re.IGNORECASE)
_UTF_8 = ("utf-8", "utf8", '"utf-8"')


def _check_json(media_types: Sequence[str]) -> None:
    if len(media_types) > 1:
        raise UnsupportedMediaTypeError(", ".join(media_types))
    media_type, *parameters = [part.strip() for part in (*media_types, "")[0].split(";")]
    charsets = [found[1].lower() for part in parameters if (found := _CHARSET.fullmatch(part))]
    if _JSON.fullmatch(media_type) is None or any(charset not in _UTF_8 for charset in charsets):
        raise UnsupportedMediaTypeError("".join(media_types))
