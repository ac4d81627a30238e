"""An agent that speaks the JSON-RPC of Agent2Agent, and does what the test wants: also what no agent should."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

TASK = "task-1"


class Reply:
    """The answer to a call with *params*: JSON with `result` or `error`, a stream with `event`; or `raw` bytes."""

    def __init__(self, request: web.Request, call: dict[str, Any]) -> None:
        self.request = request
        self.params: dict[str, Any] = call.get("params", {})
        self._id = call.get("id")
        self._response: web.StreamResponse | None = None

    async def result(self, value: Any) -> None:
        await self.raw(json.dumps({"jsonrpc": "2.0", "id": self._id, "result": value}).encode(), "application/json")

    async def error(self, code: int, message: str) -> None:
        error = {"code": code, "message": message}
        await self.raw(json.dumps({"jsonrpc": "2.0", "id": self._id, "error": error}).encode(), "application/json")

    async def event(self, value: Any) -> None:
        data = json.dumps({"jsonrpc": "2.0", "id": self._id, "result": value})
        await self.raw(f"data: {data}\n\n".encode(), "text/event-stream")

    async def raw(self, body: bytes, content_type: str = "application/json", status: int = 200, **headers: str) -> None:
        if self._response is None:
            told = {"Content-Type": content_type, **headers}
            self._response = web.StreamResponse(status=status, headers=told)
            await self._response.prepare(self.request)
        await self._response.write(body)

    def die(self) -> None:
        """Cut the connection."""
        assert self.request.transport is not None
        self.request.transport.abort()

    async def for_ever(self) -> None:
        await asyncio.Event().wait()

    @property
    def response(self) -> web.StreamResponse:
        return self._response or web.Response(status=500)


Do = Callable[[Reply], Awaitable[None]]


class WireAgent:
    """*does* says what is done with a method; what has none is refused. *calls* is what was asked, in order."""

    def __init__(self, does: dict[str, Do], *, streaming: bool) -> None:
        self.does = does
        self.streaming = streaming
        self.url = ""
        self.version = "1.0.0"
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.called = asyncio.Event()

    def times(self, method: str) -> int:
        return sum(name == method for name, _ in self.calls)

    async def until(self, method: str, times: int = 1) -> None:
        """Wait until *method* was called so often."""
        while self.times(method) < times:
            self.called.clear()
            await self.called.wait()

    def card(self) -> dict[str, Any]:
        return {
            "name": "Reviewer",
            "version": self.version,
            "capabilities": {"streaming": self.streaming},
            "supportedInterfaces": [
                {"url": f"{self.url}/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
            ],
            "skills": [{"id": "code_review", "name": "Code review", "description": "", "tags": []}],
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.json_response(self.card())
        call = await request.json()
        self.headers.append(dict(request.headers))
        self.calls.append((call["method"], call["params"]))
        self.called.set()
        reply = Reply(request, call)
        await self.does.get(call["method"], _unsupported)(reply)
        return reply.response


async def _unsupported(reply: Reply) -> None:
    await reply.error(-32004, "This operation is not supported")


def status(state: str, text: str = "", *, task: str = TASK) -> dict[str, Any]:
    """The update that a task is in *state* now."""
    return {"statusUpdate": {"taskId": task, "contextId": "context-1", "status": _status(state, text)}}


def whole(state: str, text: str = "", *artifacts: dict[str, Any], task: str = TASK) -> dict[str, Any]:
    """A task."""
    return {"id": task, "contextId": "context-1", "status": _status(state, text), "artifacts": list(artifacts)}


def artifact(value: Any, name: str = "result") -> dict[str, Any]:
    return {"artifactId": name, "name": name, "parts": [{"data": value}]}


def made(value: Any, name: str = "result", *, task: str = TASK) -> dict[str, Any]:
    """The update that an artifact was made."""
    return {"artifactUpdate": {"taskId": task, "contextId": "context-1", "artifact": artifact(value, name)}}


def _status(state: str, text: str) -> dict[str, Any]:
    message = {"messageId": f"m-{text}", "role": "ROLE_AGENT", "parts": [{"text": text}]}
    return {"state": f"TASK_STATE_{state}"} | ({"message": message} if text else {})


@asynccontextmanager
async def wire_agent(
    does: dict[str, Do], *, streaming: bool = True, kind: type[WireAgent] = WireAgent
) -> AsyncIterator[WireAgent]:
    """A server of such an agent on loopback."""
    agent = kind(does, streaming=streaming)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", agent.handle)
    runner = web.AppRunner(application, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "0.0.0.0", 0)
    await site.start()
    agent.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield agent
    finally:
        await runner.cleanup()
