"""What one socket publishes without waiting for receipts: what is stored together, and what each frame is told."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from tekton.background import BackgroundGroup
from tekton.bus.bus import StreamSettings
from tekton.bus.envelope import Envelope
from tekton.bus.live import LiveBus
from tekton.bus.local_bus import LocalBus
from tekton.bus.streams.append_queue import MAX_BATCH, MAX_BATCH_BYTES
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.bus.streams.store import Batch, Committed
from tekton.bus.streams.streams import Streams
from tekton.clock import SYSTEM_CLOCK
from tekton.gateway.bus.port import BusPort
from tekton.gateway.bus.publisher import Publisher
from tekton.gateway.operations import Pub
from tekton.mcp.message import Message
from tekton.utils.tekton_errors import StorageFullError

Make = Callable[..., Message]

LARGE = "x" * 16384


class Store(MemoryStreamStore):
    """Has no room for its commit number *full*, and notes how many messages each commit brings."""

    def __init__(self, full: int = 0) -> None:
        super().__init__()
        self.full = full
        self.commits: list[int] = []

    def commit(self, batch: Batch, now: float) -> Committed:
        if batch.puts:
            self.commits.append(len(batch.puts))
            if len(self.commits) == self.full:
                raise StorageFullError("no room")
        return super().commit(batch, now)


class HeldStore(MemoryStreamStore):
    """With a thread, which stands still while it deletes a stream, until it may *go_on*."""

    threaded = True

    def __init__(self) -> None:
        super().__init__()
        self.began = threading.Event()
        self.go_on = threading.Event()

    def delete_stream(self, name: str) -> None:
        self.began.set()
        assert self.go_on.wait(10)
        super().delete_stream(name)


class FullStore(HeldStore):
    """Stands still in its first commit, until it may go on, and has no room for it."""

    def delete_stream(self, name: str) -> None:
        MemoryStreamStore.delete_stream(self, name)

    def commit(self, batch: Batch, now: float) -> Committed:
        if batch.puts and not self.began.is_set():
            self.began.set()
            assert self.go_on.wait(10)
            raise StorageFullError("no room")
        return super().commit(batch, now)


class Socket:
    """Publishes, and keeps the answers."""

    def __init__(self, port: BusPort, who: Any) -> None:
        self.group = BackgroundGroup("socket")
        self.answers: list[dict[str, Any]] = []
        self.news = asyncio.Event()
        self.ended: list[str] = []
        caller = port.access.caller(who, "10.0.0.1:1234")
        self.publisher = Publisher(port, lambda: caller, self._send, self._spawn, self.ended.append)

    async def publish(self, subject: str, *messages: Message, first: int = 1) -> None:
        """Publish *messages*, each in a frame of its own, numbered from *first* on, and wait for no receipt."""
        for number, one in enumerate(messages, first):
            operation = Pub(subject=subject, message=msgspec.Raw(one.to_json()), id=number)
            self._keep(await self.publisher.publish(operation))

    async def publish_batch(self, number: int, envelopes: Iterable[Envelope]) -> None:
        """Publish *envelopes* in one frame."""
        self._keep(await self.publisher.publish_batch(Envelope.pack(number, envelopes)))

    async def answered(self, count: int) -> list[dict[str, Any]]:
        """The answers, when there are *count*."""
        async with asyncio.timeout(10):
            while len(self.answers) < count:
                self.news.clear()
                await self.news.wait()
        return self.answers

    async def _send(self, *frames: str | bytes) -> None:
        for frame in frames:
            self._keep(str(frame))

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> object:
        return self.group.spawn(work, name)

    def _keep(self, frame: str | None) -> None:
        if frame is not None:
            self.answers.append(json.loads(frame))
            self.news.set()


@asynccontextmanager
async def port_of(store: MemoryStreamStore) -> AsyncIterator[tuple[BusPort, Streams]]:
    """A bus with the streams "orders" and "sales" in *store*."""
    live = LiveBus(SYSTEM_CLOCK)
    streams = Streams(store, SYSTEM_CLOCK, live.deliver)
    await streams.start()
    for name in ("orders", "sales"):
        await streams.create_stream(name, StreamSettings((f"{name}.>",)))
    bus = LocalBus(SYSTEM_CLOCK, streams, live)
    yield BusPort(bus, streams.stream_of, lambda: live.sequence, live.answered), streams
    await streams.stop()


async def stored(streams: Streams, name: str, count: int) -> list[str]:
    """The ids of all *count* messages of a stream, in order."""
    [info] = [one for one in await streams.streams() if one.name == name]
    assert info.messages == count
    ids: list[str] = []
    async with streams.replay(name) as replay:
        while len(ids) < count:
            ids.append((await anext(aiter(replay))).message.message_id)
    return ids


def ids(messages: Sequence[Message]) -> list[str]:
    return [one.message_id for one in messages]


async def test_what_is_stored_is_not_refused_together_with_what_is_not(people: Any, message: Make) -> None:
    """All that one socket had on its way was told that it was not stored, also what was."""
    store, messages = Store(full=2), [message("ada", LARGE) for _ in range(150)]
    async with port_of(store) as (port, streams):
        socket = Socket(port, people.ada)

        await socket.publish("orders.new", *messages)
        answers = await socket.answered(150)

        fitting = MAX_BATCH_BYTES // len(messages[0].to_json())
        assert [one["id"] for one in answers] == list(range(1, 151))
        assert [one.get("sequence") for one in answers[:fitting]] == list(range(1, fitting + 1))
        assert {one.get("code") for one in answers[fitting:]} == {"storage_full"}
        assert await stored(streams, "orders", fitting) == ids(messages[:fitting])


async def test_what_came_behind_what_the_disk_refused_is_refused_along_with_it(people: Any, message: Make) -> None:
    store, messages = Store(full=1), [message("ada", LARGE) for _ in range(150)]
    async with port_of(store) as (port, streams):
        socket = Socket(port, people.ada)

        await socket.publish("orders.new", *messages)
        refused = list(await socket.answered(150))
        await socket.publish("orders.new", messages[0], first=151)
        again = (await socket.answered(151))[-1]

        assert {one.get("code") for one in refused} == {"storage_full"}
        assert len(store.commits) == 2
        assert (again["t"], again["sequence"]) == ("published", 1)
        assert await stored(streams, "orders", 1) == ids(messages[:1])


async def test_what_came_while_the_disk_refused_what_was_before_it_is_refused_as_well(
    people: Any, message: Make
) -> None:
    """It was stored when there was room again: who then repeated all had the first ones behind the others."""
    store, messages = FullStore(), [message("ada", number) for number in range(3)]
    async with port_of(store) as (port, streams):
        socket = Socket(port, people.ada)

        await socket.publish("orders.new", messages[0])
        await asyncio.to_thread(store.began.wait, 10)
        await socket.publish("orders.new", *messages[1:], first=2)
        store.go_on.set()
        refused = [one.get("code") for one in await socket.answered(3)]
        await socket.publish("orders.new", *messages, first=4)
        await socket.answered(6)

        assert refused == ["storage_full"] * 3
        assert await stored(streams, "orders", 3) == ids(messages)


async def test_what_is_more_than_one_batch_of_the_disk_is_stored_in_order_in_as_few_as_it_takes(
    people: Any, message: Make
) -> None:
    store, batches = Store(), [[message("ada", (n, k)) for k in range(200)] for n in range(5)]
    async with port_of(store) as (port, streams):
        socket = Socket(port, people.ada)

        for number, batch in enumerate(batches, 1):
            await socket.publish_batch(number, [Envelope("orders.new", one) for one in batch])
        answers = await socket.answered(5)

        assert [one["id"] for one in answers] == [1, 2, 3, 4, 5]
        assert store.commits == [400, 400, 200]
        assert await stored(streams, "orders", 1000) == [one for batch in batches for one in ids(batch)]


async def test_what_cannot_be_published_changes_the_order_of_nothing_else(people: Any, message: Make) -> None:
    """Neither in the stream, nor of what is for no stream and came between."""
    messages = [message("ada", LARGE, hops=17 if number == 3 else 0) for number in range(150)]
    news = [message("ada", number) for number in range(3)]
    async with port_of(Store()) as (port, streams), port.bus.subscribe("news.>") as heard:
        socket = Socket(port, people.ada)

        await socket.publish_batch(1000, [Envelope("orders.new", messages[0]), Envelope("news.a", news[0])])
        await socket.publish("orders.new", *messages[1:100])
        await socket.publish("news.a", news[1], first=1001)
        await socket.publish("orders.new", *messages[100:], first=100)
        await socket.publish("news.a", news[2], first=1002)
        answers = await socket.answered(152)

        numbers = [1000, *range(1, 100), 1001, *range(100, 150), 1002]
        assert [one["id"] for one in answers] == numbers
        assert [one["id"] for one in answers if one["t"] == "error"] == [3]
        assert await stored(streams, "orders", 149) == ids(messages[:3] + messages[4:])
        assert [(await anext(aiter(heard))).message.message_id for _ in range(3)] == ids(news)


async def test_a_stream_that_is_deleted_refuses_nothing_that_is_for_another(people: Any, message: Make) -> None:
    """What is for it is refused, as it is where nothing else is on its way: what came behind it was told at once."""
    store, messages = HeldStore(), [message("ada", number) for number in range(6)]
    async with port_of(store) as (port, streams), port.bus.subscribe("sales.>") as heard:
        socket = Socket(port, people.ada)
        deleting = asyncio.ensure_future(streams.delete_stream("sales"))
        assert await asyncio.to_thread(store.began.wait, 10)

        for number, one in enumerate(messages):
            await socket.publish("sales.new" if number % 2 else "orders.new", one, first=number + 1)
        async with asyncio.timeout(10):
            while streams.writer.waiting < len(messages):  # noqa: ASYNC110
                await asyncio.sleep(0)
        store.go_on.set()
        await deleting
        answers = await socket.answered(6)
        await socket.publish("sales.new", messages[1], first=7)

        assert [one["id"] for one in answers[:6]] == [1, 2, 3, 4, 5, 6]
        assert [one["t"] for one in answers[:6]] == ["published", "error"] * 3
        assert {(one["code"], one["stream"]) for one in answers[1:6:2]} == {("stream_not_found", "sales")}
        assert await stored(streams, "orders", 3) == ids(messages[::2])
        assert (await anext(aiter(heard))).message.message_id == messages[1].message_id
        assert answers[6]["t"] == "published"
        assert (heard.lost, socket.ended) == (0, [])


async def test_of_a_frame_that_is_stored_in_parts_nobody_says_that_it_was_not(people: Any, message: Make) -> None:
    """What came behind it was not begun with."""
    store, messages = Store(full=2), [message("ada", number) for number in range(MAX_BATCH + 100)]
    async with port_of(store) as (port, streams):
        socket = Socket(port, people.ada)

        await socket.publish_batch(1, [Envelope("orders.new", one) for one in messages])
        await socket.publish_batch(2, [Envelope("orders.new", one) for one in messages])
        answers = await socket.answered(2)

        assert [one["id"] for one in answers] == [1, 2]
        assert (answers[0]["code"], answers[0]["message_id"]) == ("publish_unknown", messages[0].message_id)
        assert answers[1]["code"] == "storage_full"
        assert await stored(streams, "orders", MAX_BATCH) == ids(messages[:MAX_BATCH])
