"""Rates, shares and room: who may have how much, and what is refused to whom."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tekton.auth.principal import ANONYMOUS, OWNER, Principal
from tekton.auth.roles import NO_GRANTS
from tekton.gateway.admission import BODY_ROOM, SMALL_BODY, Admission, Limits, address_of
from tekton.gateway.app import EventStream
from tekton.gateway.connection import Connection
from tekton.gateway.errors import OverloadedError, RateLimitedError
from tekton.gateway.load import QUEUE, Load
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.gateway.sse import event
from tekton.testing.clock import ManualClock

ELSEWHERE = "192.0.2.7:5000"
LOCAL = "127.0.0.1:5000"
FEW = Limits(rate=10, burst=5, requests=3, streams=2)

MakeRequest = Callable[..., Request]


async def nothing(_: Request) -> dict[str, str]:
    return {}


ROUTE = Route("GET", "/api/things", nothing, "")
VITAL = Route("GET", "/api/health", nothing, "", vital=True)
LARGE = Route("POST", "/api/things", nothing, "", body=dict, max_body=8 * 2**20)


def somebody(subject: str = "ada") -> Principal:
    return Principal(subject=subject, roles=(), via="token", grants=NO_GRANTS)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def admission(clock: ManualClock) -> Admission:
    return Admission(FEW, clock, Load(clock, lambda: 0.5))


@pytest.fixture
def by(make_request: MakeRequest) -> Callable[..., Request]:
    """`by(principal, client, *headers)`."""

    def make(principal: Principal = ANONYMOUS, client: str = ELSEWHERE, *headers: tuple[str, str]) -> Request:
        request = make_request(*headers, client=client)
        request.principal = principal
        return request

    return make


async def refused(act: Callable[[], Any], kind: type[Exception] = RateLimitedError) -> bool:
    try:
        act()
    except kind:
        return True
    return False


# Rates


async def test_an_address_elsewhere_has_a_rate_whatever_it_shows(admission: Admission, clock: ManualClock) -> None:
    for _ in range(5):
        admission.arrive(ELSEWHERE)
    with pytest.raises(RateLimitedError) as caught:
        admission.arrive("192.0.2.7:9999")
    assert caught.value.retry_after == pytest.approx(0.1)

    admission.arrive("192.0.2.8:5000")
    clock.advance(0.1)
    admission.arrive(ELSEWHERE)


@pytest.mark.parametrize("client", [LOCAL, "[::1]:5000", "[::ffff:127.0.0.1]:5000", ""])
async def test_the_programs_of_this_machine_share_no_rate(admission: Admission, client: str) -> None:
    for _ in range(1000):
        admission.arrive(client)


async def test_a_principal_has_a_rate_wherever_it_is(admission: Admission, by: Any) -> None:
    for client in (LOCAL, ELSEWHERE, "", LOCAL, LOCAL):
        admission.leave(admission.enter(by(somebody(), client), ROUTE))

    assert await refused(lambda: admission.enter(by(somebody(), "192.0.2.9:1"), VITAL))
    assert not await refused(lambda: admission.enter(by(somebody("bob"), LOCAL), ROUTE))


async def test_the_owner_at_the_unix_socket_has_no_limit(admission: Admission, by: Any) -> None:
    for _ in range(1000):
        admission.arrive("")
        admission.enter(by(OWNER, ""), ROUTE)
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(admission.streaming(by(OWNER, "")))


async def test_without_a_rate_there_is_none(by: Any) -> None:
    admission = Admission(replace(FEW, rate=None))

    for _ in range(1000):
        admission.arrive(ELSEWHERE)
        admission.leave(admission.enter(by(somebody()), ROUTE))


# Shares


@pytest.mark.parametrize("principal", [somebody(), ANONYMOUS])
async def test_a_caller_has_so_many_requests_at_once(
    admission: Admission, clock: ManualClock, by: Any, principal: Principal
) -> None:
    places = [admission.enter(by(principal), ROUTE) for _ in range(3)]

    assert await refused(lambda: admission.enter(by(principal), ROUTE))
    assert not await refused(lambda: admission.enter(by(principal), VITAL))
    assert not await refused(lambda: admission.enter(by(somebody("bob")), ROUTE))
    admission.leave(places.pop())
    clock.advance(1.0)
    assert not await refused(lambda: admission.enter(by(principal), ROUTE))


async def test_what_has_been_answered_leaves_nothing_behind(admission: Admission, by: Any) -> None:
    for principal in (somebody(), ANONYMOUS):
        for route in (ROUTE, VITAL):
            admission.leave(admission.enter(by(principal), route))

    assert len(admission._requests) == 0


async def test_a_caller_has_so_many_streams(admission: Admission, by: Any) -> None:
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(admission.streaming(by(somebody())))

        assert await refused(lambda: stack.enter_context(admission.streaming(by(somebody(), "192.0.2.8:1"))))
        assert await refused(lambda: stack.enter_context(admission.streaming(by(somebody("bob")))))
        assert not await refused(lambda: stack.enter_context(admission.streaming(by(somebody("bob"), LOCAL))))
    assert len(admission._streams) == 0


async def test_those_who_show_nothing_share_the_streams_of_their_address(admission: Admission, by: Any) -> None:
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(admission.streaming(by(ANONYMOUS, LOCAL)))

        assert await refused(lambda: stack.enter_context(admission.streaming(by(ANONYMOUS, LOCAL))))
        assert not await refused(lambda: stack.enter_context(admission.streaming(by(somebody(), LOCAL))))


# Room


async def test_large_bodies_share_a_room(admission: Admission, by: Any) -> None:
    size = BODY_ROOM // 4

    def enter(*headers: tuple[str, str]) -> Any:
        return admission.enter(by(OWNER, "", *headers), LARGE)

    places = [enter(("content-length", str(size))) for _ in range(4)]
    assert await refused(lambda: enter(("content-length", str(SMALL_BODY + 1))), OverloadedError)
    assert await refused(lambda: enter(("transfer-encoding", "chunked")), OverloadedError)
    assert not await refused(lambda: enter(("content-length", str(SMALL_BODY))), OverloadedError)
    assert not await refused(enter, OverloadedError)

    for place in places:
        admission.leave(place)
    assert admission._room == 0


async def test_one_large_body_always_has_room(admission: Admission, by: Any) -> None:
    huge = replace(LARGE, max_body=10 * BODY_ROOM)

    admission.enter(by(OWNER, "", ("content-length", str(9 * BODY_ROOM))), huge)

    assert await refused(lambda: admission.enter(by(OWNER, "", ("content-length", "99999")), huge), OverloadedError)


async def test_a_refused_request_takes_no_room(admission: Admission, by: Any) -> None:
    request = by(ANONYMOUS, ELSEWHERE, ("content-length", str(SMALL_BODY + 1)))
    for _ in range(3):
        admission.enter(request, LARGE)
    before = admission._room

    assert await refused(lambda: admission.enter(request, LARGE))
    assert admission._room == before


# Load


async def test_what_comes_through_the_unix_socket_is_refused_later(admission: Admission) -> None:
    for pressure, refusals in ((0.4, []), (1.0, ["look"]), (1.6, ["look", "change", "look at the socket"])):
        admission.load.pressure = pressure
        cases = {
            "look": ("look", LOCAL),
            "change": ("change", LOCAL),
            "vital": ("vital", LOCAL),
            "look at the socket": ("look", ""),
            "change at the socket": ("change", ""),
        }
        found = [name for name, case in cases.items() if await refused(lambda: admission.shed(*case), OverloadedError)]  # type: ignore[arg-type]  # noqa: B023
        assert found == refusals


async def test_those_who_are_refused_do_not_all_come_back_at_once(admission: Admission) -> None:
    admission.load.pressure = 1.0
    times = set()
    for _ in range(50):
        with pytest.raises(OverloadedError) as caught:
            admission.shed("look", LOCAL)
        times.add(caught.value.retry_after)

    assert len(times) > 10
    assert min(times) >= 1.0
    assert max(times) <= 4.0


@pytest.mark.parametrize(
    ("client", "address"),
    [
        ("192.0.2.7:5000", "192.0.2.7"),
        ("[2001:db8:1:2:3:4:5:6]:5000", "2001:db8:1:2::/64"),
        ("[::ffff:192.0.2.7]:5000", "192.0.2.7"),
        ("[fe80::1%eth0]:5000", "fe80::/64"),
        ("[nonsense]:5000", "[nonsense]"),
    ],
)
def test_what_counts_as_one_address(client: str, address: str) -> None:
    assert address_of(client) == address


# In a gateway


class Item(msgspec.Struct):
    name: str


class Api:
    """Handlers that wait until the test lets them go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def wait(self, _: Request) -> dict[str, str]:
        await self.go.wait()
        return {}

    async def now(self, _: Request) -> dict[str, str]:
        return {}

    async def stream(self, _: Request) -> EventStream:
        async def events() -> AsyncIterator[bytes]:
            yield event(b"1")
            await self.go.wait()

        return EventStream(events())

    async def socket(self, connection: Connection) -> None:
        await connection.receive(100)

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/api/health", self.now, "", vital=True),
            Route("GET", "/api/now", self.now, ""),
            Route("POST", "/api/change", self.now, "", body=Item),
            Route("GET", "/api/wait", self.wait, ""),
            Route("GET", "/events", self.stream, ""),
        ]


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    api = Api()
    yield api
    api.go.set()


