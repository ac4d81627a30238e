"""What is stored is told to who listens in as many turns as it needs."""

import asyncio

from tekton.bus.bus import StreamSettings
from tekton.bus.envelope import Envelope
from tekton.bus.live import LiveBus
from tekton.bus.local_bus import LocalBus
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.bus.streams.streams import Streams
from tekton.bus.subscription import LiveSubscription
from tekton.bus.telling import Telling
from tekton.bus.turn import MOST, MOST_SIZE
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.testing import ManualClock


def say(subject: str, *contents: object) -> list[Envelope]:
    return [Envelope(subject, Message(MessageType.EVENT, one, MessageContext("engram"))) for one in contents]


async def waiting(subscription: LiveSubscription) -> list[object]:
    """All that waits now."""
    async with asyncio.timeout(5):
        return [envelope.message.content for envelope in await anext(subscription.batches())]


async def test_what_there_is_room_for_is_told_at_once() -> None:
    live = LiveBus(ManualClock())
    subscription, telling = live.subscribe("a"), Telling(live)

    assert telling.tell(say("a", 1, 2)) is None
    assert telling.tell([]) is None
    assert await waiting(subscription) == [1, 2]


async def test_what_is_more_comes_in_the_next_turns_in_order_behind_what_was_told_before() -> None:
    live = LiveBus(ManualClock())
    subscription, telling = live.subscribe("a"), Telling(live)

    first = telling.tell(say("a", *range(MOST + 3)))
    second = telling.tell(say("a", MOST + 3))
    nothing = telling.tell([])

    assert first is not None
    assert second is not None
    assert nothing is not None
    assert await waiting(subscription) == list(range(MOST))
    nothing.add_done_callback(lambda _: live.deliver(say("a", "behind all of it")))
    await nothing
    assert await waiting(subscription) == [*range(MOST, MOST + 4), "behind all of it"]
    assert first.done()


async def test_what_comes_when_there_is_room_again_stays_behind_what_waits_for_it() -> None:
    live = LiveBus(ManualClock())
    subscription, telling = live.subscribe("a"), Telling(live)
    telling.tell(say("a", *range(MOST + 1)))
    assert len(await waiting(subscription)) == MOST
    # The next turn has begun by then, and what was reserved in it is about to be told.
    await asyncio.sleep(0)

    late = telling.tell(say("a", "late"))

    assert late is not None
    await late
    assert await waiting(subscription) == [MOST, "late"]


async def test_who_keeps_up_is_not_cut_by_a_commit_beside_what_others_publish() -> None:
    live = LiveBus(ManualClock())
    streams = Streams(MemoryStreamStore(), ManualClock(), Telling(live).tell)
    await streams.start()
    await streams.create_stream("orders", StreamSettings(("orders.>",)))
    bus = LocalBus(ManualClock(), streams, live)
    subscription = live.subscribe(">")
    assert 3 * MOST_SIZE < Envelope.measure(say("orders.new", "x" * 1750)) * 512 < 4 * MOST_SIZE

    async def publish(subject: str, text: str, count: int) -> None:
        for _ in range(10):
            await bus.publish_many(say(subject, *(text for _ in range(count))))

    async def read() -> int:
        count = 0
        async for batch in subscription.batches():
            count += len(batch)
            if count == 10 * (512 + MOST):
                return count
        raise AssertionError("the subscription has ended")

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        reading = group.create_task(read())
        group.create_task(publish("orders.new", "x" * 1750, 512))
        group.create_task(publish("a.b", "x" * 750, MOST))

    assert reading.result() == 10 * (512 + MOST)
    await streams.stop()


async def test_who_publishes_to_a_stream_is_answered_when_all_of_it_is_told() -> None:
    live = LiveBus(ManualClock())
    streams = Streams(MemoryStreamStore(), ManualClock(), Telling(live).tell)
    await streams.start()
    await streams.create_stream("orders", StreamSettings(("orders.>",)))
    bus = LocalBus(ManualClock(), streams, live)
    heard: list[object] = []
    live.tap(">", lambda envelope: heard.append(envelope.message.content))

    async def publish(name: str) -> None:
        await bus.publish_many(say("orders.new", *([name, number] for number in range(2 * MOST))))
        await bus.publish("a.b", say("a.b", [name, "stored"])[0].message)

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for name in "xyz":
            group.create_task(publish(name))
    before = len(heard)
    await streams.append(say("orders.new", *range(2 * MOST)))

    assert len(heard) == before + 2 * MOST
    for name in "xyz":
        assert [one[1] for one in heard if isinstance(one, list) and one[0] == name] == [*range(2 * MOST), "stored"]
    await streams.stop()


async def test_all_is_told_before_the_streams_are_closed() -> None:
    live = LiveBus(ManualClock())
    streams = Streams(MemoryStreamStore(), ManualClock(), Telling(live).tell)
    await streams.start()
    await streams.create_stream("orders", StreamSettings(("orders.>",)))
    heard: list[Envelope] = []
    live.tap(">", heard.append)
    publishing = asyncio.ensure_future(streams.append(say("orders.new", *range(2000))))
    await asyncio.sleep(0)

    await streams.stop()

    assert len(heard) == 2000
    assert len(await publishing) == 2000
