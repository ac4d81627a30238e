"""The history: what is kept of the past, and how numbers were over days. `GET /api/system?at=` shows one moment."""

from typing import Annotated

import msgspec

from tekton.core.history.instants import parse_instant
from tekton.core.history.store import KINDS
from tekton.gateway.errors import InvalidParameterError
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.service.history import written
from tekton.service.system import System

_DAY = 86_400.0
_MOST_COLUMNS = 50


class KeptKind(msgspec.Struct, frozen=True):
    """One kind of telemetry: it is complete from `known_since` on (wall-clock seconds), but for `dropped` rows."""

    known_since: float
    dropped: int


class KeptHistory(msgspec.Struct, frozen=True):
    """What is kept: in the file `path` (null: in memory only) of `size_bytes`; `problem` says why it is not written.

    `kinds` are `state`, `sample` and `span`; `samples` the names of what is sampled.
    """

    path: str | None
    size_bytes: int
    problem: str | None
    kinds: dict[str, KeptKind]
    samples: list[str]


class SamplesQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The samples `of` something, once a minute, with `since <= at < until`: by default of the last day.

    Only these `columns` (names with commas between them), in this order; by default all, up to 50 of them. The newest
    `limit` samples.
    """

    of: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    columns: str | None = None
    since: str | None = None
    until: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=20_000)] = 1440


class Samples(msgspec.Struct, frozen=True):
    """A row for each sample, oldest first: its time (wall-clock seconds), then its value in each of the `columns`.

    A value that was not taken is null. There is data since `known_since`.
    """

    of: str
    known_since: float
    columns: list[str]
    rows: list[list[float | None]]


def moment_of(parameter: str, text: str, now: float) -> float:
    """The time that a query parameter means. Raises InvalidParameterError when it is none, or to come."""
    try:
        moment = parse_instant(text, now)
    except ValueError as error:
        raise InvalidParameterError(parameter, str(error)) from None
    if moment > now:
        raise InvalidParameterError(parameter, f"{written(moment)} is still to come")
    return moment


def routes(system: System) -> list[Route]:
    """The routes about the past."""

    async def kept(_: Request) -> KeptHistory:
        history = system.history
        status = history.store.status()
        kinds: dict[str, KeptKind] = {}
        for kind in KINDS:
            kinds[kind] = KeptKind(await history.known_since(kind), status.dropped[kind])
        return KeptHistory(status.path, status.size_bytes, status.problem, kinds, await history.samples())

    async def samples(request: Request) -> Samples:
        asked: SamplesQuery = request.query
        now = system.history.now()
        until = now if asked.until is None else moment_of("until", asked.until, now)
        since = until - _DAY if asked.since is None else moment_of("since", asked.since, now)
        columns = [] if asked.columns is None else asked.columns.split(",")
        if len(columns) > _MOST_COLUMNS:
            raise InvalidParameterError("columns", f"there are more than {_MOST_COLUMNS}")
        found = await system.history.series(asked.of, columns, since, until, asked.limit)
        shown = list(found.columns)[:_MOST_COLUMNS]
        rows = [[at, *values[: len(shown)]] for at, values in found.rows]
        return Samples(asked.of, await system.history.known_since("sample"), shown, rows)

    return [
        Route(
            "GET",
            "/api/history",
            kept,
            summary="What is kept of the past",
            permission="metrics:read",
            response=KeptHistory,
        ),
        Route(
            "GET",
            "/api/history/samples",
            samples,
            summary="How numbers were, minute by minute",
            permission="metrics:read",
            query=SamplesQuery,
            response=Samples,
        ),
    ]
