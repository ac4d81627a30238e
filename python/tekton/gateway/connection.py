"""An accepted WebSocket, as its handler sees it: messages in, messages out, and when to end."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from tekton.auth.principal import NOBODY, Principal
from tekton.gateway.errors import BodyTooLargeError
from tekton.gateway.router import Route
from tekton.gateway.rsgi import ServerFuture, SocketTransport
from tekton.gateway.streams import Allowed, Left, always, forever

MAX_BEGUN: Final = 16
"""Frames that may be on their way to a client without that anybody waits for them."""
MAX_BEGUN_SIZE: Final = 65536
"""The same in bytes."""

Permit = Callable[[Route, str | None], None]
"""`(route, component_id)`: raises a GatewayError when the peer may not do that to the component, now.

Without a component: when it may not do that to any.
"""

Identify = Callable[[], Principal]
"""Who the peer is, now. Raises a GatewayError when it may not have the socket any more."""


def nobody() -> Principal:
    """Somebody who may do nothing."""
    return NOBODY


class Connection:
    """One WebSocket. It ends when its handler returns; `closing` is set to ask for that.

    `allowed` tells whether the peer may still have it, `left` for how many seconds his credential is valid, `identify`
    who it is, `reviews` how often rights were lost.
    """

    def __init__(
        self,
        transport: SocketTransport,
        permit: Permit,
        closing: asyncio.Event,
        allowed: Allowed = always,
        *,
        left: Left = forever,
        identify: Identify = nobody,
        reviews: Callable[[], int] = lambda: 0,
        address: str = "",
    ) -> None:
        self._transport: SocketTransport | None = transport
        self._stalls = _Stalls()
        self._begun = self._begun_size = 0
        self.permit = permit
        self.closing = closing
        self.allowed = allowed
        self.left = left
        self.identify = identify
        self.reviews = reviews
        self.address = address
        """`address:port` of the peer, empty when it came through a Unix socket."""

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

    async def send(self, frame: str | bytes, timeout: float) -> bool:
        """Send *frame* and wait until it is on its way.

        False when the client has gone, or has read so little that it took more than *timeout* seconds; nothing can
        be sent after that.
        """
        return await self.send_all((frame,), timeout)

    async def send_all(self, frames: Sequence[str | bytes], timeout: float) -> bool:
        """As `send`, for some frames at once, in order: that costs half of what one after the other does."""
        sending = self._begin(frames)
        return sending is not None and await self._finish(sending, timeout)

    async def pass_on(self, frames: Sequence[str | bytes], timeout: float) -> bool:
        """As `send_all`, but wait only now and then: some frames (`MAX_BEGUN`) may be on their way meanwhile.

        Being woken for each message costs more than all that is done with it.
        """
        sending = self._begin(frames)
        if sending is None:
            return False
        self._begun += len(frames)
        self._begun_size += sum(map(len, frames))
        if self._begun < MAX_BEGUN and self._begun_size < MAX_BEGUN_SIZE:
            return True
        self._begun = self._begun_size = 0
        return await self._finish(sending, timeout)

    def _begin(self, frames: Sequence[str | bytes]) -> ServerFuture | None:
        """Begin to send *frames*, of which there is one at least; the last of it, None when nothing can be sent."""
        transport = self._transport
        sending: ServerFuture | None = None
        if transport is not None:
            for frame in frames:
                sending = transport.send_str(frame) if isinstance(frame, str) else transport.send_bytes(frame)
        return sending

    async def _finish(self, sending: ServerFuture, timeout: float) -> bool:
        # All is sent in order: with this, what was begun before is on its way, too.
        self._stalls.enter(sending, timeout)
        try:
            await sending
        except RuntimeError:
            self.release()
            return False
        except asyncio.CancelledError:
            if not self._stalls.has_cut():
                raise
            self.release()
            return False
        finally:
            self._stalls.leave(sending)
        return True

    def release(self) -> None:
        """Let go of the socket, which the server closes when nobody has it any more (not even a traceback)."""
        self._transport = None
        self._stalls.give_up()


class _Stalls:
    """Gives up a client that takes too long to read: what is on its way to it then is all given up.

    One timer watches all sends of a connection: `asyncio.timeout` around each of them is half of what a send costs.
    """

    __slots__ = ("_due", "_given_up", "_loop", "_timer")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: dict[ServerFuture, float] = {}
        self._given_up = False
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, sending: ServerFuture, timeout: float) -> None:
        """Somebody begins to wait for *sending*, at most *timeout* seconds."""
        due = self._due[sending] = self._loop.time() + timeout
        if self._timer is None or self._timer.when() > due:
            self._set_timer(due)

    def leave(self, sending: ServerFuture) -> None:
        """Nobody waits for it any longer."""
        self._due.pop(sending, None)

    def has_cut(self) -> bool:
        """Whether what this task waits for was given up here, and not the task cancelled."""
        task = asyncio.current_task()
        return self._given_up and not (task is not None and task.cancelling())

    def give_up(self) -> None:
        """Nobody is to wait any longer."""
        self._given_up = True
        self._set_timer(None)
        due, self._due = self._due, {}
        for sending in due:
            sending.cancel()

    def _look(self) -> None:
        first = min(self._due.values(), default=None)
        if first is not None and first <= self._loop.time():
            self.give_up()
        else:
            # Never in vain for long: without a timer, the next send makes one.
            self._set_timer(first)

    def _set_timer(self, due: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if due is None else self._loop.call_at(due, self._look)


SocketHandler = Callable[[Connection], Awaitable[None]]
"""Serves one connection until it ends."""
