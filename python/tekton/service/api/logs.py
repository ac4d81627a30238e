"""Logs: what supervised components write, as lines or as a stream."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from tekton.core.units import unit_name
from tekton.gateway.request import Request, encode
from tekton.gateway.router import Route
from tekton.gateway.sse import EventStream, event
from tekton.service.system import System
from tekton.supervisor.log_lines import LineFilter
from tekton.supervisor.logs import follow, tail
from tekton.utils.tekton_errors import ComponentError, ComponentNotFoundError

_FOLLOW_BUDGET = 64 * 1024 * 1024
"""A log has no positions to come back to, so its followers are sent much more before they are asked to."""


class LogQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last `tail` lines; with `follow`, those and what comes, as server-sent events.

    Only lines of at least `level` (those that show none pass), written at or after `since` (seconds since 1970). With
    `previous`, those from before the last start. `replica` is the number of one of several replicas, from 0.
    """

    tail: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 100
    follow: bool = False
    previous: bool = False
    level: Literal["debug", "info", "warning", "error", "critical"] | None = None
    since: Annotated[float, msgspec.Meta(ge=0)] | None = None
    replica: Annotated[int, msgspec.Meta(ge=0, lt=100)] = 0


class LogLines(msgspec.Struct, frozen=True):
    """`lines`, oldest first, of the file at `path`."""

    path: str
    lines: list[str]


def routes(system: System) -> list[Route]:
    """The log routes."""

    async def logs(request: Request) -> LogLines | EventStream:
        query: LogQuery = request.query
        path = _log_of(system, request.params["component_id"], query.replica)
        only = LineFilter(query.level, query.since)
        # It may read, and look into, 16 MiB.
        count = 0 if query.follow else query.tail
        try:
            lines = await asyncio.to_thread(tail, path, count, previous=query.previous, only=only)
        except OSError as error:  # something else in its place, a disk that fails
            problem = f"its log cannot be read: {error.strerror or error}"
            raise ComponentError(request.params["component_id"], problem) from error
        if query.follow:
            return EventStream(_stream(path, query.tail, only), budget=_FOLLOW_BUDGET)
        return LogLines(str(path), lines)

    return [
        Route(
            "GET",
            "/api/components/{component_id}/logs",
            logs,
            summary="What a supervised component writes",
            permission="logs:read",
            query=LogQuery,
            response=LogLines,
            or_stream=True,
            errors=(ComponentNotFoundError, ComponentError),
        )
    ]


def _log_of(system: System, component_id: str, replica: int) -> Path:
    process, spec = system.supervisor.view(component_id), system.supervisor.specs.get(component_id)
    if process is None or spec is None or replica >= spec.replicas:
        raise ComponentNotFoundError(component_id, system.nearest(component_id))
    return process.log.with_name(f"{unit_name(component_id, replica)}.log")


async def _stream(path: Path, lines: int, only: LineFilter) -> AsyncIterator[bytes]:
    async for line in follow(path, lines, only=only):
        yield event(encode({"line": line}))
