"""The tools of components in the control plane: when they are there, where calls go, and on whose behalf."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Self, cast

import msgspec
import pytest

from tekton.auth.principal import OWNER, Principal
from tekton.auth.roles import RoleTable
from tekton.component import Component
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.core.offered_tools import OfferedTool
from tekton.mcp.tool_context import LogLine, Progress, ToolContext, ToolEvent
from tekton.service import tools
from tekton.service.caller_passes import SOMEBODY, OnBehalf
from tekton.service.tools import MAX_ANSWER, ComponentTools
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils import remote_auth
from tekton.utils.config_schema import BreakerSpec
from tekton.utils.tekton_config import RoleSpec, TektonConfig
from tekton.utils.tekton_errors import (
    AmbiguousToolError,
    CircuitOpenError,
    InvalidArgumentsError,
    NoUsableInstanceError,
    ProblemError,
    TektonError,
    ToolBusyError,
    ToolFailedError,
    ToolNotFoundError,
    ToolTimeoutError,
)

ME = OnBehalf(OWNER, is_local=True)
RESULT = b'{"result":1}'
SECRET = "kZ7-qW3_vB9.mX2~pL6!tR8@nC4#hJ5$"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("TEKTON_URL", "TEKTON_SOCKET", "TEKTON_CREDENTIAL_FILE", "TEKTON_PORT", "PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(remote_auth, "TIMEOUT", 20.0)


@pytest.fixture
async def plane() -> AsyncIterator[InMemoryControlPlane]:
    async with InMemoryControlPlane() as plane:
        yield plane


class Backend:
    """A server of the test's own: a component in any language. Answers *answer*; keeps what it was asked."""

    def __init__(self, answer: bytes = RESULT, head: str = "200 OK", *headers: str) -> None:
        lines = [f"HTTP/1.1 {head}", f"Content-Length: {len(answer)}", *headers]
        self.answer = "\r\n".join([*lines, "", ""]).encode() + answer
        self.asked: list[str] = []
        self.begun, self.ended = asyncio.Event(), asyncio.Event()
        self.silent = False
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        for writer in self._writers:
            writer.close()
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(line[15:]) for line in head.splitlines() if line.lower().startswith("content-length:")), 0)
        self.asked.append(head + (await reader.readexactly(length)).decode())
        self.begun.set()
        if not self.silent:
            writer.write(self.answer)
            writer.close()
        await reader.read()
        writer.close()
        self.ended.set()

    def header(self, name: str, place: int = -1) -> str | None:
        """What the header was of the request at that *place*."""
        lines = self.asked[place].partition("\r\n\r\n")[0].splitlines()
        return next((line.partition(": ")[2] for line in lines if line.lower().startswith(f"{name.lower()}:")), None)


async def register(
    registry: ComponentRegistry, component_id: str, port: int, *tools: OfferedTool | str, **fields: Any
) -> ComponentRegistration:
    """Register an instance with *tools*, and have it READY."""
    said = tuple(OfferedTool(name=tool) if isinstance(tool, str) else tool for tool in tools)
    fields.setdefault("endpoint", f"http://127.0.0.1:{port}")
    registration = ComponentRegistration(component_id=component_id, tools=said, **fields)
    await registry.register(registration)
    await registry.make_ready(component_id, registration.instance_uuid)
    return registration


async def call(plane: InMemoryControlPlane, tool_id: str, by: OnBehalf = ME, **arguments: Any) -> Any:
    async with asyncio.timeout(10):
        return (await plane.tools.call(plane.tools.find(tool_id), arguments, by)).content


def ids(tools: ComponentTools) -> list[str]:
    return list(tools.registry)


# What is offered


async def test_a_tool_is_there_while_its_component_can_be_used(plane: InMemoryControlPlane) -> None:
    registration = ComponentRegistration(
        component_id="shop", endpoint="http://127.0.0.1:1", tools=(OfferedTool(name="orders.place"),)
    )
    seen = []
    await plane.registry.register(registration)
    seen.append(ids(plane.tools))
    await plane.registry.make_ready("shop", registration.instance_uuid)
    seen.append(ids(plane.tools))
    await plane.registry.set_state("shop", registration.instance_uuid, ComponentState.DEGRADED)
    seen.append(ids(plane.tools))
    await plane.registry.set_state("shop", registration.instance_uuid, ComponentState.FAILED)
    seen.append(ids(plane.tools))

    assert seen == [[], ["shop.orders.place"], ["shop.orders.place"], []]


