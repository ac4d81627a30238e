"""Reading request bodies, with the size limit and the deadline that the server does not have."""

import asyncio
import re
from collections.abc import Sequence

from tekton.gateway.errors import BodyTimeoutError, BodyTooLargeError, MalformedRequestError, UnsupportedMediaTypeError
from tekton.gateway.rsgi import BodyFuture, Headers, HttpProtocol


class BodyReader:
    """Reads bodies, each of which must be complete *timeout* seconds after its headers.

    One timer watches all of them: they have the same timeout, so the one that waits longest is due first. A timer
    (or `asyncio.timeout`) for each costs more than all other checks of a heartbeat.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._waiting: dict[BodyFuture, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, proto: HttpProtocol, headers: Headers, limit: int) -> bytes:
        """The whole body, at most *limit* bytes; empty when there is none.

        Raises BodyTooLargeError (before anything is read when the length is announced, else at the first byte too
        many), UnsupportedMediaTypeError for a body that is not said to be JSON in UTF-8, BodyTimeoutError, or
        MalformedRequestError when the body breaks off.
        """
        length = headers.get("content-length")
        if length == "0" or (length is None and "transfer-encoding" not in headers):
            return b""
        media_types = headers.get_all("content-type")
        if len(media_types) != 1 or media_types[0] != "application/json":
            _check_json(media_types)
        if "content-encoding" in headers and ",".join(headers.get_all("content-encoding")) != "identity":
            raise UnsupportedMediaTypeError("a compressed body")
        return await self._receive(proto, length, limit)

    async def discard(self, proto: HttpProtocol, headers: Headers, limit: int) -> None:
        """Take a body off the connection that the route has no use for. Raises as `read`, but for the media type.

        The server closes a connection on which it has answered before the body has come, and a client that still
        sends would learn of that and not of the answer.
        """
        length = headers.get("content-length")
        if length != "0" and (length is not None or "transfer-encoding" in headers):
            await self._receive(proto, length, limit)

    async def _receive(self, proto: HttpProtocol, length: str | None, limit: int) -> bytes:
        if length is None:
            return await self._read_chunks(proto, limit)
        if int(length) > limit:
            raise BodyTooLargeError(limit)
        body = proto()
        loop = asyncio.get_running_loop()
        self._waiting[body] = due = loop.time() + self._timeout
        if self._timer is None:
            self._timer = loop.call_at(due, self._cancel_due)
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
        loop = asyncio.get_running_loop()
        self._timer = None
        for body, due in self._waiting.items():
            if due > loop.time():
                self._timer = loop.call_at(due, self._cancel_due)
                break
            body.cancel()

    @staticmethod
    def _pass_on_cancellation() -> None:
        # The future was cancelled by us, unless it was the task that somebody cancelled.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError


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
