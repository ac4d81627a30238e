"""A gateway on a real port and a client that sends exact bytes; doubles of the server's objects for the pure parts."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from component_records import component_record

from tekton.auth.principal import Principal, owner
from tekton.core.events import ChangeFeed
from tekton.core.lifecycle import Change, ComponentRecord, ComponentState
from tekton.gateway.app import Gateway, Route
from tekton.gateway.auth import AccessPolicy, InvalidCredentialError, Policy
from tekton.gateway.changes import ChangeSource
from tekton.gateway.request import Request
from tekton.gateway.server import GatewayServer
from tekton.gateway.tls import Tls


@dataclass
class Answer:
    """One HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """A connection on which a test writes what it likes. Everything it waits for comes within 5 s."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        self.reader = reader
        self.writer = writer
        self.port = port

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """A well-formed request (`content_type="text/plain"` overrides a header) and its answer."""
        fields = {"host": f"127.0.0.1:{self.port}"}
        if body is not None:
            fields |= {"content-type": "application/json", "content-length": str(len(body))}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
        await self.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + (body or b""))
        return await self.answer(no_body=method == "HEAD")

    async def answer(self, *, no_body: bool = False) -> Answer:
        async with asyncio.timeout(5):
            status, headers = await self.head()
            length = 0 if no_body or status in (101, 204) else int(headers.get("content-length", "0"))
            return Answer(status, headers, await self.reader.readexactly(length))

    async def head(self) -> tuple[int, dict[str, str]]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        return int(first.split(" ")[1]), dict(re.split(r": *", line.lower(), maxsplit=1) for line in lines)

    async def closed(self) -> bool:
        """True when the server closes the connection."""
        async with asyncio.timeout(5):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionResetError:
                pass
        return True


@dataclass
class Site:
    """A running gateway."""

    gateway: Gateway
    server: GatewayServer
    wires: list[Wire] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def connect(self, uds: Path | None = None) -> Wire:
        open_ = asyncio.open_unix_connection(uds) if uds else asyncio.open_connection("127.0.0.1", self.port)
        wire = Wire(*await open_, self.port)
        self.wires.append(wire)
        return wire

    async def no_streams(self) -> None:
        """Wait until no stream and no socket is open."""
        async with asyncio.timeout(5):
            await self.gateway.streams._none_left.wait()

    async def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        return await (await self.connect()).request(method, path, body, **headers)

    async def raw(self, data: bytes) -> Answer:
        """The first answer to exactly *data*."""
        wire = await self.connect()
        await wire.send(data)
        return await wire.answer()


Serve = Callable[..., Awaitable[Site]]


def allow(request: Request, route: Route) -> None:
    """A policy that lets everybody do everything."""


def identify(credential: str) -> Principal:
    """The owner's credential is `s3cret`, and there are no others."""
    if credential != "s3cret":
        raise InvalidCredentialError("unknown")
    return owner("credential")


@pytest.fixture
def keyed_policy() -> Callable[..., AccessPolicy]:
    """`keyed_policy(**options)`: a policy with one credential, `s3cret`, which is the owner's."""
    return partial(AccessPolicy, identify)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`await serve(routes, ...)`: a gateway for these routes on a free port, open to everybody by default."""
    sites: list[Site] = []

    async def start(
        routes: Sequence[Route] = (),
        *,
        policy: Policy | None = allow,
        uds: Path | None = None,
        tls: Tls | None = None,
        ops_port: int | None = None,
        metrics_port: int | None = None,
        **options: Any,
    ) -> Site:
        gateway = Gateway(routes, policy=policy, **options)
        ports = {"ops_port": ops_port, "metrics_port": metrics_port}
        site = Site(gateway, GatewayServer(gateway, "127.0.0.1", 0, uds, tls=tls, **ports))
        await site.server.start()
        sites.append(site)
        return site

    yield start
    for site in sites:
        for wire in site.wires:
            wire.writer.close()
        await site.server.stop(timeout=2.0)


class FakeHeaders:
    """Request headers as the server gives them."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._pairs = [(name.lower(), value) for name, value in pairs]

    def __contains__(self, name: str) -> bool:
        return any(name == known for known, _ in self._pairs)

    def __len__(self) -> int:
        return len({name for name, _ in self._pairs})

    def keys(self) -> list[str]:
        return list(dict(self._pairs))

    def values(self) -> list[str]:
        return [value for _, value in self._pairs if value.isascii()]

    def get(self, name: str, default: str | None = None) -> str | None:
        return next((value for known, value in self._pairs if known == name and value.isascii()), default)

    def get_all(self, name: str) -> list[str]:
        return [value for known, value in self._pairs if known == name]


