"""The routes through which the tools of a component are listed and called.

A call answers with the result, or, where the caller takes `text/event-stream`, with what the tool says on the way and
then the result (`tekton.gateway.tool_calls`). It has the time that the tool has, or that the caller will wait if that
is less, and ends when the caller closes the connection.
"""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import msgspec

from tekton.core.degradation.deadline import time_left
from tekton.core.offered_tools import OfferedTool
from tekton.gateway.errors import RouteNotFoundError
from tekton.gateway.request import Request
from tekton.gateway.router import CALLERS, Handler, Route
from tekton.gateway.tool_calls import Run, ToolAnswer, answered, streamed, wants_events
from tekton.mcp.tool import Tool
from tekton.mcp.tool_context import ToolContext
from tekton.mcp.tool_registry import ToolRegistry, ToolResult
from tekton.utils.tekton_errors import ProblemError, TektonError, ToolBusyError, ToolFailedError, ToolTimeoutError
from tekton.utils.tekton_ids import did_you_mean

MAX_ARGUMENTS = 1024 * 1024
_TAGS = ("tools",)


class ToolDescription(msgspec.Struct, frozen=True):
    """A tool as it is listed: the JSON schemas of its arguments and, where it is known, of its result.

    `timeout` is for how many seconds a call may take, `annotations` are hints as the Model Context Protocol names them.
    """

    name: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None
    timeout: float
    annotations: dict[str, Any]


class ToolList(msgspec.Struct, frozen=True):
    """The tools of the component, in the order of their names."""

    tools: list[ToolDescription]


def offered(tools: ToolRegistry) -> tuple[OfferedTool, ...]:
    """What the component says of *tools* when it registers."""
    return tuple(
        OfferedTool(
            name=tool.name,
            description=tool.description,
            input_schema=tool.input_schema,
            output_schema=tool.output_schema,
            timeout=tool.limits.timeout,
            annotations=dict(tool.annotations),
        )
        for tool in tools.tools()
    )


def tool_routes(tools: ToolRegistry, permissions: Mapping[str, str] = MappingProxyType({})) -> list[Route]:
    """`GET /api/tools`, and `POST /api/tools/{name}` for each of the tools that there are now.

    *permissions* are those of the tools that ask for one.
    """

    async def listed(_: Request) -> ToolList:
        return ToolList([_described(tool) for tool in tools.tools()])

    async def unknown(request: Request) -> None:
        error = RouteNotFoundError(request.path)
        error.hint = did_you_mean(request.params["name"], tools) or "see /api/tools"
        raise error

    return [
        Route("GET", "/api/tools", listed, "The tools of the component", CALLERS, response=ToolList, tags=_TAGS),
        Route("POST", "/api/tools/{name}", unknown, "Call a tool", CALLERS, errors=(RouteNotFoundError,), tags=_TAGS),
        *(_route(tools, tool, permissions.get(tool.name, CALLERS)) for tool in tools.tools()),
    ]


def _described(tool: Tool) -> ToolDescription:
    return ToolDescription(
        tool.name,
        tool.description,
        tool.input_schema,
        tool.output_schema,
        tool.limits.timeout,
        dict(tool.annotations),
    )


def _route(tools: ToolRegistry, tool: Tool, permission: str) -> Route:
    return Route(
        "POST",
        f"/api/tools/{tool.name}",
        _handler(tools, tool.name),
        summary=tool.description or tool.name,
        permission=permission,
        body=tool.arguments or dict,
        response=ToolAnswer,
        or_stream=True,
        max_body=MAX_ARGUMENTS,
        errors=(ToolBusyError, ToolTimeoutError, ToolFailedError),
        tags=_TAGS,
    )


def _handler(tools: ToolRegistry, name: str) -> Handler:
    async def call(request: Request) -> Any:
        caller = request.principal.subject
        run: Run = partial(_run, tools, name, request.body, time_left())
        if wants_events(request):
            return streamed(request, run, caller)
        return await answered(request, run, caller)

    return call


async def _run(
    tools: ToolRegistry, name: str, arguments: Any, timeout: float | None, context: ToolContext
) -> ToolResult:
    try:
        return await tools.execute(name, arguments, timeout=timeout, context=context)
    except ToolFailedError as error:
        if error.__cause__ is None or isinstance(error.__cause__, TektonError):
            raise
        # What it has raised may tell more than callers should know; the log has it.
        raise ProblemError(500, "internal", f"{name} has failed; the log has the details") from error
