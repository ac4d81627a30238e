"""Health, readiness, version, and the whole system in one answer."""

import sys

import msgspec

from tekton import __version__
from tekton.gateway.request import Request, Response
from tekton.gateway.router import Route
from tekton.service.api.history import moment_of
from tekton.service.system import System
from tekton.service.views import ComponentView
from tekton.utils.tekton_errors import HistoryUnknownError


class Health(msgspec.Struct, frozen=True):
    """`status` is always `ok`: whoever can answer is alive."""

    status: str


class Readiness(msgspec.Struct, frozen=True):
    """Whether the control plane itself takes requests; `reason` says why not. `impaired` is what fails beside that."""

    ready: bool
    reason: str | None
    impaired: list[str]


class Version(msgspec.Struct, frozen=True):
    """The versions of Tekton and Python, and the process id of the control plane."""

    version: str
    python: str
    pid: int


class SystemQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`at`: not as it is but as it was then. See the history for how a time may be written."""

    at: str | None = None


class PastMoment(msgspec.Struct, frozen=True):
    """That this is the past: *at* a time, of which there is data since `known_since` (both wall-clock seconds).

    `running` is false when the control plane was down then: this is what it had known before. `machine` are the numbers
    of the machine then; empty where none were taken.
    """

    at: float
    known_since: float
    running: bool
    machine: dict[str, float]


class SystemView(msgspec.Struct, frozen=True):
    """All components in one answer; `counts` is the number of components per state. `past` is null for the present."""

    version: str
    incarnation: int
    revision: int
    started_at: float
    data_dir: str
    components: list[ComponentView]
    counts: dict[str, int]
    past: PastMoment | None = None


class Accepted(msgspec.Struct, frozen=True):
    """The operation that has begun."""

    operation: str


_OK = Health("ok")


def routes(system: System) -> list[Route]:
    """The routes about the control plane as a whole."""

    async def health(_: Request) -> Health:
        return _OK

    async def ready(_: Request) -> Response:
        reason = system.unready_reason()
        impaired = [*system.messaging.problems, *system.work.problems, *system.card_keys.problems]
        readiness = Readiness(reason is None, reason, impaired)
        return Response.json(readiness, status=503 if reason else 200)

    async def version(_: Request) -> Version:
        return Version(__version__, sys.version.split()[0], system.pid)

    async def overview(request: Request) -> SystemView:
        asked: SystemQuery = request.query
        past = None
        if asked.at is None:
            await system.overview.refresh()
            components = system.overview.views()
        else:
            found = await system.history.at(moment_of("at", asked.at, system.history.now()))
            components = found.components
            past = PastMoment(found.at, found.known_since, found.running, found.machine)
        counts: dict[str, int] = {}
        for component in components:
            counts[component.state.value] = counts.get(component.state.value, 0) + 1
        return SystemView(
            version=__version__,
            incarnation=system.registry.incarnation,
            revision=system.registry.revision,
            started_at=system.started_at,
            data_dir=str(system.config.data_dir),
            components=components,
            counts=counts,
            past=past,
        )

    async def stop(_: Request) -> Response:
        await system.auditing.intend_to_stop()
        system.request_stop()
        return Response.json(Accepted("stop"), status=202)

    return [
        Route("GET", "/api/health", health, summary="Liveness", permission="public", response=Health, vital=True),
        Route(
            "GET",
            "/api/ready",
            ready,
            summary="Readiness",
            permission="public",
            response=Readiness,
            also=(503,),
            vital=True,
        ),
        Route("GET", "/api/version", version, summary="Version", permission="public", response=Version),
        Route(
            "GET",
            "/api/system",
            overview,
            summary="All components in one answer, as they are or as they were at a time",
            permission="components:read",
            query=SystemQuery,
            response=SystemView,
            errors=(HistoryUnknownError,),
        ),
        Route(
            "POST",
            "/api/system/stop",
            stop,
            summary="Stop everything in order, then the control plane",
            permission="system:control",
            response=Accepted,
            status=202,
        ),
    ]
