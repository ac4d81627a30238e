"""An ASGI application on a port of this machine, in the loop of the test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import web

App = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]
]


@asynccontextmanager
async def serving_asgi(app: App) -> AsyncIterator[str]:
    """The URL at which *app* is served. What it still does at the end is cancelled."""
    running: set[asyncio.Task[Any] | None] = set()

    async def handle(request: web.Request) -> web.StreamResponse:
        running.add(asyncio.current_task())
        try:
            return await _call(app, request)
        finally:
            running.discard(asyncio.current_task())

    runner = web.AppRunner(_application(handle), shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        for task in filter(None, tuple(running)):
            task.cancel()
        await runner.cleanup()


def _application(handle: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.Application:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    return application


async def _call(app: App, request: web.Request) -> web.StreamResponse:
    body = await request.read()
    received = iter([{"type": "http.request", "body": body, "more_body": False}])
    response = web.StreamResponse()

    async def receive() -> Any:
        message = next(received, None)
        if message is None:
            await asyncio.Event().wait()  # until the connection is closed, and this with it
        return message

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            await _begin(response, request, message)
        else:
            await _write(response, message)

    await app(_scope(request), receive, send)
    return response


async def _begin(response: web.StreamResponse, request: web.Request, message: Any) -> None:
    response.set_status(message["status"])
    for name, value in message["headers"]:
        if name.lower() != b"content-length":
            response.headers.add(name.decode(), value.decode())
    await response.prepare(request)


async def _write(response: web.StreamResponse, message: Any) -> None:
    with suppress(ConnectionError):  # to send to who has gone does nothing
        if message.get("body"):
            await response.write(message["body"])
        if not message.get("more_body"):
            await response.write_eof()


def _scope(request: web.Request) -> MutableMapping[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": request.path,
        "raw_path": request.raw_path.partition("?")[0].encode(),
        "query_string": request.query_string.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in request.headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
