"""Control: start, stop and restart components, explain them, and change which there are."""

from functools import partial

import msgspec

from tekton.gateway.errors import UnavailableError
from tekton.gateway.request import Request, Response
from tekton.gateway.router import Route
from tekton.service.api.operations import OperationAnswer, WaitQuery, answer, known, supervised
from tekton.service.explain import Explanation, with_evidence_of
from tekton.service.operations import Operation
from tekton.service.reload import ReloadReport
from tekton.service.system import System
from tekton.utils.config_schema import ComponentEntry
from tekton.utils.tekton_errors import (
    ComponentConfiguredError,
    ComponentError,
    ComponentExistsError,
    ComponentNotFoundError,
    ConfigurationError,
    DependencyError,
    StartTimeoutError,
    StorageBusyError,
    StorageFullError,
    StorageUnknownError,
)

_MOST_OF_A_SPEC = 4 * 1024 * 1024
"""Bytes: an environment may be large."""


class StartQuery(WaitQuery, frozen=True, forbid_unknown_fields=True):
    """Whether to start past dependencies that cannot be used, and whether to answer only when that is done."""

    force: bool = False


class RestartQuery(StartQuery, frozen=True, forbid_unknown_fields=True):
    """As for a start, and whether replicas are restarted one at a time."""

    rolling: bool = False


class Control:
    """Handlers over the coordinator."""

    def __init__(self, system: System) -> None:
        self._system = system

    async def start(self, request: Request) -> Response:
        query: StartQuery = request.query
        return await self._run(request, "start", force=query.force)

    async def stop(self, request: Request) -> Response:
        return await self._run(request, "stop")

    async def restart(self, request: Request) -> Response:
        query: RestartQuery = request.query
        return await self._run(request, "roll" if query.rolling else "restart", force=query.force)

    async def reload(self, _: Request) -> ReloadReport:
        return await self._system.changes.reload()

    async def put_spec(self, request: Request) -> Response:
        component_id = request.params["component_id"]
        await self._system.changes.put(component_id, msgspec.json.encode(request.body))
        return await self._carry_out(request, "start", component_id)

    async def delete_spec(self, request: Request) -> OperationAnswer:
        component_id = request.params["component_id"]
        await self._system.changes.delete(component_id)
        return OperationAnswer("delete", component_id, done=True)

    async def why(self, request: Request) -> Explanation:
        found = await self._system.overview.why(known(self._system, request))
        return with_evidence_of(found, partial(request.principal.grants.allows, "logs:read"))

    async def _run(self, request: Request, operation: Operation, *, force: bool = False) -> Response:
        return await self._carry_out(request, operation, supervised(self._system, request), force=force)

    async def _carry_out(
        self, request: Request, operation: Operation, component_id: str, *, force: bool = False
    ) -> Response:
        task = await self._system.operations.operate(operation, component_id, force=force)
        return await answer(request, operation, component_id, task)


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
        ("start", api.start, "Start a component", StartQuery),
        ("stop", api.stop, "Stop a component", WaitQuery),
        ("restart", api.restart, "Restart a component", RestartQuery),
    ]
    return [
        Route(
            "POST",
            f"{one}/{verb}",
            handler,
            summary=summary,
            permission="components:control",
            query=query,
            response=OperationAnswer,
            status=202,
            also=(200,),
            errors=errors,
        )
        for verb, handler, summary, query in verbs
    ] + [
        Route(
            "GET",
            f"{one}/why",
            api.why,
            summary="Why a component is in its state",
            permission="components:read",
            response=Explanation,
            errors=(ComponentNotFoundError,),
        ),
        Route(
            "PUT",
            f"{one}/spec",
            api.put_spec,
            summary="Add a component while the system runs, and start it",
            permission="components:configure",
            body=ComponentEntry,
            query=WaitQuery,
            response=OperationAnswer,
            status=202,
            also=(200,),
            max_body=_MOST_OF_A_SPEC,
            errors=(ConfigurationError, ComponentConfiguredError, ComponentExistsError, *errors),
        ),
        Route(
            "DELETE",
            f"{one}/spec",
            api.delete_spec,
            summary="Stop a component that was added while the system runs, and forget it",
            permission="components:configure",
            response=OperationAnswer,
            errors=(
                ComponentConfiguredError,
                ComponentError,
                ComponentNotFoundError,
                StorageBusyError,
                StorageFullError,
                StorageUnknownError,
            ),
        ),
        Route(
            "POST",
            "/api/system/reload",
            api.reload,
            summary="Read the configuration anew, and change what runs accordingly",
            permission="system:control",
            response=ReloadReport,
            errors=(
                ConfigurationError,
                ComponentExistsError,
                StorageBusyError,
                StorageFullError,
                StorageUnknownError,
            ),
        ),
    ]