async def test_a_tool_is_gone_while_its_component_takes_no_traffic(plane: InMemoryControlPlane) -> None:
    registration = await register(plane.registry, "shop", 1, "place")

    plane.registry.observe_serving("shop", registration.instance_uuid, False, "busy")
    without = ids(plane.tools)
    plane.registry.observe_serving("shop", registration.instance_uuid, True, "")

    assert (without, ids(plane.tools)) == ([], ["shop.place"])


async def test_a_component_without_an_endpoint_offers_nothing(plane: InMemoryControlPlane) -> None:
    await register(plane.registry, "shop", 1, "place", endpoint=None)

    assert ids(plane.tools) == []


async def test_other_tools_in_a_registration_hold_at_once(plane: InMemoryControlPlane) -> None:
    first = await register(plane.registry, "shop", 1, "place", "cancel")
    changes = plane.tools.registry.version

    described = OfferedTool(name="place", description="Place an order.", timeout=5)
    await plane.registry.register(msgspec.structs.replace(first, tools=(described, OfferedTool(name="track"))))

    assert ids(plane.tools) == ["shop.place", "shop.track"]
    assert plane.tools.find("track").name == "shop.track"
    assert (plane.tools.find("place").description, plane.tools.find("place").limits.timeout) == ("Place an order.", 5)
    with pytest.raises(ToolNotFoundError):
        plane.tools.find("cancel")
    assert plane.tools.registry.version == changes + 3


async def test_what_was_registered_before_the_control_plane_was_started_anew_is_there(
    plane: InMemoryControlPlane,
) -> None:
    await register(plane.registry, "shop", 1, "place")
    await register(plane.registry, "plain", 1)

    another = ComponentTools(plane.registry, plane.security, config())
    another.start()

    assert ids(another) == ["shop.place"]
    await another.stop()


async def test_a_tool_is_there_until_the_last_instance_that_offers_it_has_gone(plane: InMemoryControlPlane) -> None:
    old = await register(plane.registry, "shop", 1, "place", max_instances=2)
    new = await register(plane.registry, "shop", 2, "place", "track", max_instances=2)
    seen = [ids(plane.tools)]

    await plane.registry.set_state("shop", new.instance_uuid, ComponentState.FAILED)
    seen.append(ids(plane.tools))
    await plane.registry.deregister("shop", old.instance_uuid)
    seen.append(ids(plane.tools))

    assert seen == [["shop.place", "shop.track"], ["shop.place"], []]


async def test_a_name_without_a_component_is_enough_while_only_one_has_it(plane: InMemoryControlPlane) -> None:
    await register(plane.registry, "shop", 1, "place")
    found = plane.tools.find("place").name

    other = await register(plane.registry, "bakery", 2, "place")
    with pytest.raises(AmbiguousToolError) as refusal:
        plane.tools.find("place")
    await plane.registry.deregister("bakery", other.instance_uuid)

    assert found == "shop.place"
    assert refusal.value.candidates == ["bakery.place", "shop.place"]
    assert plane.tools.find("place").name == "shop.place"


async def test_nobody_gets_the_calls_of_another_component_that_is_away(plane: InMemoryControlPlane) -> None:
    await register(plane.registry, "mallory", 1, "shop.place")
    shop = await register(plane.registry, "shop", 2, "place")
    assert plane.tools.find("shop.place").source == "shop"

    await plane.registry.deregister("shop", shop.instance_uuid)

    with pytest.raises(ToolNotFoundError):
        plane.tools.find("shop.place")
    assert plane.tools.find("mallory.shop.place").source == "mallory"


