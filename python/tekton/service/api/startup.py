"""The last start of the system: what it took, and what it waited for."""

from tekton.core.startup.recorder import StartupReport
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.service.system import System


def routes(system: System) -> list[Route]:
    """The route that tells of the last start."""

    async def startup(_: Request) -> StartupReport:
        return system.recorder.report()

    return [
        Route(
            "GET",
            "/api/startup",
            startup,
            summary="The last start of the system, with its critical path",
            permission="components:read",
            response=StartupReport,
        )
    ]
