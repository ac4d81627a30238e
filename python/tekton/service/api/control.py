"""Control: start, stop and restart components, and explain them."""

import asyncio

import msgspec

from tekton.gateway.errors import UnavailableError
from tekton.gateway.request import Request, Response
from tekton.gateway.router import Route
from tekton.service.explain import Explanation
from tekton.service.system import Operation, System
from tekton.utils.tekton_errors import (
    ComponentError,
    ComponentNotFoundError,
    DependencyError,
    StartTimeoutError,
    StorageBusyError,
    StorageFullError,
    StorageUnknownError,
)


class OperationAnswer(msgspec.Struct, frozen=True):
    """An operation that was accepted (202), or has been carried out (200 with `wait=1`)."""

    operation: str
    component_id: str
    done: bool


class WaitQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether to answer only when the operation is done."""

    wait: bool = False


class Control:
    """Handlers over the coordinator."""

    def __init__(self, system: System) -> None:
        self._system = system

    async def start(self, request: Request) -> Response:
        return await self._run(request, "start")

    async def stop(self, request: Request) -> Response:
        return await self._run(request, "stop")

    async def restart(self, request: Request) -> Response:
        return await self._run(request, "restart")

    async def why(self, request: Request) -> Explanation:
        component_id = self._known(request)
        return await self._system.why(component_id)

    async def _run(self, request: Request, operation: Operation) -> Response:
        component_id = self._known(request)
        if not self._system.runs(component_id):
            raise ComponentError(component_id, "Tekton does not run its process; it registered itself")
        task = self._system.operate(operation, component_id)
        query: WaitQuery = request.query
        if not query.wait:
            return Response.json(OperationAnswer(operation, component_id, done=False), status=202)
        await asyncio.wait([task])
        if task.cancelled():
            raise UnavailableError("the control plane is stopping")
        if (failure := task.result()) is not None:
            raise failure
        return Response.json(OperationAnswer(operation, component_id, done=True))

    def _known(self, request: Request) -> str:
        component_id = request.params["component_id"]
        if not self._system.knows(component_id):
            raise ComponentNotFoundError(component_id, self._system.nearest(component_id))
        return component_id


def routes(system: System) -> list[Route]:
    """The routes that control components."""
    api = Control(system)
    one = "/api/components/{component_id}"
    errors = (
        ComponentNotFoundError,
        DependencyError,
        StartTimeoutError,
        ComponentError,
        StorageBusyError,
        StorageFullError,
        StorageUnknownError,
        UnavailableError,
    )
    verbs = [
        ("start", api.start, "Start a component"),
        ("stop", api.stop, "Stop a component"),
        ("restart", api.restart, "Restart a component"),
    ]
    return [
        Route(
            "POST",
            f"{one}/{verb}",
            handler,
            summary=summary,
            permission="components:control",
            query=WaitQuery,
            response=OperationAnswer,
            status=202,
            also=(200,),
            errors=errors,
        )
        for verb, handler, summary in verbs
    ] + [
        Route(
            "GET",
            f"{one}/why",
            api.why,
            summary="Why a component is in its state",
            permission="components:read",
            response=Explanation,
            errors=(ComponentNotFoundError,),
        )
    ]
