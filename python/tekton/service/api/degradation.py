"""Degraded mode: who serves what now, and what a failure would do."""

from tekton.core.impact import Impact
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.service.api.operations import known
from tekton.service.degradation import Degraded
from tekton.service.system import System
from tekton.utils.tekton_errors import ComponentNotFoundError


def routes(system: System) -> list[Route]:
    """The routes of degraded mode."""

    async def degradation(_: Request) -> Degraded:
        return system.degradation.all()

    async def impact(request: Request) -> Impact:
        return system.degradation.impact(known(system, request))

    return [
        Route(
            "GET",
            "/api/degradation",
            degradation,
            summary="Who serves the capabilities that have fallbacks, and the settings of circuit breakers",
            permission="components:read",
            response=Degraded,
        ),
        Route(
            "GET",
            "/api/components/{component_id}/impact",
            impact,
            summary="What would happen if a component were killed",
            permission="components:read",
            response=Impact,
            errors=(ComponentNotFoundError,),
        ),
    ]
