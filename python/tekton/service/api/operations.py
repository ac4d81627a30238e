"""What the routes that act on components share: whom a request means, and operations that take their time."""

import asyncio

import msgspec

from tekton.gateway.errors import UnavailableError
from tekton.gateway.request import Request, Response
from tekton.service.system import System
from tekton.utils.tekton_errors import ComponentError, ComponentNotFoundError, TektonError


class OperationAnswer(msgspec.Struct, frozen=True):
    """An operation that was accepted (202), or has been carried out (200 with `wait=1`)."""

    operation: str
    component_id: str
    done: bool


class WaitQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether to answer only when the operation is done."""

    wait: bool = False


def known(system: System, request: Request) -> str:
    """The component that the path names. Raises ComponentNotFoundError."""
    component_id = request.params["component_id"]
    if not system.knows(component_id):
        raise ComponentNotFoundError(component_id, system.nearest(component_id))
    return component_id


def supervised(system: System, request: Request) -> str:
    """The component that the path names, whose process is ours. Raises ComponentNotFoundError, ComponentError."""
    component_id = known(system, request)
    if not system.runs(component_id):
        raise ComponentError(component_id, "Tekton does not run its process; it registered itself")
    return component_id


async def answer(
    request: Request, operation: str, component_id: str, task: "asyncio.Task[TektonError | None]"
) -> Response:
    """Answer at once, or with `wait` once *task* is done.

    Raises what it failed with, and UnavailableError when the control plane stops meanwhile.
    """
    query: WaitQuery = request.query
    if not query.wait:
        return Response.json(OperationAnswer(operation, component_id, done=False), status=202)
    await asyncio.wait([task])
    if task.cancelled():
        raise UnavailableError("the control plane is stopping")
    if (failure := task.result()) is not None:
        raise failure
    return Response.json(OperationAnswer(operation, component_id, done=True))
