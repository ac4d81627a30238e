"""What somebody has subscribed to over a real WebSocket, and what becomes of it when he leaves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from tekton.bus.bus import Limits, Policy
from tekton.clock import SYSTEM_CLOCK
from tekton.component.handlers import MessageTable
from tekton.component.listening import Listening
from tekton.core.tracing.tracer import Tracer
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.testing.cut_connections import CuttingProxy
from tekton.utils import bus_link
from tekton.utils.bus_client import BusClient
from tekton.utils.bus_subscription import ClientSubscription
from tekton.utils.control_plane import ControlPlane


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_link, "BACKOFF", (0.01, 0.02))


@pytest.fixture
async def plane() -> AsyncIterator[InMemoryControlPlane]:
    async with asyncio.timeout(30), InMemoryControlPlane() as plane:
        yield plane


@pytest.fixture
async def proxy(plane: InMemoryControlPlane) -> AsyncIterator[CuttingProxy]:
    async with CuttingProxy("127.0.0.1", int(plane.address.url.rpartition(":")[2])) as proxy:
        yield proxy


@pytest.fixture
async def bus(plane: InMemoryControlPlane, proxy: CuttingProxy) -> AsyncIterator[BusClient]:
    """A client behind the proxy."""
    token = await plane.token("engram", "operator")
    async with BusClient(ControlPlane(f"http://127.0.0.1:{proxy.port}", credential=token)) as bus:
        yield bus


def say(content: Any) -> Message:
    return Message("event", content, MessageContext("engram"))


async def came(subscription: ClientSubscription, count: int) -> None:
    """Return when so many wait for the reader."""
    while len(subscription._mailbox) < count:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.001)


async def test_what_has_come_for_a_queue_group_can_be_read_after_it_was_closed(
    plane: InMemoryControlPlane, bus: BusClient
) -> None:
    async with bus.subscribe("jobs.>", queue="engram") as shared, bus.subscribe("jobs.>") as own:
        for number in range(3):
            await plane.bus.publish("jobs.new", say(number))
        await came(shared, 3)
        await came(own, 3)

    assert [envelope.message.content async for envelope in shared] == [0, 1, 2]
    assert [envelope.message.content async for envelope in own] == []


@pytest.mark.parametrize(
    "enter",
    [lambda bus: bus.subscribe("jobs.>", queue="engram"), lambda bus: bus.consume("orders", "billing")],
    ids=["subscription", "consumption"],
)
async def test_who_gives_up_to_enter_has_left(
    proxy: CuttingProxy, bus: BusClient, enter: Callable[[BusClient], AbstractAsyncContextManager[Any]]
) -> None:
    """It took part, and had its share of a queue group or of the work, when there was a connection again."""
    proxy.refuse()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0), enter(bus):
            pass

    assert not bus._exchange._parties


async def test_what_was_published_while_handlers_had_a_pause_is_caught_up_with_though_nothing_came_before(
    plane: InMemoryControlPlane, bus: BusClient
) -> None:
    table, seen, all_of_it = MessageTable(), list[Any](), asyncio.Event()

    @table.subscribe("memory.>")
    async def remember(message: Message) -> None:
        seen.append(message.content)
        if message.content == "after":
            all_of_it.set()

    listening = Listening("engram", table, Tracer("engram", [].append, clock=SYSTEM_CLOCK), SYSTEM_CLOCK)
    await listening.start(bus)
    await listening.pause(0.0)
    await plane.bus.publish("memory.updated", say("meanwhile"))
    await listening.start(bus)
    await plane.bus.publish("memory.updated", say("after"))
    await all_of_it.wait()
    await listening.stop(0.0)

    assert seen == ["meanwhile", "after"]


async def test_handlers_leave_a_queue_group_that_had_cut_them_with_what_had_come(
    plane: InMemoryControlPlane, bus: BusClient
) -> None:
    table, done = MessageTable(), list[Any]()
    begun, go_on = asyncio.Event(), asyncio.Event()

    @table.subscribe("jobs.>", queue="engram", limits=Limits(3, policy=Policy.DISCONNECT))
    async def work(message: Message) -> None:
        begun.set()
        await go_on.wait()
        done.append(message.content)

    listening = Listening("engram", table, Tracer("engram", [].append, clock=SYSTEM_CLOCK), SYSTEM_CLOCK)
    await listening.start(bus)
    await plane.bus.publish("jobs.new", say(0))
    await begun.wait()
    for number in range(1, 10):
        await plane.bus.publish("jobs.new", say(number))
    while bus._exchange._parties:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.001)
    async with asyncio.TaskGroup() as group:
        group.create_task(listening.stop(60.0))
        for _ in range(10):
            await asyncio.sleep(0)
        go_on.set()

    assert done == [0, 1, 2, 3]


class TestHandlers:
    """Those of a component that leaves, with what waits for them here."""

    @pytest.fixture
    def done(self) -> list[Any]:
        return []

    @pytest.fixture
    def go_on(self) -> asyncio.Event:
        return asyncio.Event()

    @pytest.fixture
    async def listening(
        self, plane: InMemoryControlPlane, bus: BusClient, done: list[Any], go_on: asyncio.Event
    ) -> Listening:
        """A member of a queue group that works on the first of ten; the other nine have come."""
        table = MessageTable()

        @table.subscribe("jobs.>", queue="engram")
        async def work(message: Message) -> None:
            await go_on.wait()
            done.append(message.content)

        listening = Listening("engram", table, Tracer("engram", [].append, clock=SYSTEM_CLOCK), SYSTEM_CLOCK)
        await listening.start(bus)
        for number in range(10):
            await plane.bus.publish("jobs.new", say(number))
        [subscription] = bus._exchange._parties
        assert isinstance(subscription, ClientSubscription)
        await came(subscription, 9)
        return listening

    async def test_what_waits_for_a_queue_group_is_worked_off_on_stop(
        self, plane: InMemoryControlPlane, listening: Listening, done: list[Any], go_on: asyncio.Event
    ) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(listening.stop(60.0))
            while plane.bus.live.answered("jobs.new"):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
            # It comes no more to one that leaves.
            await plane.bus.publish("jobs.new", say("too late"))
            go_on.set()

        assert done == list(range(10))

    async def test_what_there_was_no_time_for_is_in_the_log_with_its_number(
        self, listening: Listening, done: list[Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        await listening.stop(0.0)

        assert done == []
        assert "subscription to jobs.>: 9 messages that had come were not handled" in caplog.text
