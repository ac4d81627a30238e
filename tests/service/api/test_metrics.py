"""`/metrics` and `/api/metrics` of the control plane."""

import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tekton.core.metrics.catalogue import METRICS
from tekton.gateway.app import Gateway
from tekton.gateway.server import GatewayServer
from tekton.service.api.metrics import routes
from tekton.service.metering import Metering
from tekton.service.metric_views import MetricsView
from tekton.service.system import System
from tekton.testing.clock import ManualClock
from tekton.utils.tekton_http import Answer, HttpClient


class Site:
    """A gateway with these routes and nothing else."""

    def __init__(self, *, enabled: bool = True) -> None:
        self.clock = ManualClock(monotonic=960.0, wall=5000.0)
        self.metering = Metering(self.clock, 10.0, enabled=enabled)
        system = cast(System, SimpleNamespace(metering=self.metering))
        gateway = Gateway(routes(system), observers=self.metering.observers, policy=lambda _request, _route: None)
        self.server = GatewayServer(gateway, "127.0.0.1", 0)

    async def get(self, path: str, **headers: str) -> Answer:
        async with HttpClient(f"http://127.0.0.1:{self.server.port}") as client:
            return await client.send("GET", path, headers={"Accept": "*/*", **headers})

    async def json(self, path: str) -> Any:
        return json.loads((await self.get(path)).body)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    await site.server.start()
    yield site
    await site.server.stop(timeout=2.0)
    await site.metering.stop()


async def test_the_text_has_every_metric_of_the_catalogue_and_no_other(site: Site) -> None:
    answer = await site.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")

    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert sorted(families) == sorted(one.metric.family for one in METRICS)
    for one in METRICS:
        family = families[one.metric.family]
        assert (family.type, family.unit) == (one.metric.metric_type.value, one.metric.unit)


async def test_the_text_is_that_of_prometheus_unless_another_is_preferred(site: Site) -> None:
    answer = await site.get("/metrics")

    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"# TYPE process_cpu_seconds_total counter\n" in answer.body


async def test_all_metrics_are_given_in_json_without_their_history(site: Site) -> None:
    site.metering.metrics.sample()

    view = msgspec.json.decode((await site.get("/api/metrics")).body, type=MetricsView)

    assert view.at == 5000.0
    assert [metric.name for metric in view.metrics] == sorted(one.metric.exposed for one in METRICS)
    assert all(sample.history is None for metric in view.metrics for sample in metric.samples)


async def test_one_metric_is_given_with_its_history_by_either_name(site: Site) -> None:
    streams: list[int] = []
    site.metering.read_streams(streams, 512)
    for count in range(3):
        streams.append(count)
        await site.metering.exposition.refresh()
        site.metering.metrics.sample()
        site.clock.advance(10)

    (metric,) = (await site.json("/api/metrics?name=tekton_http_streams_open"))["metrics"]
    since = (await site.json("/api/metrics?name=tekton_http_streams_open&since=5010"))["metrics"][0]
    minute = (await site.json("/api/metrics?name=tekton_http_streams_open&resolution=60"))["metrics"][0]
    cpu = await site.json("/api/metrics?name=process_cpu")

    assert [value for value in metric["samples"][0]["history"]["mean"] if value is not None] == [1, 2, 3]
    assert [value for value in since["samples"][0]["history"]["mean"] if value is not None] == [2, 3]
    assert minute["samples"][0]["history"]["step"] == 60
    assert minute["samples"][0]["history"]["high"] == [3]
    assert [metric["name"] for metric in cpu["metrics"]] == ["process_cpu_seconds_total"]


async def test_an_unknown_metric_is_not_found_and_the_nearest_is_named(site: Site) -> None:
    answer = await site.get("/api/metrics?name=tekton_component")

    problem = json.loads(answer.body)
    assert (answer.status, problem["code"], problem["nearest"]) == (404, "metric_not_found", "tekton_components")


@pytest.mark.parametrize("query", ["since=-1", "resolution=0", "resolution=x", "names=x", f"name={'x' * 161}"])
async def test_a_query_that_makes_no_sense_is_refused(site: Site, query: str) -> None:
    assert (await site.get(f"/api/metrics?{query}")).status == 422


@pytest.mark.parametrize("path", ["/metrics", "/api/metrics"])
async def test_there_are_no_metrics_when_they_are_disabled(path: str) -> None:
    site = Site(enabled=False)
    await site.server.start()

    answer = await site.get(path)
    await site.server.stop(timeout=2.0)

    assert (answer.status, json.loads(answer.body)["code"]) == (404, "route_not_found")
