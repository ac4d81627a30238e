"""The decorators with which a component collects its routes.

    @app.get("/api/greet/{name}")
    async def greet(request): ...

Handlers are those of the gateway: `Request` in, a JSON value, a struct, `bytes`, a `Response` or an `EventStream` out.
A plain function runs in a thread. Without a type for the body, POST, PUT and PATCH take a JSON object.
"""

import asyncio
import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import msgspec

from tekton.gateway.request import Request
from tekton.gateway.router import Handler, Route

_HandlerT = TypeVar("_HandlerT", bound=Callable[[Request], Any])
_WITH_BODY = ("POST", "PUT", "PATCH")


class RouteTable:
    """The routes that a component serves beside the standard ones, in the order of their definition."""

    def __init__(self) -> None:
        self._routes: list[Route] = []

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
    ) -> Callable[[_HandlerT], _HandlerT]:
        """Serve *method* *path* (`/api/greet/{name}`) with the decorated function, which stays as it is.

        *body* and *query* are the types that the request is decoded into and checked by (`request.body`,
        `request.query`); *response* is for the OpenAPI document. *max_body* is in bytes. The first line of the
        docstring is the summary. Raises ValueError for what cannot be routed.
        """

        def add(handler: _HandlerT) -> _HandlerT:
            self._routes.append(
                Route(
                    method,
                    path,
                    _asynchronous(handler),
                    summary=_summary(handler),
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
