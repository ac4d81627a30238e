"""A component's spans, on their way to a real control plane."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self

import pytest

from tekton import Component
from tekton.component import spans as sending
from tekton.core.tracing import Span, span
from tekton.gateway.app import Gateway
from tekton.gateway.request import Request, Response
from tekton.gateway.router import Route
from tekton.gateway.server import GatewayServer
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.component_client import ControlPlane
from tekton.utils.otlp import MAX_UNPACKED, decode
from tekton.utils.tekton_http import HttpClient
from tekton.utils.trace_context import new_trace

PARENT = new_trace()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_GATHER", 0.01)
    monkeypatch.setattr(sending, "_PAUSES", (0.01, 0.02))
    # What is sent at the end arrives, however busy the machine is.
    monkeypatch.setattr(sending, "_LAST", 30.0)
    for name in ("TRACEPARENT", "OTEL_TRACES_SAMPLER_ARG", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)


async def ask(component: Component, path: str) -> Any:
    async with HttpClient(str(component.endpoint)) as client:
        return await client.request("GET", path, headers=PARENT.headers())


async def known(plane: InMemoryControlPlane, trace_id: str, count: int) -> list[Span]:
    """The spans of a trace, as soon as there are so many."""
    async with asyncio.timeout(10):
        while len(found := await plane.tracing.trace(trace_id)) < count:  # noqa: ASYNC110 - they come over HTTP
            await asyncio.sleep(0.01)
    return sorted(found, key=lambda one: one.started_at)


async def test_a_request_is_traced_through_components_and_their_calls(plane: InMemoryControlPlane) -> None:
    engram = Component("engram", control_plane=plane.address)
    rhetor = Component("rhetor", control_plane=plane.address, depends_on=["engram"])

    @engram.get("/api/search")
    async def search(request: Request) -> dict[str, int]:
        with span("look up", password="canary"):
            return {"found": 3}

    @rhetor.get("/api/generate")
    async def generate(request: Request) -> Any:
        return await rhetor.discovery.call_api("engram", "/api/search")

    async with engram, rhetor:
        await engram.wait_ready()
        async with asyncio.timeout(10):
            await plane.registry.wait_until("engram", lambda one: one is not None and one.usable)
        assert await ask(rhetor, "/api/generate") == {"found": 3}

        found = await known(plane, PARENT.trace_id, 5)

    assert [(one.component, one.name, one.kind) for one in found] == [
        ("rhetor", "GET /api/generate", "server"),
        ("rhetor", "call engram", "internal"),
        ("rhetor", "GET", "client"),
        ("engram", "GET /api/search", "server"),
        ("engram", "look up", "internal"),
    ]
    assert [one.parent_id for one in found] == [PARENT.span_id, *(one.span_id for one in found[:-1])]
    assert found[3].instance == engram.registration.instance_uuid
    assert "canary" not in str(found)


async def test_the_start_of_a_component_belongs_to_the_trace_that_launched_it(
    plane: InMemoryControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", PARENT.traceparent())
    greeter = Component("greeter", control_plane=plane.address)

    @greeter.on_start
    async def warm_up() -> None:
        """Takes no time."""

    async with greeter:
        [found] = await known(plane, PARENT.trace_id, 1)

    assert (found.name, found.parent_id, [one.name for one in found.events]) == (
        "start component", PARENT.span_id, ["warm up"],
    )  # fmt: skip


async def test_the_last_spans_are_sent_when_it_stops(
    plane: InMemoryControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_GATHER", 3600.0)
    async with Component("greeter", control_plane=plane.address) as greeter:
        with greeter.tracer.begin("work") as made:
            pass

    assert made.context is not None
    assert [one.name for one in await plane.tracing.trace(made.context.trace_id)] == ["work"]


async def test_whoever_has_no_control_plane_makes_no_spans() -> None:
    async with Component("greeter", register=False) as greeter:
        assert not greeter.tracer.begin("work").recorded


async def test_nothing_is_recorded_where_tracing_is_off(
    plane: InMemoryControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")

    async with Component("greeter", control_plane=plane.address) as greeter:
        assert not greeter.tracer.begin("work").recorded


Answers = Callable[[Request], Awaitable[Response]]


class Receiver:
    """A server that answers spans as a test wants."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.bodies: list[bytes] = []
        self.arrived = asyncio.Event()
        route = Route("POST", "/v1/traces", self._take, summary="-", raw=("application/json",), max_body=MAX_UNPACKED)
        self.server = GatewayServer(Gateway([route], policy=lambda *_: None), "127.0.0.1", 0)

    async def _take(self, request: Request) -> Response:
        self.bodies.append(request.body)
        status = self.statuses.pop(0) if self.statuses else 200
        if not self.statuses:
            self.arrived.set()
        return Response(status, b"{}")

    async def __aenter__(self) -> Self:
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop(timeout=1.0)


