"""The tools of all components: what there is, and calls of it."""

from functools import partial
from typing import Annotated, Any

import msgspec

from tekton.core.offered_tools import MAX_TOOL_TIMEOUT
from tekton.gateway.errors import PermissionDeniedError, UnavailableError
from tekton.gateway.idempotency import KEY
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.gateway.tool_calls import Run, ToolAnswer, answered, streamed, wants_events
from tekton.mcp.tool import Tool
from tekton.mcp.tool_context import ToolContext
from tekton.mcp.tool_result import ToolResult
from tekton.service.caller_passes import OnBehalf
from tekton.service.system import System
from tekton.utils.calls import TIMEOUT_HEADER, patience
from tekton.utils.tekton_errors import (
    AmbiguousToolError,
    CircuitOpenError,
    InvalidArgumentsError,
    NobodyToAskError,
    NoUsableInstanceError,
    ToolBusyError,
    ToolFailedError,
    ToolNotFoundError,
    ToolTimeoutError,
)

MAX_ARGUMENTS = 1024 * 1024

_CALLED = (
    ToolNotFoundError,
    AmbiguousToolError,
    InvalidArgumentsError,
    PermissionDeniedError,
    NobodyToAskError,
    ToolBusyError,
    ToolTimeoutError,
    ToolFailedError,
    NoUsableInstanceError,
    CircuitOpenError,
    UnavailableError,
)


class ToolView(msgspec.Struct, frozen=True):
    """A tool that can be called. `id` is `<component_id>.<name>`.

    `input_schema` is the JSON schema of its arguments, `output_schema` that of its result where it is known. A call may
    take `timeout` seconds. `annotations` are hints as the Model Context Protocol names them.
    """

    id: str
    component_id: str
    name: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None
    timeout: float
    annotations: dict[str, Any]


class ToolPage(msgspec.Struct, frozen=True):
    """One page of a list. `cursor` continues it; null: that was all."""

    items: list[ToolView]
    cursor: str | None


class ToolQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to list: of one component, with `query` in id or description. How many at once, and the page before."""

    component: str | None = None
    query: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 200
    cursor: Annotated[str, msgspec.Meta(max_length=256)] | None = None


class CallQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For how many seconds the caller will wait, where that is less than the tool may take."""

    timeout: Annotated[float, msgspec.Meta(gt=0, le=MAX_TOOL_TIMEOUT)] | None = None


class Tools:
    """Handlers over the tools of components."""

    def __init__(self, system: System) -> None:
        self._system = system

    async def list(self, request: Request) -> ToolPage:
        query: ToolQuery = request.query
        found = [
            tool
            for tool in self._system.tools.registry.tools(query.component)
            if tool.name > (query.cursor or "") and _has(tool, query.query)
        ]
        page = found[: query.limit]
        return ToolPage([_view(tool) for tool in page], page[-1].name if len(found) > len(page) else None)

    async def get(self, request: Request) -> ToolView:
        return _view(self._system.tools.find(request.params["tool_id"]))

    async def call(self, request: Request) -> Any:
        tool = self._system.tools.find(request.params["tool_id"])
        if not request.principal.grants.calls(tool.name):
            raise PermissionDeniedError("tools:call", f"{request.principal.subject} may not call {tool.name}")
        # Who sends a key comes back for the answer: it cannot be a stream, and is not given up when he has gone.
        has_key = KEY in request.headers
        listens = wants_events(request) and not has_key
        run: Run = partial(self._run, request, tool, listens)
        if listens:
            return streamed(request, run, request.principal.subject)
        return await answered(request, run, request.principal.subject, goes_on=has_key)

    async def _run(self, request: Request, tool: Tool, hears: bool, context: ToolContext) -> ToolResult:
        wanted: CallQuery = request.query
        waits = [seconds for seconds in (wanted.timeout, patience(request.headers.get(_TIMEOUT))) if seconds]
        return await self._system.tools.call(
            tool,
            request.body,
            OnBehalf(request.principal, request.peer_is_local),
            timeout=min(waits, default=None),
            context=context,
            hears=hears,
        )


_TIMEOUT = TIMEOUT_HEADER.lower()


def _has(tool: Tool, text: str | None) -> bool:
    return text is None or text.lower() in f"{tool.name}\n{tool.description}".lower()


def _view(tool: Tool) -> ToolView:
    component_id, _, name = tool.name.partition(".")
    return ToolView(
        tool.name,
        component_id,
        name,
        tool.description,
        tool.input_schema,
        tool.output_schema,
        tool.limits.timeout,
        dict(tool.annotations),
    )


def routes(system: System) -> list[Route]:
    """The routes of tools."""
    api = Tools(system)
    return [
        Route(
            "GET",
            "/api/tools",
            api.list,
            summary="The tools of components that can be called",
            permission="components:read",
            query=ToolQuery,
            response=ToolPage,
        ),
        Route(
            "GET",
            "/api/tools/{tool_id}",
            api.get,
            summary="One tool",
            permission="components:read",
            response=ToolView,
            errors=(ToolNotFoundError, AmbiguousToolError),
        ),
        Route(
            "POST",
            "/api/tools/{tool_id}",
            api.call,
            summary="Call a tool",
            permission="tools:call",
            body=dict,
            query=CallQuery,
            response=ToolAnswer,
            max_body=MAX_ARGUMENTS,
            or_stream=True,
            errors=_CALLED,
        ),
    ]
