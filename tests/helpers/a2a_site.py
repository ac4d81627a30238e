"""A control plane with agents, and somebody who talks to it in Agent2Agent over plain HTTP."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from tekton.a2a.task_steps import TaskContext
from tekton.core.lifecycle import ComponentRegistration
from tekton.service.work import Work
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.config_schema import RoleSpec

VERSION = {"a2a-version": "1.0"}


class Agents:
    """What the agents of the site do, and what of it a test may hold up."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.begun = asyncio.Event()
        self.calls = 0

    async def echo(self, text: str = "") -> str:
        """Give back what was said."""
        self.calls += 1
        return text

    async def compute(self, context: TaskContext) -> dict[str, Any]:
        """Give back the inputs, and something that was made on the way."""
        context.progress(1, 2, "half of it")
        context.artifact("draft", {"modality": "code", "language": "python", "code": "pass"})
        return {"got": dict(context.inputs)}

    async def hold(self, context: TaskContext) -> str:
        """Wait until it may go on."""
        self.calls += 1
        self.begun.set()
        await self.go_on.wait()
        context.progress(1, None, "going on")
        return "held"

    async def ask(self, context: TaskContext) -> str:
        """Ask for a name, and greet."""
        name = await context.ask("What is your name?", {"type": "string"})
        return f"Hello {name}"

    async def fail(self) -> None:
        """Fail."""
        raise ValueError("no luck")


class Site:
    """A control plane that serves Agent2Agent, and somebody who talks to it over plain HTTP."""

    def __init__(
        self, plane: InMemoryControlPlane, session: aiohttp.ClientSession, tokens: Mapping[str, str], agents: Agents
    ) -> None:
        self.plane = plane
        self.agents = agents
        self.session = session
        self.tokens = tokens
        self._next = 0

    @property
    def url(self) -> str:
        return self.plane.address.url

    def headers(self, who: str | None = "ada", **headers: str) -> dict[str, str]:
        """What *who* shows, and the version."""
        shown = {} if who is None else {"authorization": f"Bearer {self.tokens[who]}"}
        return {**VERSION, **shown, **{name.replace("_", "-"): value for name, value in headers.items()}}

    async def post(self, path: str, body: Any, who: str | None = "ada", **headers: str) -> tuple[int, Any]:
        """The status and the answer to a POST."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        shown = {"content-type": "application/json"} | self.headers(who, **headers)
        async with self.session.post(f"{self.url}{path}", data=io.BytesIO(data), headers=shown) as answer:
            return answer.status, await answer.json(content_type=None)

    async def send(self, method: str, path: str, who: str | None = "ada", **headers: str) -> tuple[int, Any]:
        """The status and the answer to a request without a body."""
        async with self.session.request(method, f"{self.url}{path}", headers=self.headers(who, **headers)) as answer:
            return answer.status, await answer.json(content_type=None)

    async def rpc(self, method: str, params: Any, who: str | None = "ada", path: str = "/a2a") -> Any:
        """The answer to a request of JSON-RPC."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        _, answer = await self.post(path, body, who)
        return answer

    async def ask(self, method: str, params: Any, who: str | None = "ada", path: str = "/a2a") -> Any:
        """The result of a request of JSON-RPC."""
        answer = await self.rpc(method, params, who, path)
        assert "error" not in answer, answer
        return answer["result"]

    @asynccontextmanager
    async def events(self, path: str, body: Any, who: str = "ada") -> AsyncIterator[AsyncIterator[Any]]:
        """The data of the events with which a POST is answered."""
        data, shown = json.dumps(body), {"content-type": "application/json"} | self.headers(who)
        async with self.session.post(f"{self.url}{path}", data=data, headers=shown) as answer:
            assert answer.content_type == "text/event-stream", await answer.text()
            yield _events(answer)

    def message(self, *parts: Any, **members: Any) -> dict[str, Any]:
        """The parameters of a message with an id of its own: a text for each part that is one."""
        self._next += 1
        made = [{"text": part} if isinstance(part, str) else part for part in parts]
        message = {"messageId": f"m-{self._next}", "role": "ROLE_USER", "parts": made}
        return {"message": message | members}


@asynccontextmanager
async def serve(work: Work | None = None, agents: Agents | None = None) -> AsyncIterator[Site]:
    """A site. Agents echo, compute, hold, ask and fail, each with a skill of that name; ada and bob may run tasks."""
    roles = {"watcher": RoleSpec(permissions=["agents:read"])}
    plane, agents = InMemoryControlPlane(roles=roles, work=work), agents or Agents()
    for name in ("echo", "compute", "hold", "ask", "fail"):
        handler = getattr(agents, name)
        metadata = {"description": handler.__doc__}
        # Before tasks that are open are taken up.
        plane.agents.registry.register_agent(f"{name}-agent", [name], metadata, handler=handler, tags=["test"])
    async with plane, aiohttp.ClientSession() as session:
        tokens = {
            "ada": await plane.token("ada", "operator"),
            "bob": await plane.token("bob", "component"),
            "wanda": await plane.token("wanda", "watcher"),
        }
        yield Site(plane, session, tokens, agents)


async def _events(answer: aiohttp.ClientResponse) -> AsyncIterator[Any]:
    async for line in answer.content:
        if line.startswith(b"data:"):
            yield json.loads(line[5:])


@asynccontextmanager
async def webhook(site: Site, hear: Any, port: int = 0) -> AsyncIterator[str]:
    """A webhook at a port of this machine that requests may go to, because a component is there."""
    app = web.Application()
    app.router.add_post("/hook", hear)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        hooks = ComponentRegistration(component_id="hooks", endpoint=url)
        await site.plane.registry.register(hooks)
        await site.plane.registry.make_ready("hooks", hooks.instance_uuid)
        yield f"{url}/hook"
    finally:
        await runner.cleanup()
