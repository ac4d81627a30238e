"""`/metrics` of a component, in the text format of Prometheus."""

import math
import re

from tekton.component import Component, Request
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
