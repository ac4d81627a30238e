"""The decorators with which a component collects its routes and its tools.

    @app.get("/api/greet/{name}")
    async def greet(request): ...

Handlers are those of the gateway: `Request` in, a JSON value, a struct, `bytes`, a `Response` or an `EventStream` out.
A plain function runs in a thread. Without a type for the body, POST, PUT and PATCH take a JSON object.

    @app.tool
    async def greet(name: str, excited: bool = False) -> str: ...

A tool is called with a JSON object: `POST /api/tools/greet`, or through the control plane as `greeter.greet`; see
`tekton.mcp.tool`.
"""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar, overload

import msgspec

from tekton.auth.roles import PERMISSIONS
from tekton.gateway.asgi import AsgiApp
from tekton.gateway.request import Request
from tekton.gateway.router import AUTHENTICATED, CALLERS, PUBLIC, Handler, Route
from tekton.mcp.tool import Tool, ToolLimits
from tekton.mcp.tool_registry import ToolRegistry
from tekton.utils.tekton_ids import did_you_mean

_HandlerT = TypeVar("_HandlerT", bound=Callable[[Request], Any])
_ToolT = TypeVar("_ToolT", bound=Callable[..., Any])
_WITH_BODY = ("POST", "PUT", "PATCH")


class RouteTable:
    """What a component serves beside the standard routes, in the order of its definition."""

    def __init__(self) -> None:
        self._routes: list[Route] = []
        self._mounted: list[tuple[str, AsgiApp, str]] = []
        self._tool_permissions: dict[str, str] = {}
        self.tools = ToolRegistry()
        """What it can be asked to do: the functions that `tool` has decorated."""

    @overload
    def tool(self, handler: _ToolT) -> _ToolT: ...

    @overload
    def tool(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        permission: str | None = None,
        timeout: float = 60.0,
        max_concurrent: int = 32,
        max_waiting: int = 128,
        annotations: Mapping[str, Any] | None = None,
    ) -> Callable[[_ToolT], _ToolT]: ...

    def tool(
        self,
        handler: Any = None,
        *,
        name: str | None = None,
        description: str | None = None,
        permission: str | None = None,
        timeout: float = 60.0,
        max_concurrent: int = 32,
        max_waiting: int = 128,
        annotations: Mapping[str, Any] | None = None,
    ) -> Any:
        """Offer the decorated function, which stays as it is, as a tool; before the component is started.

        Name, description and JSON schemas are those of the function, its docstring and its annotations, unless *name*
        and *description* are given. Arguments that do not fit are refused before the function is called: 422, with a
        pointer to what is wrong. *permission* is as for a `route`. A call may take *timeout* seconds; *max_concurrent*
        calls run at once, and *max_waiting* more wait for their turn. *annotations* are hints for those who choose
        tools, as the Model Context Protocol names them: with `{"idempotentHint": True}` a call that may have been lost
        is made again. Raises InvalidIdError, TypeError for parameters that cannot come from JSON and for defaults that
        cannot be said in it, and ValueError for a second tool of the same name, for what is no permission, for limits
        that allow nothing, and for more than 3600 seconds.
        """
        needed = _checked(permission)
        limits = ToolLimits(timeout=timeout, max_concurrent=max_concurrent, max_waiting=max_waiting)

        def add(function: _ToolT) -> _ToolT:
            tool = Tool.from_function(
                function, name=name, description=description, limits=limits, annotations=annotations or {}
            )
            if tool.name in self.tools:
                raise ValueError(f"there is a tool {tool.name} already")
            self.tools.add(tool)
            self._tool_permissions[tool.name] = needed
            return function

        return add if handler is None else add(handler)

    def mount(self, prefix: str, app: AsgiApp, *, permission: str | None = None) -> None:
        """Serve the ASGI application *app* (Starlette, FastAPI, …) below *prefix*; the routes of the component win.

        HTTP, WebSockets and lifespan. *permission* is as for a `route`; the application finds who calls in
        `scope["state"]["principal"]`, and is not given the Authorization header, unless it is `public`. Raises
        ValueError for what is no prefix or no permission.
        """
        if not prefix.startswith("/"):
            raise ValueError(f"{prefix!r} is not a prefix to mount at")
        self._mounted.append((prefix, app, _checked(permission)))

    def route(
        self,
        method: str,
        path: str,
        *,
        body: type | None = None,
        query: type[msgspec.Struct] | None = None,
        response: Any = None,
        status: int = 200,
        max_body: int = 65536,
        permission: str | None = None,
    ) -> Callable[[_HandlerT], _HandlerT]:
        """Serve *method* *path* (`/api/greet/{name}`) with the decorated function, which stays as it is.

        *body* and *query* are the types that the request is decoded into and checked by (`request.body`,
        `request.query`); *response* is for the OpenAPI document. *max_body* is in bytes. The first line of the
        docstring is the summary. Without *permission* everybody may use it whom the component lets in; `public`,
        `authenticated` and the permissions of the control plane ask for less or more (docs/components.md).
        `request.principal` says who it is. Raises ValueError for what cannot be routed.
        """
        needed = _checked(permission)

        def add(handler: _HandlerT) -> _HandlerT:
            self._routes.append(
                Route(
                    method,
                    path,
                    _asynchronous(handler),
                    summary=_summary(handler),
                    permission=needed,
                    body=dict if body is None and method in _WITH_BODY else body,
                    query=query,
                    response=response,
                    status=status,
                    max_body=max_body,
                )
            )
            return handler

        return add

    def get(self, path: str, **options: Any) -> Callable[[_HandlerT], _HandlerT]:
        """`route("GET", path, **options)`."""
        return self.route("GET", path, **options)

    def post(self, path: str, **options: Any) -> Callable[[_HandlerT], _HandlerT]:
        """`route("POST", path, **options)`."""
        return self.route("POST", path, **options)

    def put(self, path: str, **options: Any) -> Callable[[_HandlerT], _HandlerT]:
        """`route("PUT", path, **options)`."""
        return self.route("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> Callable[[_HandlerT], _HandlerT]:
        """`route("PATCH", path, **options)`."""
        return self.route("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Callable[[_HandlerT], _HandlerT]:
        """`route("DELETE", path, **options)`."""
        return self.route("DELETE", path, **options)


def _checked(permission: str | None) -> str:
    if permission is None:
        return CALLERS
    if permission not in (PUBLIC, AUTHENTICATED) and permission not in PERMISSIONS:
        advice = did_you_mean(permission, [PUBLIC, AUTHENTICATED, *PERMISSIONS])
        raise ValueError(f"{permission!r} is no permission" + (f"; {advice}" if advice else ""))
    return permission


def _asynchronous(handler: Callable[[Request], Any]) -> Handler:
    if inspect.iscoroutinefunction(handler):
        return handler

    @wraps(handler)
    async def in_a_thread(request: Request) -> Any:
        return await asyncio.to_thread(handler, request)

    return in_a_thread


def _summary(handler: Callable[[Request], Any]) -> str:
    text = inspect.getdoc(handler)
    return text.splitlines()[0] if text else handler.__name__.replace("_", " ").capitalize()
