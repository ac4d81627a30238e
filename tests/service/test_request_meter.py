"""What the gateway serves, counted by route and class of status."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tekton.core.metrics.exposition import refresh
from tekton.gateway.app import Gateway
from tekton.gateway.errors import PermissionDeniedError
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.gateway.server import GatewayServer
from tekton.gateway.sse import EventStream, event
from tekton.service.metering import Metering
from tekton.testing.clock import ManualClock
from tekton.utils.tekton_errors import ComponentNotFoundError
from tekton.utils.tekton_http import HttpClient


async def greet(request: Request) -> str:
    if request.params["name"] == "nobody":
        raise ComponentNotFoundError("nobody")
    if request.params["name"] == "broken":
        raise LookupError
    return "hello"


async def forbid(_: Request) -> None:
    raise PermissionDeniedError("logs:read", "no")


async def watch(_: Request) -> EventStream:
    async def events() -> AsyncIterator[bytes]:
        yield event(b"{}", "done")

    return EventStream(events())


ROUTES = [
    Route("GET", "/greet/{name}", greet, ""),
    Route("GET", "/watch", watch, ""),
    Route("GET", "/things", forbid, "", permission="logs:read"),
]


def values(metering: Metering, name: str) -> dict[tuple[str, ...], Any]:
    return {tuple(each.labels.values()): each.value for each in metering.metrics.get_metric_values(name)}


@pytest.fixture
async def metering() -> Metering:
    """After a few requests."""
    metering = Metering(ManualClock(), 10.0)
    gateway = Gateway(ROUTES, observers=metering.observers, policy=lambda _request, _route: None)
    metering.read_streams(gateway.streams, 512)
    server = GatewayServer(gateway, "127.0.0.1", 0)
    await server.start()
    async with HttpClient(f"http://127.0.0.1:{server.port}") as client:
        for path in ("/greet/ada", "/greet/eve", "/greet/nobody", "/greet/broken", "/nowhere", "/watch"):
            await client.send("GET", path)
        await client.send("HEAD", "/greet/ada")
    await server.stop(timeout=2.0)
    await refresh(metering.metrics)
    return metering


async def test_requests_are_counted_by_route_and_class_of_status(metering: Metering) -> None:
    durations = values(metering, "tekton_http_request_duration")

    assert {labels: value.count for labels, value in durations.items()} == {
        ("GET", "/greet/{name}", "2xx"): 3,
        ("GET", "/greet/{name}", "4xx"): 1,
        ("GET", "/greet/{name}", "5xx"): 1,
        ("none", "none", "4xx"): 1,
    }
    assert all(sum(value.buckets) == value.count and value.sum > 0 for value in durations.values())


async def test_errors_are_counted_by_status_and_streams_by_themselves(metering: Metering) -> None:
    assert values(metering, "tekton_http_errors") == {("404",): 2, ("500",): 1}
    assert values(metering, "tekton_http_streams_ended") == {(): 1}
    assert values(metering, "tekton_http_streams_open") == {(): 0}


async def test_what_is_forbidden_is_counted_by_the_permission_that_is_missing() -> None:
    metering = Metering(ManualClock(), 10.0)
    gateway = Gateway(ROUTES, observers=metering.observers, policy=lambda _request, _route: None)
    server = GatewayServer(gateway, "127.0.0.1", 0)
    await server.start()
    async with HttpClient(f"http://127.0.0.1:{server.port}") as client:
        for path in ("/things", "/things", "/greet/nobody"):
            await client.send("GET", path)
    await server.stop(timeout=2.0)
    await refresh(metering.metrics)

    assert values(metering, "tekton_permissions_refused") == {("logs:read",): 2}