@dataclass
class FakeScope:
    """A request as the server describes it."""

    proto: str = "http"
    method: str = "GET"
    path: str = "/"
    query_string: str = ""
    scheme: str = "http"
    client: str = "127.0.0.1:50000"
    authority: str | None = None
    headers: FakeHeaders = field(default_factory=lambda: FakeHeaders([("host", "localhost")]))


class FakeBody:
    """A body that arrives when the test says so."""

    def __init__(self) -> None:
        self.future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def cancel(self) -> bool:
        return self.future.cancel()

    def __await__(self) -> Generator[Any, None, bytes]:
        return self.future.__await__()


class FakeTransport:
    """Keeps what is sent, and fails like the server when the client is known to have left."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.left = False
        self.news = asyncio.Event()

    async def send_bytes(self, data: bytes) -> None:
        if self.left:
            raise RuntimeError("RSGI transport is closed")
        self.sent.append(data)
        self.news.set()

    async def until(self, part: bytes) -> bytes:
        """All that was sent, once *part* is in it."""
        async with asyncio.timeout(5):
            while part not in (all_of_it := b"".join(self.sent)):
                self.news.clear()
                await self.news.wait()
        return all_of_it


class FakeHttp:
    """One exchange. `chunks` are the body in pieces."""

    def __init__(self, chunks: Sequence[bytes] = ()) -> None:
        self.chunks = chunks
        self.bodies: list[FakeBody] = []
        self.gone = asyncio.Event()
        self.transport = FakeTransport()
        self.response: tuple[int, dict[str, str], bytes] | None = None

    def __call__(self) -> FakeBody:
        self.bodies.append(FakeBody())
        return self.bodies[-1]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk

    async def client_disconnect(self) -> None:
        await self.gone.wait()

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.response = status, dict(headers), body

    def response_stream(self, status: int, headers: list[tuple[str, str]]) -> FakeTransport:
        self.response = status, dict(headers), b""
        return self.transport


class Feed:
    """A change feed whose records are the last ones published."""

    def __init__(self, capacity: int = 1000, revision: int = 10) -> None:
        self.feed = ChangeFeed(revision, capacity)
        self.records: dict[str, ComponentRecord] = {}
        self.source = ChangeSource(self.feed, lambda: list(self.records.values()))

    def publish(self, *names: str, reason: str | None = None) -> None:
        for name in names:
            record = _record(name, self.feed.revision + 1, reason)
            self.records[name] = record
            self.feed.publish(_change(record))


def _record(name: str, revision: int, reason: str | None) -> ComponentRecord:
    return component_record(
        name,
        "7f1f7c9e-6a55-4b8a-9e5c-0f6e5e8f3a11",
        reason=reason,
        revision=revision,
        registered_at=1.0,
        changed_at=1.0,
    )


def _change(record: ComponentRecord) -> Change:
    return Change(
        revision=record.revision,
        at=1.0,
        kind="state",
        component_id=record.component_id,
        instance_uuid=record.instance_uuid,
        previous=ComponentState.STARTING,
        state=record.state,
        reason=record.reason,
        record=record,
    )


@pytest.fixture
def feed() -> Feed:
    """A change feed at revision 10 with no records."""
    return Feed()


@pytest.fixture
def small_feed() -> Feed:
    """A feed that forgets after a few changes."""
    return Feed(capacity=4)


@pytest.fixture
def headers() -> Callable[..., FakeHeaders]:
    """`headers(("host", "x"), ...)`."""
    return lambda *pairs: FakeHeaders(pairs)


@pytest.fixture
def scope() -> Callable[..., FakeScope]:
    """`scope(method="POST", ...)`."""
    return FakeScope


@pytest.fixture
def exchange() -> Callable[..., FakeHttp]:
    """`exchange(chunks)`: an HTTP exchange without a server."""
    return FakeHttp


@pytest.fixture
def make_request() -> Callable[..., Request]:
    """`make_request(("authorization", "…"), client="…")`: a request for policies to look at."""

    def make(*pairs: tuple[str, str], client: str = "127.0.0.1:5") -> Request:
        headers = FakeHeaders([("host", "localhost"), *pairs])
        return Request(FakeScope(client=client), None, headers, "GET", "/")

    return make
