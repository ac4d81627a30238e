"""The body of an answer, sent only as fast as the client takes it.

What is given to the server's own stream is queued there without limit (`rsgi.StreamTransport`). A file it reads as the
client takes it; so the answer is a file, namely a FIFO, and writing to that waits for the server. When the client
leaves, the server closes it, and writing fails. Costs one waiting thread of the server for each body. Where there are
no FIFOs (Windows, no writable directory for temporary files) there is only the queue.
"""

import asyncio
import errno
import os
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from tekton.gateway.rsgi import HeaderList, HttpProtocol, StreamTransport
from tekton.gateway.streams import Streams

_OPEN_TIMEOUT = 3.0
_POLL = (0.0002, 0.02)


class PipedBody:
    """One streamed answer. Raises UnavailableError when there are too many streams already."""

    def __init__(self, proto: HttpProtocol, status: int, headers: HeaderList, streams: Streams) -> None:
        self._stack = ExitStack()
        self._stack.enter_context(streams.open())
        self._queue: StreamTransport | None = None
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._again: asyncio.TimerHandle | None = None
        self._writer = -1
        self._path = _make_fifo()
        if self._path is None:
            self._queue = proto.response_stream(status, headers)
        else:
            proto.response_file(status, headers, str(self._path))
            self._try_to_open(_POLL[0])

    async def send(self, data: bytes) -> None:
        """Send *data*; returns when the server has room for more. Raises OSError when the client has gone."""
        if self._queue is not None:
            await self._queue.send_bytes(data)
            return
        await self._opened
        left = memoryview(data)
        while left:
            left = left[await self._write(left) :]

    def close(self) -> None:
        """End the answer. Closing twice does nothing."""
        self._queue = None
        if self._again is not None:
            self._again.cancel()
        if self._path is not None:
            # The server may be waiting for us to open the FIFO; this lets it go on, to the end of the body.
            os.close(os.open(self._path, os.O_RDWR | os.O_NONBLOCK))
            self._remove()
            _wake(self._opened)
        writer, self._writer = self._writer, -1
        if writer >= 0:
            os.close(writer)
        self._stack.close()

    def _try_to_open(self, delay: float, waited: float = 0.0) -> None:
        """Open our end, which can be done as soon as the server has opened its own; until then, again and again."""
        if self._path is None:
            return
        try:
            self._writer = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ENXIO and waited < _OPEN_TIMEOUT:
                self._again = self._loop.call_later(delay, self._try_to_open, min(delay * 2, _POLL[1]), waited + delay)
                return
        self._remove()
        _wake(self._opened)

    async def _write(self, data: memoryview) -> int:
        if self._writer < 0:
            raise BrokenPipeError("the answer has ended, or was never begun")
        try:
            return os.write(self._writer, data)
        except BlockingIOError:
            await self._writable()
            return 0

    async def _writable(self) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_writer(self._writer, _wake, future)
        try:
            await future
        finally:
            self._loop.remove_writer(self._writer)

    def _remove(self) -> None:
        path, self._path = self._path, None
        if path is not None:
            path.unlink(missing_ok=True)
            path.parent.rmdir()


def _make_fifo() -> Path | None:
    if not hasattr(os, "mkfifo"):
        return None
    with suppress(OSError):
        path = Path(tempfile.mkdtemp(prefix="tekton-")) / "body"
        os.mkfifo(path, 0o600)
        return path
    return None


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
