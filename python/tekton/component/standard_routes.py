"""The routes that every component has: liveness, readiness, version, and the description of all its routes."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from tekton.gateway.openapi import document
from tekton.gateway.request import Request, Response
from tekton.gateway.router import Route


class Health(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str
    component_id: str


class Readiness(msgspec.Struct, frozen=True):
    """Whether the component takes requests; `reason` says why not."""

    ready: bool
    reason: str | None = None


class Version(msgspec.Struct, frozen=True):
    """What runs here."""

    component_id: str
    version: str
    python: str
    pid: int


def standard_routes(
    version: Version, unready_reason: Callable[[], Awaitable[str | None]], routes: Sequence[Route]
) -> list[Route]:
    """The standard routes of a component with *routes* of its own.

    *unready_reason* is asked for each readiness request; None means ready.
    """

    async def health(_: Request) -> Health:
        return Health("ok", version.component_id)

    async def ready(_: Request) -> Response:
        reason = await unready_reason()
        return Response.json(Readiness(reason is None, reason), status=503 if reason else 200)

    async def this_version(_: Request) -> Version:
        return version

    async def openapi(_: Request) -> dict[str, Any]:
        return document([*standard, *routes], {"title": version.component_id, "version": version.version})

    standard = [
        Route("GET", "/api/health", health, summary="Liveness", response=Health),
        Route("GET", "/api/ready", ready, summary="Readiness", response=Readiness),
        Route("GET", "/api/version", this_version, summary="Version", response=Version),
        Route("GET", "/openapi.json", openapi, summary="This document"),
    ]
    return standard
