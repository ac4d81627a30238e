"""The binding JSON-RPC (specification, 9): one request in a body, answered with one answer, or with a stream of them.

Whatever arrives that can be read as a request is answered with HTTP 200, and the error in the body. Batches are not
part of the protocol. A request without an id is answered all the same, with null for one.
"""

from typing import Any, Final, NamedTuple

from tekton.a2a.agent_registry import AgentRegistry
from tekton.gateway.request import Request, Response
from tekton.gateway.sse import EventStream, event
from tekton.service.edge.a2a.binding import agent_of, check_version, read_body, streamed
from tekton.service.edge.a2a.errors import A2aError, Kind, error_of, rpc_answer, rpc_error
from tekton.service.edge.a2a.operations import STREAMING, UNARY, Call, Operations
from tekton.service.edge.a2a.protojson import read
from tekton.service.edge.a2a.wire import StreamResponse, encode
from tekton.utils.tekton_errors import TektonError
from tekton.utils.tekton_ids import nearest_name

Id = str | int | None

_METHODS: Final = (*UNARY, *STREAMING)


class RpcRequest(NamedTuple):
    """A request of JSON-RPC."""

    id: Id
    method: str
    params: Any


class JsonRpc:
    """Answers requests by *operations*, to the agents of *registry* or to all."""

    def __init__(self, operations: Operations, registry: AgentRegistry) -> None:
        self._operations = operations
        self._registry = registry

    async def answer(self, request: Request) -> Response | EventStream:
        """The answer to *request*."""
        try:
            agent = agent_of(self._registry, request)
            body = read_body(request)
        except TektonError as error:
            return _unread(error)
        request_id = _id(body)
        try:
            check_version(request)
            return await self._done(Call(request, agent), _request(body))
        except Exception as error:
            return Response(200, rpc_error(error_of(error), request_id))

    async def _done(self, call: Call, asked: RpcRequest) -> Response | EventStream:
        if (unary := UNARY.get(asked.method)) is not None:
            kind, operation = unary
            result = await operation(self._operations, call, read(kind, asked.params))
            return Response(200, encode({"jsonrpc": "2.0", "id": asked.id, "result": result}))
        if (streaming := STREAMING.get(asked.method)) is None:
            raise _unknown(asked.method)
        kind, begin = streaming
        updates = await begin(self._operations, call, read(kind, asked.params))

        def tell(update: StreamResponse) -> bytes:
            return event(encode({"jsonrpc": "2.0", "id": asked.id, "result": update}))

        return streamed(updates, tell, lambda error: event(rpc_error(error, asked.id)))


def _unread(error: TektonError) -> Response:
    """The answer to what could not be read: as to any request, where it is the JSON that is broken."""
    told = error_of(error)
    return Response(200, rpc_error(told, None)) if told.kind is Kind.PARSE_ERROR else rpc_answer(error)


def _id(body: Any) -> Id:
    found = body.get("id") if isinstance(body, dict) else None
    return found if isinstance(found, str) or (isinstance(found, int) and not isinstance(found, bool)) else None


def _request(body: Any) -> RpcRequest:
    """*body* as a request. Raises A2aError."""
    if not isinstance(body, dict):
        raise A2aError(Kind.INVALID_REQUEST, "expected one request, an object; there are no batches")
    if body.get("jsonrpc") != "2.0":
        raise A2aError(Kind.INVALID_REQUEST, "jsonrpc: expected 2.0")
    if body.get("id") is not None and _id(body) is None:
        raise A2aError(Kind.INVALID_REQUEST, "id: expected a text or a whole number")
    method = body.get("method")
    if not isinstance(method, str) or not method:
        raise A2aError(Kind.INVALID_REQUEST, "method: expected the name of one")
    params = body.get("params")
    return RpcRequest(_id(body), method, {} if params is None else params)


def _unknown(method: str) -> A2aError:
    nearest = nearest_name(method[:128], _METHODS)
    hint = f"; did you mean {nearest}?" if nearest else ""
    return A2aError(Kind.METHOD_NOT_FOUND, f"there is no method {method[:128]!r}{hint}")
