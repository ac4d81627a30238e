"""Every role at every route and topic, about its own component and about others: what the gateway lets through.

The routes, the topics and their permissions are those of the control plane; what serves them is not called. What must
come of it is worked out by a model that knows nothing of the code: a table of roles written down here, and a few lines.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from tekton.auth.keys import KeyRing
from tekton.auth.roles import PERMISSIONS, ROLES
from tekton.bus.live import LiveBus
from tekton.bus.local_bus import LocalBus
from tekton.clock import SYSTEM_CLOCK
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.heartbeat_monitor import HeartbeatMonitor
from tekton.gateway.app import Gateway
from tekton.gateway.bus.access import BusAccess
from tekton.gateway.bus.port import BusPort
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.gateway.server import GatewayServer
from tekton.gateway.sockets import Identify, May, Sub, TopicSocket
from tekton.gateway.topics import OwnedTopic, ScopedTopic, Topic, TopicTable
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message
from tekton.service.api import all_routes
from tekton.service.component_credentials import ComponentCredentials
from tekton.service.logs import SystemLogs
from tekton.service.security import Security
from tekton.service.system import System
from tekton.service.topics import socket_topics
from tekton.testing.clock import ManualClock
from tekton.utils.tekton_config import TektonConfig

READ = {"components:read", "metrics:read", "agents:read"}
SPEAK = {"components:register", "components:heartbeat"}
CONVERSE = {"messages:publish", "messages:read", "tools:call", "tasks:run", "conversations:use"}
MANAGE = {"messages:manage", "agents:manage", "tasks:manage", "conversations:manage"}
ABOUT_ONE = {*SPEAK, "components:control", "components:configure", "logs:read"}

MAY = {
    "nobody": set(),
    "anonymous": READ | SPEAK,
    "component": READ | SPEAK | CONVERSE,
    "monitor": {*READ, "logs:read", "messages:read"},
    "operator": {*READ, *CONVERSE, *MANAGE, "logs:read", "components:control", "system:control"},
    "admin": {*READ, *ABOUT_ONE, *CONVERSE, *MANAGE, "system:control", "auth:manage", "audit:read"},
    "deployer": {"components:control", "components:configure", "components:read"},
    "auditor": {"audit:read"},
}
"""What each role may do, those of security.json below included."""

SECURITY = {
    "roles": {
        "deployer": {
            "permissions": ["components:control", "configure_components", "read_components"],
            "components": ["w*"],
        },
        "auditor": {"permissions": ["audit:read"]},
    },
    "principals": {
        "mona": ["monitor"],
        "otto": ["operator"],
        "ada": ["admin"],
        "dora": ["deployer"],
        "audrey": ["auditor"],
        "billing": ["component"],
    },
}

COMPONENTS = ("worker", "billing", "stranger")
"""One that Tekton runs, one that has a token, and one that has registered itself and can prove nothing."""


SUBJECTS = (
    "news.today",
    "worker.done",
    "billing.paid",
    "worker.requests.work",
    "billing.requests.pay",
    "stranger.requests.help",
    "tekton.components.worker",
    "tekton.metrics",
    "tekton.logs.worker",
    "tekton.dead.orders",
    "tekton.tasks.of-billing",
    "tekton.tasks.of-nobody",
    "tekton.secrets",
    "_inbox.worker.0123456789abcdef.1",
    "_inbox.billing.0123456789abcdef.1",
    "_inbox.otto.0123456789abcdef.1",
)
"""Of each kind that there are rules for, some."""


Talk = tuple[bool, bool, bool, bool]
"""Of a subject: published, heard, published in the name of another, published with answers to it."""


@dataclass(frozen=True)
class Caller:
    """Somebody who calls: what he shows, as what that counts, and for which component it is."""

    name: str
    roles: tuple[str, ...]
    component_id: str | None = None
    credential: str | None = None
    through_socket: bool = False
    forwarded: bool = False

    @property
    def shows_something(self) -> bool:
        return self.through_socket or self.credential is not None

    def may(self, permission: str, component_id: str | None) -> bool:
        """The model."""
        if permission == "public":
            return True
        if permission == "authenticated":
            return self.shows_something
        return any(self._may_as(role, permission, component_id) for role in self.roles)

    def may_publish(self, subject: str) -> bool:
        """The model, for subjects."""
        first, *rest = subject.split(".")
        if not self.may("messages:publish", None) or first == "tekton":
            return False
        if first == "_inbox" or self.component_id is None:
            return True
        return first == self.component_id or rest[0] == "requests"

    def may_hear(self, subject: str, own_inbox: str) -> bool:
        """The model, for subjects."""
        first, second, *rest = subject.split(".")
        if rest == ["of-billing"] and self.component_id == "billing" and self.may("tasks:run", None):
            return True
        if first == "tekton":
            feeds = {"components": "components:read", "metrics": "metrics:read", "logs": "logs:read"}
            needed = {**feeds, "dead": "messages:manage", "tasks": "tasks:manage"}.get(second)
            return needed is not None and self.may(needed, "worker")
        if not self.may("messages:read", None):
            return False
        if first == "_inbox":
            return second == own_inbox
        return second != "requests" or first == self.component_id or self.may("auth:manage", None)

    def may_talk(self, subject: str, own_inbox: str) -> Talk:
        """The model, for subjects."""
        publishes, hears = self.may_publish(subject), self.may_hear(subject, own_inbox)
        answered = publishes and (not subject.startswith("_inbox.") or hears)
        return publishes, hears, publishes and self.may("auth:manage", None), answered

    def _may_as(self, role: str, permission: str, component_id: str | None) -> bool:
        if permission not in MAY[role]:
            return False
        if permission not in ABOUT_ONE or component_id is None:
            return True
        if role == "component":
            return component_id == self.component_id
        if role == "deployer":
            return component_id.startswith("w")
        return role != "anonymous" or component_id == "stranger"


def table() -> list[Route]:
    """The routes of the control plane, with handlers that say that they were reached."""

    async def reached(request: Request) -> dict[str, object]:
        return {"subject": request.principal.subject, "roles": request.principal.roles}

    registry = ComponentRegistry()
    system = cast(System, SimpleNamespace(registry=registry, monitor=HeartbeatMonitor(registry)))
    return [replace(route, handler=reached, body=None, query=None, status=200) for route in all_routes(system)]


def topics() -> TopicTable:
    """The topics of the control plane, each of which tells only about which components it may."""

    async def told(operation: Sub, may: May = lambda _: True) -> AsyncGenerator[str, None]:
        seen = [component_id for component_id in COMPONENTS if may(component_id)]
        yield json.dumps({"id": operation.id, "seen": seen})

    def watched(_: Sub) -> AsyncGenerator[str, None]:
        raise AssertionError("it is not called")

    def owned(operation: Sub, _: Identify) -> AsyncGenerator[str, None]:
        return told(operation)

    one = SimpleNamespace(topic=SimpleNamespace(open=watched), open=watched, watch=watched)
    logs = SimpleNamespace(topic=lambda: SystemLogs.topic(cast(SystemLogs, SimpleNamespace(_open=watched))))
    system = SimpleNamespace(
        registry=ComponentRegistry(), degradation=one, tracing=one, metering=one, resources=one, logs=logs, tasks=one
    )
    declared: dict[str, Topic | ScopedTopic | OwnedTopic] = socket_topics(cast(System, system))._topics
    return TopicTable(
        {
            name: topic._replace(open=owned) if isinstance(topic, OwnedTopic) else topic._replace(open=told)
            for name, topic in declared.items()
        }
    )


def bus_port() -> BusPort:
    """A bus that keeps nothing. Of all tasks one belongs to billing."""
    live = LiveBus(SYSTEM_CLOCK)
    access = BusAccess(owner_of={"of-billing": "billing"}.get)
    return BusPort(LocalBus(SYSTEM_CLOCK, None, live), lambda _: None, lambda: live.sequence, live.answered, access)


class Site:
    """A running gateway with the policy of a control plane."""

    def __init__(self, security: Security, server: GatewayServer, socket: Path) -> None:
        self.security = security
        self.server = server
        self.socket = socket

    async def ask(self, session: aiohttp.ClientSession, caller: Caller, method: str, path: str) -> tuple[int, Any]:
        headers = {} if caller.credential is None else {"authorization": f"Bearer {caller.credential}"}
        if caller.forwarded:
            headers["x-forwarded-for"] = "127.0.0.1"
        async with session.request(method, f"http://localhost:{self.server.port}{path}", headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None

    async def watch(self, session: aiohttp.ClientSession, caller: Caller, names: list[str]) -> list[list[str] | int]:
        """About which components each topic tells the *caller*, or the status with which he is refused."""
        headers = {} if caller.credential is None else {"authorization": f"Bearer {caller.credential}"}
        if caller.forwarded:
            headers["x-forwarded-for"] = "127.0.0.1"
        refused = {"unauthenticated": 401, "forbidden": 403}
        seen: list[list[str] | int] = []
        try:
            async with session.ws_connect(f"http://localhost:{self.server.port}/ws", headers=headers) as socket:
                for number, name in enumerate(names):
                    await socket.send_json({"op": "sub", "id": number, "topic": name})
                    frame = await socket.receive_json()
                    assert frame["id"] == number
                    seen.append(frame["seen"] if "seen" in frame else refused[frame["code"]])
        except aiohttp.WSServerHandshakeError as error:
            return [error.status] * len(names)
        return seen

    async def talk(self, session: aiohttp.ClientSession, caller: Caller) -> dict[str, Talk] | int:
        """What the *caller* is let publish to, hear, say in another's name, have answered; or a refusal's status."""
        headers = {} if caller.credential is None else {"authorization": f"Bearer {caller.credential}"}
        if caller.forwarded:
            headers["x-forwarded-for"] = "127.0.0.1"
        url = f"http://localhost:{self.server.port}/ws"
        _, who = await self.ask(session, caller, "GET", "/api/components")
        try:
            async with session.ws_connect(url, headers=headers) as socket:
                return {subject: await self._talk(socket, subject, who["subject"]) for subject in SUBJECTS}
        except aiohttp.WSServerHandshakeError as error:
            return error.status

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse, subject: str, sender: str) -> Talk:
        message = json.loads(Message("event", None, MessageContext(sender)).to_json())
        done: list[bool] = []
        for number, operation in enumerate(({"op": "pub", "message": message}, {"op": "sub"})):
            await socket.send_json({"id": number, "subject": subject, **operation})
            frame = await socket.receive_json()
            assert frame["id"] == number
            assert frame["t"] != "error" or frame["code"] in ("forbidden", "unauthenticated"), frame
            done.append(frame["t"] != "error")
        if done[1]:
            await socket.send_json({"op": "unsub", "id": 1})
        for number, publication in ((2, {"message": message | FORGED}), (3, {"message": message, "reply": subject})):
            await socket.send_json({"op": "pub", "id": number, "subject": subject, **publication})
            while (frame := await socket.receive_json())["id"] != number:
                pass
            # A question that nobody hears was let through.
            passed = frame["t"] == "published" or frame["code"] == "no_responders"
            assert passed or frame["code"] in ("forbidden", "unauthenticated"), frame
            done.append(passed)
        return done[0], done[1], done[2], done[3]


FORGED = {"context": {"sender": "somebody-else"}}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    (tmp_path / "tekton.json").write_text(json.dumps({"tekton": {"data_dir": str(tmp_path / "data")}}))
    (tmp_path / "security.json").write_text(json.dumps(SECURITY))
    (tmp_path / "data" / "run").mkdir(parents=True)
    clock = ManualClock()
    registry = ComponentRegistry()
    security = Security(
        TektonConfig.load(tmp_path / "tekton.json", environ={}),
        registry.documents,
        KeyRing.generate(clock.time()),
        credential="the-credential-of-the-owner",
        components=ComponentCredentials(tmp_path / "data", "run", clock.time),
        clock=clock,
        report=lambda *_: None,
    )
    security.know_components(lambda component_id: component_id == "worker", lambda: 0)
    socket = tmp_path / "socket"
    server = GatewayServer(
        Gateway(table(), policy=security.policy, websocket=TopicSocket(topics(), None, bus_port())),
        "127.0.0.1",
        0,
        uds=socket,
    )
    await server.start()
    yield Site(security, server, socket)
    await server.stop(timeout=2.0)
    await registry.close()


async def callers(security: Security) -> list[Caller]:
    async def token(name: str, *roles: str) -> str:
        return (await security.issue(name, roles, 600)).text

    key, _ = await security.api_keys.create("otto", ["operator"], security.now())
    file = security.components.provide("worker", None)
    assert file is not None
    every = (*ROLES, "deployer", "auditor")
    return [
        Caller("the owner at the socket", ("admin",), through_socket=True),
        Caller("the owner with his credential", ("admin",), credential="the-credential-of-the-owner"),
        Caller("somebody on this machine", ("anonymous",)),
        Caller("somebody behind a proxy", ("nobody",), forwarded=True),
        Caller("a component that is run", ("component",), "worker", file.read_text()),
        Caller("a component with a token", ("component",), "billing", await token("billing", "component")),
        Caller("an operator with a key", ("operator",), credential=key),
        Caller("an operator with a token", ("operator",), credential=await token("otto", "operator")),
        Caller("a monitor", ("monitor",), credential=await token("mona", "monitor")),
        Caller("an administrator", ("admin",), credential=await token("ada", "admin")),
        Caller("a deployer", ("deployer",), credential=await token("dora", "deployer")),
        Caller("an auditor", ("auditor",), credential=await token("audrey", "auditor")),
        Caller("an administrator who shows less", ("nobody",), credential=await token("ada")),
        Caller("a monitor who claims everything", ("monitor",), credential=await token("mona", *every)),
        Caller("a component that claims everything", ("component",), "billing", await token("billing", *every)),
        Caller("somebody to whom nothing is bound", ("nobody",), credential=await token("eve", *every)),
    ]


async def test_every_role_gets_through_where_it_may_and_nowhere_else(site: Site) -> None:
    everybody = await callers(site.security)
    wrong: list[str] = []
    asked = 0
    async with (
        aiohttp.ClientSession() as over_tcp,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(site.socket))) as over_socket,
    ):
        for caller in everybody:
            for route in table():
                for component_id in COMPONENTS if "component_id" in route.parameters else (None,):
                    path = re.sub(r"\{component_id\}", component_id or "", route.path)
                    path = re.sub(r"\{[a-z_]+\}", "x", path)
                    session = over_socket if caller.through_socket else over_tcp
                    status, body = await site.ask(session, caller, route.method, path)
                    expected = 200
                    if not caller.may(route.permission, component_id):
                        expected = 403 if caller.shows_something else 401
                    asked += 1
                    if status != expected:
                        wrong.append(f"{caller.name}: {route.method} {path}: {status}, not {expected}: {body}")

    assert wrong == []
    assert asked > 1000


async def test_everybody_watches_the_topics_that_he_may_and_no_others(site: Site) -> None:
    declared = topics()
    async with (
        asyncio.timeout(30),
        aiohttp.ClientSession() as over_tcp,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(site.socket))) as over_socket,
    ):
        for caller in await callers(site.security):
            session = over_socket if caller.through_socket else over_tcp
            seen = await site.watch(session, caller, declared.names)

            expected: list[list[str] | int] = []
            for name in declared.names:
                permission = declared.permission(name)
                about = [one for one in COMPONENTS if caller.may(permission, one)]
                # The socket itself needs what its first topic needs.
                if not caller.may("components:read", None) or not about:
                    expected.append(403 if caller.shows_something else 401)
                else:
                    expected.append(about if isinstance(declared._topics[name], ScopedTopic) else list(COMPONENTS))
            assert seen == expected, caller.name


async def test_everybody_publishes_and_hears_what_he_may_and_nothing_else(site: Site) -> None:
    own_inboxes = {"worker": "worker", "billing": "billing", "an operator": "otto"}
    async with (
        asyncio.timeout(30),
        aiohttp.ClientSession() as over_tcp,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(site.socket))) as over_socket,
    ):
        for caller in await callers(site.security):
            did = await site.talk(over_socket if caller.through_socket else over_tcp, caller)

            inbox = own_inboxes.get(caller.component_id or caller.name.partition(" with ")[0], "")
            if caller.may("components:read", None):
                assert did == {one: caller.may_talk(one, inbox) for one in SUBJECTS}, caller
            else:
                assert did == (403 if caller.shows_something else 401), caller


def test_the_table_of_the_model_has_every_role_and_every_permission() -> None:
    assert set(MAY) == {*ROLES, "nobody", "deployer", "auditor"}
    assert set().union(*MAY.values()) == set(PERMISSIONS)


async def test_a_reload_changes_at_once_what_somebody_may_do(site: Site, tmp_path: Path) -> None:
    token = (await site.security.issue("mona", ["monitor"], 600)).text
    mona = Caller("mona", ("monitor",), credential=token)
    async with aiohttp.ClientSession() as session:
        assert (await site.ask(session, mona, "GET", "/api/components"))[0] == 200
        (tmp_path / "security.json").write_text('{"principals": {"mona": []}}')
        site.security.adopt(TektonConfig.load(tmp_path / "tekton.json", environ={}))
        assert (await site.ask(session, mona, "GET", "/api/components"))[0] == 403
