"""Components: register, look up, change state, control."""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from tekton.core.component_lifecycle.steps import Step
from tekton.core.component_lifecycle.store import HistoryEntry
from tekton.core.component_lifecycle.view import Page
from tekton.core.lifecycle import ComponentRecord, ComponentRegistration, ComponentState
from tekton.gateway.request import Request, Response
from tekton.gateway.router import Route
from tekton.service.api.fence import check_speaker
from tekton.service.system import System
from tekton.service.views import ComponentView, InstanceView
from tekton.utils.tekton_errors import (
    ComponentExistsError,
    ComponentNotFoundError,
    CursorExpiredError,
    IllegalTransitionError,
    InvalidIdError,
    InvalidRegistrationError,
    StaleInstanceError,
    StorageBusyError,
    StorageFullError,
    StorageUnknownError,
)

_STORAGE = (StorageBusyError, StorageFullError, StorageUnknownError)
_FENCED = (ComponentNotFoundError, StaleInstanceError, *_STORAGE)


class Lease(msgspec.Struct, frozen=True):
    """How often to send heartbeats (`interval`), and after how long without one the component is FAILED (seconds)."""

    timeout: float
    interval: float


class RegisterAnswer(msgspec.Struct, frozen=True):
    """The registered instance, and the lease it lives on."""

    component: ComponentRecord
    lease: Lease


class StateChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The state that an instance is to be in, and why."""

    instance_uuid: str
    state: ComponentState
    reason: Annotated[str, msgspec.Meta(max_length=1024)] | None = None


class InstanceName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The instance that a command is about: another one is refused."""

    instance_uuid: str


class ListQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to list, how many at once, and the cursor of the page before."""

    capability: str | None = None
    state: ComponentState | None = None
    type: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    cursor: str | None = None


class HistoryQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many changes, and the revision to continue from."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    before: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None


class History(msgspec.Struct, frozen=True):
    """Changes, newest first."""

    items: list[HistoryEntry]


class Instances(msgspec.Struct, frozen=True):
    """Instances of one component, best first."""

    items: list[InstanceView]


class Components:
    """Handlers over the registry."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._registry = system.registry

    async def register(self, request: Request) -> RegisterAnswer | Response:
        registration: ComponentRegistration = request.body
        check_speaker(self._system, request, "components:register", registration.component_id)
        record, created = await self._registry.register(registration)
        return self._registered(record, created=created)

    def registered(self, steps: Sequence[Step]) -> RegisterAnswer | Response:
        """The answer to the registration that takes *steps*."""
        return self._registered(steps[0].record, created=steps[0].kind == "registered")

    def _registered(self, record: ComponentRecord, *, created: bool) -> RegisterAnswer | Response:
        monitor = self._system.monitor
        answer = RegisterAnswer(record, Lease(monitor.heartbeat_timeout, monitor.next_interval))
        return answer if created else Response.json(answer)

    async def list(self, request: Request) -> Page:
        query: ListQuery = request.query
        return self._registry.page(
            state=query.state,
            component_type=query.type,
            capability=query.capability,
            limit=query.limit,
            cursor=query.cursor,
        )

    async def get(self, request: Request) -> ComponentView:
        component_id = request.params["component_id"]
        await self._system.overview.refresh()
        if not self._system.knows(component_id):
            raise ComponentNotFoundError(component_id, self._system.nearest(component_id))
        return self._system.overview.view(component_id)

    async def instances(self, request: Request) -> Instances:
        await self._system.overview.refresh()
        records = self._registry.instances(self._known(request).component_id)
        return Instances([self._system.overview.instance_view(record) for record in records])

    async def history(self, request: Request) -> History:
        query: HistoryQuery = request.query
        entries = await self._registry.get_history(request.params["component_id"], query.limit, query.before)
        if not entries:
            self._known(request)
        return History(entries)

    async def set_state(self, request: Request) -> ComponentRecord:
        change: StateChange = request.body
        return await self._registry.set_state(
            request.params["component_id"], change.instance_uuid, change.state, change.reason
        )

    async def make_ready(self, request: Request) -> ComponentRecord:
        name: InstanceName = request.body
        return await self._registry.make_ready(request.params["component_id"], name.instance_uuid)

    async def deregister(self, request: Request) -> ComponentRecord:
        name: InstanceName = request.query
        return await self._registry.deregister(request.params["component_id"], name.instance_uuid)

    def _known(self, request: Request) -> ComponentRecord:
        component_id = request.params["component_id"]
        record = self._registry.find(component_id)
        if record is None:
            raise ComponentNotFoundError(component_id, self._registry.nearest(component_id))
        return record


def _last(steps: Sequence[Step]) -> ComponentRecord:
    return steps[-1].record


def routes(system: System) -> list[Route]:
    """The routes under /api/components that read and change the registry."""
    api = Components(system)
    one = "/api/components/{component_id}"
    return [
        Route(
            "POST",
            "/api/components",
            api.register,
            summary="Register a component",
            permission="components:register",
            body=ComponentRegistration,
            response=RegisterAnswer,
            status=201,
            also=(200,),
            max_body=256 * 1024,
            errors=(ComponentExistsError, InvalidRegistrationError, InvalidIdError, *_STORAGE),
            answer_of=api.registered,
        ),
        Route(
            "GET",
            "/api/components",
            api.list,
            summary="List components",
            permission="components:read",
            query=ListQuery,
            response=Page,
            errors=(CursorExpiredError,),
        ),
        Route(
            "GET",
            one,
            api.get,
            summary="One component: its best instance",
            permission="components:read",
            response=ComponentView,
            errors=(ComponentNotFoundError,),
        ),
        Route(
            "DELETE",
            one,
            api.deregister,
            summary="Remove an instance from the registry",
            permission="components:register",
            query=InstanceName,
            response=ComponentRecord,
            errors=_FENCED,
            answer_of=_last,
        ),
        Route(
            "GET",
            f"{one}/instances",
            api.instances,
            summary="All instances of a component, best first",
            permission="components:read",
            response=Instances,
            errors=(ComponentNotFoundError,),
        ),
        Route(
            "GET",
            f"{one}/history",
            api.history,
            summary="The changes of a component, newest first",
            permission="components:read",
            query=HistoryQuery,
            response=History,
            errors=(ComponentNotFoundError,),
        ),
        Route(
            "PUT",
            f"{one}/state",
            api.set_state,
            summary="Move an instance to another state",
            permission="components:heartbeat",
            body=StateChange,
            response=ComponentRecord,
            errors=(IllegalTransitionError, *_FENCED),
            answer_of=_last,
        ),
        Route(
            "POST",
            f"{one}/ready",
            api.make_ready,
            summary="Walk an instance along the legal path to ready",
            permission="components:heartbeat",
            body=InstanceName,
            response=ComponentRecord,
            errors=(IllegalTransitionError, *_FENCED),
            answer_of=_last,
        ),
    ]
