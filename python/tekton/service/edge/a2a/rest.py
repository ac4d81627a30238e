"""The binding HTTP+JSON (specification, 11): an operation is a method and a path, its parameters a body or a query."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from tekton.a2a.agent_registry import AgentRegistry
from tekton.gateway.errors import RouteNotFoundError
from tekton.gateway.request import Request, Response
from tekton.gateway.sse import EventStream, event
from tekton.service.edge.a2a.binding import agent_of, check_version, parameters, read_body, streamed
from tekton.service.edge.a2a.errors import MEDIA_TYPE, rest_answer, rest_error
from tekton.service.edge.a2a.operations import STREAMING, UNARY, Call, Operations
from tekton.service.edge.a2a.protojson import read
from tekton.service.edge.a2a.wire import encode

_CONFIGS: Final = "/tasks/{task_id}/pushNotificationConfigs"


class Endpoint(NamedTuple):
    """A method and a path of the binding, and what is asked there: an operation, or several, by what is behind a colon.

    *names* are those that parameters of the path have in the operation; *body*: all others come in the body.
    """

    method: str
    path: str
    operations: dict[str, str]
    names: dict[str, str] = {}
    body: bool = False
    permission: str = "tasks:run"


_TASK: Final = {"task_id": "id"}

ENDPOINTS: Final = (
    Endpoint("POST", "/message:send", {"": "SendMessage"}, body=True),
    Endpoint("POST", "/message:stream", {"": "SendStreamingMessage"}, body=True),
    Endpoint("GET", "/tasks", {"": "ListTasks"}),
    Endpoint("GET", "/tasks/{task_id}", {"": "GetTask", "subscribe": "SubscribeToTask"}, _TASK),
    Endpoint("POST", "/tasks/{task_id}", {"cancel": "CancelTask", "subscribe": "SubscribeToTask"}, _TASK),
    Endpoint("POST", _CONFIGS, {"": "CreateTaskPushNotificationConfig"}, {"task_id": "taskId"}, body=True),
    Endpoint("GET", _CONFIGS, {"": "ListTaskPushNotificationConfigs"}, {"task_id": "taskId"}),
    Endpoint(
        "GET",
        f"{_CONFIGS}/{{config_id}}",
        {"": "GetTaskPushNotificationConfig"},
        {"task_id": "taskId", "config_id": "id"},
    ),
    Endpoint(
        "DELETE",
        f"{_CONFIGS}/{{config_id}}",
        {"": "DeleteTaskPushNotificationConfig"},
        {"task_id": "taskId", "config_id": "id"},
    ),
    Endpoint("GET", "/extendedAgentCard", {"": "GetExtendedAgentCard"}, permission="agents:read"),
)


class HttpJson:
    """Answers requests by *operations*, to the agents of *registry* or to all."""

    def __init__(self, operations: Operations, registry: AgentRegistry) -> None:
        self._operations = operations
        self._registry = registry

    def handler(self, endpoint: Endpoint) -> Callable[[Request], Any]:
        """What answers requests at *endpoint*."""
        return partial(self._answer, endpoint)

    async def _answer(self, endpoint: Endpoint, request: Request) -> Response | EventStream:
        try:
            return await self._done(endpoint, request)
        except Exception as error:
            return rest_answer(error)

    async def _done(self, endpoint: Endpoint, request: Request) -> Response | EventStream:
        call = Call(request, agent_of(self._registry, request))
        check_version(request)
        named = {name: request.params[of] for of, name in endpoint.names.items()}
        name = self._operation(endpoint, request, named)
        params = _params(endpoint, request)
        params = params | named if isinstance(params, dict) else params
        if (unary := UNARY.get(name)) is not None:
            kind, operation = unary
            result = await operation(self._operations, call, read(kind, params))
            return Response(200, encode(result), media_type=MEDIA_TYPE)
        kind, begin = STREAMING[name]
        updates = await begin(self._operations, call, read(kind, params))
        return streamed(updates, lambda one: event(encode(one)), lambda error: event(rest_error(error), "error"))

    def _operation(self, endpoint: Endpoint, request: Request, named: dict[str, str]) -> str:
        """The operation that is asked for; what is behind a colon is no part of the id before it."""
        verb = ""
        if len(endpoint.operations) > 1:
            task_id, _, last = named["id"].rpartition(":")
            if task_id:
                named["id"], verb = task_id, last
        if (name := endpoint.operations.get(verb)) is None:
            raise RouteNotFoundError(request.path)
        return name


def _params(endpoint: Endpoint, request: Request) -> Any:
    if endpoint.body:
        return read_body(request)
    return parameters(request)
