"""The metrics of a component: what it counts of its requests and its process, and what it declares itself."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from tekton.clock import Clock
from tekton.component.process_metrics import ProcessMetrics
from tekton.core.metrics.exposition import MEDIA_TYPES, Exposition
from tekton.core.metrics.metrics import Metric, MetricsManager, MetricType, Reading
from tekton.gateway.request import Request, Response
from tekton.gateway.router import Route
from tekton.utils.tekton_errors import InvalidMetricError, MetricExistsError

_ROUTE = ("method", "route")
_OWN = "Of the component."
_REQUESTS = (
    Metric("tekton_component_requests", "Requests that were answered.", MetricType.COUNTER, "", _ROUTE),
    Metric(
        "tekton_component_request_failures", "Requests that were refused or failed.", MetricType.COUNTER, "", _ROUTE
    ),
    Metric("tekton_component_request", "Time that requests took.", MetricType.COUNTER, "seconds", _ROUTE),
    Metric("tekton_component_requests_in_progress", "Requests at work.", MetricType.GAUGE),
)


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

    def read(self) -> Iterator[Reading]:
        """What was counted so far, by method and route."""
        for labels, counts in list(self._routes.items()):
            for metric, value in zip(_REQUESTS, counts, strict=False):
                yield Reading(metric.name, value, labels)
        yield Reading("tekton_component_requests_in_progress", self.in_progress)


class ComponentMetrics:
    """The metrics of one component: `manager` has all of them, those that *own* gives are gauges.

    What that gives under a name that was declared otherwise is left out.
    """

    def __init__(self, requests: RequestCounts, own: Callable[[], Mapping[str, float]], clock: Clock) -> None:
        self.manager = MetricsManager(clock=clock)
        self._own = own
        self._process: ProcessMetrics | None = None
        for metric in _REQUESTS:
            self.manager.register(metric)
        for reader in (requests.read, self._read_process, self._read_own):
            self.manager.add_reader(reader)

    def route(self) -> Route:
        """`GET /metrics`, from now on."""
        self._process = ProcessMetrics()
        exposition = Exposition(self.manager)

        async def metrics(request: Request) -> Response:
            text = await exposition.scrape(request.headers.get("accept"))
            return Response(body=text.body, media_type=text.media_type)

        summary, permission = "Metrics, for Prometheus", "metrics:read"
        media_types = tuple(MEDIA_TYPES.values())
        return Route(
            "GET",
            "/metrics",
            metrics,
            summary,
            permission,
            response=bytes,
            media_types=media_types,
            tags=("operation",),
        )

    def _read_process(self) -> Iterator[Reading]:
        if self._process is not None:
            for name, value in self._process.read().items():
                yield self._gauge(f"tekton_component_{name}", "Of the process.", value)

    def _read_own(self) -> Iterator[Reading]:
        for name, value in list(self._own().items()):
            if isinstance(value, int | float):
                try:
                    yield self._gauge(_valid(name), _OWN, value)
                except (MetricExistsError, InvalidMetricError):
                    pass  # its own word for it counts, and there is an end to what can be told apart

    def _gauge(self, name: str, description: str, value: float) -> Reading:
        self.manager.register_metric(name, description, MetricType.GAUGE)
        return Reading(name, value)


def _valid(name: str) -> str:
    text = re.sub(r"[^a-zA-Z0-9_]", "_", name)[:128]
    return f"_{text}" if text[:1].isdigit() else text
