"""Tests of tekton.utils.capability_calls: calls of whoever serves a capability, against real servers."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from aiohttp import web
from component_records import component_record

from tekton.core.degradation.deadline import within
from tekton.core.lifecycle import ComponentRecord, ComponentRegistration, ComponentState
from tekton.gateway.problems import MEDIA_TYPE, status_of, to_problem
from tekton.testing import virtual_time
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils import component_client
from tekton.utils.calls import Call, Caller
from tekton.utils.capability_calls import Candidate, call_in_turn
from tekton.utils.control_plane import ControlPlane
from tekton.utils.discovery import Discovery
from tekton.utils.retries import Retries
from tekton.utils.tekton_config import FallbackSpec
from tekton.utils.tekton_errors import (
    CallTimeoutError,
    CircuitOpenError,
    InvalidIdError,
    NoFallbackAvailableError,
    ProblemError,
    TransportError,
)

CHAT = "chat"
FALLBACKS = {
    CHAT: (
        FallbackSpec(component="local", parameters={"model": "small"}),
        FallbackSpec(component="cloud", priority=1),
    )
}


READY_RECORD = component_record("any", "1", endpoint="http://h:1")


class Server:
    """A component with one instance: what it was asked, and how it behaves."""

    def __init__(self, name: str, plane: InMemoryControlPlane) -> None:
        self.name = name
        self.asked: list[Any] = []
        self.behave: Callable[[web.Request], Awaitable[web.StreamResponse]] = self.answer
        self._plane = plane
        self.url = ""
        self.instance = ""

    async def answer(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"from": self.name})

    def says(self, status: int) -> None:
        async def refuse(_: web.Request) -> web.StreamResponse:
            return web.json_response({"code": "whatever", "detail": "no"}, status=status)

        self.behave = refuse

    def hangs(self) -> None:
        async def never(_: web.Request) -> web.StreamResponse:
            await asyncio.Event().wait()
            return web.Response()

        self.behave = never

    async def enter(self, url: str) -> None:
        """Be registered and READY."""
        self.url = url
        registration = ComponentRegistration(
            component_id=self.name, capabilities=(CHAT,) if self.name == "rhetor" else (), endpoint=url
        )
        self.instance = registration.instance_uuid
        await self._plane.registry.register(registration)
        await self._plane.registry.make_ready(self.name, self.instance)

    def observe(self, state: ComponentState) -> None:
        assert self._plane.registry.observe(self.name, self.instance, state, "a test")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.asked.append(json.loads(body) if body else None)
        return await self.behave(request)

    @asynccontextmanager
    async def served(self) -> AsyncIterator["Server"]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            await self.enter(f"http://127.0.0.1:{runner.addresses[0][1]}")
            yield self
        finally:
            await runner.cleanup()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (nothing tells when it changes)
            await asyncio.sleep(0.001)


class Chat:
    """rhetor, who offers the capability, and those who stand in; and a caller that has caught up with the registry."""

    def __init__(self, plane: InMemoryControlPlane, discovery: Discovery, servers: list[Server]) -> None:
        self.plane = plane
        self.discovery = discovery
        self.rhetor, self.local, self.cloud = servers

    async def caught_up(self) -> None:
        await until(lambda: self.discovery.revision >= self.plane.registry.revision)

    async def call(self, data: object = None, **how: Any) -> Any:
        await self.caught_up()
        return await self.discovery.call_capability(CHAT, "/api/x", "POST", data, **how)

    async def asked(self, data: object = None, **how: Any) -> str:
        return str((await self.call(data, **how))["from"])


class Hanging:
    """A caller of components that all hang; it notes how long it waited for each."""

    def __init__(self) -> None:
        self.waited: list[tuple[str, float]] = []

    async def call(self, name: str, _instances: Any, _call: Call, timeout: float) -> Any:
        self.waited.append((name, timeout))
        await asyncio.sleep(timeout)
        raise TransportError(name, "no answer in time")


@virtual_time
async def test_one_that_hangs_leaves_an_equal_share_of_the_time_to_each_that_can_be_asked_after_it() -> None:
    caller = Hanging()
    up, down = [READY_RECORD], [msgspec.structs.replace(READY_RECORD, state=ComponentState.FAILED)]
    candidates = [
        Candidate("rhetor", lambda: up),
        Candidate("down", lambda: down),
        Candidate("local", lambda: up),
        Candidate("cloud", lambda: up),
    ]

    with pytest.raises(NoFallbackAvailableError):
        await call_in_turn(cast(Caller, caller), CHAT, candidates, Call("GET", "/x"), 12.0)

    assert caller.waited[:2] == [("rhetor", 4.0), ("down", pytest.approx(8 / 3))]
    assert [name for name, _ in caller.waited] == ["rhetor", "down", "local", "cloud"]
    assert sum(seconds for _, seconds in caller.waited) == pytest.approx(12.0)


@virtual_time
async def test_who_is_not_asked_for_want_of_time_is_told_of_as_well() -> None:
    async def slow(name: str, _instances: Any, _call: Call, timeout: float) -> Any:
        await asyncio.sleep(timeout * 2)
        raise TransportError(name, "no answer in time")

    candidates = [Candidate("rhetor", lambda: [READY_RECORD]), Candidate("local", lambda: [READY_RECORD])]
    with pytest.raises(NoFallbackAvailableError) as caught:
        await call_in_turn(cast(Caller, SimpleNamespace(call=slow)), CHAT, candidates, Call("GET", "/x"), 2.0)

    assert [type(error) for error in caught.value.causes.values()] == [TransportError, CallTimeoutError]


@pytest.fixture
async def plane() -> AsyncIterator[InMemoryControlPlane]:
    async with InMemoryControlPlane(fallbacks=FALLBACKS) as plane:
        yield plane


@pytest.fixture
async def chat(plane: InMemoryControlPlane) -> AsyncIterator[Chat]:
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(Server(name, plane).served()) for name in ("rhetor", "local", "cloud")
        ]
        discovery = Discovery(plane.address, retries=Retries(backoff=(0.0, 0.0)))
        yield Chat(plane, await stack.enter_async_context(discovery), servers)


async def test_who_offers_the_capability_is_called(chat: Chat) -> None:
    assert await chat.asked({"text": "a"}) == "rhetor"
    assert (chat.rhetor.asked, chat.local.asked) == ([{"text": "a"}], [])


@pytest.mark.parametrize("how", ["failed", "answers 500", "answers 503", "no traffic"])
async def test_while_it_fails_the_fallback_is_called_with_its_parameters(chat: Chat, how: str) -> None:
    match how:
        case "failed":
            chat.rhetor.observe(ComponentState.FAILED)
        case "no traffic":
            assert chat.plane.registry.observe_serving("rhetor", chat.rhetor.instance, False, "drained")
        case _:
            chat.rhetor.says(int(how[-3:]))

    assert await chat.asked({"text": "a", "model": "large"}, timeout=10) == "local"
    assert chat.local.asked == [{"text": "a", "model": "small"}]


async def test_when_it_is_back_it_is_called_again(chat: Chat) -> None:
    chat.rhetor.observe(ComponentState.FAILED)
    meanwhile = await chat.asked()
    await chat.rhetor.enter(chat.rhetor.url)

    assert (meanwhile, await chat.asked()) == ("local", "rhetor")


async def test_the_fallbacks_are_asked_in_their_order(chat: Chat) -> None:
    chat.rhetor.observe(ComponentState.FAILED)
    chat.local.says(503)

    assert await chat.asked({"text": "a"}) == "cloud"
    assert chat.cloud.asked == [{"text": "a"}]


async def test_when_all_fail_it_is_told_of_each_why(chat: Chat) -> None:
    chat.rhetor.observe(ComponentState.FAILED)
    chat.local.says(503)
    chat.cloud.says(500)

    with pytest.raises(NoFallbackAvailableError) as caught:
        await chat.call()

    assert list(caught.value.reasons) == [CHAT, "local", "cloud"]
    assert "failed: a test" in caught.value.reasons[CHAT]
    assert [type(error) for error in caught.value.causes.values()][1:] == [ProblemError, ProblemError]


async def test_a_refusal_that_is_about_the_request_is_the_answer(chat: Chat) -> None:
    chat.rhetor.says(422)

    with pytest.raises(ProblemError) as caught:
        await chat.call()

    assert (caught.value.status, chat.local.asked) == (422, [])


async def test_once_the_circuit_is_open_the_fallback_is_called_at_once(chat: Chat) -> None:
    chat.rhetor.says(500)
    answers = [await chat.asked() for _ in range(8)]

    with pytest.raises(CircuitOpenError):
        await chat.discovery.call_api("rhetor", "/api/x")

    assert answers == ["local"] * 8
    assert len(chat.rhetor.asked) == 5


async def test_data_that_has_no_place_for_parameters_is_refused_before_anybody_fails(chat: Chat) -> None:
    with pytest.raises(TypeError, match="list"):
        await chat.call(["a"])

    assert chat.rhetor.asked == []


async def test_a_call_has_no_more_time_than_what_it_is_a_part_of(chat: Chat) -> None:
    chat.rhetor.hangs()
    chat.local.hangs()
    chat.cloud.hangs()

    with within(0.3), pytest.raises(NoFallbackAvailableError):
        await chat.call(timeout=3600)
    with within(0), pytest.raises(CallTimeoutError):
        await chat.discovery.call_api("rhetor", "/api/x")


async def test_a_fallback_that_is_found_by_the_capability_is_called_with_its_parameters(chat: Chat) -> None:
    chat.rhetor.observe(ComponentState.FAILED)
    await chat.caught_up()
    for control_plane in (None, chat.plane.address):
        (found,) = await component_client.find_components_by_capability(CHAT, control_plane=control_plane)
        await found.call_api("/api/x", "POST", {"text": "a"})

    assert chat.local.asked == [{"text": "a", "model": "small"}] * 2


async def test_without_a_discovery_it_is_the_same(plane: InMemoryControlPlane, chat: Chat) -> None:
    chat.rhetor.observe(ComponentState.FAILED)

    answer = await component_client.call_capability(CHAT, "/api/x", "POST", control_plane=plane.address)

    assert answer == {"from": "local"}


async def test_while_the_control_plane_is_away_what_was_known_of_fallbacks_holds(
    plane: InMemoryControlPlane, chat: Chat
) -> None:
    await chat.call()
    await plane._server.stop()
    chat.rhetor.says(503)
    await until(lambda: not chat.discovery._current)

    assert (await chat.discovery.call_capability(CHAT, "/api/x", "POST"))["from"] == "local"


async def test_what_nobody_can_offer_and_a_name_that_is_none(chat: Chat) -> None:
    with pytest.raises(NoFallbackAvailableError, match="flying"):
        await chat.discovery.call_capability("flying", "/api/x")
    with pytest.raises(InvalidIdError):
        await chat.discovery.call_capability("No Name", "/api/x")


async def test_where_there_never_was_a_picture_that_is_what_is_told() -> None:
    async with Discovery(ControlPlane("http://127.0.0.1:9")) as discovery:
        with pytest.raises(TransportError):
            await discovery.call_capability(CHAT, "/api/x")


async def test_new_fallbacks_reach_callers_by_themselves(plane: InMemoryControlPlane, chat: Chat) -> None:
    chat.rhetor.observe(ComponentState.FAILED)
    before = await chat.asked()
    plane.degradation.adopt({CHAT: [FallbackSpec(component="cloud")]})
    await until(lambda: len(chat.discovery._fallbacks.of(CHAT)) == 1)

    assert (before, await chat.asked()) == ("local", "cloud")


async def test_three_layers_that_call_one_another_do_not_multiply_the_load(plane: InMemoryControlPlane) -> None:
    calls = 100
    async with AsyncExitStack() as stack:
        # Without breakers, which would spare the last layer long before.
        discoveries = [await stack.enter_async_context(Discovery(plane.address, hook=NoHook())) for _ in range(3)]
        servers = {name: await stack.enter_async_context(Server(name, plane).served()) for name in "abc"}
        for name, below, discovery in (("a", "b", discoveries[1]), ("b", "c", discoveries[2])):
            servers[name].behave = _relaying(discovery, below)
        servers["c"].says(503)
        for discovery in discoveries:
            await until(lambda: discovery.revision >= plane.registry.revision)  # noqa: B023

        for _ in range(calls):
            with pytest.raises((TransportError, ProblemError)):
                await discoveries[0].call_api("a", "/api/x")

    savings = Retries().savings
    assert len(servers["c"].asked) <= 1.1 * calls + savings
    assert len(servers["a"].asked) == len(servers["b"].asked) == calls


class NoHook:
    def before(self, instance: ComponentRecord) -> None: ...

    def after(self, instance: ComponentRecord, error: BaseException | None) -> None: ...


def _relaying(discovery: Discovery, below: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def relay(_: web.Request) -> web.StreamResponse:
        try:
            await discovery.call_api(below, "/api/x")
        except (TransportError, ProblemError) as error:
            return web.Response(body=to_problem(error, "/api/x"), status=status_of(error), content_type=MEDIA_TYPE)
        return web.Response()

    return relay
