"""Watching the components over the WebSocket: a snapshot, then every change in order, across reconnects.

    async with WebSocketClient() as client:
        async for event in client.watch():
            match event:
                case Snapshot(records=records): ...        # the whole picture: forget what you knew
                case Change(record=record): ...            # one step from it

When the connection is lost the client connects again, with growing, jittered delays, and resumes after the last
change that it has seen; nothing is missed or repeated. Only when the server no longer knows that position does
another snapshot come. `follow` tells of the connection as well: `Lost`, and `Resumed` when it is there again; and what
callers go by, at the beginning and when it has changed: `CallSettings`.

There is no queue that could grow: a frame is read when the one before has been dealt with, and what is not read waits
at the server, as a position in its log. Who is so slow that the log has moved on gets another snapshot.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec

from tekton.core.lifecycle import Change, ComponentRecord
from tekton.utils.control_plane import ControlPlane
from tekton.utils.control_socket import SILENCE, ControlSocket, GoodbyeError
from tekton.utils.tekton_errors import ProblemError, TransportError

__all__ = ["CallSettings", "Lost", "Resumed", "Snapshot", "WebSocketClient"]

_logger = logging.getLogger("tekton.websocket")

BACKOFF = (0.25, 15.0)
_COMPONENTS, _CALL_SETTINGS = 1, 2
_CALL_SETTINGS_TOPIC = "call_settings"


class Snapshot(NamedTuple):
    """All components (every instance) at one revision."""

    revision: int
    records: list[ComponentRecord]


class Lost(NamedTuple):
    """The connection is gone, or has not come about; the next attempt follows by itself."""

    reason: str


class Resumed(NamedTuple):
    """The connection is there again; nothing has changed since the last event but what follows now."""


class CallSettings(NamedTuple):
    """The newest value of the topic `call_settings`; None from a server that does not tell us."""

    value: Any


Event = Snapshot | Change | Lost | Resumed | CallSettings


class WebSocketClient:
    """A client of the control plane's `/ws`. Use it with `async with`.

    *control_plane* is that of the environment unless it is given. Each `watch` has a connection of its own.
    """

    def __init__(self, control_plane: ControlPlane | None = None, *, rng: random.Random | None = None) -> None:
        self._socket = ControlSocket(control_plane or ControlPlane.from_environment())
        self._random = rng or random.Random()

    async def __aenter__(self) -> Self:
        self._socket.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; iterations that are under way end with TransportError."""
        await self._socket.close()

    async def watch(self, since: int | None = None) -> AsyncGenerator[Snapshot | Change, None]:
        """A snapshot and the changes after it; with *since* (a revision) only the changes after that one.

        Never ends by itself. Raises ProblemError when the server refuses the subscription; being unable to reach it
        is no error but a reason to go on trying.
        """
        async with aclosing(self.follow(since)) as events:
            async for event in events:
                if isinstance(event, Snapshot | Change):
                    yield event

    async def follow(self, since: int | None = None) -> AsyncGenerator[Event, None]:
        """Like `watch`, and what becomes of the connection: `Lost` after each that ended or failed to come about.

        The first event on a new one, but for `CallSettings`, is a `Snapshot` or `Resumed`.
        """
        failures = 0
        while True:
            try:
                async with aclosing(self._connected(since)) as events:
                    async for event in events:
                        failures = 0
                        if isinstance(event, Snapshot | Change):
                            since = event.revision
                        yield event
            except TransportError as error:
                if not self._socket.opened:
                    raise
                yield Lost(error.reason)
                await asyncio.sleep(self._delay(error, failures))
                failures = min(failures + 1, 16)

    def _delay(self, error: TransportError, failures: int) -> float:
        if isinstance(error, GoodbyeError):
            return error.retry
        if failures == 0:
            _logger.warning("%s; trying again", error)
        limit = min(BACKOFF[1], BACKOFF[0] * 2**failures)
        return self._random.uniform(limit / 2, limit)

    async def _connected(self, since: int | None) -> AsyncGenerator[Snapshot | Change | Resumed | CallSettings, None]:
        """What one connection brings. Raises TransportError when it ends."""
        resumes = since is not None
        async with aclosing(self._frames(since)) as frames:
            async for frame in frames:
                match frame:
                    case {"id": number} if number == _CALL_SETTINGS:
                        yield CallSettings(frame.get("data"))
                    case {"t": "reset"}:
                        resumes = False
                    case {"t": "pong"} if resumes:
                        resumes = False
                        yield Resumed()
                    case {"t": "snap" | "delta"}:
                        yield _news(frame)
                    case {"t": "error"}:
                        raise ProblemError(400, frame["code"], frame["detail"])
                    case {"op": "bye"}:
                        raise GoodbyeError(self._socket.url, float(frame["retry"]))

    async def _frames(self, since: int | None) -> AsyncGenerator[dict[str, Any], None]:
        import aiohttp

        settings = {"op": "sub", "id": _CALL_SETTINGS, "topic": _CALL_SETTINGS_TOPIC}
        components = {"op": "sub", "id": _COMPONENTS, "topic": "components", "since": since}
        # Answered after the subscription has been accepted or refused: a quiet one shows that it is there.
        try:
            async with await self._socket.connect() as socket:
                for operation in (settings, components, {"op": "ping"}):
                    await socket.send_str(msgspec.json.encode(operation).decode())
                while True:
                    message = await socket.receive(SILENCE)
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        raise TransportError(self._socket.url, "the connection was closed")
                    yield msgspec.json.decode(message.data)
        except TimeoutError:
            raise TransportError(self._socket.url, "silent for too long") from None
        except (aiohttp.ClientError, OSError, msgspec.DecodeError) as error:
            raise TransportError(self._socket.url, str(error) or type(error).__name__) from error


def _news(frame: Mapping[str, Any]) -> Snapshot | Change:
    if frame["t"] == "delta":
        return msgspec.convert(frame["data"], Change)
    return Snapshot(frame["seq"], msgspec.convert(frame["data"], list[ComponentRecord]))
