"""Everybody at every task and every conversation, whoever's it is: what is his, what he manages, and nothing else.

What must come of it is worked out by a model that knows nothing of the code: who may do what, written down here, and a
few lines. To a stranger a task or a conversation is as one that there is not.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
import pytest

from tekton.a2a.message import AgentMessage
from tekton.a2a.task_steps import TaskContext
from tekton.auth.principal import ANONYMOUS, Principal
from tekton.auth.roles import RoleTable
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.config_schema import RoleSpec
from tekton.utils.tekton_http import HttpClient

ROLES = {
    "runner": RoleSpec(permissions=["tasks:run"]),
    "talker": RoleSpec(permissions=["conversations:use"]),
    "warden": RoleSpec(permissions=["tasks:manage", "conversations:manage"]),
}

MAY: dict[str, set[str]] = {
    "component": {"tasks:run", "conversations:use"},
    "operator": {"tasks:run", "tasks:manage", "conversations:use", "conversations:manage"},
    "admin": {"tasks:run", "tasks:manage", "conversations:use", "conversations:manage"},
    "monitor": set(),
    "runner": {"tasks:run"},
    "talker": {"conversations:use"},
    "warden": {"tasks:manage", "conversations:manage"},
    "": set(),
}
"""What each role may do, of what is looked at here."""

OWNERS = ("ada", "bob", "otto", "rita", "anonymous")
"""Those whose tasks and conversations there are."""


@dataclass(frozen=True)
class Caller:
    """Somebody with a role, if he has shown that he is somebody."""

    name: str
    role: str = ""

    def may(self, permission: str) -> bool:
        """The model."""
        return permission in MAY[self.role]

    def of_task(self, owner: str) -> int:
        """The model: what comes of whatever is about a task of *owner*; 200 for what is not refused to him."""
        if not self.may("tasks:run"):
            return 403 if self.role else 401
        return 200 if self.name == owner or self.may("tasks:manage") else 404

    def of_conversation(self, owner: str, *, governs: bool = False, speaks: bool = False) -> int:
        """The model, for a conversation that *owner* has begun, and in which pat takes part."""
        if not self.may("conversations:use"):
            return 403 if self.role else 401
        takes_part = self.name in (owner, "pat")
        if not takes_part and not self.may("conversations:manage"):
            return 404
        if speaks:
            return 200 if takes_part else 403
        return 403 if governs and self.name != owner and not self.may("conversations:manage") else 200


CALLERS = (
    Caller("ada", "component"),
    Caller("bob", "component"),
    Caller("pat", "component"),
    Caller("otto", "operator"),
    Caller("alma", "admin"),
    Caller("mona", "monitor"),
    Caller("rita", "runner"),
    Caller("tom", "talker"),
    Caller("walt", "warden"),
    Caller("anonymous"),
)


class Site:
    """A control plane where everybody has something."""

    def __init__(self, plane: InMemoryControlPlane) -> None:
        self.plane = plane
        self.clients: dict[str, HttpClient] = {}
        self.tokens: dict[str, str] = {}
        self.open: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        plane.agents.registry.register_agent("asker", ["asking"], handler=self.ask)
        plane.agents.registry.register_agent("failer", ["failing"], handler=self.fail)

    async def ask(self, context: TaskContext) -> Any:
        return await context.ask("Really?")

    async def fail(self) -> None:
        raise ValueError("no")

    async def fill(self) -> None:
        for name in OWNERS:
            owner = principal(name)
            self.open[name] = (await self.plane.tasks.create(owner, "asking")).task_id
            self.failed[name] = (await self.plane.tasks.create(owner, "failing")).task_id
            await self.plane.conversations.begin(owner, ["pat"], conversation_id=f"of-{name}")
            await self.plane.conversations.say(owner, f"of-{name}", AgentMessage(name, "hello"))
            await self.plane.tasks.wait(self.open[name], 10)
            await self.plane.tasks.wait(self.failed[name], 10)

    async def ask_for(self, caller: Caller, method: str, path: str, body: object = None) -> tuple[int, Any]:
        answer = await self.clients[caller.name].send(method, path, body)
        return answer.status, answer.body


def principal(name: str) -> Principal:
    if name == "anonymous":
        return ANONYMOUS
    return Principal(
        subject=name,
        roles=("component",),
        component_id=name,
        via="token",
        grants=RoleTable().grants(["component"], name),
    )


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with InMemoryControlPlane(roles=ROLES) as plane, AsyncExitStack() as stack:
        site = Site(plane)
        for caller in CALLERS:
            address = plane.address
            if caller.role:
                site.tokens[caller.name] = await plane.token(caller.name, caller.role)
                address = plane.address_of(site.tokens[caller.name])
            site.clients[caller.name] = await stack.enter_async_context(address.client(20))
        await site.fill()
        yield site


TASK_ROUTES = (
    ("GET", "", None),
    ("GET", "/events", None),
    ("POST", "/cancel", {}),
    ("POST", "/answer", {"answer": 1}),
    ("DELETE", "", None),
    ("POST", "/retry", None),
)
"""What can be done with a task. One that has failed cannot be called off or answered: that is 409, and no refusal."""


def as_told(status: int) -> int:
    """200 for all that is not refused to somebody."""
    return status if status in (401, 403, 404) else 200


async def test_a_task_is_there_for_its_owner_and_for_who_manages_tasks(site: Site) -> None:
    wrong: list[str] = []
    asked = 0
    for caller in CALLERS:
        for owner in OWNERS:
            for method, path, body in TASK_ROUTES:
                # To forget one would leave nothing to ask for: an open one cannot be.
                task_id = site.open[owner] if method == "DELETE" else site.failed[owner]
                status, answer = await site.ask_for(caller, method, f"/api/tasks/{task_id}{path}", body)
                unknown = await site.ask_for(caller, method, f"/api/tasks/{task_id[:-4]}0000{path}", body)
                asked += 1
                if as_told(status) != caller.of_task(owner):
                    wrong.append(f"{caller.name}: {method} {path} of {owner}: {status}")
                if status == 404 and (status, answer.replace(task_id.encode(), b"")) != (
                    unknown[0],
                    unknown[1].replace(f"{task_id[:-4]}0000".encode(), b""),
                ):
                    wrong.append(f"{caller.name}: {method} {path} of {owner} is told from one that there is not")

    assert wrong == []
    assert asked == len(CALLERS) * len(OWNERS) * len(TASK_ROUTES)


async def test_a_list_has_what_is_ones_own_and_all_only_for_who_manages(site: Site) -> None:
    for caller in CALLERS:
        status, body = await site.ask_for(caller, "GET", "/api/tasks")
        all_, everything = await site.ask_for(caller, "GET", "/api/tasks?all=true")
        assert status == (200 if caller.may("tasks:run") else 403 if caller.role else 401), caller
        assert all_ == (status if status != 200 or caller.may("tasks:manage") else 403), caller
        if status == 200:
            owners = {task["owner"] for task in msgspec.json.decode(body)["items"]}
            assert owners == ({caller.name} if caller.name in OWNERS else set()), caller
        if all_ == 200:
            assert {task["owner"] for task in msgspec.json.decode(everything)["items"]} >= set(OWNERS), caller


async def test_nobody_follows_a_task_that_he_may_not_see(site: Site) -> None:
    """As events of the route, as a topic of the socket, and as a feed of the bus."""
    wrong: list[str] = []
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        for caller in CALLERS:
            headers = {"authorization": f"Bearer {site.tokens[caller.name]}"} if caller.role else {}
            for owner in OWNERS:
                url = f"{site.plane.address.url}/api/tasks/{site.failed[owner]}/events"
                async with session.get(url, headers=headers | {"accept": "text/event-stream"}) as answer:
                    told = await answer.text()
                    if answer.status != caller.of_task(owner):
                        wrong.append(f"{caller.name}: the stream of {owner}: {answer.status}")
                    if answer.status == 200 and "event: failed" not in told:
                        wrong.append(f"{caller.name}: the stream of {owner} has not what there is")
            wrong += await followed(site, session, caller, headers)

    assert wrong == []


async def followed(site: Site, session: aiohttp.ClientSession, caller: Caller, headers: dict[str, str]) -> list[str]:
    """What is wrong with what the *caller* is told at a socket."""
    wrong: list[str] = []
    try:
        socket = await session.ws_connect(f"{site.plane.address.url}/ws", headers=headers)
    except aiohttp.WSServerHandshakeError as error:
        # The socket needs `components:read`, which these have not.
        return [] if caller.role in ("runner", "talker", "warden") else [f"{caller.name}: no socket: {error.status}"]
    async with socket:
        for number, owner in enumerate(OWNERS):
            expected = caller.of_task(owner)
            topic = {"op": "sub", "id": number, "topic": "task", "query": site.failed[owner]}
            feed = {"op": "sub", "id": number, "subject": f"tekton.tasks.{site.failed[owner]}"}
            for what, sub in (("topic", topic), ("feed", feed)):
                await socket.send_json(sub)
                while (frame := await socket.receive_json()).get("id") != number:
                    pass
                refused = {"task_not_found": 404, "forbidden": 403, "unauthenticated": 401}.get(frame.get("code"), 200)
                # A feed that is refused looks alike for a task that there is not.
                if what == "topic" and refused != expected:
                    wrong.append(f"{caller.name}: the topic of {owner}: {frame}")
                if what == "feed" and (refused == 200) != (expected == 200):
                    wrong.append(f"{caller.name}: the feed of {owner}: {frame}")
                await socket.send_json({"op": "unsub", "id": number})
                await socket.send_json({"op": "ping"})
                while (frame := await socket.receive_json()).get("t") != "pong":
                    pass
    return wrong


CONVERSATION_ROUTES: tuple[tuple[str, str, object, dict[str, bool]], ...] = (
    ("GET", "", None, {}),
    ("GET", "/messages", None, {}),
    ("GET", "/summary", None, {}),
    ("GET", "/export", None, {}),
    ("POST", "/messages", {"content": "hi"}, {"speaks": True}),
    ("PUT", "/participants", {"participants": ["pat"]}, {"governs": True}),
    ("DELETE", "", None, {"governs": True}),
)
"""What can be done with a conversation, and whether it is to speak, or to say what becomes of it."""


async def test_a_conversation_is_there_for_who_takes_part_and_for_who_manages_them(site: Site) -> None:
    wrong: list[str] = []
    for caller in CALLERS:
        for owner in OWNERS:
            for method, path, body, kind in CONVERSATION_ROUTES:
                status, answer = await site.ask_for(caller, method, f"/api/conversations/of-{owner}{path}", body)
                unknown = await site.ask_for(caller, method, f"/api/conversations/no-{owner}{path}", body)
                if as_told(status) != caller.of_conversation(owner, **kind):
                    wrong.append(f"{caller.name}: {method} {path} of {owner}: {status} {answer!r}")
                if (
                    status == 404
                    and (status, answer.replace(f"of-{owner}".encode(), f"no-{owner}".encode())) != unknown
                ):
                    wrong.append(f"{caller.name}: {method} {path} of {owner} is told from one that there is not")
                if method == "DELETE" and status == 200:
                    await site.plane.conversations.begin(principal(owner), ["pat"], conversation_id=f"of-{owner}")

    assert wrong == []


async def test_nobody_hears_a_conversation_in_which_he_takes_no_part(site: Site) -> None:
    wrong: list[str] = []
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        for caller in CALLERS:
            headers = {"authorization": f"Bearer {site.tokens[caller.name]}"} if caller.role else {}
            for owner in OWNERS:
                url = f"{site.plane.address.url}/api/conversations/of-{owner}/messages"
                async with session.get(url, headers=headers | {"accept": "text/event-stream"}) as answer:
                    if answer.status != caller.of_conversation(owner):
                        wrong.append(f"{caller.name}: the stream of {owner}: {answer.status}")

    assert wrong == []


async def test_a_task_is_part_of_a_conversation_only_for_who_may_see_that(site: Site) -> None:
    for caller in CALLERS:
        for owner in OWNERS:
            order = {"task_type": "asking", "conversation_id": f"of-{owner}"}
            status, _ = await site.ask_for(caller, "POST", "/api/tasks", order)
            sees = caller.name in (owner, "pat") or caller.may("conversations:manage")
            expected = caller.of_task(caller.name) if sees or not caller.may("tasks:run") else 404
            assert as_told(status) == expected, (caller, owner)


async def test_a_list_has_the_conversations_in_which_one_takes_part(site: Site) -> None:
    for caller in CALLERS:
        status, body = await site.ask_for(caller, "GET", "/api/conversations")
        of_ada, _ = await site.ask_for(caller, "GET", "/api/conversations?participant=ada")

        assert status == (200 if caller.may("conversations:use") else 403 if caller.role else 401), caller
        may = caller.name == "ada" or caller.may("conversations:manage")
        assert of_ada == (status if status != 200 or may else 403), caller
        if status == 200:
            found = {one["conversation_id"] for one in msgspec.json.decode(body)["items"]}
            his = {f"of-{caller.name}"} if caller.name in OWNERS else set()
            assert found == ({f"of-{owner}" for owner in OWNERS} if caller.name == "pat" else his), caller
