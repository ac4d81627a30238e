"""The way to the control plane's WebSocket: through its Unix socket or over TCP, with the credential that holds now."""

import asyncio
from typing import TYPE_CHECKING

from tekton.utils.control_plane import ControlPlane
from tekton.utils.tekton_errors import ProblemError, TransportError
from tekton.utils.tekton_http import why_not_connected
from tekton.utils.trace_context import CURRENT

if TYPE_CHECKING:
    import aiohttp

__all__ = ["SILENCE", "ControlSocket", "GoodbyeError"]

SILENCE = 45.0
"""Seconds without a frame after which a connection counts as lost; the server sends one every 10."""

CONNECT_TIMEOUT = 10.0
_CLOSING = 1.0
"""Seconds within which the server has to answer that we close."""
_MAX_FRAME = 64 * 1024 * 1024
_REFUSED = 401
_PASSING = frozenset({408, 429})
"""Statuses below 500 that tell of the moment, not of the caller."""


class GoodbyeError(TransportError):
    """The server ends the connection in good order; come back after *retry* seconds."""

    def __init__(self, url: str, retry: float) -> None:
        self.retry = retry
        super().__init__(url, f"come back in {retry:g} s")


class ControlSocket:
    """Makes connections to `/ws`, one after the other or several, from `open` to `close`."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._control_plane = control_plane
        self._credential = control_plane.credential
        self._session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        """Where it is, for messages: the Unix socket, or the address."""
        return str(self._control_plane.socket or self._address)

    @property
    def _address(self) -> str:
        base = "http://localhost" if self._control_plane.socket else self._control_plane.url
        return f"ws{base.removeprefix('http')}/ws?v=1"

    @property
    def opened(self) -> bool:
        """True from `open` to `close`."""
        return self._session is not None

    def open(self) -> None:
        """Be ready to connect. Needs a running event loop."""
        import aiohttp

        socket = self._control_plane.socket
        connector = None if socket is None else aiohttp.UnixConnector(str(socket))
        self._session = aiohttp.ClientSession(connector=connector)

    async def close(self) -> None:
        """Close all connections; what reads from them ends. Twice does nothing."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def connect(self) -> "aiohttp.ClientWebSocketResponse":
        """A new connection. A credential that is refused is read again.

        Raises TransportError when it does not come about, ProblemError when it is refused.
        """
        import aiohttp

        try:
            return await self._connect()
        except TimeoutError:
            raise TransportError(self.url, f"no connection within {CONNECT_TIMEOUT:g} s") from None
        except aiohttp.WSServerHandshakeError as error:
            if 400 <= error.status < 500 and error.status not in _PASSING:
                raise ProblemError(
                    error.status, "refused", f"the socket was refused with status {error.status}"
                ) from None
            raise TransportError(self.url, f"the socket was refused with status {error.status}") from None
        except aiohttp.ClientConnectorError as error:
            raise TransportError(self.url, why_not_connected(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise TransportError(self.url, str(error) or type(error).__name__) from error

    async def _connect(self) -> "aiohttp.ClientWebSocketResponse":
        import aiohttp

        if self._session is None:
            raise TransportError(self.url, "the client is not open")
        headers = {} if self._credential is None else {"Authorization": f"Bearer {self._credential}"}
        if (context := CURRENT.get()) is not None:
            headers |= context.headers()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                timeout = aiohttp.ClientWSTimeout(ws_close=_CLOSING)
                return await self._session.ws_connect(
                    self._address, headers=headers, max_msg_size=_MAX_FRAME, timeout=timeout
                )
        except aiohttp.WSServerHandshakeError as error:
            renewed = self._control_plane.read_credential() if error.status == _REFUSED else None
            if renewed is None or renewed == self._credential:
                raise
            self._credential = renewed
            return await self._connect()
