"""The routes under /api/streams, on a real port."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from tekton.auth.principal import Principal, owner
from tekton.auth.roles import RoleTable
from tekton.bus.bus import MAX_HOPS, ConsumerSettings
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.core.audit.query import AuditQuery
from tekton.core.audit.refusals import Refusals
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.gateway.app import Gateway
from tekton.gateway.auth import AccessPolicy
from tekton.gateway.server import GatewayServer
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.service.api import streams
from tekton.service.bus_port import bus_port
from tekton.service.messaging import Messaging
from tekton.service.system import System
from tekton.testing.clock import ManualClock
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import TooManyHopsError

SETTINGS = {"tekton": {"bus": {"streams": {"orders": {"subjects": ["orders.>"]}}}}}


def identify(credential: str) -> Principal:
    """The credential of a component is its name."""
    if credential == "owner":
        return owner("credential")
    if credential == "operator":
        grants = RoleTable().grants(["operator"])
        return Principal(subject=credential, roles=("operator",), via="token", grants=grants)
    grants = RoleTable().grants(["component"], credential)
    return Principal(subject=credential, roles=("component",), component_id=credential, via="credential", grants=grants)


def said(content: object = None, subject: str = "engram") -> Message:
    return Message(MessageType.EVENT, content, MessageContext(subject))


class Port:
    """The routes, and the bus behind them."""

    clock: ManualClock

    def __init__(self, messaging: Messaging, registry: ComponentRegistry, session: aiohttp.ClientSession) -> None:
        self.messaging = messaging
        self.bus = messaging.bus
        self.registry = registry
        self._session = session
        self.refusals = Refusals(registry.audit)
        system = SimpleNamespace(
            registry=registry, messaging=messaging, bus=messaging.bus, bus_port=bus_port(messaging, self.refusals)
        )
        routes = streams.routes(cast(System, system))
        self.server = GatewayServer(Gateway(routes, policy=AccessPolicy(identify)), "127.0.0.1", 0)

    async def ask(self, method: str, path: str, body: Any = None, as_: str = "owner") -> tuple[int, Any]:
        url = f"http://127.0.0.1:{self.server.port}/api/streams{path}"
        headers = {"authorization": f"Bearer {as_}"}
        async with self._session.request(method, url, json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def entered(self) -> list[tuple[str, str, str]]:
        """What the audit log says, oldest first: action, target, outcome."""
        await self.registry.audit.flush()
        page = await self.registry.audit.page(AuditQuery())
        return [(one.action, one.target, one.outcome) for one in reversed(page.entries)]


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[Port]:
    (tmp_path / "tekton.json").write_text(json.dumps(SETTINGS))
    config = TektonConfig.load(tmp_path, environ={"TEKTON_DATA_DIR": str(tmp_path)})
    clock = ManualClock()
    messaging = await Messaging.open(config, clock, MemoryStreamStore())
    await messaging.adopt(config)
    async with ComponentRegistry() as registry, aiohttp.ClientSession() as session:
        port = Port(messaging, registry, session)
        port.clock = clock
        await port.server.start()
        yield port
        await port.server.stop(timeout=1.0)
    await messaging.stop()


async def test_streams_are_listed_with_what_they_have_and_their_consumers(port: Port) -> None:
    for number in range(3):
        await port.bus.publish("orders.new", said(number))
    async with port.bus.consume("orders", "billing", ConsumerSettings(ack_wait=5.0), owner="billing") as work:
        [first, *_] = await anext(work.batches())
        await first.ack()
        status, answer = await port.ask("GET", "", as_="engram")
        one = await port.ask("GET", "/orders")

    dead, orders = answer["items"]
    assert (status, dead["name"], dead["configured"]) == (200, "dead_letters", False)
    assert (orders["configured"], orders["messages"], orders["first"], orders["last"]) == (True, 3, 1, 3)
    [billing] = orders["consumers"]
    assert (billing["name"], billing["ack_wait"], billing["filter"], billing["in_flight"]) == ("billing", 5.0, ">", 2)
    assert (billing["owner"], billing["waiting"], billing["waiting_more"]) == ("billing", 0, False)
    assert one == (200, orders)


async def test_what_the_limits_have_dropped_and_who_has_lost_it_is_shown(port: Port) -> None:
    await port.ask("PUT", "/small", {"subjects": ["small.>"], "max_messages": 3})
    async with port.bus.consume("small", "billing"):
        for number in range(10):
            await port.bus.publish("small.new", said(number))
    _, small = await port.ask("GET", "/small")

    assert (small["messages"], small["dropped"]) == (3, 7)
    assert [(one["name"], one["lost"]) for one in small["consumers"]] == [("billing", 7)]


async def test_a_stream_is_made_changed_and_deleted_and_that_is_entered(port: Port) -> None:
    made = await port.ask("PUT", "/jobs", {"subjects": ["jobs.>"], "work_queue": True})
    changed = await port.ask("PUT", "/jobs", {"subjects": ["jobs.>", "tasks"], "work_queue": True})
    await port.bus.publish("tasks", said())
    gone = await port.ask("DELETE", "/jobs")

    assert (made[0], made[1]["subjects"], changed[0], changed[1]["subjects"]) == (
        201,
        ["jobs.>"],
        200,
        ["jobs.>", "tasks"],
    )
    assert (gone[0], gone[1]["messages"]) == (200, 1)
    assert (await port.ask("GET", "/jobs"))[0] == 404
    assert port.messaging.stream_of("tasks") is None
    put = [("stream.put", "jobs", "intent"), ("stream.put", "jobs", "done")]
    assert await port.entered() == [*put, *put, ("stream.delete", "jobs", "intent"), ("stream.delete", "jobs", "done")]


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"subjects": []}, 422, "/subjects"),
        ({"subjects": ["a..b"]}, 422, "/subjects/0"),
        ({"subjects": ["ok", "tekton.>"]}, 422, "/subjects/1"),
        ({"subjects": ["_inbox.>"]}, 422, "/subjects/0"),
        ({"subjects": ["a"], "max_bytes": 2**40}, 422, "/max_bytes"),
        ({"subjects": ["a"], "max_age": 0}, 422, "/max_age"),
        ({"subjects": ["a"], "size": 1}, 422, None),
        ({"subjects": ["orders.new"]}, 409, None),
    ],
)
async def test_what_can_be_no_stream_is_refused(port: Port, body: Any, status: int, pointer: str | None) -> None:
    answered, problem = await port.ask("PUT", "/mine", body)

    assert answered == status
    assert pointer is None or problem["pointer"] == pointer
    assert (await port.ask("GET", "/mine"))[0] == 404


@pytest.mark.parametrize("name", ["Orders", "a.b", "-", "dead_letters"])
async def test_a_name_that_no_stream_can_have_is_refused(port: Port, name: str) -> None:
    assert (await port.ask("PUT", f"/{name}", {"subjects": ["mine"]}))[0] == 422


async def test_a_stream_of_the_configuration_is_not_changed_here(port: Port) -> None:
    for method, body in (("PUT", {"subjects": ["a"]}), ("DELETE", None)):
        status, problem = await port.ask(method, "/orders", body)
        assert (status, problem["code"]) == (409, "stream_configured")


async def test_a_consumer_is_forgotten(port: Port) -> None:
    async with port.bus.consume("orders", "billing"):
        pass

    assert (await port.ask("DELETE", "/orders/consumers/shipping"))[1]["code"] == "consumer_not_found"
    assert (await port.ask("DELETE", "/orders/consumers/billing"))[1]["name"] == "billing"
    assert (await port.ask("GET", "/orders"))[1]["consumers"] == []
    assert (await port.entered())[-1] == ("consumer.delete", "orders/billing", "done")


async def test_a_component_reads_streams_and_changes_none(port: Port) -> None:
    assert (await port.ask("GET", "/orders/messages", as_="engram"))[0] == 200
    for method, path in (("PUT", "/mine"), ("DELETE", "/orders"), ("DELETE", "/orders/consumers/billing")):
        body = {"subjects": ["mine"]} if method == "PUT" else None
        assert (await port.ask(method, path, body, as_="engram"))[0] == 403


async def test_messages_are_read_page_by_page_as_they_were_published(port: Port) -> None:
    published = [said({"number": number}) for number in range(5)]
    for number, message in enumerate(published):
        await port.bus.publish("orders.new" if number % 2 == 0 else "orders.old", message, reply="engram.answers")

    _, first = await port.ask("GET", "/orders/messages?limit=2")
    _, second = await port.ask("GET", f"/orders/messages?limit=2&since={first['next']}")
    _, last = await port.ask("GET", f"/orders/messages?limit=2&since={second['next']}")
    _, new = await port.ask("GET", "/orders/messages?subject=orders.new")

    items = [*first["items"], *second["items"], *last["items"]]
    assert [one["sequence"] for one in items] == [1, 2, 3, 4, 5]
    assert [one["message"] for one in items] == [json.loads(message.to_json()) for message in published]
    assert (items[0]["subject"], items[0]["reply"], last["next"]) == ("orders.new", "engram.answers", None)
    assert [one["sequence"] for one in new["items"]] == [1, 3, 5]


async def test_a_page_begins_at_a_time_and_ends_when_it_is_large(port: Port) -> None:
    clock = port.clock
    for _ in range(3):
        await port.bus.publish("orders.new", said("x" * 600_000))
        clock.advance(10.0)

    _, first = await port.ask("GET", "/orders/messages")
    _, later = await port.ask("GET", f"/orders/messages?at={clock.time() - 11.0}")

    assert ([one["sequence"] for one in first["items"]], first["next"]) == ([1], 1)
    assert ([one["sequence"] for one in later["items"]], later["next"]) == ([3], None)
    assert (await port.ask("GET", "/orders/messages?at=1&since=1"))[0] == 422
    assert [(await port.ask("GET", f"/orders/messages?at={at}"))[0] for at in ("1e308", "-1", "nan")] == [422] * 3
    assert (await port.ask("GET", "/orders/messages?subject=a..b"))[0] == 422
    assert (await port.ask("GET", "/nowhere/messages"))[0] == 404


async def test_what_somebody_may_not_hear_he_may_not_read_and_that_is_told(port: Port) -> None:
    await port.ask("PUT", "/asked", {"subjects": ["engram.requests.>", "rhetor.requests.>"]})
    await port.bus.publish("engram.requests.a", said())
    await port.bus.publish("rhetor.requests.b", said())

    status, page = await port.ask("GET", "/asked/messages", as_="engram")
    private = await port.ask("GET", "/asked/messages?subject=rhetor.requests.>", as_="engram")
    dead = await port.ask("GET", "/dead_letters/messages", as_="engram")

    assert (status, [one["subject"] for one in page["items"]]) == (200, ["engram.requests.a"])
    assert (private[0], dead[0], port.refusals.total) == (403, 403, 2)


async def test_a_letter_about_a_request_of_somebody_else_comes_without_its_message(port: Port) -> None:
    context = MessageContext("engram", hops=MAX_HOPS + 1)
    for subject in ("engram.requests.find", "orders.new"):
        message = Message(MessageType.EVENT, "the secret", context)
        with pytest.raises(TooManyHopsError):
            await port.bus.publish(subject, message)

    answers = {who: await port.ask("GET", "/dead_letters/messages", as_=who) for who in ("operator", "owner")}

    shown = {who: [one["message"]["content"] for one in page["items"]] for who, (_, page) in answers.items()}
    assert [one["subject"] for one in shown["operator"]] == ["engram.requests.find", "orders.new"]
    assert [one["message"] and one["message"]["content"] for one in shown["operator"]] == [None, "the secret"]
    assert [one["message"]["content"] for one in shown["owner"]] == ["the secret"] * 2
