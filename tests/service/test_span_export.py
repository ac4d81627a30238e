"""Spans go on to another receiver: ours, on another port."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tekton.core.history.store import MemoryTelemetryStore
from tekton.core.tracing import Span, SpanEvent, span
from tekton.gateway.app import Gateway
from tekton.gateway.auth import AccessPolicy
from tekton.gateway.server import GatewayServer
from tekton.service.api import traces
from tekton.service.span_export import SpanExport, span_export
from tekton.service.system import System
from tekton.service.tracing import Tracing
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import ConfigurationError


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits at the end is sent, however busy the machine is."""
    monkeypatch.setattr("tekton.service.span_export._LAST", 30.0)


class Elsewhere:
    """A receiver on a port of its own."""

    def __init__(self) -> None:
        self.tracing = Tracing(MemoryTelemetryStore())
        security = SimpleNamespace(policy=AccessPolicy())
        routes = traces.routes(cast(System, SimpleNamespace(tracing=self.tracing, security=security)))
        self.server = GatewayServer(Gateway(routes), "127.0.0.1", 0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    made = Elsewhere()
    await made.server.start()
    yield made
    await made.server.stop(timeout=1.0)


async def test_spans_arrive_elsewhere_as_they_are(elsewhere: Elsewhere) -> None:
    here = Tracing(MemoryTelemetryStore(), exporter=SpanExport(elsewhere.url))
    here.start()
    with here.tracer.begin("outer", "server", n=1) as outer, span("inner", "client", text="x", real=0.5) as inner:
        inner.event("tick", yes=True)
        inner.fail("odd")
    theirs = Span(
        trace_id="a" * 32, span_id="b" * 16, name="theirs", component="greeter", instance="one",
        started_at=1_700_000_000.5, duration=0.25, events=[SpanEvent("e", 1_700_000_000.75)],
    )  # fmt: skip
    here.receive([theirs])

    await here.stop()

    for trace_id in (outer.context.trace_id if outer.context else "", "a" * 32):
        sent = sorted(await here.trace(trace_id), key=span_id)
        arrived = sorted(await elsewhere.tracing.trace(trace_id), key=span_id)
        assert list(map(without_times, arrived)) == list(map(without_times, sent))
        # Nanoseconds since 1970, as they travel, and the seconds that we have are as close as a float is exact.
        assert [times(one) for one in arrived] == [pytest.approx(times(one), abs=2e-6) for one in sent]


def span_id(one: Span) -> str:
    return one.span_id


def without_times(one: Span) -> dict[str, Any]:
    known = {name: getattr(one, name) for name in one.__struct_fields__}
    return known | {
        "started_at": None,
        "duration": None,
        "events": [(event.name, event.attributes) for event in one.events],
    }


def times(one: Span) -> list[float]:
    return [one.started_at, one.duration, *(event.at for event in one.events)]


async def test_spans_that_cannot_be_encoded_are_lost_and_those_after_them_are_not(elsewhere: Elsewhere) -> None:
    export = SpanExport(elsewhere.url)
    bad, good = (
        Span(trace_id=digit * 32, span_id="b" * 16, name=name, component="greeter", started_at=1.0, duration=0.25)
        for digit, name in (("a", "half a character: \ud800"), ("c", "whole"))
    )
    try:
        export.export([bad])
        async with asyncio.timeout(10):
            while not export.lost:  # noqa: ASYNC110 - it is counted in a thread
                await asyncio.sleep(0.01)
        export.export([good])
    finally:
        await asyncio.to_thread(export.close)

    assert (export.lost, export.sent) == (1, 1)
    assert [one.name for one in await elsewhere.tracing.trace("c" * 32)] == ["whole"]


async def test_an_endpoint_that_is_away_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tekton.service.span_export._LAST", 0.05)
    # It listens, and never answers.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        here = Tracing(MemoryTelemetryStore(), exporter=SpanExport(f"http://127.0.0.1:{port}"))
        here.start()

        with here.tracer.begin("work") as made:
            pass

        async with asyncio.timeout(5):
            assert made.context is not None
            assert [one.name for one in await here.trace(made.context.trace_id)] == ["work"]
            await here.stop()


def test_without_the_extra_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'tekton-core\[otel\]'"):
        SpanExport("http://collector:4318")


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:8010", "http://localhost:8010/", "http://10.0.0.1:8010"])
def test_spans_are_not_sent_to_who_sends_them(endpoint: str) -> None:
    config = cast(TektonConfig, SimpleNamespace(otlp_endpoint=endpoint, host="10.0.0.1", port=8010))

    with pytest.raises(ConfigurationError, match="this control plane itself"):
        span_export(config)


def test_nothing_is_sent_anywhere_unless_it_is_asked_for() -> None:
    assert span_export(cast(TektonConfig, SimpleNamespace(otlp_endpoint=None))) is None
