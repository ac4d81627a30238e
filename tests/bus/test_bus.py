"""What every bus does: one suite, run over all that there are."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tekton.bus.bus import (
    MAX_DELAY,
    Bus,
    ConsumerSettings,
    Delivery,
    Limits,
    Policy,
    Receipt,
    StreamSettings,
    Subscription,
)
from tekton.bus.envelope import Envelope
from tekton.bus.live import LiveBus
from tekton.bus.local_bus import LocalBus
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.bus.streams.sqlite_store import SqliteStreamStore
from tekton.bus.streams.store import StreamStore
from tekton.bus.streams.streams import Streams
from tekton.bus.telling import Telling
from tekton.clock import SYSTEM_CLOCK
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.bus_client import BusClient
from tekton.utils.tekton_errors import (
    ConsumerExistsError,
    ConsumerNotFoundError,
    CursorExpiredError,
    InvalidSubjectError,
    MessageExpiredError,
    MessageTooLargeError,
    NoRespondersError,
    ReplyTimeoutError,
    SlowConsumerError,
    StreamNotFoundError,
    StreamOverlapError,
    TooManyHopsError,
)

ORDERS = StreamSettings(("orders.>",))
AT_ONCE = ConsumerSettings(ack_wait=30.0, max_deliver=2, backoff=(0.0,))


@asynccontextmanager
async def local(store: StreamStore) -> AsyncIterator[Bus]:
    live = LiveBus(SYSTEM_CLOCK)
    streams = Streams(store, SYSTEM_CLOCK, Telling(live).tell)
    await streams.start()
    try:
        yield LocalBus(SYSTEM_CLOCK, streams, live)
    finally:
        await streams.stop()


@asynccontextmanager
async def port() -> AsyncIterator[Bus]:
    """That of a control plane, over its port."""
    async with InMemoryControlPlane() as plane:
        token = await plane.token("engram", "operator")
        async with BusClient(plane.address_of(token)) as bus:
            yield bus


BUSES: dict[str, Callable[[Path], AbstractAsyncContextManager[Bus]]] = {
    "memory": lambda _: local(MemoryStreamStore()),
    "sqlite": lambda directory: local(SqliteStreamStore(directory / "bus.db")),
    "port": lambda _: port(),
}


@pytest.fixture(params=list(BUSES))
async def bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bus]:
    async with BUSES[request.param](tmp_path) as bus:
        yield bus


def say(content: object, *, deadline: float | None = None, hops: int = 0) -> Message:
    return Message(MessageType.EVENT, content, MessageContext("engram", deadline=deadline, hops=hops))


async def read(subscription: Subscription, count: int) -> list[object]:
    """What the next *count* messages say."""
    seen: list[object] = []
    async with asyncio.timeout(40):
        while len(seen) < count:
            seen.append((await anext(aiter(subscription))).message.content)
    return seen


async def learn_inbox(bus: Bus) -> None:
    """Ask nobody something: with the first request a client asks who it is, in the time that the request has."""
    with pytest.raises(NoRespondersError):
        await bus.request("nobody.requests.it", say("?"), timeout=10)


async def hand_out(bus: Bus, count: int, settings: ConsumerSettings = AT_ONCE) -> list[Delivery]:
    """The next *count* deliveries to the consumer `billing`; none of them is acknowledged, and all are given back."""
    seen: list[Delivery] = []
    async with asyncio.timeout(10), bus.consume("orders", "billing", settings) as deliveries:
        async for delivery in deliveries:
            seen.append(delivery)
            if len(seen) == count:
                break
    return seen


# Live


async def test_what_is_published_arrives_in_order_wherever_the_pattern_matches(bus: Bus) -> None:
    async with (
        bus.subscribe("memory.>") as some,
        bus.subscribe("memory.updated") as one,
        bus.subscribe("other") as none,
    ):
        receipts = [await bus.publish("memory.updated", say(number)) for number in range(3)]
        receipts += await bus.publish_many([Envelope("memory.gone.now", say(3)), Envelope("memory.updated", say(4))])
        await bus.publish("other", say(5))

        assert await read(some, 5) == [0, 1, 2, 3, 4]
        assert await read(one, 4) == [0, 1, 2, 4]
        assert await read(none, 1) == [5]
    places = [receipt.sequence for receipt in receipts]
    assert places == sorted(set(places))
    assert all(receipt.stream is None and not receipt.duplicate for receipt in receipts)


async def test_an_envelope_says_where_it_was_published_and_where_answers_go(bus: Bus) -> None:
    async with bus.subscribe("memory.*") as subscription:
        before = SYSTEM_CLOCK.time()
        receipt = await bus.publish("memory.updated", say({"key": [1, "ä"]}), reply="answers.here")
        envelope = await anext(aiter(subscription))

    assert (envelope.subject, envelope.reply) == ("memory.updated", "answers.here")
    assert (envelope.sequence, envelope.attempt) == (receipt.sequence, 1)
    assert before - 1 <= envelope.time <= SYSTEM_CLOCK.time() + 1
    assert envelope.message.content == {"key": [1, "ä"]}
    assert envelope.message.context.sender == "engram"


async def test_batches_have_all_and_are_never_empty(bus: Bus) -> None:
    async with bus.subscribe("a") as subscription:
        await bus.publish_many([Envelope("a", say(number)) for number in range(600)])
        seen: list[object] = []
        async for batch in subscription.batches():
            assert batch
            seen += [envelope.message.content for envelope in batch]
            if len(seen) >= 600:
                break

    assert seen == list(range(600))


async def test_publishing_many_in_a_row_makes_nobody_slow_who_reads(bus: Bus) -> None:
    async with bus.subscribe("a", limits=Limits(messages=1000)) as subscription, asyncio.TaskGroup() as group:
        reader = group.create_task(read(subscription, 3000))
        await asyncio.sleep(0)
        for number in range(3000):
            await bus.publish("a", say(number))

    assert reader.result() == list(range(3000))


async def test_private_subjects_have_to_be_named(bus: Bus) -> None:
    async with bus.subscribe(">") as everything, bus.subscribe("engram.requests.>") as requests:
        await bus.publish("engram.requests.search", say(1))
        await bus.publish("memory.updated", say(2))

        assert await read(everything, 1) == [2]
        assert await read(requests, 1) == [1]


async def test_a_closed_subscription_ends(bus: Bus) -> None:
    subscription = bus.subscribe("a")
    async with asyncio.TaskGroup() as group:
        reader = group.create_task(anext(aiter(subscription), None))
        await asyncio.sleep(0)
        await subscription.close()
        await subscription.close()

    assert reader.result() is None


async def test_of_a_queue_group_one_gets_each_message(bus: Bus) -> None:
    seen: list[object] = []

    async def work(subscription: Subscription) -> None:
        async for envelope in subscription:
            seen.append(envelope.message.content)
            if len(seen) == 50:
                done.set()

    done = asyncio.Event()
    members = [bus.subscribe("jobs.>", queue="workers") for _ in range(3)]
    async with bus.subscribe("jobs.>") as watcher, asyncio.TaskGroup() as group:
        for member in members:
            group.create_task(work(member))
        for number in range(50):
            await bus.publish("jobs.new", say(number))
        await read(watcher, 50)
        async with asyncio.timeout(10):
            await done.wait()
        for member in members:
            await member.close()

    assert sorted(map(str, seen)) == sorted(map(str, range(50)))


async def test_who_comes_back_goes_on_where_he_was(bus: Bus) -> None:
    async with bus.subscribe("a") as subscription:
        await bus.publish("a", say(1))
        position = (await anext(aiter(subscription))).sequence
    await bus.publish("a", say(2))

    async with bus.subscribe("a", since=position) as subscription:
        await bus.publish("a", say(3))
        assert await read(subscription, 2) == [2, 3]


async def test_a_position_that_was_never_given_out_is_refused(bus: Bus) -> None:
    with pytest.raises(CursorExpiredError):
        async with bus.subscribe("a", since=1) as subscription:
            await anext(aiter(subscription))


async def test_who_does_not_keep_up_is_treated_as_he_asked_for(bus: Bus) -> None:
    async with (
        bus.subscribe("a.*", limits=Limits(3)) as cut,
        bus.subscribe("a.*", limits=Limits(3, policy=Policy.DROP_OLDEST)) as dropping,
        bus.subscribe("a.*", limits=Limits(3, policy=Policy.CONFLATE)) as conflating,
    ):
        await bus.publish_many([Envelope(f"a.{number % 2}", say(number)) for number in range(10)])

        with pytest.raises(SlowConsumerError):
            await read(cut, 10)
        assert await read(dropping, 3) == [7, 8, 9]
        assert dropping.lost == 7
        assert (await read(conflating, 2))[-2:] == [8, 9]


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        ("", "'' is no subject: it has an empty token"),
        ("a..b", "'a..b' is no subject: it has an empty token"),
        ("a.*", "'a.*' is no subject: wildcards are for patterns only"),
        ("a b", "'a b' is no subject: it has the character ' '"),
        ("a" * 256, f"'{'a' * 64}' is no subject: it is longer than 255 bytes"),
    ],
)
async def test_what_is_no_subject_is_refused_and_the_reason_told(bus: Bus, subject: str, reason: str) -> None:
    with pytest.raises(InvalidSubjectError) as caught:
        await bus.publish(subject, say(1))
    assert str(caught.value) == reason
    with pytest.raises(InvalidSubjectError) as caught:
        await bus.publish("a", say(1), reply=subject)
    assert str(caught.value) == reason.replace("no subject", "no subject to reply to")
    with pytest.raises(InvalidSubjectError):
        await bus.publish_many([Envelope("a", say(1)), Envelope(subject, say(2))])


async def test_what_is_no_pattern_is_refused(bus: Bus) -> None:
    with pytest.raises(InvalidSubjectError):
        bus.subscribe("a.>.b")


async def test_a_message_that_may_not_be_published_is_refused_and_nothing_with_it(bus: Bus) -> None:
    async with bus.subscribe("a") as subscription:
        for message, error in (
            (say("x" * 1024 * 1024), MessageTooLargeError),
            (say(1, hops=17), TooManyHopsError),
            (say(1, deadline=0.0), MessageExpiredError),
            (say(1, deadline=SYSTEM_CLOCK.time() - 1), MessageExpiredError),
        ):
            with pytest.raises(error):
                await bus.publish("a", message)
            with pytest.raises(error):
                await bus.publish_many([Envelope("a", say(0)), Envelope("a", message)])
        await bus.publish("a", say(2, hops=16, deadline=SYSTEM_CLOCK.time() + 60))

        assert await read(subscription, 1) == [2]


# Requests


async def answer(bus: Bus, subscription: Subscription, *contents: object) -> None:
    """Answer the next request with *contents*, each a message."""
    envelope = await anext(aiter(subscription))
    assert envelope.reply is not None
    for content in contents:
        await bus.publish(envelope.reply, say(content))


async def test_a_request_gets_the_first_answer(bus: Bus) -> None:
    async with bus.subscribe("engram.requests.*") as requests, asyncio.TaskGroup() as group:
        group.create_task(answer(bus, requests, "one", "two"))
        reply = await bus.request("engram.requests.search", say("?"), timeout=10)
        group.create_task(answer(bus, requests, "three"))
        other = await bus.request("engram.requests.search", say("?"), timeout=10)

    assert (reply.content, other.content) == ("one", "three")


async def test_requests_at_the_same_time_get_their_own_answers(bus: Bus) -> None:
    async def serve(requests: Subscription) -> None:
        envelopes = [await anext(aiter(requests)) for _ in range(20)]
        for envelope in reversed(envelopes):
            assert envelope.reply is not None
            await bus.publish(envelope.reply, say(envelope.message.content))

    async with bus.subscribe("engram.requests.>") as requests, asyncio.TaskGroup() as group:
        group.create_task(serve(requests))
        asking = [group.create_task(bus.request("engram.requests.it", say(number), timeout=10)) for number in range(20)]

    assert [task.result().content for task in asking] == list(range(20))


async def test_a_request_without_anybody_fails_at_once(bus: Bus) -> None:
    await bus.create_stream("orders", ORDERS)
    async with bus.subscribe(">"):
        for subject in ("engram.requests.search", "orders.requests.new"):
            with pytest.raises(NoRespondersError):
                await bus.request(subject, say("?"), timeout=60)
    with pytest.raises(NoRespondersError):
        await bus.request("orders.new", say("?"), timeout=60)

    [orders] = [stream for stream in await bus.streams() if stream.name == "orders"]
    assert orders.messages == 0


async def test_a_request_that_nobody_answers_ends_after_its_time(bus: Bus) -> None:
    await learn_inbox(bus)
    async with bus.subscribe("engram.requests.>"):
        with pytest.raises(ReplyTimeoutError, match=r"no answer from engram.requests.search within 0.2 s$"):
            await bus.request("engram.requests.search", say("?"), timeout=0.2)
        with pytest.raises(ReplyTimeoutError):
            await bus.request("engram.requests.search", say("?", deadline=SYSTEM_CLOCK.time() + 0.05), timeout=60)
        with pytest.raises(MessageExpiredError):
            await bus.request("engram.requests.search", say("?", deadline=1.0), timeout=60)


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
async def test_a_request_without_any_time_is_a_mistake(bus: Bus, timeout: float) -> None:
    """It was refused as one whose deadline had passed."""
    async with bus.subscribe("engram.requests.>"):
        with pytest.raises(ValueError, match=r"timeout is (0|-1|nan), and has to be above 0"):
            await bus.request("engram.requests.search", say("?"), timeout=timeout)


async def test_an_answer_that_comes_too_late_disturbs_nobody(bus: Bus) -> None:
    await learn_inbox(bus)
    async with bus.subscribe("engram.requests.>") as requests, asyncio.TaskGroup() as group:
        with pytest.raises(ReplyTimeoutError):
            await bus.request("engram.requests.search", say("?"), timeout=0.02)
        cancelled = group.create_task(bus.request("engram.requests.search", say("?"), timeout=60))
        late = await anext(aiter(requests))
        forgotten = await anext(aiter(requests))
        cancelled.cancel()
        for envelope in (late, forgotten):
            assert envelope.reply is not None
            await bus.publish(envelope.reply, say("late"))
        group.create_task(answer(bus, requests, "right"))
        reply = await bus.request("engram.requests.search", say("?"), timeout=10)

    assert reply.content == "right"


# Streams


async def test_what_a_stream_takes_is_stored_and_numbered_and_told(bus: Bus) -> None:
    await bus.create_stream("orders", ORDERS)
    async with bus.subscribe("orders.>") as subscription:
        receipts = [await bus.publish("orders.new", say(0))]
        receipts += await bus.publish_many(
            [Envelope("orders.new", say(1)), Envelope("other", say(2)), Envelope("orders.paid", say(3))]
        )
        assert await read(subscription, 3) == [0, 1, 3]

    assert receipts[:2] == [Receipt(1, "orders"), Receipt(2, "orders")]
    assert receipts[2].stream is None
    assert receipts[3] == Receipt(3, "orders")


async def test_a_message_that_comes_twice_is_stored_and_told_once(bus: Bus) -> None:
    await bus.create_stream("orders", ORDERS)
    message = say("once")
    async with bus.subscribe("orders.>") as subscription:
        first = await bus.publish("orders.new", message)
        again = await bus.publish("orders.new", message)
        await bus.publish("orders.new", say("last"))
        assert await read(subscription, 2) == ["once", "last"]

    assert (first, again) == (Receipt(1, "orders"), Receipt(1, "orders", duplicate=True))


async def test_a_stream_can_be_read_from_anywhere_and_goes_on(bus: Bus) -> None:
    await bus.create_stream("orders", ORDERS)
    await bus.publish_many([Envelope(f"orders.{number % 2}", say(number)) for number in range(6)])

    async with (
        bus.replay("orders") as everything,
        bus.replay("orders", since=4) as rest,
        bus.replay("orders", pattern="orders.1") as odd,
        bus.replay("orders", at=SYSTEM_CLOCK.time() + 3600) as new,
        asyncio.TaskGroup() as group,
    ):
        ahead = group.create_task(read(new, 1))
        await bus.publish("orders.1", say(6))
        envelope = await anext(aiter(rest))
        assert (envelope.sequence, envelope.stream, envelope.message.content) == (5, "orders", 4)
        assert await read(rest, 2) == [5, 6]
        assert await read(everything, 7) == list(range(7))
        assert await read(odd, 4) == [1, 3, 5, 6]
        assert not ahead.done()
        ahead.cancel()


async def test_a_stream_can_be_read_and_worked_through_from_an_instant_on(bus: Bus) -> None:
    await bus.create_stream("orders", ORDERS)
    await bus.publish_many([Envelope("orders.new", say(number)) for number in range(3)])
    async with bus.replay("orders", since=2) as replay:
        at = (await anext(aiter(replay))).time + 0.001
    while SYSTEM_CLOCK.time() <= at:  # noqa: ASYNC110 - of the clock
        await asyncio.sleep(0.001)
    await bus.publish_many([Envelope("orders.new", say(number)) for number in range(3, 6)])

    async with bus.replay("orders", at=at) as replay:
        assert await read(replay, 3) == [3, 4, 5]
    handed = await hand_out(bus, 3, ConsumerSettings(at=at))
    assert [one.envelope.message.content for one in handed] == [3, 4, 5]


async def test_a_consumer_of_what_is_new_gets_nothing_of_before(bus: Bus) -> None:
    await bus.create_stream("orders", ORDERS)
    await bus.publish("orders.new", say("old"))

    async with bus.consume("orders", "billing", ConsumerSettings(only_new=True)) as deliveries:
        await bus.publish("orders.new", say("new"))
        delivery = await anext(aiter(deliveries))

    assert delivery.envelope.message.content == "new"


async def test_a_stream_keeps_the_newest_and_tells_of_the_others(bus: Bus) -> None:
    await bus.create_stream("orders", StreamSettings(("orders.>",), max_messages=5))
    await bus.publish_many([Envelope("orders.new", say(number)) for number in range(20)])

    async with bus.replay("orders") as replay:
        assert await read(replay, 5) == [15, 16, 17, 18, 19]
    [orders] = [stream for stream in await bus.streams() if stream.name == "orders"]
    assert (orders.messages, orders.first, orders.last, orders.dropped) == (5, 16, 20, 15)


async def test_who_reads_a_stream_is_told_of_a_gap_where_its_limits_were_quicker(bus: Bus) -> None:
    await bus.create_stream("orders", StreamSettings(("orders.>",), max_messages=5))
    # More than is on its way, or waits, for who does not read.
    much = [Envelope("orders.new", say([number, "x" * 50_000])) for number in range(100)]
    async with bus.replay("orders") as replay:
        await bus.publish("orders.new", say([-1, ""]))
        reading = aiter(replay)
        seen = [(await anext(reading)).sequence]
        for envelope in much:
            await bus.publish(envelope.subject, envelope.message)
        told = 0
        while seen[-1] < 101:
            seen.append((await anext(reading)).sequence)
            told += replay.gap

    assert seen == sorted(set(seen))
    assert replay.lost == told == 101 - len(seen) > 0


async def test_a_consumer_is_told_of_what_was_dropped_before_it_was_done(bus: Bus) -> None:
    await bus.create_stream("orders", StreamSettings(("orders.>",), max_messages=5))
    one_by_one = ConsumerSettings(max_in_flight=1)
    async with bus.consume("orders", "billing", one_by_one) as deliveries:
        await bus.publish_many([Envelope("orders.new", say(number)) for number in range(200)])
        seen: list[int] = []
        async for delivery in deliveries:
            seen.append(delivery.envelope.sequence)
            await delivery.ack()
            if seen[-1] == 200:
                break
        lost = deliveries.lost

    [orders] = [stream for stream in await bus.streams() if stream.name == "orders"]
    assert [(one.name, one.lost) for one in orders.consumers] == [("billing", lost)]
    assert lost == 200 - len(seen) > 0


async def test_positions_that_a_stream_has_not_given_out_are_refused(bus: Bus) -> None:
    await bus.create_stream("orders", ORDERS)
    with pytest.raises(CursorExpiredError, match=r"the stream orders .*position"):
        async with bus.replay("orders", since=5) as replay:
            await anext(aiter(replay))


async def test_a_consumer_hands_out_until_it_is_acknowledged(bus: Bus) -> None:
    await bus.create_stream("orders", ORDERS)
    await bus.publish_many([Envelope("orders.new", say(number)) for number in range(4)])

    first = await hand_out(bus, 2)
    assert [one.envelope.message.content for one in first] == [0, 1]
    async with bus.consume("orders", "billing", AT_ONCE) as deliveries:
        seen: list[Envelope] = []
        while len(seen) < 4:
            delivery = await anext(aiter(deliveries))
            seen.append(delivery.envelope)
            assert await delivery.ack()
    # Those that are handed out again may come behind the others.
    assert sorted(envelope.sequence for envelope in seen) == [1, 2, 3, 4]
    assert {envelope.stream for envelope in seen} == {"orders"}

    [info] = [stream for stream in await bus.streams() if stream.name == "orders"]
    [consumer] = info.consumers
    assert (consumer.name, consumer.acknowledged, consumer.in_flight, consumer.waiting) == ("billing", 4, 0, 0)


async def test_what_fails_is_handed_out_again_and_then_becomes_a_dead_letter(bus: Bus) -> None:
    await bus.create_stream("orders", ORDERS)
    async with bus.subscribe("tekton.dead.>") as dead, bus.consume("orders", "billing", AT_ONCE) as deliveries:
        await bus.publish_many([Envelope("orders.new", say("bad")), Envelope("orders.new", say("ugly"))])
        seen: list[tuple[object, int]] = []
        while len(seen) < 3:
            delivery = await anext(aiter(deliveries))
            seen.append((delivery.envelope.message.content, delivery.envelope.attempt))
            assert await delivery.in_progress()
            if seen[-1][0] == "bad":
                assert await delivery.nack(0.0)
            else:
                assert await delivery.reject("it is ugly")
        letters = [await anext(aiter(dead)) for _ in range(2)]

    # What is handed out again may come before or behind the other.
    assert sorted(map(str, seen)) == sorted(map(str, [("bad", 1), ("bad", 2), ("ugly", 1)]))
    assert {letter.subject for letter in letters} == {"tekton.dead.orders"}
    assert {letter.message.context.sender for letter in letters} == {"tekton"}
    contents = {letter.message.content["message"]["content"]: letter.message.content for letter in letters}
    assert contents["bad"]["attempts"] == 2
    assert contents["ugly"]["reason"] == "it is ugly"
    assert contents["bad"]["consumer"] == "billing"


async def test_who_has_given_it_back_has_it_no_more(bus: Bus) -> None:
    await bus.create_stream("orders", ORDERS)
    await bus.publish("orders.new", say(1))
    async with bus.consume("orders", "billing", AT_ONCE) as deliveries:
        first = await anext(aiter(deliveries))
        assert await first.nack(0.0)
        assert [await first.ack(), await first.in_progress(), await first.reject("no")] == [False] * 3
        again = await anext(aiter(deliveries))
        assert await again.ack()

    assert again.envelope.attempt == 2


async def test_what_nobody_has_begun_with_was_never_handed_out(bus: Bus) -> None:
    await bus.create_stream("orders", ORDERS)
    await bus.publish("orders.new", say(1))
    async with bus.consume("orders", "billing", ConsumerSettings(max_deliver=1, backoff=(60.0,))) as deliveries:
        for _ in range(3):
            delivery = await anext(aiter(deliveries))
            assert delivery.envelope.attempt == 1
            assert await delivery.release()
            assert [await delivery.ack(), await delivery.release()] == [False, False]
        last = await anext(aiter(deliveries))
        assert await last.ack()

    [info] = [stream for stream in await bus.streams() if stream.name == "orders"]
    [consumer] = info.consumers
    assert (last.envelope.attempt, consumer.redelivered, consumer.dead_letters) == (1, 0, 0)


@pytest.mark.parametrize("delay", [-1.0, MAX_DELAY + 1, math.inf, math.nan])
async def test_a_delay_that_cannot_be_is_refused_and_settles_nothing(bus: Bus, delay: float) -> None:
    await bus.create_stream("orders", ORDERS)
    await bus.publish("orders.new", say(1))
    async with bus.consume("orders", "billing") as deliveries:
        delivery = await anext(aiter(deliveries))
        with pytest.raises(ValueError, match="a delay is from 0 to"):
            await delivery.nack(delay)

        assert await delivery.ack()


async def test_a_subscription_says_where_it_began_so_that_one_can_go_on_there(bus: Bus) -> None:
    await bus.publish("a.b", say("before"))
    async with bus.subscribe("a.>") as early, bus.subscribe("a.>", queue="all") as shared:
        began = early.began, shared.began
    await bus.publish("a.b", say("meanwhile"))
    async with bus.subscribe("a.>", since=began[0]) as late:
        heard = await anext(aiter(late))

        assert (heard.message.content, late.began) == ("meanwhile", began[0])
        assert began[1] is None


async def test_a_message_that_goes_in_circles_becomes_a_dead_letter(bus: Bus) -> None:
    async with bus.subscribe("tekton.dead.hops") as dead:
        with pytest.raises(TooManyHopsError):
            await bus.publish("a.b", say("again", hops=17))
        with pytest.raises(TooManyHopsError):
            await bus.publish_many([Envelope("a.c", say("fine")), Envelope("a.d", say("and again", hops=20))])
        letters = [(await anext(aiter(dead))).message.content for _ in range(2)]

    assert [letter["subject"] for letter in letters] == ["a.b", "a.d"]
    assert [letter["message"]["content"] for letter in letters] == ["again", "and again"]
    assert "20 messages have caused one another" in letters[1]["reason"]


async def test_a_consumer_is_there_with_the_settings_that_it_was_created_with(bus: Bus) -> None:
    await bus.create_stream("orders", ORDERS)
    await bus.publish("orders.new", say(1))
    await hand_out(bus, 1)

    with pytest.raises(ConsumerExistsError, match=r"has other settings: .*max_in_flight 256, not 7$"):
        await hand_out(bus, 1, ConsumerSettings(max_in_flight=7))
    await bus.delete_consumer("orders", "billing")
    with pytest.raises(ConsumerNotFoundError):
        await bus.delete_consumer("orders", "billing")
    await hand_out(bus, 1, ConsumerSettings(max_in_flight=7))


async def test_a_consumer_is_taken_as_it_is_by_who_gives_no_settings(bus: Bus) -> None:
    """A consumer with settings of its own was refused to who had said nothing of them."""
    await bus.create_stream("orders", ORDERS)
    await bus.publish("orders.new", say(1))
    await hand_out(bus, 1, ConsumerSettings(max_in_flight=7))
    await bus.publish("orders.new", say(2))

    async with asyncio.timeout(5), bus.consume("orders", "billing") as again:
        delivery = await anext(aiter(again))
        await delivery.ack()
    async with asyncio.timeout(5), bus.consume("orders", "new") as fresh:
        await anext(aiter(fresh))

    [stream] = [one for one in await bus.streams() if one.name == "orders"]
    assert {one.name: one.settings for one in stream.consumers} == {
        "billing": ConsumerSettings(max_in_flight=7),
        "new": ConsumerSettings(),
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"ack_wait": -1},
        {"ack_wait": float("nan")},
        {"max_deliver": 0},
        {"max_in_flight": 0},
        {"backoff": (0.0, -1.0)},
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused_where_they_are_made(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(settings))} is .* and has to be"):
        ConsumerSettings(**settings)


async def test_streams_that_are_not_there_are_named(bus: Bus) -> None:
    for call in (
        lambda: bus.delete_stream("orders"),
        lambda: bus.delete_consumer("orders", "billing"),
        lambda: hand_out(bus, 1),
        lambda: read(bus.replay("orders"), 1),
    ):
        with pytest.raises(StreamNotFoundError) as caught:
            await call()
        assert caught.value.stream == "orders"


async def test_streams_come_and_go_and_share_no_subject(bus: Bus) -> None:
    created = await bus.create_stream("orders", ORDERS)
    assert (created.name, created.settings, created.messages, created.last) == ("orders", ORDERS, 0, 0)
    with pytest.raises(StreamOverlapError):
        await bus.create_stream("others", StreamSettings(("*.new",)))
    await bus.create_stream("orders", StreamSettings(("orders.>",), max_messages=5))
    await bus.publish("orders.new", say(1))
    assert [(one.name, one.messages) for one in await bus.streams() if one.name == "orders"] == [("orders", 1)]

    await bus.delete_stream("orders")
    assert "orders" not in [stream.name for stream in await bus.streams()]
    assert (await bus.publish("orders.new", say(2))).stream is None