async def test_nobody_takes_the_place_of_a_tool_that_is_not_a_components(
    plane: InMemoryControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    async def own() -> str:
        return "own"

    plane.tools.registry.register_tool("tekton.restart", "Restart.", own)
    impostor = await register(plane.registry, "tekton", 1, "restart")
    found = await call(plane, "tekton.restart")
    await plane.registry.deregister("tekton", impostor.instance_uuid)

    assert (found, ids(plane.tools)) == ("own", ["tekton.restart"])
    assert "somebody else's" in caplog.text


async def test_the_nearest_tool_is_named(plane: InMemoryControlPlane) -> None:
    await register(plane.registry, "shop", 1, "place")

    for mistyped, nearest in (("shop.plaice", "shop.place"), ("plaice", "place")):
        with pytest.raises(ToolNotFoundError) as refusal:
            plane.tools.find(mistyped)
        assert refusal.value.nearest == nearest


# Where calls go


async def test_a_call_is_a_request_to_the_component(plane: InMemoryControlPlane) -> None:
    async with Backend() as backend:
        await register(plane.registry, "shop", backend.port, "orders.place")

        assert await call(plane, "shop.orders.place", item="apple", count=2) == 1

    assert backend.asked[0].startswith("POST /api/tools/orders.place HTTP/1.1\r\n")
    assert backend.asked[0].endswith('{"item":"apple","count":2}')
    assert 30 < float(backend.header("Tekton-Timeout") or 0) <= 60


async def test_a_call_goes_to_an_instance_that_offers_the_tool(plane: InMemoryControlPlane) -> None:
    async with Backend() as old, Backend() as new:
        await register(plane.registry, "shop", old.port, "place", max_instances=2)
        await register(plane.registry, "shop", new.port, "place", "track", max_instances=2)

        for _ in range(6):
            await call(plane, "shop.track")

    assert (len(old.asked), len(new.asked)) == (0, 6)


@pytest.mark.parametrize(("hints", "asked"), [({}, [1, 0]), ({"idempotentHint": True}, [1, 1])], ids=["once", "again"])
async def test_what_may_have_arrived_is_sent_again_only_if_the_tool_says_that_it_may(
    plane: InMemoryControlPlane, hints: dict[str, Any], asked: list[int]
) -> None:
    tool = OfferedTool(name="place", annotations=hints)
    async with Backend() as broken, Backend() as good:
        broken.answer = b""
        first = await register(plane.registry, "shop", broken.port, tool, max_instances=2)
        second = await register(plane.registry, "shop", good.port, tool, max_instances=2)
        await plane.registry.set_state("shop", second.instance_uuid, ComponentState.DEGRADED)
        assert first.component_id == "shop"  # READY, so it is asked first

        if hints:
            assert await call(plane, "shop.place") == 1
        else:
            with pytest.raises(ToolFailedError, match="connection was closed"):
                await call(plane, "shop.place")

    assert [len(broken.asked), len(good.asked)] == asked


async def test_an_instance_that_cannot_be_reached_is_passed_over(plane: InMemoryControlPlane, free_port: int) -> None:
    async with Backend() as good:
        await register(plane.registry, "shop", free_port, "place", max_instances=2)
        second = await register(plane.registry, "shop", good.port, "place", max_instances=2)
        await plane.registry.set_state("shop", second.instance_uuid, ComponentState.DEGRADED)

        assert await call(plane, "shop.place") == 1


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://10.0.0.1:9100",
        "http://192.168.1.1",
        "http://[::ffff:10.0.0.1]",
        "http://1.1.1.1:22",
        "http://tekton.invalid",
        "https://localhost.invalid",
    ],
)
async def test_a_call_goes_only_where_an_address_may_be_called(plane: InMemoryControlPlane, endpoint: str) -> None:
    await register(plane.registry, "evil", 0, "x", endpoint=endpoint)

    with pytest.raises(ToolFailedError):
        await call(plane, "evil.x")


async def test_a_call_never_goes_to_the_control_plane_itself(plane: InMemoryControlPlane) -> None:
    await register(plane.registry, "evil", int(plane.address.url.rpartition(":")[2]), "x")

    with pytest.raises(ToolFailedError, match="requests may not go there: it leads to this machine") as refusal:
        await call(plane, "evil.x")
    assert "callback_networks" in str(refusal.value.hint)