async def test_one_request_too_many_is_answered_and_the_next_is_served(serve: Any, api: Api) -> None:
    admission = Admission(FEW)
    site = await serve(api.routes(), admission=admission)
    waiting = [await site.connect() for _ in range(3)]
    for wire in waiting:
        await wire.send(b"GET /api/wait HTTP/1.1\r\nhost: localhost\r\n\r\n")
    await until(lambda: admission._requests._held == {"127.0.0.1": 3})

    answer = await site.request("GET", "/api/now")
    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (429, "rate_limited", "1")
    assert (await site.request("GET", "/api/health")).status == 200

    api.go.set()
    assert [(await wire.answer()).status for wire in waiting] == [200] * 3
    assert (await site.request("GET", "/api/now")).status == 200


async def test_a_client_that_leaves_gives_its_share_back(serve: Any, api: Api) -> None:
    admission = Admission(FEW)
    site = await serve(api.routes(), admission=admission)
    wire = await site.connect()
    await wire.send(b"POST /api/change HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n")
    await wire.send(b"content-length: 10\r\n\r\n{")
    await until(lambda: len(admission._requests) == 1)

    wire.writer.close()

    await until(lambda: len(admission._requests) == 0)


async def test_streams_and_sockets_count_together_and_not_as_requests(serve: Any, api: Api) -> None:
    admission = Admission(replace(FEW, requests=1))
    site = await serve(api.routes(), admission=admission, websocket=api.socket)
    stream, socket, third = await site.connect(), await site.connect(), await site.connect()
    await stream.send(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert (await stream.head())[0] == 200
    await socket.send(_upgrade())
    assert (await socket.head())[0] == 101

    await third.send(_upgrade())
    assert (await third.head())[0] == 429
    assert (await site.request("GET", "/events")).status == 429
    assert (await site.request("GET", "/api/now")).status == 200

    socket.writer.close()
    await until(lambda: admission._streams._held == {"address 127.0.0.1": 1})
    fourth = await site.connect()
    await fourth.send(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert (await fourth.head())[0] == 200


async def test_under_pressure_health_is_answered_and_lists_and_sockets_are_refused(serve: Any, api: Api) -> None:
    admission = Admission(FEW, load=Load(ManualClock(), lambda: 0.0))
    site = await serve(api.routes(), admission=admission, websocket=api.socket)
    admission.load.pressure = 1.0  # it stays, as the clock does

    refusal = await site.request("GET", "/api/now")
    assert (refusal.status, refusal.json["code"]) == (503, "overloaded")
    assert 1 <= int(refusal.headers["retry-after"]) <= 4
    assert (await site.request("GET", "/events")).status == 503
    wire = await site.connect()
    await wire.send(_upgrade())
    assert (await wire.head())[0] == 503
    admission.load.pressure = 2.0
    assert (await site.request("GET", "/api/health")).status == 200
    assert (await site.request("POST", "/api/change", b'{"name":"a"}')).status == 503


async def test_a_gateway_is_not_late_by_itself(serve: Any, api: Api) -> None:
    admission = Admission(Limits())
    site = await serve(api.routes(), admission=admission)

    answers = [await (await site.connect()).request("GET", "/api/now") for _ in range(2 * QUEUE)]

    assert {answer.status for answer in answers} == {200}


async def test_the_owner_is_let_in_when_the_port_is_full(serve: Any, api: Api, tmp_path: Path) -> None:
    site = await serve(api.routes(), admission=Admission(replace(FEW, requests=1)), policy=None, uds=tmp_path / "s")

    for _ in range(20):
        assert (await (await site.connect(tmp_path / "s")).request("GET", "/api/now")).status == 200


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - nothing of ours tells
            await asyncio.sleep(0.001)


def _upgrade() -> bytes:
    lines = ["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"]
    head = ["GET /ws HTTP/1.1", "host: localhost", *lines, "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="]
    return "\r\n".join([*head, "", ""]).encode()
