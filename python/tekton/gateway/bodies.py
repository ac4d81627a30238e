"""Reading request bodies, with the size limit and the deadline that the server does not have."""

import asyncio
import re

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
        many), UnsupportedMediaTypeError for a body that is not JSON, BodyTimeoutError, or MalformedRequestError
        when the body breaks off.
        """
        length = headers.get("content-length")
        if length == "0" or (length is None and "transfer-encoding" not in headers):
            return b""
        media_type = headers.get("content-type")
        if media_type != "application/json":
            _check_json(media_type)
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


_JSON = re.compile(r"application/(?:[\w.-]+\+)?json\s*(?:;|$)", re.IGNORECASE)


def _check_json(media_type: str | None) -> None:
    if media_type is None or _JSON.match(media_type) is None:
        raise UnsupportedMediaTypeError(media_type)
