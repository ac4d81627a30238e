"""Capabilities: what the system can do, and who does it."""

import msgspec

from tekton.core.capability_service import Fallback
from tekton.core.lifecycle import ComponentRecord
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.service.system import System


class Capabilities(msgspec.Struct, frozen=True):
    """Capability -> ids of the components that offer it, usable or not. `on_fallback`: the fallbacks that serve now."""

    capabilities: dict[str, list[str]]
    on_fallback: dict[str, str]


class Providers(msgspec.Struct, frozen=True):
    """Usable, serving instances, READY ones first; while there are none, those of the fallback in `fallback`."""

    items: list[ComponentRecord]
    fallback: Fallback | None


def routes(system: System) -> list[Route]:
    """The capability routes."""

    async def all_capabilities(_: Request) -> Capabilities:
        return Capabilities(system.registry.capabilities(), system.degradation.on_fallback())

    async def providers(request: Request) -> Providers:
        return Providers(*system.degradation.instances(request.params["capability"]))

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
            summary="The components that serve a capability now",
            permission="components:read",
            response=Providers,
        ),
    ]
