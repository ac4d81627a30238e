"""Handlers of what a stream hands out, on streams in memory, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from tekton.bus.bus import ConsumerSettings, Delivery, StreamSettings
from tekton.bus.envelope import Envelope
from tekton.bus.live import LiveBus
from tekton.bus.local_bus import LocalBus
from tekton.bus.streams.consumption import StreamDelivery
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.bus.streams.streams import Streams
from tekton.component import Component, listening
from tekton.component.handlers import MessageTable
from tekton.component.listening import Listening
from tekton.core.lifecycle import ComponentRecord, ComponentState
from tekton.core.tracing.tracer import Tracer
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message
from tekton.testing.clock import current_clock, virtual_time
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.tekton_errors import ReplyTimeoutError

MINUTE = ConsumerSettings(ack_wait=60.0, max_deliver=3, backoff=(0.0,))


@asynccontextmanager
async def bus_with_orders(*contents: object) -> AsyncIterator[LocalBus]:
    """A bus with a stream "orders" that has *contents*."""
    clock = current_clock()
    live = LiveBus(clock)
    streams = Streams(MemoryStreamStore(), clock, live.deliver)
    await streams.start()
    bus = LocalBus(clock, streams, live)
    await bus.create_stream("orders", StreamSettings(("orders.>",)))
    for content in contents:
        await order(bus, content)
    yield bus
    await streams.stop()


async def order(bus: LocalBus, content: object) -> None:
    await bus.publish("orders.new", Message("event", content, MessageContext("ann")))


@asynccontextmanager
async def at_work(
    bus: LocalBus, table: MessageTable, name: str = "billing", complain: Callable[[str], object] = lambda _: None
) -> AsyncIterator[None]:
    """The handlers of *table* at work as the component *name*."""
    handlers = Listening(name, table, Tracer(name, [].append, clock=current_clock()), current_clock(), complain)
    await handlers.start(bus)
    yield
    await handlers.stop(0.0)


async def letters(bus: LocalBus) -> list[dict[str, object]]:
    """What the dead letters of "orders" say."""
    [stream] = [one for one in await bus.streams() if one.name == "dead_letters"]
    async with bus.replay("dead_letters") as replay:
        found = aiter(replay)
        return [(await anext(found)).message.content for _ in range(stream.messages)]


@virtual_time
async def test_what_is_still_worked_on_is_handed_to_nobody_else() -> None:
    table, calls = MessageTable(), []

    @table.consume("orders", "billing", MINUTE, longest=3600.0)
    async def bill(message: Message) -> None:
        calls.append(message.content)
        await asyncio.sleep(3000.0)

    async with bus_with_orders("tea") as bus, at_work(bus, table), at_work(bus, table, "other"):
        await asyncio.sleep(3500.0)
        [stream] = [one for one in await bus.streams() if one.name == "orders"]

    assert calls == ["tea"]
    assert (stream.consumers[0].acknowledged, stream.consumers[0].redelivered) == (1, 0)


@virtual_time
async def test_a_handler_that_hangs_loses_its_message_to_another_after_a_while() -> None:
    clock, hanging, free = current_clock(), MessageTable(), MessageTable()
    begun = clock.monotonic()
    got: list[float] = []

    @hanging.consume("orders", "billing", MINUTE, longest=600.0)
    async def hang(message: Message) -> None:
        await asyncio.Event().wait()

    @free.consume("orders", "billing", MINUTE)
    async def bill(message: Message) -> None:
        got.append(clock.monotonic() - begun)

    async with bus_with_orders("tea") as bus, at_work(bus, hanging):
        await asyncio.sleep(1.0)
        async with at_work(bus, free):
            await asyncio.sleep(1000.0)

    assert len(got) == 1
    assert 600.0 < got[0] <= 660.0


@virtual_time
async def test_what_is_in_progress_has_its_time_on_stop_and_no_more_though_its_stream_is_gone() -> None:
    """It went on for as long as it liked when its reader was between two attempts."""
    table, clock = MessageTable(), current_clock()
    ended: list[tuple[object, float]] = []
    stopping = 0.0

    @table.consume("orders", "billing", MINUTE, concurrency=3, longest=3600.0)
    async def bill(message: Message) -> None:
        try:
            await asyncio.sleep(103.0 if message.content == "tea" else 3000.0)
        finally:
            ended.append((message.content, round(clock.monotonic() - stopping, 3)))

    async with bus_with_orders("tea", "cake") as bus:
        handlers = Listening("billing", table, Tracer("billing", [].append, clock=clock), clock)
        await handlers.start(bus)
        await asyncio.sleep(50.0)
        await bus.delete_stream("orders")
        await asyncio.sleep(50.0)
        stopping = clock.monotonic()
        await handlers.stop(5.0)
        stopped = clock.monotonic() - stopping

    assert ended == [("tea", 3.0), ("cake", 5.0)]
    assert round(stopped, 3) == 5.0


@virtual_time
async def test_one_that_settles_its_delivery_by_itself_has_time_for_it_too() -> None:
    table, settled = MessageTable(), []

    @table.consume("orders", "billing", MINUTE)
    async def bill(delivery: Delivery) -> None:
        await asyncio.sleep(500.0)
        settled.append(await delivery.ack())
        await asyncio.sleep(500.0)

    async with bus_with_orders("tea") as bus, at_work(bus, table):
        await asyncio.sleep(1100.0)

    assert settled == [True]


@virtual_time
async def test_the_dead_letter_says_what_the_handler_has_raised_and_no_password() -> None:
    table = MessageTable()

    @table.consume("orders", "billing", MINUTE)
    async def bill(message: Message) -> None:
        raise ValueError(f"no {message.content} at\n postgres://shop:hunter2secret@db/orders, api_key=0123456789abcdef")

    async with bus_with_orders("tea") as bus, at_work(bus, table):
        await asyncio.sleep(10.0)
        [letter] = await letters(bus)

    assert letter["attempts"] == 3
    assert letter["reason"] == "ValueError: no tea at postgres://shop:[redacted]@db/orders, api_key=[redacted]"


@virtual_time
async def test_who_asks_on_in_the_course_of_a_request_waits_no_longer_than_who_has_asked() -> None:
    clock, near, far = current_clock(), MessageTable(), MessageTable()
    begun = clock.monotonic()
    ended: list[tuple[str, float, float]] = []

    def note(who: str, message: Message) -> None:
        assert message.context.deadline is not None
        ended.append((who, clock.monotonic() - begun, message.context.deadline - clock.time()))

    @far.subscribe("far.requests.it")
    async def work(message: Message) -> None:
        try:
            await asyncio.sleep(3600.0)
        finally:
            note("far", message)

    async with bus_with_orders() as bus:

        @near.subscribe("near.requests.it")
        async def ask_on(message: Message) -> object:
            try:
                question = Message("request", 1, MessageContext("near"))
                return (await bus.request("far.requests.it", question, timeout=60.0)).content
            finally:
                note("near", message)

        async with at_work(bus, near, "near"), at_work(bus, far, "far"):
            with pytest.raises(ReplyTimeoutError):
                await bus.request("near.requests.it", Message("request", 1, MessageContext("ann")), timeout=2.0)
            await asyncio.sleep(1.0)

    assert sorted((who, round(at, 3), round(left, 3)) for who, at, left in ended) == [
        ("far", 2.0, 0.0),
        ("near", 2.0, 0.0),
    ]


@virtual_time
async def test_work_is_ended_at_the_deadline_of_its_message_and_is_a_dead_letter_then() -> None:
    clock, table = current_clock(), MessageTable()
    begun = clock.monotonic()
    ended: list[float] = []

    @table.consume("orders", "billing", MINUTE)
    async def bill(message: Message) -> None:
        try:
            await asyncio.sleep(3600.0)
        finally:
            ended.append(clock.monotonic() - begun)

    async with bus_with_orders() as bus, at_work(bus, table):
        urgent = Message("event", "tea", MessageContext("ann", deadline=clock.time() + 5.0))
        await bus.publish("orders.new", urgent)
        await asyncio.sleep(100.0)
        [letter] = await letters(bus)

    assert [round(at, 3) for at in ended] == [5.0]
    assert letter["attempts"] == 1


@virtual_time
async def test_a_handler_that_exits_is_one_that_has_failed_and_what_is_behind_it_goes_on() -> None:
    table, done = MessageTable(), []

    @table.consume("orders", "billing", MINUTE)
    async def bill(message: Message) -> None:
        if message.content == "tea":
            raise SystemExit(3)
        done.append(message.content)

    async with bus_with_orders("tea", "cake") as bus, at_work(bus, table):
        await asyncio.sleep(10.0)
        [letter] = await letters(bus)

    assert done == ["cake"]
    assert (letter["attempts"], letter["reason"]) == (3, "RuntimeError: a handler has raised SystemExit")


@virtual_time
async def test_that_another_message_is_too_late_is_a_failure_and_no_reason_to_reject_the_one_in_hand() -> None:
    table, clock, attempts = MessageTable(), current_clock(), []

    async with bus_with_orders("tea") as bus:

        @table.consume("orders", "billing", MINUTE)
        async def bill(message: Message) -> None:
            attempts.append(message.content)
            if len(attempts) == 1:
                late = MessageContext("billing", deadline=clock.time() - 1.0)
                await bus.publish("notes.new", Message("event", "billed", late))

        async with at_work(bus, table):
            await asyncio.sleep(10.0)
            [stream] = [one for one in await bus.streams() if one.name == "orders"]

    assert attempts == ["tea", "tea"]
    assert (stream.consumers[0].acknowledged, stream.consumers[0].dead_letters) == (1, 0)


@virtual_time
async def test_a_handler_that_ignores_its_cancellation_keeps_neither_its_stream_nor_its_component() -> None:
    table, clock, done = MessageTable(), current_clock(), []

    @table.consume("orders", "billing", MINUTE)
    async def bill(message: Message) -> None:
        for _ in range(3 if message.content == "tea" else 0):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600.0)
        done.append(message.content)

    async with bus_with_orders() as bus:
        async with at_work(bus, table):
            for content in ("tea", "cake"):
                context = MessageContext("ann", deadline=clock.time() + 5.0)
                await bus.publish("orders.new", Message("event", content, context))
            await bus.publish("orders.new", Message("event", "bread", MessageContext("ann")))
            await asyncio.sleep(10.0)
            done_by_then = list(done)
            await bus.publish("orders.new", Message("event", "tea", MessageContext("ann")))
            await asyncio.sleep(1.0)
            stopping = clock.monotonic()
        stopped = clock.monotonic()

    assert done_by_then == ["bread"]
    assert stopped - stopping < 1.0


@virtual_time
async def test_what_a_stream_drops_before_it_was_done_is_in_the_log_now_and_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    table, done = MessageTable(), []

    @table.consume("orders", "billing", MINUTE)
    async def bill(message: Message) -> None:
        done.append(message.content)
        await asyncio.sleep(0.1)

    async with bus_with_orders() as bus, at_work(bus, table):
        await bus.create_stream("orders", StreamSettings(("orders.>",), max_messages=5))
        for wait in (1.0, 1.0, 1.0, 100.0, 100.0):
            await bus.publish_many(
                [Envelope("orders.new", Message("event", number, MessageContext("ann"))) for number in range(20)]
            )
            await asyncio.sleep(wait)
        [stream] = [one for one in await bus.streams() if one.name == "orders"]

    said = [record.message for record in caplog.records if "have dropped" in record.message]
    lost = 100 - len(done)
    assert stream.consumers[0].lost == lost > 0
    assert len(said) == 2
    assert said[-1].startswith("work of billing on orders: ")
    assert said[-1].endswith(f"{lost} by now")


@virtual_time
async def test_what_was_done_and_comes_again_is_not_done_again_unless_the_consumer_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table, done = MessageTable(), []

    @table.consume("orders", "billing", MINUTE, concurrency=2)
    async def bill(message: Message) -> None:
        done.append(message.content)

    acknowledge, lost = StreamDelivery.ack, ["tea"]

    async def ack(delivery: StreamDelivery) -> bool:
        if delivery.envelope.message.content in lost:
            lost.remove(delivery.envelope.message.content)
            return False
        return await acknowledge(delivery)

    monkeypatch.setattr(StreamDelivery, "ack", ack)
    async with bus_with_orders("tea", "cake") as bus, at_work(bus, table):
        await asyncio.sleep(200.0)
        [stream] = [one for one in await bus.streams() if one.name == "orders"]
        once = list(done)
        await bus.delete_consumer("orders", "billing")
        await asyncio.sleep(200.0)

    assert (stream.consumers[0].acknowledged, stream.consumers[0].redelivered) == (2, 1)
    assert once == ["tea", "cake"]
    assert sorted(done) == ["cake", "cake", "tea", "tea"]


@virtual_time
async def test_one_that_settles_by_itself_gets_what_it_gave_back() -> None:
    table, attempts = MessageTable(), []

    @table.consume("orders", "billing", MINUTE)
    async def bill(delivery: Delivery) -> None:
        attempts.append(delivery.envelope.attempt)
        await (delivery.nack(0.0) if len(attempts) == 1 else delivery.ack())

    async with bus_with_orders("tea") as bus, at_work(bus, table):
        await asyncio.sleep(200.0)

    assert attempts == [1, 2]


@virtual_time
async def test_what_cannot_begin_is_told_until_it_can() -> None:
    table, told = MessageTable(), []

    @table.consume("payments", "billing", MINUTE)
    async def pay(message: Message) -> None: ...

    @table.consume("orders", "billing", MINUTE)
    async def bill(message: Message) -> None: ...

    async with bus_with_orders() as bus, at_work(bus, table, complain=told.append):
        await asyncio.sleep(60.0)
        before = list(told)
        await bus.create_stream("payments", StreamSettings(("payments.>",)))
        await asyncio.sleep(60.0)

    [complaint] = before
    assert complaint.startswith("work of billing on payments: ")
    assert complaint.endswith("there is no stream 'payments'")
    assert told == [complaint, ""]


async def test_a_component_whose_work_cannot_begin_is_degraded_for_that_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listening, "STANDING_TIMEOUT", 0.01)

    def is_in(state: ComponentState) -> Callable[[ComponentRecord | None], bool]:
        return lambda record: record is not None and record.state is state

    async with InMemoryControlPlane() as plane, asyncio.timeout(30):
        address = plane.address_of(await plane.token("billing", "component"))
        app = Component("billing", port=0, control_plane=address)

        @app.consume("orders")
        async def bill(message: Message) -> None: ...

        async with app:
            degraded = await plane.registry.wait_until("billing", is_in(ComponentState.DEGRADED))
            await plane.bus.create_stream("orders", StreamSettings(("orders.>",)))
            await plane.registry.wait_until("billing", is_in(ComponentState.READY))
            owner = plane.bus.owner_of("orders", "billing")

    assert degraded is not None
    assert degraded.reason == "work of billing on orders: there is no stream 'orders'"
    assert owner == "billing"
