"""Capabilities: what the system can do, and who does it."""

import msgspec

from tekton.core.lifecycle import ComponentRecord
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.service.system import System


class Capabilities(msgspec.Struct, frozen=True):
    """Capability -> ids of the components that offer it, usable or not."""

    capabilities: dict[str, list[str]]


class Providers(msgspec.Struct, frozen=True):
    """Usable, serving instances, READY ones first."""

    items: list[ComponentRecord]


def routes(system: System) -> list[Route]:
    """The capability routes."""
    registry = system.registry

    async def all_capabilities(_: Request) -> Capabilities:
        return Capabilities(registry.capabilities())

    async def providers(request: Request) -> Providers:
        return Providers(registry.by_capability(request.params["capability"]))

    return [
        Route(
            "GET",
            "/api/capabilities",
            all_capabilities,
            summary="All capabilities",
            permission="components:read",
            response=Capabilities,
        ),
        Route(
            "GET",
            "/api/capabilities/{capability}/components",
            providers,
            summary="The components that offer a capability and take traffic",
            permission="components:read",
            response=Providers,
        ),
    ]
