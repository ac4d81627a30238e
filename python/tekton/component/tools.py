"""The routes through which the tools of a component are listed and called."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from tekton.gateway.errors import RouteNotFoundError
from tekton.gateway.request import Request
from tekton.gateway.router import CALLERS, Handler, Route
from tekton.mcp.tool import Tool
from tekton.utils.tekton_ids import did_you_mean

MAX_ARGUMENTS = 1024 * 1024
_TAGS = ("tools",)


class ToolDescription(msgspec.Struct, frozen=True):
    """A tool as it is listed; `input_schema` is the JSON schema of its arguments."""

    name: str
    description: str
    input_schema: dict[str, Any]


class ToolList(msgspec.Struct, frozen=True):
    """The tools of the component, in the order of their definition."""

    tools: list[ToolDescription]


class ToolResult(msgspec.Struct, frozen=True):
    """What a tool returned."""

    result: Any


def tool_routes(tools: Mapping[str, Tool], permissions: Mapping[str, str] = MappingProxyType({})) -> list[Route]:
    """`GET /api/tools`, and `POST /api/tools/{name}` for each tool. They serve the tools that there are now.

    *permissions* are those of the tools that ask for one.
    """

    async def listed(_: Request) -> ToolList:
        return ToolList([ToolDescription(tool.name, tool.description, tool.input_schema) for tool in tools.values()])

    async def unknown(request: Request) -> None:
        error = RouteNotFoundError(request.path)
        error.hint = did_you_mean(request.params["name"], tools) or "see /api/tools"
        raise error

    return [
        Route("GET", "/api/tools", listed, "The tools of the component", CALLERS, response=ToolList, tags=_TAGS),
        Route("POST", "/api/tools/{name}", unknown, "Call a tool", CALLERS, errors=(RouteNotFoundError,), tags=_TAGS),
        *(_route(tool, permissions.get(tool.name, CALLERS)) for tool in tools.values()),
    ]


def _route(tool: Tool, permission: str) -> Route:
    return Route(
        "POST",
        f"/api/tools/{tool.name}",
        _handler(tool.invoke),
        summary=tool.description or tool.name,
        permission=permission,
        body=tool.arguments,
        response=ToolResult,
        max_body=MAX_ARGUMENTS,
        tags=_TAGS,
    )


def _handler(invoke: Callable[[msgspec.Struct], Any]) -> Handler:
    async def call(request: Request) -> ToolResult:
        return ToolResult(await invoke(request.body))

    return call