async def test_who_serves_other_machines_calls_of_this_one_only_what_it_runs_itself() -> None:
    async with InMemoryControlPlane() as plane, Backend() as backend:
        tools = ComponentTools(plane.registry, plane.security, config(host="0.0.0.0"))
        tools.start()
        await register(plane.registry, "stranger", backend.port, "x")
        with pytest.raises(ToolFailedError, match="this machine"):
            await tools.call(tools.find("stranger.x"), {}, ME)

        own = ComponentRegistration(
            component_id="own", endpoint=f"http://127.0.0.1:{backend.port}", tools=(OfferedTool(name="x"),)
        )
        await plane.registry.register(own, supervised=True)
        await plane.registry.make_ready("own", own.instance_uuid)
        assert (await tools.call(tools.find("own.x"), {}, ME)).content == 1
        await tools.stop()


def config(**settings: Any) -> TektonConfig:
    given = {
        "host": "127.0.0.1",
        "port": 0,
        "ops_port": None,
        "metrics_port": None,
        "callback_networks": (),
        **settings,
    }
    return cast(TektonConfig, SimpleNamespace(**given))


async def test_a_configured_network_is_open() -> None:
    async with InMemoryControlPlane() as plane, Backend() as backend:
        tools = ComponentTools(
            plane.registry, plane.security, config(host="0.0.0.0", callback_networks=("127.0.0.0/8",))
        )
        tools.start()
        await register(plane.registry, "stranger", backend.port, "x")

        assert (await tools.call(tools.find("stranger.x"), {}, ME)).content == 1
        await tools.stop()


# What may be answered


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((b"x" * (MAX_ANSWER + 1),), "larger than"),
        ((b'{"result":"' + b"x" * (1024 * 1024) + b'"}',), "larger than 1048576 bytes"),
        ((b"{",), "not JSON"),
        ((b'{"result":' + b"[" * 5000 + b"]" * 5000 + b"}",), "not JSON"),
        ((b'{"result":' + b"[" * 100 + b"]" * 100 + b"}",), "nested more than"),
        ((b"[]",), 'no member "result"'),
        ((b"{}",), 'no member "result"'),
        ((b'"result"',), 'no member "result"'),
        ((b"",), 'no member "result"'),
        ((b'{"result":"\xff"}',), "not JSON"),
        ((b"", "302 Found", "Location: http://127.0.0.1:1/"), "redirects are not followed"),
        ((RESULT, "200 OK", "Content-Encoding: gzip"), ""),
        ((b"", "200 OK\r\n" + "\x01" * 4000), "evil.x failed"),
        ((b"oops", "500 Internal Server Error"), "HTTP status 500: oops"),
        ((b"", "401 Unauthorized"), "does not accept who calls"),
        (
            (
                b'{"code":"configuration"}',
                "500 x",
            ),
            "HTTP status 500",
        ),
    ],
    ids=[
        *("too-long", "too-large", "cut-short", "deep", "nested", "list", "empty-object", "text", "nothing"),
        *("encoding", "redirect", "compressed", "garbage", "defect", "refused", "foreign"),
    ],
)
async def test_whatever_is_answered_is_a_result_or_the_failure_of_the_tool(
    plane: InMemoryControlPlane, answer: tuple[Any, ...], why: str
) -> None:
    async with Backend(*answer) as backend:
        await register(plane.registry, "evil", backend.port, "x")
        if not why:
            assert await call(plane, "evil.x") == 1
            return
        with pytest.raises(ToolFailedError, match=why) as failure:
            await call(plane, "evil.x")

    assert failure.value.tool_id == "evil.x"
    assert len(failure.value.reason) <= 1000


