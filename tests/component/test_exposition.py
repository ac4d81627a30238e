"""`/metrics` of a component, in the text format of Prometheus."""

import math
import re

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tekton.component import Component, Request
from tekton.core.metrics.metrics import MetricType
from tekton.testing.clock import ManualClock
from tekton.utils.tekton_http import HttpClient


async def test_metrics_has_requests_process_and_own_numbers() -> None:
    app = Component("greeter", port=0, register=False)
    app.metrics |= {"queue": 3, "cache hits": 0.5}

    @app.get("/api/greet/{name}")
    async def greet(request: Request) -> str:
        if request.params["name"] == "Bob":
            raise LookupError
        return request.params["name"]

    async with app, HttpClient(f"http://127.0.0.1:{app.port}") as client:
        for name in ("Ada", "Eve", "Bob"):
            await client.send("GET", f"/api/greet/{name}")
        answer = await client.send("GET", "/metrics")

    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = answer.body.decode()
    route = '{method="GET",route="/api/greet/{name}"}'
    assert f"tekton_component_requests_total{route} 3\n" in text
    assert f"tekton_component_request_failures_total{route} 1\n" in text
    assert "# TYPE queue gauge\nqueue 3\n" in text
    assert "cache_hits 0.5\n" in text
    assert "tekton_component_memory_mib " in text
    line = re.compile(r"# (?:HELP|TYPE) \S+ .+|[a-zA-Z_:][\w:]*(?:\{[^}]*(?:\{name\})?[^}]*\})? [-0-9.e+]+")
    assert [each for each in text.splitlines() if not line.fullmatch(each)] == []


async def test_what_is_no_ordinary_number_is_shown_as_prometheus_knows_it() -> None:
    app = Component("greeter", port=0, register=False)
    app.metrics |= {"unknown": math.nan, "most": math.inf, "least": -math.inf, "huge": 10**400}

    async with app, HttpClient(f"http://127.0.0.1:{app.port}") as client:
        text = (await client.send("GET", "/metrics")).body.decode().splitlines()

    assert {"unknown NaN", "most +Inf", "least -Inf", "huge +Inf"} <= set(text)


async def scraped(app: Component, accept: str = "*/*") -> str:
    async with HttpClient(f"http://127.0.0.1:{app.port}") as client:
        return (await client.send("GET", "/metrics", headers={"accept": accept})).body.decode()


async def test_a_metric_that_the_component_declares_is_exposed() -> None:
    app = Component("greeter", port=0, register=False)
    app.meter.register_metric("greeting_time", "Of a greeting", MetricType.SUMMARY, "seconds", ["language"])
    app.meter.record("greeting_time", 0.5, {"language": "de"})

    async with app:
        text = await scraped(app)

    assert '# TYPE greeting_time_seconds summary\ngreeting_time_seconds_count{language="de"} 1\n' in text


async def test_what_cannot_be_shown_hides_nothing_else() -> None:
    app = Component("greeter", port=0, register=False)
    app.meter.register_metric("jobs", "Jobs", MetricType.COUNTER)
    app.metrics |= {"jobs": 7, "jobs_total": 8, "": 9, "broken": "much", "queue": 3}  # type: ignore[dict-item]
    app.metrics["tekton_component_requests_in_progress"] = 9

    async with app:
        text = await scraped(app)

    assert "\njobs_total 0\n" in text
    assert "\ntekton_component_requests_in_progress 0\n" in text
    assert "\nqueue 3\n" in text
    assert "broken" not in text


async def test_a_number_that_was_taken_out_is_exposed_no_more_and_a_component_can_be_started_again() -> None:
    clock = ManualClock()
    app = Component("greeter", port=0, register=False, clock=clock)
    app.metrics = {"queue": 3, "left": 1}

    async with app:
        first = await scraped(app)
        del app.metrics["queue"]
        clock.advance(2)
        second = await scraped(app)
    async with app:
        third = await scraped(app)

    assert "\nqueue 3\n" in first
    assert "\nqueue " not in second
    assert "\nleft 1\n" in third


async def test_openmetrics_is_given_to_who_prefers_it() -> None:
    app = Component("greeter", port=0, register=False)

    async with app:
        text = await scraped(app, "application/openmetrics-text; version=1.0.0")

    families = {family.name: family.type for family in text_string_to_metric_families(text)}
    assert families["tekton_component_requests"] == "counter"
    assert families["tekton_component_memory_mib"] == "gauge"
