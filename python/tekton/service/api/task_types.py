"""The types of tasks: which are declared, and with which capabilities they are done."""

from typing import Annotated, Final

import msgspec

from tekton.a2a.task_types import TaskType
from tekton.gateway.request import Request, Response
from tekton.gateway.router import Route
from tekton.service.system import System
from tekton.utils.tekton_errors import InvalidIdError, StorageError, TaskTypeLimitError, TaskTypeNotFoundError

READ: Final = "agents:read"
MANAGE: Final = "agents:manage"

_Text = Annotated[str, msgspec.Meta(max_length=256)]


class TypeOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a type of task asks for: an agent that has one of these capabilities."""

    capabilities: Annotated[list[_Text], msgspec.Meta(min_length=1, max_length=64)]


class TypeView(msgspec.Struct, frozen=True):
    """A type of task that is declared, and the capabilities with which it is done."""

    task_type: str
    capabilities: tuple[str, ...]

    @classmethod
    def of(cls, task_type: TaskType) -> "TypeView":
        """What is shown of *task_type*."""
        return cls(task_type.name, task_type.capabilities)


class TypeList(msgspec.Struct, frozen=True):
    """The types of tasks, by name."""

    items: list[TypeView]


class Types:
    """Handlers over the types of tasks."""

    def __init__(self, system: System) -> None:
        self._system = system

    async def list(self, _: Request) -> TypeList:
        return TypeList([TypeView.of(one) for one in self._system.tasks.types.all()])

    async def put(self, request: Request) -> Response:
        order: TypeOrder = request.body
        declared, new = await self._system.tasks.types.declare(request.params["task_type"], order.capabilities)
        return Response.json(TypeView.of(declared), status=201 if new else 200)

    async def delete(self, request: Request) -> TypeView:
        return TypeView.of(await self._system.tasks.types.forget(request.params["task_type"]))


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
            errors=(InvalidIdError, TaskTypeLimitError, StorageError),
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
