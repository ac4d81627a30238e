"""Metrics: as text for Prometheus, and as JSON with their history."""

import asyncio
from collections.abc import Iterator
from typing import Annotated

import msgspec

from tekton.core.metrics.exposition import MEDIA_TYPES
from tekton.core.series import position
from tekton.gateway.errors import RouteNotFoundError
from tekton.gateway.request import Request, Response, encode
from tekton.gateway.router import Route
from tekton.service.metering import Metering
from tekton.service.metric_views import MetricsView, encoded
from tekton.service.system import System
from tekton.utils.tekton_errors import MetricNotFoundError


class MetricsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One metric, `name`, with its history; or all of them without.

    The history goes from `since` (seconds since 1970) until now, in slots of `resolution` seconds, or of the next size
    that there is. Without `since`, as far as the finest slots go.
    """

    name: Annotated[str, msgspec.Meta(max_length=160)] | None = None
    since: Annotated[float, msgspec.Meta(ge=0, le=253_402_300_800)] | None = None
    resolution: Annotated[float, msgspec.Meta(gt=0, le=86_400)] | None = None


def routes(system: System) -> list[Route]:
    """The metrics of the control plane."""

    def metering(request: Request) -> Metering:
        if not system.metering.enabled:
            raise RouteNotFoundError(request.path)
        return system.metering

    async def text(request: Request) -> Response:
        scrape = await metering(request).exposition.scrape(request.headers.get("accept"))
        return Response(body=scrape.body, media_type=scrape.media_type)

    async def values(request: Request) -> Response:
        of = metering(request)
        await of.exposition.refresh()
        query: MetricsQuery = request.query
        found = _all(of) if query.name is None else _one(of, query.name, query)
        pieces: list[bytes] = []
        # In a thread, one piece at a time: others want the interpreter too.
        while (piece := await asyncio.to_thread(next, found, None)) is not None:
            pieces.append(piece)
        at = encode(of.metrics.clock.time())
        return Response(body=b'{"at":%b,"metrics":[%b]}' % (at, b"".join(pieces)))

    return [
        Route(
            "GET",
            "/metrics",
            text,
            summary="All metrics, for Prometheus: in its text format, or as OpenMetrics",
            permission="metrics:read",
            response=bytes,
            media_types=tuple(MEDIA_TYPES.values()),
            tags=("metrics",),
        ),
        Route(
            "GET",
            "/api/metrics",
            values,
            summary="All metrics, or one with its history",
            permission="metrics:read",
            query=MetricsQuery,
            response=MetricsView,
            errors=(MetricNotFoundError,),
            tags=("metrics",),
        ),
    ]


def _all(metering: Metering) -> Iterator[bytes]:
    separator = b""
    for values in metering.metrics.all_values():
        yield separator
        yield from encoded(values)
        separator = b","


def _one(metering: Metering, name: str, query: MetricsQuery) -> Iterator[bytes]:
    metrics = metering.metrics
    clock = metrics.clock
    since = None if query.since is None else position(clock) - (clock.time() - query.since)
    yield from encoded(metrics.get_metric_values(name, since, None, query.resolution), clock)