def component_spans(receiver: Receiver) -> sending.ComponentSpans:
    from tekton.clock import SYSTEM_CLOCK
    from tekton.utils.tekton_config import ComponentEnvironment

    made = sending.ComponentSpans("greeter", SYSTEM_CLOCK)
    url = f"http://127.0.0.1:{receiver.server.port}"
    made.start(ControlPlane(url), "one", ComponentEnvironment(url))
    return made


async def test_what_could_not_be_delivered_is_sent_again() -> None:
    async with Receiver(503, 429, 200) as receiver:
        made = component_spans(receiver)
        made.tracer.begin("work").end()

        async with asyncio.timeout(10):
            await receiver.arrived.wait()
        await made.stop()

    # The last answer may not have been read yet when it ends: then it is sent once more, and known by its ids.
    assert len(receiver.bodies) in (3, 4)
    assert len(set(receiver.bodies)) == 1


async def test_a_control_plane_that_takes_no_spans_is_not_asked_again() -> None:
    async with Receiver(404) as receiver:
        made = component_spans(receiver)
        made.tracer.begin("work").end()

        async with asyncio.timeout(10):
            await receiver.arrived.wait()
            while made.tracer.begin("more").recorded:  # noqa: ASYNC110 - until the answer has been read
                await asyncio.sleep(0.001)
        await made.stop()

    assert len(receiver.bodies) == 1


@pytest.mark.parametrize("status", [400, 413, 500])
async def test_spans_that_are_not_taken_are_given_up_and_later_ones_are_sent(status: int) -> None:
    async with Receiver(status, 200) as receiver:
        made = component_spans(receiver)
        made.tracer.begin("first").end()
        async with asyncio.timeout(10):
            while not receiver.bodies:  # noqa: ASYNC110 - it comes over HTTP
                await asyncio.sleep(0.001)
        made.tracer.begin("second").end()

        async with asyncio.timeout(10):
            await receiver.arrived.wait()
        await made.stop()

    assert [b"first" in body for body in receiver.bodies[:2]] == [True, False]
    assert b"second" in receiver.bodies[1]


async def test_a_batch_of_long_spans_is_not_longer_than_a_control_plane_takes() -> None:
    async with Receiver() as receiver:
        made = component_spans(receiver)
        for _ in range(20):
            made.tracer.begin("work", **{f"text {each}": "\x01" * 1024 for each in range(20)}).end()

        async with asyncio.timeout(10):
            await receiver.arrived.wait()
        await made.stop()

    spans = {one.span_id: one for body in receiver.bodies for one in decode(body, "json").spans}.values()
    assert [(len(one.attributes), one.dropped) for one in spans] == [(15, 5)] * 20
    assert len(receiver.bodies) > 1
    assert max(map(len, receiver.bodies)) < 1024 * 1024


async def test_an_end_does_not_wait_for_a_control_plane_that_is_gone() -> None:
    async with Receiver() as receiver:
        made = component_spans(receiver)
    made.tracer.begin("work").end()

    async with asyncio.timeout(5):
        await made.stop()
        await made.stop()
