"""A bus in memory as a port offers it, and clients on sockets without a server."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tekton.auth.principal import Principal
from tekton.auth.roles import Role, RoleTable
from tekton.background import BackgroundGroup
from tekton.bus.envelope import Envelope
from tekton.bus.live import LiveBus
from tekton.bus.local_bus import LocalBus
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.bus.streams.streams import Streams
from tekton.clock import SYSTEM_CLOCK
from tekton.core.precedence import Precedence
from tekton.gateway.bus.access import BusAccess, Refusal
from tekton.gateway.bus.port import BusPort
from tekton.gateway.bus.turns import Turns
from tekton.gateway.connection import Connection
from tekton.gateway.errors import CredentialRequiredError
from tekton.gateway.sockets import TopicSocket
from tekton.gateway.topics import TopicTable
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message

ROLES = RoleTable(
    {
        "accountant": Role(frozenset(), publish=("orders.>",), subscribe=("orders.>", "audit.>")),
        "helper": Role(frozenset(), consume=("orders/bill*",)),
    }
)


def principal(subject: str, *roles: str, component_id: str | None = None) -> Principal:
    """Somebody with those roles; with a *component_id*, that component."""
    grants = ROLES.grants(roles, component_id)
    return Principal(subject=subject, roles=roles, component_id=component_id, via="token", grants=grants)


def _message(sender: str, content: object = None, **context: Any) -> Message:
    return Message("event", content, MessageContext(sender, **context))


@dataclass
class Frame:
    """What the server's socket gives for a message."""

    data: str | bytes
    kind: int = 2


class Peer:
    """A client of a socket. It reads only while `reading`: what is sent to it meanwhile is on its way for so long."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[Frame] = asyncio.Queue()
        self.got: list[Any] = []
        self.news = asyncio.Event()
        self.held: deque[tuple[str | bytes, asyncio.Future[None]]] = deque()
        self.reading = True

    # What the server calls

    async def receive(self) -> Frame:
        return await self.incoming.get()

    def send_str(self, data: str) -> "asyncio.Future[None]":
        return self._send(data)

    def send_bytes(self, data: bytes) -> "asyncio.Future[None]":
        return self._send(data)

    def _send(self, data: str | bytes) -> "asyncio.Future[None]":
        sending: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.held.append((data, sending))
        if self.reading:
            self.read()
        return sending

    # What a test does

    def read(self) -> None:
        """Take what is on its way, and read from now on."""
        self.reading = True
        while self.held:
            data, sending = self.held.popleft()
            if not sending.done():
                sending.set_result(None)
                self.got.append(Envelope.unpack(data) if isinstance(data, bytes) else json.loads(data))
                self.news.set()

    def say(self, frame: str | bytes | None = None, **operation: Any) -> None:
        """Send *frame*, or an operation."""
        self.incoming.put_nowait(Frame(json.dumps(operation) if frame is None else frame))

    async def get(self, number: int | None = None, t: str | None = None) -> Any:
        """The next frame that is about *number*, or of that kind: a dict, or `(id, envelopes)`. It comes within 5 s."""
        async with asyncio.timeout(5):
            while True:
                for place, frame in enumerate(self.got):
                    about, kind = (frame[0], "batch") if isinstance(frame, tuple) else (frame.get("id"), frame.get("t"))
                    if number in (None, about) and t in (None, kind):
                        return self.got.pop(place)
                self.news.clear()
                await self.news.wait()

    async def ask(self, frame: str | bytes | None = None, **operation: Any) -> Any:
        """`say`, and the next frame about it."""
        self.say(frame, **operation)
        return await self.get(operation.get("id"))

    async def subscribe(self, number: int = 1, **members: Any) -> Any:
        """Subscribe; the frame that says so."""
        frame = await self.ask(op="sub", id=number, **members)
        assert frame["t"] == "subscribed", frame
        return frame

    def publish(self, subject: str, one: Message, **members: Any) -> None:
        """Publish a message."""
        head = json.dumps({"op": "pub", "subject": subject, **members})
        self.say(f'{head[:-1]},"message":{one.to_json().decode()}}}')

    async def alive(self) -> bool:
        """True when a `ping` is answered, and nothing else has come."""
        self.say(op="ping")
        await self.get(t="pong")
        return not self.got


@dataclass
class Bus:
    """A bus in memory as a port offers it, and the sockets on it."""

    live: LiveBus
    streams: Streams
    bus: LocalBus
    port: BusPort
    refusals: list[Refusal]
    precedence: Precedence
    reviews: int = 0
    principals: dict[Peer, Principal] = field(default_factory=dict)
    closing: dict[Peer, asyncio.Event] = field(default_factory=dict)
    revoked: set[Peer] = field(default_factory=set)
    sessions: dict[Peer, "asyncio.Task[None]"] = field(default_factory=dict)
    group: BackgroundGroup = field(default_factory=lambda: BackgroundGroup("sockets"))

    def connect(self, who: Principal) -> Peer:
        """A client that is *who*."""
        peer, closing = Peer(), asyncio.Event()
        self.principals[peer], self.closing[peer] = who, closing
        connection = Connection(
            peer,
            lambda *_: None,
            closing,
            lambda: peer not in self.revoked,
            identify=lambda: self._identify(peer),
            reviews=lambda: self.reviews,
            address="10.0.0.1:1234",
        )
        handler = TopicSocket(TopicTable({}), None, self.port)
        self.sessions[peer] = self.group.spawn(handler(connection), "socket")
        return peer

    def revoke(self, peer: Peer) -> None:
        """The credential of the client is not valid any more; nobody has told its socket yet."""
        self.revoked.add(peer)
        self.reviews += 1

    def _identify(self, peer: Peer) -> Principal:
        if peer in self.revoked:
            raise CredentialRequiredError("revoked")
        return self.principals[peer]

    async def leave(self, peer: Peer) -> None:
        """The client closes its socket; back when that has ended."""
        peer.incoming.put_nowait(Frame("", 0))
        await self.sessions[peer]


class People:
    """Principals of several kinds."""

    billing = principal("billing", "component", component_id="billing")
    replica = principal("billing.2", "component", component_id="billing.2")
    engram = principal("engram", "component", component_id="engram")
    helper = principal("hands", "component", "helper", component_id="hands")
    ada = principal("ada", "admin")
    mona = principal("mona", "monitor")
    aron = principal("aron", "accountant")
    eve = principal("eve")
    principal = staticmethod(principal)


@pytest.fixture
def people() -> type[People]:
    """Whom there is."""
    return People


@pytest.fixture
def message() -> Callable[..., Message]:
    """`message("billing", {"a": 1}, **context)`: an event of that sender."""
    return _message


@pytest.fixture
async def bus() -> AsyncIterator[Bus]:
    """A bus with its sockets. When they are closed, nothing of them is left."""
    live = LiveBus(SYSTEM_CLOCK)
    precedence = Precedence(SYSTEM_CLOCK)
    streams = Streams(MemoryStreamStore(), SYSTEM_CLOCK, live.deliver, precedence)
    local = LocalBus(SYSTEM_CLOCK, streams, live)
    refusals: list[Refusal] = []
    port = BusPort(
        local,
        streams.stream_of,
        lambda: live.sequence,
        live.answered,
        BusAccess(refusals.append),
        turns=Turns(precedence),
    )
    site = Bus(live, streams, local, port, refusals, precedence)
    await streams.start()
    yield site
    for peer, closing in site.closing.items():
        peer.read()
        closing.set()
        await site.sessions[peer]
    await streams.stop()
    assert (live.tally.subscriptions, len(port.patterns)) == (0, 0)
