"""Streams: publishing, replaying, consuming, on both stores; in virtual time where time matters."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from at_once_store import AtOnceStore

from tekton.bus.bus import ConsumerSettings, Delivery, Receipt, StreamSettings
from tekton.bus.envelope import Envelope
from tekton.bus.streams import consumers, writer
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.bus.streams.store import StreamStore
from tekton.bus.streams.streams import Streams
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message
from tekton.testing.clock import current_clock, virtual_time
from tekton.utils.tekton_errors import (
    ConsumerExistsError,
    ConsumerNotFoundError,
    CursorExpiredError,
    InvalidIdError,
    InvalidSubjectError,
    StorageError,
    StreamNotFoundError,
    StreamOverlapError,
    TooManySubscriptionsError,
)

ORDERS = StreamSettings(("orders.>",))
SENDER = MessageContext("ann")


def said(content: object, subject: str = "orders.new") -> Envelope:
    return Envelope(subject, Message("event", content, SENDER))


async def started(store: StreamStore, clock: Clock, settings: StreamSettings | None = ORDERS) -> Streams:
    streams = Streams(store, clock)
    await streams.start()
    if settings is not None:
        await streams.create_stream("orders", settings)
    return streams


@pytest.fixture(params=["memory", "file"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], StreamStore]:
    """Opens the same store again and again, without threads."""
    memory = MemoryStreamStore()
    path = tmp_path / "bus.db"
    return lambda: memory if request.param == "memory" else AtOnceStore(path, reserve_bytes=0)


@pytest.fixture
async def streams(new_store: Callable[[], StreamStore]) -> AsyncIterator[Streams]:
    """Streams with "orders"."""
    streams = await started(new_store(), SYSTEM_CLOCK)
    async with asyncio.timeout(20):
        yield streams
        await streams.stop()


async def publish(streams: Streams, *contents: object, subject: str = "orders.new") -> list[int]:
    return [one.sequence for one in await streams.append([said(content, subject) for content in contents])]


async def first(streams: Streams, count: int, consumer: str = "billing", **settings: object) -> list[Delivery]:
    """The first deliveries of a consumer, who goes away with them in his hands."""
    found: list[Delivery] = []
    consumption = streams.consume("orders", consumer, ConsumerSettings(**settings))  # type: ignore[arg-type]
    async for delivery in consumption:
        found.append(delivery)
        if len(found) == count:
            break
    return found


# Publishing


async def test_what_is_published_is_numbered_and_told_to_who_listens_before_the_publisher_is_answered() -> None:
    told: list[Envelope] = []
    streams = Streams(MemoryStreamStore(), stored=told.extend)
    await streams.start()
    await streams.create_stream("orders", ORDERS)

    receipts = await streams.append([said(1), said(2, "orders.paid")])

    assert receipts == [Receipt(1, "orders"), Receipt(2, "orders")]
    assert [(one.sequence, one.stream, one.subject, one.message.content) for one in told] == [
        (1, "orders", "orders.new", 1),
        (2, "orders", "orders.paid", 2),
    ]
    await streams.stop()


async def test_a_message_that_comes_again_has_the_same_number_and_is_told_once(streams: Streams) -> None:
    one = said(1)

    first, again = await asyncio.gather(streams.append([one, one]), streams.append([one]))

    assert first == [Receipt(1, "orders"), Receipt(1, "orders", duplicate=True)]
    assert again == [Receipt(1, "orders", duplicate=True)]
    assert (streams.writer.stored, streams.writer.duplicates) == (1, 2)


async def test_many_publishers_keep_their_order(streams: Streams) -> None:
    async def publisher(name: int) -> None:
        for number in range(20):
            await publish(streams, [name, number])

    async with asyncio.TaskGroup() as group:
        for name in range(8):
            group.create_task(publisher(name))

    page = streams.store.read("orders", 0, ">", 1000, 1 << 20)
    contents = [one.message.content for one in page.envelopes]
    assert len(contents) == 160
    for name in range(8):
        assert [number for who, number in contents if who == name] == list(range(20))


async def test_more_than_a_batch_is_stored_in_order(streams: Streams) -> None:
    assert await publish(streams, *range(1500)) == list(range(1, 1501))


async def test_a_subject_that_no_stream_takes_is_refused(streams: Streams) -> None:
    assert streams.stream_of("payments.new") is None
    with pytest.raises(StreamNotFoundError):
        await streams.append([said(1, "payments.new")])


async def test_a_wildcard_takes_nothing_that_is_reserved(streams: Streams) -> None:
    await streams.delete_stream("orders")
    await streams.create_stream("all", StreamSettings(("*.only",)))

    assert [streams.stream_of(one) for one in ("x.only", "tekton.only", "_inbox.only", "tekton.dead.orders")] == [
        "all", None, None, "dead_letters",
    ]  # fmt: skip


# Streams


async def test_the_subjects_of_two_streams_may_not_overlap(streams: Streams) -> None:
    for subjects in (("orders.new",), ("payments", "*.new"), ("tekton.dead.orders",)):
        with pytest.raises(StreamOverlapError):
            await streams.create_stream("other", StreamSettings(subjects))
    assert [one.name for one in await streams.streams()] == ["dead_letters", "orders"]


@pytest.mark.parametrize(
    ("name", "settings", "error"),
    [
        ("Not an id", ORDERS, InvalidIdError),
        ("other", StreamSettings(("a..b",)), InvalidSubjectError),
        ("other", StreamSettings(()), ValueError),
        ("other", StreamSettings(("a",), max_messages=0), ValueError),
        ("other", StreamSettings(("a",), max_age=float("nan")), ValueError),
    ],
)
async def test_a_stream_that_cannot_be_is_refused(
    streams: Streams, name: str, settings: StreamSettings, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await streams.create_stream(name, settings)


async def test_settings_of_a_stream_hold_from_then_on(streams: Streams) -> None:
    await publish(streams, 1, 2, 3)

    info = await streams.create_stream("orders", StreamSettings(("orders.new", "sales"), max_messages=2))

    assert (info.messages, info.first, info.last, info.dropped) == (2, 2, 3, 0)
    assert [streams.stream_of(one) for one in ("orders.new", "orders.paid", "sales")] == ["orders", None, "orders"]


async def test_a_deleted_stream_ends_all_who_read_it(streams: Streams) -> None:
    consumption, replay = streams.consume("orders", "billing"), streams.replay("orders")
    async with asyncio.TaskGroup() as group:
        consuming = group.create_task(_raises(anext(aiter(consumption))))
        replaying = group.create_task(_raises(anext(aiter(replay))))
        await asyncio.sleep(0.01)
        await streams.delete_stream("orders")

    assert isinstance(consuming.result(), StreamNotFoundError)
    assert isinstance(replaying.result(), StreamNotFoundError)
    with pytest.raises(StreamNotFoundError):
        streams.replay("orders")
    assert streams.stream_of("orders.new") is None


async def _raises(waited: "asyncio.Future[object] | object") -> BaseException | None:
    try:
        await waited  # type: ignore[misc]
    except Exception as error:
        return error
    return None


async def test_the_stream_of_dead_letters_is_emptied_and_stays(streams: Streams) -> None:
    await streams.delete_stream("dead_letters")

    assert streams.stream_of("tekton.dead.orders") == "dead_letters"


# Replays


async def test_a_replay_gives_what_is_there_and_what_comes(streams: Streams) -> None:
    await publish(streams, 1, 2)
    seen: list[object] = []
    async with streams.replay("orders") as replay:
        async for envelope in replay:
            seen.append(envelope.message.content)
            if len(seen) == 2:
                await publish(streams, 3)
            if len(seen) == 3:
                break

    assert (seen, replay.lost) == ([1, 2, 3], 0)


async def test_a_replay_begins_where_it_is_told_to(streams: Streams) -> None:
    await publish(streams, 1, 2, subject="orders.new")
    await publish(streams, 3, subject="orders.paid")

    async def one(**begin: object) -> object:
        async with streams.replay("orders", **begin) as replay:  # type: ignore[arg-type]
            return (await anext(aiter(replay))).message.content

    assert await one(since=1) == 2
    assert await one(at=0.0) == 1
    assert await one(pattern="*.paid") == 3
    for since in (-1, 4):
        with pytest.raises(CursorExpiredError):
            streams.replay("orders", since=since)
    with pytest.raises(InvalidSubjectError):
        streams.replay("orders", pattern="a..b")
    with pytest.raises(StreamNotFoundError) as caught:
        streams.replay("order")
    assert caught.value.nearest == "orders"


async def test_a_replay_that_is_overtaken_by_the_limits_says_how_many_it_missed(streams: Streams) -> None:
    await streams.create_stream("orders", StreamSettings(("orders.>",), max_messages=3))
    await publish(streams, 1, 2, 3)
    replay = aiter(subscription := streams.replay("orders", since=0))
    assert (await anext(replay)).sequence == 1

    await publish(streams, *range(4, 10))

    seen = [((await anext(replay)).sequence, subscription.gap) for _ in range(5)]
    assert seen == [(2, 0), (3, 0), (7, 3), (8, 0), (9, 0)]
    assert subscription.lost == 3
    with pytest.raises(CursorExpiredError):
        streams.replay("orders", since=5)


async def test_a_closed_replay_comes_to_an_end(streams: Streams) -> None:
    replay = streams.replay("orders")
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(_all(replay.batches()))
        await asyncio.sleep(0)
        await replay.close()
    assert reading.result() == []


async def _all(batches: AsyncIterator[list[Envelope]]) -> list[Envelope]:
    return [one async for batch in batches for one in batch]


# Consumers


async def test_a_consumer_goes_on_where_it_was(streams: Streams, new_store: Callable[[], StreamStore]) -> None:
    await publish(streams, 1, 2, 3)
    one, two = await first(streams, 2)
    assert await two.ack()
    await streams.stop()

    again = await started(new_store(), SYSTEM_CLOCK, None)
    found = await first(again, 2)

    assert [(each.envelope.message.content, each.envelope.attempt) for each in found] == [(1, 2), (3, 1)]
    [info] = [each for each in await again.streams() if each.name == "orders"]
    assert [(each.name, each.acknowledged, each.in_flight, each.redelivered) for each in info.consumers] == [
        ("billing", 0, 2, 1)
    ]
    await again.stop()
    with pytest.raises(StorageError):
        await one.ack()


async def test_several_share_a_consumer_and_each_message_is_for_one(streams: Streams) -> None:
    seen: dict[str, list[object]] = {"ann": [], "bob": []}

    async def work(name: str) -> None:
        async with streams.consume("orders", "billing") as consumption:
            async for delivery in consumption:
                seen[name].append(delivery.envelope.message.content)
                await delivery.ack()
                await asyncio.sleep(0)
                if sum(map(len, seen.values())) == 20:
                    await streams.delete_consumer("orders", "billing")

    async def all_work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(work("ann"))
            group.create_task(work("bob"))
            await asyncio.sleep(0)
            await publish(streams, *range(20))

    with pytest.raises(ExceptionGroup) as ended:
        await all_work()

    assert ended.group_contains(ConsumerNotFoundError)
    assert sorted(one for some in seen.values() for one in some) == list(range(20))
    assert min(map(len, seen.values())) >= 5


async def test_two_consumers_get_everything_each_with_a_filter_and_a_beginning_of_its_own(streams: Streams) -> None:
    await publish(streams, 1, 2)
    await publish(streams, 3, subject="orders.paid")

    assert [one.envelope.message.content for one in await first(streams, 3, "all")] == [1, 2, 3]
    assert [one.envelope.message.content for one in await first(streams, 1, "paid", filter="*.paid")] == [3]
    assert [one.envelope.message.content for one in await first(streams, 1, "later", since=2)] == [3]
    assert [one.envelope.message.content for one in await first(streams, 1, "at", at=0.0)] == [1]
    new = streams.consume("orders", "new", ConsumerSettings(only_new=True))
    await publish(streams, 4)
    assert (await anext(aiter(new))).envelope.message.content == 4
    infos = {one.name: one for stream in await streams.streams() for one in stream.consumers}
    assert {name: one.waiting for name, one in infos.items()} == {"all": 1, "paid": 0, "later": 1, "at": 3, "new": 0}


async def test_streams_without_their_consumers_are_told_without_a_look_at_the_store(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(streams, 1, 2)
    await first(streams, 1, filter="orders.*")
    whole = {stream.name: stream for stream in await streams.streams()}

    monkeypatch.delattr(type(streams), "ask")
    brief = {stream.name: stream for stream in await streams.streams(consumers=False)}

    assert brief == {name: stream._replace(consumers=()) for name, stream in whole.items()}


async def test_a_stream_has_so_many_consumers_and_no_more(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "MOST_CONSUMERS", 2)
    for name in ("a", "b"):
        streams.consume("orders", name)

    with pytest.raises(TooManySubscriptionsError):
        streams.consume("orders", "c")
    streams.consume("orders", "a")


async def test_a_consumer_with_other_settings_is_refused(streams: Streams) -> None:
    streams.consume("orders", "billing")

    with pytest.raises(ConsumerExistsError):
        streams.consume("orders", "billing", ConsumerSettings(ack_wait=1.0))
    with pytest.raises(InvalidIdError):
        streams.consume("orders", "no id")
    with pytest.raises(ValueError, match="max_deliver"):
        streams.consume("orders", "other", ConsumerSettings(max_deliver=0))
    with pytest.raises(CursorExpiredError):
        streams.consume("orders", "other", ConsumerSettings(since=1))
    with pytest.raises(ConsumerNotFoundError):
        await streams.delete_consumer("orders", "other")


async def test_who_leaves_gives_back_at_once(streams: Streams) -> None:
    await publish(streams, 1, 2)
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(streams.consume("orders", "billing"))
        other = await stack.enter_async_context(streams.consume("orders", "billing"))
        [held] = await anext(one.batches(1))
        assert held.envelope.sequence == 1
        await one.close()

        deliveries = [await anext(aiter(other)) for _ in range(2)]

        assert [(one.envelope.sequence, one.envelope.attempt) for one in deliveries] == [(1, 2), (2, 1)]
        assert not await held.ack()
        assert await deliveries[0].ack()


async def test_a_delivery_on_its_way_to_who_was_cancelled_is_not_lost(streams: Streams) -> None:
    async with streams.consume("orders", "billing") as one, streams.consume("orders", "billing") as other:
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(_raises(anext(aiter(one))))
            await asyncio.sleep(0)
            # Called behind the consumer, who has handed it out by then.
            streams._view("orders").listen(waiting.cancel)
            await publish(streams, 1)
        await one.close()

        delivery = await anext(aiter(other))

        assert (delivery.envelope.sequence, delivery.envelope.attempt) == (1, 1)


# A work queue


async def test_what_is_acknowledged_is_removed_from_a_work_queue(
    new_store: Callable[[], StreamStore],
) -> None:
    streams = await started(new_store(), SYSTEM_CLOCK, StreamSettings(("orders.>",), work_queue=True))
    await publish(streams, 1, 2, 3)
    _, two, _ = await first(streams, 3)
    assert await two.ack()

    assert [one.messages for one in await streams.streams()] == [0, 2]
    async with streams.replay("orders") as replay:
        assert [one.message.content for one in await anext(replay.batches())] == [1, 3]
    await streams.stop()
    again = await started(new_store(), SYSTEM_CLOCK, None)
    assert [(one.messages, one.first, one.last) for one in await again.streams()] == [(0, 1, 0), (2, 1, 3)]
    assert [one.envelope.sequence for one in await first(again, 2)] == [1, 3]
    await again.stop()


@pytest.mark.parametrize("begin", [{}, {"since": 1}, {"at": 0.0}])
@pytest.mark.parametrize("stuck", [0, 1, 3])
async def test_what_is_done_is_not_handed_out_to_a_consumer_that_is_made_anew(
    new_store: Callable[[], StreamStore], stuck: int, begin: dict[str, float]
) -> None:
    streams = await started(new_store(), SYSTEM_CLOCK, StreamSettings(("orders.>",), work_queue=True))
    await publish(streams, *range(1, 6))
    for delivery in await first(streams, 5):
        assert delivery.envelope.sequence == stuck or await delivery.ack()
    await streams.writer.flush()

    await streams.delete_consumer("orders", "billing")
    await publish(streams, 6)

    left = [one for one in (stuck, 6) if one > begin.get("since", 0)]
    assert [one.envelope.sequence for one in await first(streams, len(left), **begin)] == left
    [_, info] = await streams.streams()
    assert (info.messages, info.consumers[0].waiting) == (2 if stuck else 1, 0)
    await streams.stop()


async def test_what_is_done_is_off_the_disk_before_a_consumer_that_is_made_anew_reads(
    new_store: Callable[[], StreamStore],
) -> None:
    streams = await started(new_store(), SYSTEM_CLOCK, StreamSettings(("orders.>",), work_queue=True))
    await publish(streams, 1, 2, 3)
    one, _, three = await first(streams, 3)
    assert await one.ack()
    assert await three.ack()
    await streams.delete_consumer("orders", "billing")

    async with streams.consume("orders", "billing"):
        kept = streams.store.read("orders", 0, ">", 10, 1 << 20).envelopes

    assert [one.sequence for one in kept] == [2]
    await streams.writer.flush()
    assert [one.messages for one in await streams.streams()] == [0, 1]
    await streams.stop()
    again = await started(new_store(), SYSTEM_CLOCK, None)
    assert [one.messages for one in await again.streams()] == [0, 1]
    await again.stop()


async def test_all_that_is_done_is_off_the_disk_after_the_end(
    new_store: Callable[[], StreamStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "REMOVED_AT_ONCE", 4)
    streams = await started(new_store(), SYSTEM_CLOCK, StreamSettings(("orders.>",), work_queue=True))
    await publish(streams, *range(30))
    for delivery in await first(streams, 30):
        assert await delivery.ack()

    await streams.stop()

    again = await started(new_store(), SYSTEM_CLOCK, None)
    assert [(one.messages, one.last) for one in await again.streams()] == [(0, 0), (0, 30)]
    await again.stop()


async def test_each_subject_of_a_work_queue_has_one_consumer(new_store: Callable[[], StreamStore]) -> None:
    streams = await started(new_store(), SYSTEM_CLOCK, StreamSettings(("orders.>",), work_queue=True))
    streams.consume("orders", "paid", ConsumerSettings(filter="*.paid"))
    streams.consume("orders", "new", ConsumerSettings(filter="*.new"))

    with pytest.raises(ConsumerExistsError, match="takes some of it"):
        streams.consume("orders", "all")
    await streams.stop()


async def test_to_whom_a_consumer_belongs_outlasts_a_restart(new_store: Callable[[], StreamStore]) -> None:
    streams = await started(new_store(), SYSTEM_CLOCK)
    await publish(streams, 1)
    async with streams.consume("orders", "bills", owner="engram") as consumption:
        await (await anext(aiter(consumption))).ack()
    async with streams.consume("orders", "all"):
        pass
    await streams.stop()

    again = await started(new_store(), SYSTEM_CLOCK, None)
    [infos] = [one.consumers for one in await again.streams() if one.name == "orders"]
    owners = [again.owner_of("orders", name) for name in ("bills", "all", "nobody")]
    await again.stop()

    assert owners == ["engram", "", ""]
    assert [(one.name, one.owner, one.acknowledged) for one in infos] == [("all", "", 0), ("bills", "engram", 1)]


async def test_what_waits_behind_a_filter_is_counted_so_far_and_no_further(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "MOST_COUNTED", 4)
    await publish(streams, *range(3))
    await publish(streams, *range(3), subject="orders.old")
    for name, pattern in (("all", ">"), ("new", "orders.new"), ("old", "orders.old")):
        async with streams.consume("orders", name, ConsumerSettings(pattern)):
            pass
    async with streams.consume("orders", "late", ConsumerSettings("orders.old", since=2)):
        pass

    [infos] = [one.consumers for one in await streams.streams() if one.name == "orders"]

    assert [(one.name, one.waiting, one.waiting_more) for one in infos] == [
        ("all", 6, False), ("late", 3, False), ("new", 3, True), ("old", 1, True),
    ]  # fmt: skip


# Time


@virtual_time
async def in_time(store: StreamStore) -> None:
    clock = current_clock()
    streams = await started(store, clock)
    await publish(streams, 1, 2)
    [one, two] = await first(streams, 2, ack_wait=10.0)
    assert await two.ack()
    began = clock.monotonic()

    async with streams.consume("orders", "billing", ConsumerSettings(ack_wait=10.0)) as consumption:
        again = await anext(aiter(consumption))
        assert clock.monotonic() - began == pytest.approx(10.0)
        assert (again.envelope.sequence, again.envelope.attempt) == (1, 2)
        assert not await one.ack()
        for _ in range(3):
            await asyncio.sleep(9.0)
            assert await again.in_progress()
        assert await again.nack(5.0)
        began = clock.monotonic()
        third = await anext(aiter(consumption))
        assert clock.monotonic() - began == pytest.approx(5.0)
        assert third.envelope.attempt == 3
        assert await third.ack()
    await streams.stop()


def test_a_message_is_handed_out_again_when_its_time_is_over(new_store: Callable[[], StreamStore]) -> None:
    in_time(new_store())


@virtual_time
async def to_dead_letters(store: StreamStore, new_store: Callable[[], StreamStore]) -> None:
    clock = current_clock()
    streams = await started(store, clock)
    await publish(streams, {"text": "poison"}, "fine")
    settings = ConsumerSettings(ack_wait=10.0, max_deliver=2)
    seen: list[object] = []
    async with streams.consume("orders", "billing", settings) as consumption:
        async for delivery in consumption:
            seen.append((delivery.envelope.sequence, delivery.envelope.attempt))
            if delivery.envelope.sequence == 2:
                assert await delivery.reject("no such customer")
                assert not await delivery.ack()
            if len(seen) == 3:
                break
        assert seen == [(1, 1), (2, 1), (1, 2)]
        await asyncio.sleep(11.0)
    async with streams.replay("dead_letters") as replay:
        letters = [one async for batch in _some(replay.batches(), 2) for one in batch]
    await streams.stop()
    again = await started(new_store(), clock, None)
    [info] = [one for stream in await again.streams() for one in stream.consumers]
    await again.stop()

    assert (info.acknowledged, info.in_flight, info.dead_letters) == (2, 0, 2)
    assert [one.subject for one in letters] == ["tekton.dead.orders"] * 2
    assert letters[0].message.context.sender == "tekton"
    contents = [one.message.content for one in letters]
    originals = [content.pop("message") for content in contents]
    assert contents == [
        {"subject": "orders.new", "stream": "orders", "consumer": "billing", "sequence": 2, "attempts": 1,
         "reason": "no such customer"},
        {"subject": "orders.new", "stream": "orders", "consumer": "billing", "sequence": 1, "attempts": 2,
         "reason": "not acknowledged within 10 s"},
    ]  # fmt: skip
    assert [one["content"] for one in originals] == ["fine", {"text": "poison"}]


async def _some(batches: AsyncIterator[list[Envelope]], count: int) -> AsyncIterator[list[Envelope]]:
    async for batch in batches:
        yield batch
        count -= len(batch)
        if count <= 0:
            return


def test_what_nobody_gets_done_becomes_a_dead_letter_and_the_others_go_on(
    new_store: Callable[[], StreamStore],
) -> None:
    to_dead_letters(new_store(), new_store)


@virtual_time
async def of_dead_letters(store: StreamStore) -> None:
    streams = await started(store, current_clock())
    await publish(streams, 1)
    [one] = await first(streams, 1)
    await one.reject("no")
    async with streams.consume("dead_letters", "audit") as consumption:
        assert await (await anext(aiter(consumption))).reject("no, too")
    [letters] = [stream for stream in await streams.streams() if stream.name == "dead_letters"]
    assert (letters.messages, letters.consumers[0].dead_letters, letters.consumers[0].acknowledged) == (1, 1, 1)
    await streams.stop()


def test_a_dead_letter_with_which_nobody_gets_done_makes_no_other_one(new_store: Callable[[], StreamStore]) -> None:
    of_dead_letters(new_store())


@virtual_time
async def deep(store: StreamStore) -> None:
    streams = await started(store, current_clock())
    content: object = "deep"
    for _ in range(62):
        content = [content]
    await publish(streams, content)
    [one] = await first(streams, 1)
    assert await one.reject("no")
    [letter] = streams.store.read("dead_letters", 0, ">", 10, 1 << 20).envelopes
    assert Message.from_json(letter.message.content["message"]).content == content
    await streams.stop()


def test_what_is_nested_too_deep_to_stand_in_a_dead_letter_stands_there_as_text(
    new_store: Callable[[], StreamStore],
) -> None:
    deep(new_store())


@virtual_time
async def aged(store: StreamStore) -> None:
    clock = current_clock()
    streams = await started(store, clock, StreamSettings(("orders.>",), max_age=3600.0))
    await publish(streams, 1)
    async with streams.consume("orders", "billing") as consumption:
        await asyncio.sleep(3000)
        await publish(streams, 2)
        clock.set_wall(clock.time() + 86400)
        await asyncio.sleep(500)
        assert [one.messages for one in await streams.streams()] == [0, 2]
        clock.set_wall(clock.time() - 86400)
        await asyncio.sleep(700)
        [info] = [one for one in await streams.streams() if one.name == "orders"]
        assert (info.messages, info.first, info.dropped) == (1, 2, 1)
        delivery = await anext(aiter(consumption))
        assert (delivery.envelope.message.content, consumption.lost) == (2, 1)
    await streams.stop()


def test_what_is_old_goes_but_not_because_a_clock_jumps(new_store: Callable[[], StreamStore]) -> None:
    aged(new_store())


# The end


async def test_stopping_ends_all_who_read_and_keeps_what_they_said(
    streams: Streams, new_store: Callable[[], StreamStore]
) -> None:
    await publish(streams, 1)
    [one] = await first(streams, 1)
    async with asyncio.TaskGroup() as group:
        replaying = group.create_task(_all(streams.replay("orders", since=1).batches()))
        consuming = group.create_task(_all(streams.consume("orders", "billing").batches()))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        assert await one.ack()
        await streams.stop()
        await streams.stop()

    assert (replaying.result(), consuming.result()) == ([], [])
    with pytest.raises(StorageError, match="closed"):
        await publish(streams, 2)
    again = await started(new_store(), SYSTEM_CLOCK, None)
    [info] = [one for stream in await again.streams() for one in stream.consumers]
    assert (info.acknowledged, info.in_flight) == (1, 0)
    await again.stop()
