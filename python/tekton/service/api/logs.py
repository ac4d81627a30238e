"""Logs: what supervised components write, as lines or as a stream."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import msgspec

from tekton.gateway.request import Request, encode
from tekton.gateway.router import Route
from tekton.gateway.sse import EventStream, event
from tekton.service.system import System
from tekton.supervisor.logs import follow, tail
from tekton.utils.tekton_errors import ComponentNotFoundError

_FOLLOW_BUDGET = 64 * 1024 * 1024
"""A log has no positions to come back to, so its followers are sent much more before they are asked to."""


class LogQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last `tail` lines; with `follow`, those and what comes, as server-sent events."""

    tail: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 100
    follow: bool = False


class LogLines(msgspec.Struct, frozen=True):
    """`lines`, oldest first, of the file at `path`."""

    path: str
    lines: list[str]


def routes(system: System) -> list[Route]:
    """The log routes."""

    async def logs(request: Request) -> LogLines | EventStream:
        query: LogQuery = request.query
        path = _log_of(system, request.params["component_id"])
        if query.follow:
            return EventStream(_stream(path, query.tail), budget=_FOLLOW_BUDGET)
        return LogLines(str(path), tail(path, query.tail))

    return [
        Route(
            "GET",
            "/api/components/{component_id}/logs",
            logs,
            summary="What a supervised component writes",
            permission="components:control",
            query=LogQuery,
            response=LogLines,
            errors=(ComponentNotFoundError,),
        )
    ]


def _log_of(system: System, component_id: str) -> Path:
    process = system.supervisor.view(component_id)
    if process is None:
        raise ComponentNotFoundError(component_id, system.nearest(component_id))
    return process.log


async def _stream(path: Path, lines: int) -> AsyncIterator[bytes]:
    async for line in follow(path, lines):
        yield event(encode({"line": line}))