@pytest.mark.parametrize(
    ("status", "problem", "told"),
    [
        (
            404,
            {"code": "out_of_stock", "detail": "no apples", "hint": "ask"},
            (404, "out_of_stock", "no apples", "ask"),
        ),
        (422, {"code": "invalid", "detail": "no", "pointer": "/name"}, (422, "invalid", "no", None)),
        (403, {"code": "forbidden", "detail": "no", "permission": "x:y"}, (403, "forbidden", "no", None)),
        (503, {"code": "unavailable", "detail": "starting"}, (503, "unavailable", "starting", "try again")),
        (409, {"code": "x" * 5000, "detail": "y" * 5000, "hint": "z" * 5000}, (409, "x" * 64, "y" * 1000, "z" * 1000)),
        (400, {"code": "storage_full", "detail": "no"}, (507, "", "", None)),
        (404, {"code": "route_not_found", "path": "/x"}, (404, "tool_not_found", "there is no tool 'shop.x'", None)),
    ],
    ids=["own", "invalid", "forbidden", "unavailable", "endless", "not-theirs", "no-such-tool"],
)
async def test_a_refusal_is_told_as_far_as_the_caller_can_use_it(
    plane: InMemoryControlPlane, status: int, problem: dict[str, Any], told: tuple[int, str, str, str | None]
) -> None:
    from tekton.gateway.problems import status_of

    async with Backend(msgspec.json.encode(problem), f"{status} x") as backend:
        await register(plane.registry, "shop", backend.port, "x")
        with pytest.raises(TektonError) as refusal:
            await call(plane, "shop.x")

    error = refusal.value
    if told[0] == 507:
        assert isinstance(error, ToolFailedError)
        return
    assert (status_of(error), error.code, str(error), error.hint) == told
    assert getattr(error, "pointer", None) == problem.get("pointer")


async def test_what_the_component_says_of_a_tool_is_told_under_the_name_that_it_has_here(
    plane: InMemoryControlPlane,
) -> None:
    problem = {
        "code": "invalid_arguments",
        "tool_id": "x",
        "pointer": "/a",
        "problem": "missing",
        "detail": "/a: missing",
    }
    async with Backend(msgspec.json.encode(problem), "422 x") as backend:
        await register(plane.registry, "shop", backend.port, "x")
        with pytest.raises(InvalidArgumentsError) as refusal:
            await call(plane, "shop.x")

    assert (refusal.value.tool_id, refusal.value.pointer) == ("shop.x", "/a")


async def test_a_call_has_the_time_that_it_is_given(plane: InMemoryControlPlane) -> None:
    async with Backend() as backend:
        backend.silent = True
        await register(plane.registry, "shop", backend.port, OfferedTool(name="slow", timeout=0.1), "slower")
        for tool_id, timeout in (("shop.slow", None), ("shop.slower", 0.1)):
            with pytest.raises(ToolTimeoutError) as failure:
                await plane.tools.call(plane.tools.find(tool_id), {}, ME, timeout=timeout)
            assert failure.value.tool_id == tool_id
        async with asyncio.timeout(5):
            await backend.ended.wait()


async def test_a_call_that_is_given_up_lets_the_connection_go(plane: InMemoryControlPlane) -> None:
    async with Backend() as backend, asyncio.timeout(10):
        backend.silent = True
        await register(plane.registry, "shop", backend.port, "slow")
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(call(plane, "shop.slow"))
            await backend.begun.wait()
            waiting.cancel()
        await backend.ended.wait()

    assert plane.tools.registry.running("shop.slow") == 0


async def test_one_component_has_no_more_than_its_share_of_all_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "AT_ONCE", 3)
    monkeypatch.setattr(tools, "SHARE", 1)
    names = ("a", "b", "c", "d")
    async with asyncio.timeout(20), InMemoryControlPlane() as plane, Backend() as hung, Backend() as quick:
        hung.silent = True
        await register(plane.registry, "hung", hung.port, *names)
        await register(plane.registry, "quick", quick.port, "x")
        calls = [asyncio.create_task(call(plane, f"hung.{name}")) for name in names]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        await hung.begun.wait()

        assert await call(plane, "quick.x") == 1
        [busy] = [one for one in calls if one.done()]
        assert isinstance(busy.exception(), ToolBusyError)
        assert len(hung.asked) == 1
        for one in calls:
            one.cancel()
        await asyncio.wait(calls)


