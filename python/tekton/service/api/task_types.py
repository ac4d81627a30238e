"""The types of tasks: what is declared of them, so that they are done by the right agents, in parts, and as wanted."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec

from tekton.a2a.task_graph import Subtask
from tekton.a2a.task_types import TaskType
from tekton.gateway.request import Request, Response
from tekton.gateway.router import Route
from tekton.service.api.tasks import MOST_PARTS, PartOrder, subtask_of
from tekton.service.system import System
from tekton.service.task_types import Declaration
from tekton.utils.tekton_errors import (
    InvalidIdError,
    InvalidTaskError,
    StorageError,
    TaskCycleError,
    TaskTypeLimitError,
    TaskTypeNotFoundError,
)

READ: Final = "agents:read"
MANAGE: Final = "agents:manage"

_Text = Annotated[str, msgspec.Meta(max_length=256)]


class TypeOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a type of task asks for: an agent that has one of these `capabilities`, or to be done by these `subtasks`.

    A result that does not fit `result_schema`, a JSON schema, is none: the next agent is asked. So it is when one has
    tried for `attempt_timeout` seconds, answers that it waits for included.
    """

    capabilities: Annotated[list[_Text], msgspec.Meta(max_length=64)] = []
    subtasks: Annotated[list[PartOrder], msgspec.Meta(max_length=MOST_PARTS)] = []
    result_schema: dict[str, Any] | None = None
    attempt_timeout: Annotated[float, msgspec.Meta(gt=0, le=31_536_000)] | None = None


class TypeView(msgspec.Struct, frozen=True):
    """A type of task that is declared: the capabilities with which it is done, or its parts, and what else is asked."""

    task_type: str
    capabilities: Sequence[str]
    subtasks: Sequence[Subtask]
    result_schema: Mapping[str, Any] | None
    attempt_timeout: float | None

    @classmethod
    def of(cls, task_type: TaskType, declared: Declaration) -> "TypeView":
        """What is shown of *task_type*, of which that is *declared*."""
        return cls(
            task_type.name,
            task_type.capabilities,
            declared.subtasks,
            declared.result_schema,
            declared.attempt_timeout,
        )


class TypeList(msgspec.Struct, frozen=True):
    """The types of tasks, by name."""

    items: list[TypeView]


class Types:
    """Handlers over the types of tasks."""

    def __init__(self, system: System) -> None:
        self._system = system

    async def list(self, _: Request) -> TypeList:
        return TypeList([self._view(one) for one in self._system.tasks.types.all()])

    async def put(self, request: Request) -> Response:
        order: TypeOrder = request.body
        wanted = Declaration(
            order.capabilities,
            [subtask_of(part) for part in order.subtasks],
            order.result_schema,
            order.attempt_timeout,
        )
        declared, new = await self._system.tasks.types.declare(request.params["task_type"], wanted)
        return Response.json(self._view(declared), status=201 if new else 200)

    async def delete(self, request: Request) -> TypeView:
        return TypeView.of(*await self._system.tasks.types.forget(request.params["task_type"]))

    def _view(self, task_type: TaskType) -> TypeView:
        return TypeView.of(task_type, self._system.tasks.types.declaration(task_type))


def routes(system: System) -> list[Route]:
    """The routes under /api/task-types."""
    api = Types(system)
    one = "/api/task-types/{task_type}"
    return [
        Route("GET", "/api/task-types", api.list, "The types of tasks", READ, response=TypeList),
        Route(
            "PUT",
            one,
            api.put,
            "Declare what a type of task asks for",
            MANAGE,
            body=TypeOrder,
            response=TypeView,
            also=(201,),
            errors=(InvalidIdError, InvalidTaskError, TaskCycleError, TaskTypeLimitError, StorageError),
        ),
        Route(
            "DELETE",
            one,
            api.delete,
            "Forget what was declared of a type of task",
            MANAGE,
            response=TypeView,
            errors=(TaskTypeNotFoundError, StorageError),
        ),
    ]
