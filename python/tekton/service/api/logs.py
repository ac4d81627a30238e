"""Logs: what supervised components write, as lines or as a stream; of one of them, or of all as one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from tekton.core.units import unit_name
from tekton.gateway.errors import InvalidParameterError
from tekton.gateway.request import Request, Response, encode
from tekton.gateway.router import Route
from tekton.gateway.sse import EventStream, event
from tekton.service.logs import LogItem, encoded, parameter_error
from tekton.service.system import System
from tekton.supervisor.log_history import CursorError, HistoryPage, Positions, decode_cursor, encode_cursor
from tekton.supervisor.log_lines import LineFilter
from tekton.supervisor.logs import follow, tail
from tekton.utils.log_query import LONGEST, LogQueryError, Query
from tekton.utils.tekton_errors import ComponentError, ComponentNotFoundError

_FOLLOW_BUDGET = 64 * 1024 * 1024
"""A log has no positions to come back to, so its followers are sent much more before they are asked to."""

_Level = Literal["debug", "info", "warning", "error", "critical"]
_Text = Annotated[str, msgspec.Meta(max_length=LONGEST)]
_Moment = Annotated[float, msgspec.Meta(ge=0, le=253_402_300_800)]


class LogQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last `tail` lines; with `follow`, those and what comes, as server-sent events.

    Only lines that `query` wants (docs/reference/logging.md), of at least `level` (those that show none pass), written
    at or after `since` (seconds since 1970). With `previous`, those from before the last start. `replica` is the number
    of one of several replicas, from 0.
    """

    tail: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 100
    follow: bool = False
    previous: bool = False
    query: _Text = ""
    level: _Level | None = None
    since: _Moment | None = None
    replica: Annotated[int, msgspec.Meta(ge=0, lt=100)] = 0


class LogLines(msgspec.Struct, frozen=True):
    """`lines`, oldest first, of the file at `path`."""

    path: str
    lines: list[str]


class LogsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last `limit` lines of all logs that `query` wants, written from `since` to `until` (seconds since 1970).

    `cursor` continues a page. With `follow`, or when server-sent events are accepted, what comes follows.
    """

    query: _Text = ""
    limit: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 100
    cursor: Annotated[str, msgspec.Meta(max_length=6000)] | None = None
    since: _Moment | None = None
    until: _Moment | None = None
    follow: bool = False


class LogPage(msgspec.Struct, frozen=True):
    """Lines, oldest first, of which those of the next page are older; `cursor` is null when there are none.

    `stopped` says why there are fewer than `limit` although there may be more: because of the `bytes` that were read,
    the `time` that it took, the `size` of these lines, or too many `logs` for a cursor.
    """

    items: list[LogItem]
    cursor: str | None
    stopped: Literal["bytes", "time", "size", "logs"] | None


def routes(system: System) -> list[Route]:
    """The log routes."""

    async def logs(request: Request) -> LogLines | EventStream:
        query: LogQuery = request.query
        unit = _unit(system, request.params["component_id"], query.replica)
        path = system.logs.files()[unit]
        only = LineFilter(_asked(system, query), unit)
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

    async def all_logs(request: Request) -> Response | EventStream:
        asked: LogsQuery = request.query
        query = _asked(system, asked)

        def may(unit: str) -> bool:
            return request.principal.grants.allows("logs:read", unit)

        if asked.follow or "text/event-stream" in (request.headers.get("accept") or ""):
            return EventStream(system.logs.events(query, asked.limit, may), budget=_FOLLOW_BUDGET)
        page = await system.logs.page(query, asked.limit, may, _position(system, asked.cursor))
        # It may be 4 MiB.
        return await asyncio.to_thread(_page, page)

    return [
        Route(
            "GET",
            "/api/logs",
            all_logs,
            summary="What all components and the control plane have written, as one log",
            permission="logs:read",
            query=LogsQuery,
            response=LogPage,
            or_stream=True,
        ),
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
        ),
    ]


def _asked(system: System, asked: LogQuery | LogsQuery) -> Query:
    try:
        if isinstance(asked, LogQuery):
            return system.logs.query(asked.query, level=asked.level, since=asked.since)
        return system.logs.query(asked.query, since=asked.since, until=asked.until)
    except LogQueryError as error:
        raise parameter_error(error) from error


def _position(system: System, cursor: str | None) -> Positions | None:
    if cursor is None:
        return None
    try:
        return decode_cursor(cursor, system.logs.files())
    except CursorError as error:
        raise InvalidParameterError("cursor", str(error)) from error


def _page(page: HistoryPage) -> Response:
    head = encode({"cursor": encode_cursor(page.rest), "stopped": page.stopped}).decode()
    return Response(body=f'{{"items":{encoded(page.entries)},{head[1:]}'.encode())


def _unit(system: System, component_id: str, replica: int) -> str:
    spec = system.supervisor.specs.get(component_id)
    if spec is None or system.supervisor.view(component_id) is None or replica >= spec.replicas:
        raise ComponentNotFoundError(component_id, system.nearest(component_id))
    return unit_name(component_id, replica)


async def _stream(path: Path, lines: int, only: LineFilter) -> AsyncIterator[bytes]:
    async for line in follow(path, lines, only=only):
        yield event(encode({"line": line}))