async def test_a_component_that_dies_ends_its_calls_at_once(plane: InMemoryControlPlane) -> None:
    async with asyncio.timeout(10), Backend() as backend:
        backend.silent = True
        registration = await register(plane.registry, "shop", backend.port, "slow")
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(outcome(call(plane, "shop.slow")))
            await backend.begun.wait()
            for writer in backend._writers:
                writer.transport.abort()
        await plane.registry.set_state("shop", registration.instance_uuid, ComponentState.FAILED)

    assert isinstance(waiting.result(), ToolFailedError)
    assert ids(plane.tools) == []


async def outcome(work: Any) -> Any:
    try:
        return await work
    except TektonError as error:
        return error


async def test_when_none_can_be_called_any_more_that_is_said(plane: InMemoryControlPlane) -> None:
    registration = await register(plane.registry, "shop", 1, "place")
    tool = plane.tools.find("shop.place")
    await plane.registry.set_state("shop", registration.instance_uuid, ComponentState.STOPPING)
    plane.tools.registry.add(tool)  # as for one who has found it just before

    with pytest.raises(NoUsableInstanceError, match="stopping"):
        await plane.tools.call(tool, {}, ME)


async def test_a_circuit_breaker_stands_before_a_component(plane: InMemoryControlPlane, free_port: int) -> None:
    plane.tools.adopt({"shop": BreakerSpec(failure_threshold=2), "free": BreakerSpec(enabled=False)})
    await register(plane.registry, "shop", free_port, "place")
    await register(plane.registry, "free", free_port, "place")

    failures = {
        name: [type(await outcome(call(plane, f"{name}.place"))) for _ in range(4)] for name in ("shop", "free")
    }

    assert CircuitOpenError in failures["shop"]
    assert CircuitOpenError not in failures["free"]


async def test_a_tool_that_fails_opens_no_circuit(plane: InMemoryControlPlane) -> None:
    plane.tools.adopt({"shop": BreakerSpec(failure_threshold=2)})
    async with Backend(b"{}", "500 x") as backend:
        await register(plane.registry, "shop", backend.port, "bad")
        for _ in range(6):
            assert isinstance(await outcome(call(plane, "shop.bad")), ToolFailedError)

    assert len(backend.asked) == 6


# What a tool says on the way


def stream(*events: tuple[str, Any]) -> bytes:
    said = b"".join(b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data)) for name, data in events)
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + said


async def heard_of(plane: InMemoryControlPlane, *events: tuple[str, Any]) -> tuple[Any, list[ToolEvent]]:
    heard: list[ToolEvent] = []
    async with Backend() as backend:
        backend.answer = stream(*events)
        await register(plane.registry, "shop", backend.port, "x")
        context = ToolContext(tell=heard.append)
        result = await outcome(plane.tools.call(plane.tools.find("shop.x"), {}, ME, context=context, hears=True))
    return result, heard


async def test_what_a_tool_says_is_heard(plane: InMemoryControlPlane) -> None:
    result, heard = await heard_of(
        plane,
        ("progress", {"event": "progress", "done": 1, "total": 2}),
        ("weather", {"sunny": True}),
        ("lost", {"events": 3}),
        ("result", {"result": "done"}),
    )

    assert result.content == "done"
    assert heard == [Progress(1, 2), LogLine("warning", "3 events of the tool were dropped")]


@pytest.mark.parametrize(
    "event",
    [("progress", {"event": "progress"}), ("progress", 1), ("log", {"event": "log", "level": "shout", "text": ""})],
    ids=["missing", "number", "level"],
)
async def test_an_event_that_makes_no_sense_is_passed_over_and_that_is_said(
    plane: InMemoryControlPlane, event: tuple[str, Any]
) -> None:
    sense = ("progress", {"event": "progress", "done": 1})

    result, heard = await heard_of(plane, event, sense, ("result", {"result": 1}))

    assert result.content == 1
    warning, progress = heard
    assert isinstance(warning, LogLine)
    assert (warning.level, progress) == ("warning", Progress(1))
    assert warning.text.startswith("an event of the tool could not be read: ")


