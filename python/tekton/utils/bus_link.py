"""The connection of a bus client: made again whenever it breaks, with growing, jittered delays.

What is to be sent waits here only while the socket is there and takes nothing; when it breaks, that is forgotten, and
whoever wanted it sent says so again on the next one (`Ends.opened`).
"""

import asyncio
import logging
import random
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import msgspec

from tekton.background import BackgroundTask
from tekton.utils.control_socket import SILENCE, ControlSocket, GoodbyeError
from tekton.utils.tekton_errors import ProblemError, TektonError, TransportError

if TYPE_CHECKING:
    import aiohttp

__all__ = ["BACKOFF", "Ends", "Link"]

_logger = logging.getLogger("tekton.bus")

BACKOFF = (0.1, 15.0)
_LAST_WORDS = 1.0
_AT_ONCE = 32
"""Frames that are read in one turn of the event loop: then those have a turn who are to get them."""


class Ends(Protocol):
    """Who uses a link. Nothing of this waits."""

    def opened(self) -> None:
        """There is a new connection. What is sent now comes first on it."""
        ...

    def received(self, data: str | bytes) -> None:
        """A frame. Raises GoodbyeError for the last one, DecodeError or a TektonError for what nobody can read."""
        ...

    def lost(self) -> None:
        """The connection is gone; the next attempt follows by itself."""
        ...

    def refused(self, error: ProblemError) -> None:
        """The control plane wants nothing of us; it is not tried again before `start`."""
        ...


class Link:
    """One connection at a time, from `start` to `stop`."""

    def __init__(self, socket: ControlSocket, ends: Ends, rng: random.Random) -> None:
        self._socket = socket
        self._ends = ends
        self._random = rng
        self._task = BackgroundTask("bus client")
        self._outgoing: deque[tuple[bytes, bool]] = deque()
        self._wanted = asyncio.Event()
        self._sent = asyncio.Event()
        self._writing = False
        self._heard = False
        self.connected = False

    @property
    def url(self) -> str:
        """Where it leads, for messages."""
        return self._socket.url

    def start(self) -> None:
        """Connect, and stay connected. Twice does nothing."""
        if not self._task.running:
            self._socket.open()
            self._task.start(self._run())

    async def stop(self) -> None:
        """Send what waits, if that takes no longer than a second, and close the connection. Twice does nothing."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                while self.connected and (self._outgoing or self._writing):
                    self._sent.clear()
                    await self._sent.wait()
        await self._task.stop()
        await self._socket.close()

    def send(self, frame: bytes, *, binary: bool = False) -> bool:
        """Send *frame* behind what is being sent. False when there is no connection."""
        if self.connected:
            self._outgoing.append((frame, binary))
            self._wanted.set()
        return self.connected

    def take_back(self, frame: bytes) -> None:
        """Do not send *frame*, if it waits here still. O(what waits)."""
        for place, (waiting, _) in enumerate(self._outgoing):
            if waiting is frame:
                del self._outgoing[place]
                return

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                async with await self._socket.connect() as socket:
                    error = await self._serve(socket)
                failures = 0 if self._heard else failures
            except ProblemError as refusal:
                await self._socket.close()
                # Last of all: whoever is told may start again at once.
                self._ends.refused(refusal)
                return
            except TransportError as failure:
                error = failure
            if failures == 0:
                level = logging.INFO if isinstance(error, GoodbyeError) else logging.WARNING
                _logger.log(level, "%s; connecting again", error)
            await asyncio.sleep(self._delay(error, failures))
            failures = min(failures + 1, 16)

    def _delay(self, error: TransportError, failures: int) -> float:
        if isinstance(error, GoodbyeError):
            return error.retry
        limit = min(BACKOFF[1], BACKOFF[0] * 2**failures)
        return self._random.uniform(limit / 2, limit)

    async def _serve(self, socket: "aiohttp.ClientWebSocketResponse") -> TransportError:
        """Send and receive until the connection ends; why it did."""
        self._outgoing.clear()
        self._writing = False
        self.connected, self._heard = True, False
        try:
            self._ends.opened()
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(self._write(socket))
                try:
                    return await self._read(socket)
                finally:
                    writer.cancel()
        finally:
            self.connected = False
            self._sent.set()
            self._ends.lost()

    async def _read(self, socket: "aiohttp.ClientWebSocketResponse") -> TransportError:
        from aiohttp import ClientError, WSMsgType

        read = 0
        try:
            while True:
                message = await socket.receive(SILENCE)
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    return TransportError(self.url, "the connection was closed")
                self._ends.received(message.data)
                self._heard = True
                read += 1
                if read % _AT_ONCE == 0:
                    await asyncio.sleep(0)
        except GoodbyeError as goodbye:
            return goodbye
        except TimeoutError:
            return TransportError(self.url, "silent for too long")
        except (ClientError, OSError, msgspec.DecodeError, TektonError, UnicodeDecodeError) as error:
            return TransportError(self.url, str(error) or type(error).__name__)

    async def _write(self, socket: "aiohttp.ClientWebSocketResponse") -> None:
        from aiohttp import ClientError, WSMsgType

        try:
            while True:
                while self._outgoing:
                    frame, binary = self._outgoing.popleft()
                    self._writing = True
                    await socket.send_frame(frame, WSMsgType.BINARY if binary else WSMsgType.TEXT)
                    self._writing = False
                self._wanted.clear()
                self._sent.set()
                await self._wanted.wait()
        except (ClientError, OSError):
            pass  # who reads learns it as well
