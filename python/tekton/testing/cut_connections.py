"""A TCP proxy that breaks connections on purpose, to be put between a client and a server.

async with CuttingProxy("127.0.0.1", 8010) as proxy:
    client = HttpClient(f"http://127.0.0.1:{proxy.port}")
    proxy.cut()          # what is open breaks off, as when a network cable is pulled out and in again
    proxy.refuse()       # and nothing new comes through, until `allow`
    proxy.stall()        # what is open stays open and silent, until `allow`
"""

import asyncio
from types import TracebackType
from typing import Self

from tekton.background import BackgroundGroup

_PIECE = 64 * 1024


class CuttingProxy:
    """Forwards connections to *host*:*port*. `connections` counts those that came, `passed` the bytes to the client."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._server: asyncio.Server | None = None
        self._group = BackgroundGroup("proxy")
        self._open: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self.connections = 0
        self.passed = 0

    @property
    def port(self) -> int:
        """Where it listens, on the loopback interface."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut(self) -> None:
        """Break off all connections, without a goodbye."""
        for writer in self._open:
            writer.transport.abort()

    def refuse(self) -> None:
        """Break off new connections as soon as they come."""
        self._refusing = True

    def stall(self) -> None:
        """Pass nothing on, in either direction."""
        self._flowing.clear()

    def allow(self) -> None:
        """Let everything through again."""
        self._refusing = False
        self._flowing.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._group.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._refusing:
            writer.transport.abort()
            return
        try:
            behind, before = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, before}
        self._group.spawn(self._pass_on(reader, before, writer), "to the server")
        self._group.spawn(self._pass_on(behind, writer, before, counts=True), "to the client")

    async def _pass_on(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        other: asyncio.StreamWriter,
        *,
        counts: bool = False,
    ) -> None:
        try:
            while data := await source.read(_PIECE):
                await self._flowing.wait()
                target.write(data)
                self.passed += len(data) if counts else 0
                await target.drain()
        except OSError:
            pass
        finally:
            for writer in (target, other):
                self._open.discard(writer)
                writer.transport.abort()
