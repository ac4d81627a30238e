"""The bus of this process: what is not the same for every bus. See `test_bus.py` for the rest."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from tekton.bus.bus import ConsumerSettings, Limits, Policy, StreamSettings, Subscription
from tekton.bus.envelope import Envelope
from tekton.bus.live import LiveBus
from tekton.bus.local_bus import LocalBus
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.bus.streams.store import Batch, Committed
from tekton.bus.streams.streams import Streams
from tekton.bus.telling import Telling
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.testing import ManualClock, current_clock, virtual_time
from tekton.utils.tekton_errors import (
    BusError,
    InvalidSubjectError,
    MessageExpiredError,
    ReplyTimeoutError,
    StorageFullError,
    StreamNotFoundError,
    TooManyHopsError,
)


def say(content: object = None, *, deadline: float | None = None, hops: int = 0) -> Message:
    return Message(MessageType.EVENT, content, MessageContext("engram", deadline=deadline, hops=hops))


async def waiting(subscription: Subscription) -> list[object]:
    """All that waits now."""
    async with asyncio.timeout(5):
        async for batch in subscription.batches():
            return [envelope.message.content for envelope in batch]
    raise AssertionError("the subscription has ended")


@pytest.fixture
def bus() -> LocalBus:
    return LocalBus(ManualClock())


class FullStore(MemoryStreamStore):
    """A store without room, when it is told so."""

    full = False

    def commit(self, batch: Batch, now: float) -> Committed:
        if self.full and batch.puts:
            raise StorageFullError
        return super().commit(batch, now)


@pytest.fixture
def store() -> FullStore:
    return FullStore()


@pytest.fixture
async def stored(store: FullStore) -> AsyncIterator[LocalBus]:
    """A bus with the stream `orders`."""
    clock = ManualClock()
    live = LiveBus(clock)
    streams = Streams(store, clock, Telling(live).tell)
    await streams.start()
    await streams.create_stream("orders", StreamSettings(("orders.>",)))
    yield LocalBus(clock, streams, live)
    await streams.stop()


async def test_publishing_to_live_subjects_does_not_wait(bus: LocalBus) -> None:
    subscription = bus.subscribe("a")
    order: list[str] = []

    async def other() -> None:
        order.append("other")

    async with asyncio.TaskGroup() as group:
        group.create_task(other())
        for _ in range(10):
            await bus.publish("a", say())
        await bus.publish_many([Envelope("a", say())] * 10)
        order.append("published")

    assert order == ["published", "other"]
    assert len(await waiting(subscription)) == 20


async def test_who_publishes_much_gives_way_to_who_reads(bus: LocalBus) -> None:
    subscription = bus.subscribe("a")
    seen: list[object] = []

    async def read() -> None:
        async for batch in subscription.batches():
            seen.extend(envelope.message.content for envelope in batch)

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        await asyncio.sleep(0)
        receipts = await bus.publish_many([Envelope("a", say(number)) for number in range(5000)])
        for number in range(5000, 8000):
            await bus.publish("a", say(number))
        await asyncio.sleep(0)
        await subscription.close()

    assert seen == list(range(8000))
    assert len({receipt.sequence for receipt in receipts}) == 5000


async def test_large_messages_are_published_few_at_a_time(bus: LocalBus) -> None:
    subscription = bus.subscribe("a", limits=Limits(size=512 * 1024))
    async with asyncio.TaskGroup() as group:
        reader = group.create_task(waiting(subscription))
        await asyncio.sleep(0)
        await bus.publish_many([Envelope("a", say("x" * 100_000)) for _ in range(5)])

    assert len(reader.result()) == 2
    assert len(await waiting(subscription)) == 3


async def test_publishers_at_the_same_time_get_different_places_in_the_order_of_delivery(bus: LocalBus) -> None:
    subscription = bus.subscribe("a", limits=Limits(100_000, 10**9))
    async with asyncio.TaskGroup() as group:
        many = group.create_task(bus.publish_many([Envelope("a", say("many"))] * 1000))
        one = group.create_task(bus.publish_many([Envelope("a", say("one"))] * 10))

    envelopes = await anext(subscription.batches())
    places = [envelope.sequence for envelope in envelopes]
    assert places == sorted(set(places))
    for task, content in ((many, "many"), (one, "one")):
        expected = [envelope.sequence for envelope in envelopes if envelope.message.content == content]
        assert [receipt.sequence for receipt in task.result()] == expected


async def test_an_invalid_subject_far_behind_refuses_all(bus: LocalBus) -> None:
    subscription = bus.subscribe("a")
    with pytest.raises(InvalidSubjectError):
        await bus.publish_many([*[Envelope("a", say())] * 1000, Envelope("a..b", say())])

    assert bus.live.published == 0
    await bus.publish("a", say(1))
    assert await waiting(subscription) == [1]


async def test_content_that_is_no_json_is_refused(bus: LocalBus) -> None:
    with pytest.raises(TypeError):
        await bus.publish("a", say(object()))

    assert bus.live.published == 0


async def test_publishing_nothing_does_nothing(bus: LocalBus, stored: LocalBus) -> None:
    assert list(await bus.publish_many([])) == []
    assert list(await stored.publish_many([])) == []


async def test_a_bus_without_streams_has_none(bus: LocalBus) -> None:
    assert await bus.streams() == []
    for call in (
        lambda: bus.delete_stream("orders"),
        lambda: bus.delete_consumer("orders", "billing"),
    ):
        with pytest.raises(StreamNotFoundError):
            await call()
    with pytest.raises(StreamNotFoundError):
        bus.replay("orders")
    with pytest.raises(StreamNotFoundError):
        bus.consume("orders", "billing", ConsumerSettings())
    with pytest.raises(BusError, match="no streams"):
        await bus.create_stream("orders", StreamSettings(("orders.>",)))


async def test_without_streams_a_message_that_goes_in_circles_is_only_refused(bus: LocalBus) -> None:
    with pytest.raises(TooManyHopsError):
        await bus.publish("a", say(hops=17))


async def test_a_message_that_goes_in_circles_is_refused_also_when_it_cannot_be_kept(
    stored: LocalBus, store: FullStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.full = True
    with caplog.at_level(logging.ERROR, "tekton.bus"), pytest.raises(TooManyHopsError):
        await stored.publish("a", say(hops=17))

    assert "was not kept" in caplog.text


async def test_two_echoes_of_one_another_come_to_an_end(stored: LocalBus) -> None:
    async def echo(name: str, subscription: Subscription, to: str) -> None:
        async for envelope in subscription:
            context = envelope.message.follow(name)
            await stored.publish(to, Message(MessageType.EVENT, "again", context))

    async def until_refused(name: str, subscription: Subscription, to: str) -> int:
        with pytest.raises(TooManyHopsError) as caught:
            await echo(name, subscription, to)
        await subscription.close()
        return caught.value.hops

    one, other, dead = map(stored.subscribe, ("one.in", "other.in", "tekton.dead.hops"))
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        refused = group.create_task(until_refused("one", one, "other.in"))
        echoing = group.create_task(echo("other", other, "one.in"))
        await stored.publish("one.in", say("hello"))
        assert await refused == 17
        [letter] = await waiting(dead)
        echoing.cancel()

    assert isinstance(letter, dict)
    assert letter["subject"] == "other.in"


async def test_when_a_stream_cannot_store_nothing_is_told(stored: LocalBus, store: FullStore) -> None:
    subscription = stored.subscribe(">")
    store.full = True
    with pytest.raises(StorageFullError):
        await stored.publish("orders.new", say(1))
    with pytest.raises(StorageFullError):
        await stored.publish_many([Envelope("a", say(2)), Envelope("orders.new", say(3))])
    store.full = False
    await stored.publish("orders.new", say(4))

    assert await waiting(subscription) == [4]


async def test_who_listens_is_told_in_the_order_of_the_commits(stored: LocalBus) -> None:
    subscription = stored.subscribe("orders.>")
    async with asyncio.TaskGroup() as group:
        publishing = [group.create_task(stored.publish("orders.new", say(number))) for number in range(50)]

    told = await waiting(subscription)
    by_sequence = sorted(range(50), key=lambda number: publishing[number].result().sequence)
    assert told == by_sequence


async def test_what_a_stream_has_is_on_the_bus_at_a_place_of_the_bus(stored: LocalBus) -> None:
    subscription = stored.subscribe("orders.>")
    position = stored.live.sequence
    receipt = await stored.publish("orders.new", say(1))
    envelope = await anext(aiter(subscription))

    assert (receipt.sequence, envelope.sequence, envelope.stream) == (1, position + 1, None)
    assert await waiting(stored.subscribe("orders.>", since=position)) == [1]


# Requests, on virtual time


async def serve(bus: LocalBus, pattern: str, after: float, *contents: object) -> None:
    """Answer the next request *after* so many seconds, with each of *contents*."""
    async with bus.subscribe(pattern) as requests:
        envelope = await anext(aiter(requests))
        await asyncio.sleep(after)
        assert envelope.reply is not None
        for content in contents:
            await bus.publish(envelope.reply, say(content))


@virtual_time
async def test_a_request_ends_at_its_timeout_and_the_late_answer_goes_nowhere() -> None:
    bus = LocalBus(current_clock())
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(bus, "a.requests.b", 6.0, "late"))
        await asyncio.sleep(0)
        start = current_clock().monotonic()
        with pytest.raises(ReplyTimeoutError) as caught:
            await bus.request("a.requests.b", say(), timeout=5.0)
        ended = current_clock().monotonic() - start

    assert (ended, caught.value.timeout, caught.value.subject) == (5.0, 5.0, "a.requests.b")
    assert len(bus._inbox) == 0


@virtual_time
async def test_a_request_ends_when_the_deadline_of_its_message_has_passed() -> None:
    bus = LocalBus(current_clock())
    async with bus.subscribe("a.requests.>"):
        start = current_clock().monotonic()
        with pytest.raises(ReplyTimeoutError):
            await bus.request("a.requests.b", say(deadline=current_clock().time() + 2.0), timeout=5.0)
        ended = current_clock().monotonic() - start
        with pytest.raises(MessageExpiredError):
            await bus.request("a.requests.b", say(deadline=current_clock().time()), timeout=5.0)

    assert ended == 2.0
    assert len(bus._inbox) == 0


@virtual_time
async def test_an_answer_in_the_last_moment_counts() -> None:
    bus = LocalBus(current_clock())
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(bus, "a.requests.b", 4.999, "in time", "second"))
        await asyncio.sleep(0)
        answer = await bus.request("a.requests.b", say(), timeout=5.0)

    assert answer.content == "in time"
    assert len(bus._inbox) == 0


@virtual_time
async def test_a_request_that_is_cancelled_leaves_nothing_behind() -> None:
    bus = LocalBus(current_clock())
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(bus, "a.requests.b", 1.0, "too late"))
        await asyncio.sleep(0)
        asking = group.create_task(bus.request("a.requests.b", say(), timeout=60.0))
        await asyncio.sleep(0.5)
        assert len(bus._inbox) == 1
        asking.cancel()
        await asyncio.sleep(0)
        assert len(bus._inbox) == 0

    assert asking.cancelled()


@virtual_time
async def test_a_request_that_is_cancelled_while_it_is_answered_is_cancelled() -> None:
    bus = LocalBus(current_clock())
    requests = bus.subscribe("a.requests.b")
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(bus.request("a.requests.b", say(), timeout=60.0))
        envelope = await anext(aiter(requests))
        assert envelope.reply is not None
        asking.cancel()
        await bus.publish(envelope.reply, say("yes"))

    assert asking.cancelled()
    assert len(bus._inbox) == 0


@virtual_time
async def test_a_timeout_inside_is_not_taken_for_a_missing_answer() -> None:
    bus = LocalBus(current_clock())
    async with bus.subscribe("a.requests.b"):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await bus.request("a.requests.b", say(), timeout=60.0)

    assert len(bus._inbox) == 0


async def test_a_queue_group_shares_requests(bus: LocalBus) -> None:
    async def work(name: str) -> None:
        async with bus.subscribe("a.requests.>", queue="workers") as requests:
            async for envelope in requests:
                assert envelope.reply is not None
                await bus.publish(envelope.reply, say(name))

    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(work(name)) for name in "xyz"]
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            asked = [bus.request("a.requests.b", say(), timeout=5.0) for _ in range(9)]
            answers = [answer.content for answer in await asyncio.gather(*asked)]
        for worker in workers:
            worker.cancel()

    assert len(answers) == 9
    assert set(answers) <= {"x", "y", "z"}


async def test_a_stalled_reader_costs_a_publisher_no_memory(bus: LocalBus) -> None:
    stalled = [bus.subscribe("a.>", limits=Limits(100, 10_000, policy)) for policy in Policy]
    for number in range(3000):
        await bus.publish(f"a.{number % 500}", say("x" * 100))
    messages, size = bus.live.held

    # The ring, what waits for the most patient one, and the newest of a hundred subjects.
    assert messages <= 1000 + 100 + 128 + 100
    assert size <= messages * 400
    for subscription in stalled:
        await subscription.close()
    assert bus.live.held[0] <= 1000