async def test_what_is_said_of_an_event_that_makes_no_sense_is_short(plane: InMemoryControlPlane) -> None:
    shouted = {"event": "log", "level": "x" * 100_000, "text": ""}

    _, heard = await heard_of(plane, ("log", shouted), ("result", {"result": 1}))

    assert [len(one.text) for one in heard if isinstance(one, LogLine)] == [1000]


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        (("chunk", {"event": "chunk", "value": 1}), [1, 0]),
        (("progress", {"event": "progress", "done": 1}), [1, 1]),
    ],
    ids=["chunk", "progress"],
)
async def test_chunks_that_were_heard_are_not_told_twice(
    plane: InMemoryControlPlane, said: tuple[str, Any], asked: list[int]
) -> None:
    tool = OfferedTool(name="list", annotations={"readOnlyHint": True})
    heard: list[ToolEvent] = []
    async with Backend() as broken, Backend() as good:
        broken.answer = stream(said)
        good.answer = stream(said, ("result", {"result": None}))
        await register(plane.registry, "shop", broken.port, tool, max_instances=2)
        second = await register(plane.registry, "shop", good.port, tool, max_instances=2)
        await plane.registry.set_state("shop", second.instance_uuid, ComponentState.DEGRADED)
        context = ToolContext(tell=heard.append)
        result = await outcome(plane.tools.call(plane.tools.find("shop.list"), {}, ME, context=context, hears=True))

    assert [len(broken.asked), len(good.asked)] == asked
    assert len(heard) == sum(asked)
    assert isinstance(result, ToolFailedError) == (asked == [1, 0])


async def test_a_stream_may_end_with_a_refusal(plane: InMemoryControlPlane) -> None:
    result, _ = await heard_of(plane, ("error", {"status": 404, "code": "out_of_stock", "detail": "no apples"}))

    assert isinstance(result, ProblemError)
    assert (result.status, result.code) == (404, "out_of_stock")


# On whose behalf


def principal(subject: str, *roles: str) -> Principal:
    return Principal(subject=subject, roles=roles, via="token", grants=RoleTable().grants(roles))


@pytest.fixture
async def guarded() -> AsyncIterator[InMemoryControlPlane]:
    """A control plane with a component that tells who calls, and has a tool that not everybody may use."""
    async with InMemoryControlPlane(roles={"caller": RoleSpec(permissions=["tools:call"])}) as plane:
        app = Component(
            "vault", port=0, control_plane=plane.address_of(await plane.token("vault", "component")), auth="auto"
        )

        @app.tool
        async def who(context: ToolContext) -> str:
            return str(context.caller)

        @app.tool(permission="components:control", name="vault.open")
        async def unlock() -> str:
            return "open"

        async with app:
            await plane.registry.wait_until("vault", lambda record: record is not None and record.usable)
            await plane.security.bind("ada", ["operator"])
            await plane.security.bind("carl", ["caller"])
            yield plane


@pytest.mark.parametrize("is_local", [True, False], ids=["here", "elsewhere"])
async def test_the_component_sees_who_calls(guarded: InMemoryControlPlane, is_local: bool) -> None:
    ada, carl = principal("ada", "operator"), principal("carl", "caller")

    seen = [await call(guarded, "vault.who", OnBehalf(one, is_local)) for one in (ada, carl, OWNER)]

    assert seen == ["ada", "carl", "owner"]


async def test_nobody_gets_more_rights_by_calling_through_the_control_plane(guarded: InMemoryControlPlane) -> None:
    callers = {
        "operator": OnBehalf(principal("ada", "operator"), is_local=False),
        "caller": OnBehalf(principal("carl", "caller"), is_local=True),
        "liar": OnBehalf(principal("carl", "operator"), is_local=True),
        "nobody here": OnBehalf(SOMEBODY.principal, is_local=True),
        "nobody": SOMEBODY,
    }

    got = {name: await outcome(call(guarded, "vault.vault.open", one)) for name, one in callers.items()}

    assert got.pop("operator") == "open"
    assert {name: getattr(refusal, "code", refusal) for name, refusal in got.items()} == {
        "caller": "forbidden",
        "liar": "forbidden",
        "nobody here": "tool_failed",
        "nobody": "tool_failed",
    }


