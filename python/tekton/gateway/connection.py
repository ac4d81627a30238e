"""An accepted WebSocket, as its handler sees it: messages in, messages out, and when to end."""

import asyncio
from collections.abc import Awaitable, Callable

from tekton.gateway.errors import BodyTooLargeError
from tekton.gateway.router import Route
from tekton.gateway.rsgi import SocketTransport
from tekton.gateway.streams import Allowed, always

Permit = Callable[[Route, str | None], None]
"""`(route, component_id)`: raises a GatewayError when the peer may not do that to the component, now.

Without a component: when it may not do that to any.
"""


class Connection:
    """One WebSocket. It ends when its handler returns; `closing` is set to ask for that.

    `allowed` tells whether the peer may still have it.
    """

    def __init__(
        self, transport: SocketTransport, permit: Permit, closing: asyncio.Event, allowed: Allowed = always
    ) -> None:
        self._transport: SocketTransport | None = transport
        self.permit = permit
        self.closing = closing
        self.allowed = allowed

    async def receive(self, limit: int) -> bytes | None:
        """The next message, text or binary; None when there will be no more.

        Raises BodyTooLargeError for one of more than *limit* bytes. Read on only when it is dealt with: what has
        not been read yet waits at the client.
        """
        if self._transport is None:
            return None
        try:
            message = await self._transport.receive()
        except RuntimeError:  # granian's RSGIProtocolClosed: the client broke off, or broke the protocol
            return None
        if message.kind == 0:
            return None
        data = message.data.encode() if isinstance(message.data, str) else message.data
        if len(data) > limit:
            raise BodyTooLargeError(limit)
        return data

    async def send(self, text: str, timeout: float) -> bool:
        """Send *text* and wait until it is on its way.

        False when the client has gone, or has read so little that it took more than *timeout* seconds; nothing can
        be sent after that.
        """
        if self._transport is None:
            return False
        try:
            async with asyncio.timeout(timeout):
                await self._transport.send_str(text)
        except (TimeoutError, RuntimeError):
            self.release()
            return False
        return True

    def release(self) -> None:
        """Let go of the socket, which the server closes when nobody has it any more (not even a traceback)."""
        self._transport = None


SocketHandler = Callable[[Connection], Awaitable[None]]
"""Serves one connection until it ends."""
