"""Instances one by one: taking traffic away and giving it back, and how many replicas there are."""

from typing import Annotated

import msgspec

from tekton.gateway.errors import UnavailableError
from tekton.gateway.request import Request, Response
from tekton.gateway.router import Route
from tekton.service.api.operations import OperationAnswer, WaitQuery, answer, known, supervised
from tekton.service.system import System
from tekton.utils.tekton_errors import (
    ComponentError,
    ComponentNotFoundError,
    DependencyError,
    StaleInstanceError,
    StartTimeoutError,
    StorageBusyError,
    StorageFullError,
    StorageUnknownError,
)

DRAINED = "drained on request"
"""Why an instance does not serve that somebody has drained."""

_UNDONE = "no longer drained"


class Drain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which instance takes no more traffic (null: all of the component), or does again."""

    instance_uuid: str | None = None
    serving: bool = False


class DrainQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which instance; all of the component without it."""

    instance_uuid: str | None = None


class Drained(msgspec.Struct, frozen=True):
    """The usable instances that were meant, and whether they take traffic now."""

    component_id: str
    serving: bool
    instances: list[str]


class Scale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many replicas there are to be."""

    replicas: Annotated[int, msgspec.Meta(ge=1, le=100)]


class Instances:
    """Handlers over single instances."""

    def __init__(self, system: System) -> None:
        self._system = system

    async def drain(self, request: Request) -> Drained:
        body: Drain = request.body
        return await self._direct(known(self._system, request), body.instance_uuid, body.serving)

    async def undo(self, request: Request) -> Drained:
        query: DrainQuery = request.query
        return await self._direct(known(self._system, request), query.instance_uuid, True)

    async def scale(self, request: Request) -> Response:
        component_id = supervised(self._system, request)
        wanted: Scale = request.body
        self._check_ports(component_id, wanted.replicas)
        return await answer(
            request, "scale", component_id, await self._system.operations.scale(component_id, wanted.replicas)
        )

    async def _direct(self, component_id: str, instance_uuid: str | None, serving: bool) -> Drained:
        registry = self._system.registry
        meant = [one for one in registry.instances(component_id) if instance_uuid in (None, one.instance_uuid)]
        if not meant:
            raise StaleInstanceError(component_id, instance_uuid or "")
        usable = [one.instance_uuid for one in meant if one.usable]
        if not usable:
            raise ComponentError(component_id, "none of it can be used, so there is no traffic to direct")
        action = "component.undrain" if serving else "component.drain"
        with await registry.audit.intend(action, component_id, ", ".join(usable)):
            for one in usable:
                self._system.coordinator.direct_traffic(component_id, one, serving, _UNDONE if serving else DRAINED)
        return Drained(component_id, serving, usable)

    def _check_ports(self, component_id: str, replicas: int) -> None:
        first = self._system.supervisor.specs[component_id].port
        taken = self._system.lineup.ports(component_id)
        for port in () if first is None else range(first, first + replicas):
            if port > 65535 or port in taken:
                holder = f"already that of {taken[port]}" if port in taken else "none that exists"
                raise ComponentError(component_id, f"port {port} of replica {port - (first or 0)} is {holder}")


def routes(system: System) -> list[Route]:
    """The routes under /api/components/{component_id} that drain and scale."""
    api = Instances(system)
    not_entered = (StorageBusyError, StorageFullError, StorageUnknownError)
    one = "/api/components/{component_id}"
    return [
        Route(
            "POST",
            f"{one}/drain",
            api.drain,
            summary="Take traffic away from a component, or from one instance of it",
            permission="components:control",
            body=Drain,
            response=Drained,
            errors=(ComponentNotFoundError, StaleInstanceError, ComponentError, *not_entered),
        ),
        Route(
            "DELETE",
            f"{one}/drain",
            api.undo,
            summary="Give traffic back to a component, or to one instance of it",
            permission="components:control",
            query=DrainQuery,
            response=Drained,
            errors=(ComponentNotFoundError, StaleInstanceError, ComponentError, *not_entered),
        ),
        Route(
            "POST",
            f"{one}/scale",
            api.scale,
            summary="Have another number of replicas",
            permission="components:control",
            query=WaitQuery,
            body=Scale,
            response=OperationAnswer,
            status=202,
            also=(200,),
            errors=(
                ComponentNotFoundError,
                ComponentError,
                DependencyError,
                StartTimeoutError,
                *not_entered,
                UnavailableError,
            ),
        ),
    ]