async def test_who_is_not_on_this_machine_is_not_taken_for_somebody_who_is(guarded: InMemoryControlPlane) -> None:
    here = OnBehalf(SOMEBODY.principal, is_local=True)

    assert await call(guarded, "vault.who", here) == "anonymous"
    with pytest.raises(ToolFailedError, match="does not accept who calls"):
        await call(guarded, "vault.who", SOMEBODY)


async def test_a_call_that_nobody_has_made_is_made_for_nobody(guarded: InMemoryControlPlane) -> None:
    with pytest.raises(ToolFailedError, match="does not accept who calls"):
        await guarded.tools.registry.execute("vault.who", {})


async def test_a_component_gets_nothing_that_is_of_use_elsewhere(plane: InMemoryControlPlane) -> None:
    """Also not one that has the name for which our own tokens are made."""
    await plane.security.bind("ada", ["admin"])
    ada = OnBehalf(principal("ada", "admin"), is_local=True)
    shown: list[str] = []
    for name in ("evil", "tekton"):
        async with Backend() as backend:
            await register(plane.registry, name, backend.port, "x")
            await call(plane, f"{name}.x", ada)
            shown.append((backend.header("Authorization") or "").removeprefix("Bearer "))

    for token in shown:
        async with plane.address_of(token).client(5) as client:
            assert (await client.send("GET", "/api/auth/whoami")).status == 401


async def test_where_a_secret_signs_the_component_is_told_whether_the_caller_is_here() -> None:
    async with InMemoryControlPlane(jwt_secret=SECRET) as plane, Backend() as backend:
        await register(plane.registry, "shop", backend.port, "x")

        for is_local in (True, False):
            await call(plane, "shop.x", OnBehalf(OWNER, is_local))

    assert [backend.header("Authorization", place) for place in (0, 1)] == [None, None]
    assert [backend.header("Forwarded", place) for place in (0, 1)] == [None, "for=unknown"]


async def test_a_token_is_shown_again_until_rights_change(plane: InMemoryControlPlane) -> None:
    ada = principal("ada", "operator")
    async with Backend() as backend:
        await register(plane.registry, "shop", backend.port, "x")
        for _ in range(2):
            await call(plane, "shop.x", OnBehalf(ada, is_local=True))
        await call(plane, "shop.x", OnBehalf(replace(ada, roles=()), is_local=True))
        await plane.security.bind("eve", ["operator"])
        await call(plane, "shop.x", OnBehalf(ada, is_local=True))

    first, second, without, later = (backend.header("Authorization", place) for place in range(4))
    assert first == second
    assert len({first, without, later}) == 3


async def test_a_token_ends_with_what_the_caller_has_shown(plane: InMemoryControlPlane) -> None:
    now = plane.security.now()
    async with Backend() as backend:
        await register(plane.registry, "shop", backend.port, "x")
        await call(plane, "shop.x", OnBehalf(replace(principal("ada"), expires_at=now + 10), is_local=True))

    claims = plane.security.verify((backend.header("Authorization") or "").removeprefix("Bearer "))
    assert claims.expires_at <= now + 10


async def test_what_components_do_with_a_caller_is_no_business_of_others(plane: InMemoryControlPlane) -> None:
    """Calls at the same time do not mix up on whose behalf they are made."""
    async with Backend() as backend, asyncio.TaskGroup() as group:
        await register(plane.registry, "shop", backend.port, "x")
        for name in ("ada", "bob"):
            group.create_task(call(plane, "shop.x", OnBehalf(principal(name), is_local=True), me=name))

    said = {json_of(backend, place)["me"]: subject_of(plane, backend, place) for place in (0, 1)}
    assert said == {"ada": "ada", "bob": "bob"}


def json_of(backend: Backend, place: int) -> Any:
    return msgspec.json.decode(backend.asked[place].partition("\r\n\r\n")[2])


def subject_of(plane: InMemoryControlPlane, backend: Backend, place: int) -> str:
    return plane.security.verify((backend.header("Authorization", place) or "").removeprefix("Bearer ")).subject
