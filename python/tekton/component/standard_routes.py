"""The routes that every component has: liveness, readiness, version, and the description of all its routes."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from tekton.gateway.openapi import document
from tekton.gateway.request import Request, Response
from tekton.gateway.router import CALLERS, Route


class Health(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str
    component_id: str


class Readiness(msgspec.Struct, frozen=True):
    """Whether the component takes requests; `reason` says why not, to those who may know."""

    ready: bool
    reason: str | None = None


class Version(msgspec.Struct, frozen=True):
    """What runs here."""

    component_id: str
    version: str
    python: str
    pid: int


def standard_routes(
    version: Version,
    unready_reason: Callable[[], Awaitable[str | None]],
    routes: Sequence[Route],
    lets_in: Callable[[Request], bool] = lambda _: True,
) -> list[Route]:
    """The standard routes of a component with *routes* of its own.

    *unready_reason* is asked for each readiness request; None means ready. It is told to those whom the component
    *lets_in*.
    """

    async def health(_: Request) -> Health:
        return Health("ok", version.component_id)

    async def ready(request: Request) -> Response:
        reason = await unready_reason()
        told = reason if reason is None or lets_in(request) else None
        return Response.json(Readiness(reason is None, told), status=503 if reason else 200)

    async def this_version(_: Request) -> Version:
        return version

    async def openapi(_: Request) -> dict[str, Any]:
        return document([*standard, *routes], {"title": version.component_id, "version": version.version})

    standard = [
        Route("GET", "/api/health", health, summary="Liveness", response=Health),
        Route("GET", "/api/ready", ready, summary="Readiness", response=Readiness),
        Route("GET", "/api/version", this_version, "Version", CALLERS, response=Version),
        Route("GET", "/openapi.json", openapi, "This document", CALLERS),
    ]
    return standard
