"""The numbers of a component in the text format of Prometheus, for `/metrics`."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from tekton.clock import Clock
from tekton.gateway.request import Request, Response
from tekton.gateway.router import Route

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class RequestCounts:
    """How many requests each route has answered, how many of them failed, and how long they took together."""

    def __init__(self) -> None:
        self._routes: dict[tuple[str, str], list[float]] = {}
        self.total = 0
        self.in_progress = 0

    @contextmanager
    def measure(self, route: Route, clock: Clock) -> Iterator[None]:
        """Count what happens in the block as a request to *route*; it has failed when the block raises."""
        counts = self._routes.setdefault((route.method, route.path), [0, 0, 0.0])
        self.total += 1
        self.in_progress += 1
        began, failed = clock.monotonic(), True
        try:
            yield
            failed = False
        finally:
            self.in_progress -= 1
            counts[0] += 1
            counts[1] += failed
            counts[2] += clock.monotonic() - began

    def lines(self) -> list[str]:
        """The metrics, with the labels `method` and `route`."""
        rows = [(f'{{method="{method}",route="{path}"}}', counts) for (method, path), counts in self._routes.items()]
        described = (
            ("tekton_component_requests_total", "counter", "Requests that were answered."),
            ("tekton_component_request_failures_total", "counter", "Requests that were refused or failed."),
            ("tekton_component_request_seconds_total", "counter", "Time that requests took."),
        )
        lines = _metric("tekton_component_requests_in_progress", "gauge", "Requests at work.", self.in_progress)
        for position, (name, kind, text) in enumerate(described):
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{labels} {_number(counts[position])}" for labels, counts in rows]
        return lines


def metrics_route(
    requests: RequestCounts, process: Callable[[], Mapping[str, float]], own: Mapping[str, float]
) -> Route:
    """`GET /metrics`: the requests, the process, and what the component counts itself, as gauges."""

    async def metrics(_: Request) -> Response:
        lines = requests.lines()
        for name, value in process().items():
            lines += _metric(f"tekton_component_{name}", "gauge", "Of the process.", value)
        for name, value in own.items():
            lines += _metric(_valid(name), "gauge", "Of the component.", value)
        return Response(body="".join(f"{line}\n" for line in lines).encode(), media_type=MEDIA_TYPE)

    summary, permission = "Metrics, for Prometheus", "metrics:read"
    return Route("GET", "/metrics", metrics, summary, permission, response=bytes, tags=("operation",))


def _metric(name: str, kind: str, text: str, value: float) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}", f"{name} {_number(value)}"]


def _number(value: float) -> str:
    if not -1e300 < value < 1e300:
        return "+Inf" if value > 0 else "-Inf" if value < 0 else "NaN"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def _valid(name: str) -> str:
    text = re.sub(r"[^a-zA-Z0-9_:]", "_", name)
    return f"_{text}" if text[:1].isdigit() else text
