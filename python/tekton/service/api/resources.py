"""Resources: what the machine and the components on it use, now and over the last hours."""

import asyncio
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec

from tekton.core.series import Window
from tekton.gateway.errors import InvalidParameterError
from tekton.gateway.request import Request, Response, encode
from tekton.gateway.router import Route
from tekton.service.resources import ResourceHistory, ResourcesView
from tekton.service.system import System

_MOST_NAMES = 16
_Moment = Annotated[float, msgspec.Meta(ge=0, le=253_402_300_800)]


class ResourcesQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`history`: names of numbers (or patterns with `*`), separated by commas, at most 16 of them.

    Their history is from `since` to `until` (seconds since 1970), by default that of the last ten minutes, in slots of
    at least `resolution` seconds, by default the finest that reach back so far.
    """

    history: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    since: _Moment | None = None
    until: _Moment | None = None
    resolution: Annotated[float, msgspec.Meta(gt=0, le=86_400)] | None = None


class ResourcesAnswer(ResourcesView, frozen=True, kw_only=True):
    """A sample, the names of what there is a history of, and the history that was asked for."""

    measured: list[str]
    history: dict[str, ResourceHistory]


def routes(system: System) -> list[Route]:
    """The route of the resources."""

    async def resources(request: Request) -> Response:
        query: ResourcesQuery = request.query
        monitor = system.resources.monitor
        now = await system.resources.now()
        measured = monitor.measured()
        # Not here: there may be thousands of names.
        names = await asyncio.to_thread(_chosen, query.history, measured) if query.history else []
        history: Sequence[bytes] = ()
        if names:
            history = await asyncio.to_thread(_history, system, names, query)
        head = encode(now)[:-1] + b',"measured":' + encode(measured)
        return Response(body=head + b',"history":{' + b",".join(history) + b"}}")

    return [
        Route(
            "GET",
            "/api/resources",
            resources,
            summary="What the machine and the components on it use, now and before",
            permission="metrics:read",
            query=ResourcesQuery,
            response=ResourcesAnswer,
        )
    ]


def _chosen(wanted: str, measured: Iterable[str]) -> list[str]:
    patterns = [name for name in wanted.split(",") if name]
    if len(patterns) > _MOST_NAMES:
        raise InvalidParameterError("history", f"these are {len(patterns)} names, at most {_MOST_NAMES} are answered")
    names = [name for name in measured if any(fnmatchcase(name, pattern) for pattern in patterns)]
    if len(names) > _MOST_NAMES:
        raise InvalidParameterError("history", f"{len(names)} names match, at most {_MOST_NAMES} are answered at once")
    return names


def _history(system: System, names: Sequence[str], query: ResourcesQuery) -> list[bytes]:
    """The members of the object `history`. In a thread, piece by piece: it may be a megabyte."""
    windows = system.resources.monitor.history(names, since=query.since, until=query.until, resolution=query.resolution)
    return [encode(name) + b":" + encode(_view(window)) for name, window in windows.items()]


def _view(window: Window) -> ResourceHistory:
    if window.low is window.mean:
        return ResourceHistory(window.since, window.step, list(window.mean))
    return ResourceHistory(window.since, window.step, list(window.mean), list(window.low), list(window.high))
