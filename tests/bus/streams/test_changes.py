"""Streams and consumers that come and go: what the store has and what is in memory are the same, whoever waits."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import pytest
from stream_owner import said

from tekton.bus import dead_letters
from tekton.bus.bus import ConsumerSettings, StreamSettings
from tekton.bus.dead_letters import CIRCLES, circle_letter
from tekton.bus.envelope import Envelope
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.bus.streams.sqlite_store import SqliteStreamStore
from tekton.bus.streams.store import StreamState
from tekton.bus.streams.streams import Streams
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message
from tekton.utils.tekton_errors import (
    ConsumerNotFoundError,
    StorageError,
    StorageFullError,
    StreamNotFoundError,
    StreamOverlapError,
)

ORDERS: Final = StreamSettings(("orders.>",))
SALES: Final = StreamSettings(("sales.>",))


class HeldStore(SqliteStreamStore):
    """Stands still in a change that is *held*, until it may *go_on*."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, reserve_bytes=0)
        self.path = path
        self.held = ""
        self.began = threading.Event()
        self.go_on = threading.Event()

    def put_stream(self, name: str, settings: StreamSettings, now: float) -> StreamState:
        self._stand("create_stream")
        return super().put_stream(name, settings, now)

    def delete_stream(self, name: str) -> None:
        self._stand("delete_stream")
        super().delete_stream(name)

    def delete_consumer(self, stream: str, consumer: str) -> None:
        self._stand("delete_consumer")
        super().delete_consumer(stream, consumer)

    def _stand(self, where: str) -> None:
        if where == self.held:
            self.began.set()
            assert self.go_on.wait(10)


@pytest.fixture
def store(tmp_path: Path) -> HeldStore:
    return HeldStore(tmp_path / "bus.db")


@pytest.fixture
async def streams(store: HeldStore) -> AsyncIterator[Streams]:
    """Streams in a file, with threads, and the stream "orders" with the consumer "billing"."""
    streams = Streams(store)
    await streams.start()
    await streams.create_stream("orders", ORDERS)
    async with streams.consume("orders", "billing"):
        pass
    async with asyncio.timeout(20):
        yield streams
        await streams.stop()


async def cancelled_half_way(store: HeldStore, held: str, change: Coroutine[Any, Any, object]) -> None:
    """Have *change* cancelled while the store is at it, and done by the store."""
    store.held = held
    changing = asyncio.ensure_future(change)
    assert await asyncio.to_thread(store.began.wait, 10)
    changing.cancel()
    await asyncio.gather(changing, return_exceptions=True)
    assert changing.cancelled()
    store.go_on.set()


async def kept(path: Path) -> dict[str, list[str]]:
    """The streams of a store that is closed, and their consumers."""
    again = Streams(SqliteStreamStore(path, reserve_bytes=0))
    await again.start()
    found = {stream.name: [one.name for one in stream.consumers] for stream in await again.streams()}
    await again.stop()
    return found


# Cancelled


async def test_a_stream_whose_deletion_was_cancelled_half_way_is_gone_and_the_others_are_not(
    streams: Streams, store: HeldStore
) -> None:
    await streams.create_stream("sales", SALES)
    reading = asyncio.ensure_future(anext(aiter(streams.replay("orders"))))

    await cancelled_half_way(store, "delete_stream", streams.delete_stream("orders"))

    async with asyncio.timeout(10):
        with pytest.raises(StreamNotFoundError):
            await reading
    with pytest.raises(StreamNotFoundError):
        await streams.append([said(1)])
    assert (await streams.append([Envelope("sales.new", said(1).message)]))[0].sequence == 1
    assert streams.failure is None
    await streams.stop()
    assert await kept(store.path) == {"dead_letters": [], "sales": []}


async def test_a_stream_whose_creation_was_cancelled_half_way_is_there_and_has_its_subjects_alone(
    streams: Streams, store: HeldStore
) -> None:
    await cancelled_half_way(store, "create_stream", streams.create_stream("sales", SALES))

    with pytest.raises(StreamOverlapError):
        await streams.create_stream("other", SALES)
    assert streams.stream_of("sales.new") == "sales"
    await streams.stop()
    assert await kept(store.path) == {"dead_letters": [], "orders": ["billing"], "sales": []}


async def test_a_consumer_whose_deletion_was_cancelled_half_way_is_gone(streams: Streams, store: HeldStore) -> None:
    consumption = streams.consume("orders", "billing")

    await cancelled_half_way(store, "delete_consumer", streams.delete_consumer("orders", "billing"))

    async with asyncio.timeout(10):
        with pytest.raises(ConsumerNotFoundError):
            await anext(aiter(consumption))
    assert [stream.consumers for stream in await streams.streams()] == [(), ()]
    await streams.stop()
    assert await kept(store.path) == {"dead_letters": [], "orders": []}


@pytest.mark.parametrize("steps", range(6))
async def test_wherever_a_deletion_is_cancelled_the_streams_go_on(steps: int) -> None:
    streams = Streams(MemoryStreamStore())
    await streams.start()
    await streams.create_stream("orders", ORDERS)
    deleting = asyncio.ensure_future(streams.delete_stream("orders"))
    for _ in range(steps):
        await asyncio.sleep(0)
    deleting.cancel()
    await asyncio.gather(deleting, return_exceptions=True)

    await streams.create_stream("sales", SALES)
    in_memory = [one.name for one in await streams.streams()]
    assert in_memory == [one.name for one in streams.store.open()]
    assert (streams.stream_of("orders.new") is not None) == ("orders" in in_memory)
    assert (await streams.append([Envelope("sales.new", said(1).message)]))[0].stream == "sales"
    await streams.stop()


async def test_changes_that_wait_when_all_ends_are_refused(streams: Streams, store: HeldStore) -> None:
    store.held = "create_stream"
    creating = [
        asyncio.ensure_future(streams.create_stream(name, StreamSettings((name,)))) for name in ("one", "two", "three")
    ]
    assert await asyncio.to_thread(store.began.wait, 10)
    stopping = asyncio.ensure_future(streams.stop())
    await asyncio.sleep(0)
    store.go_on.set()
    await stopping

    ended = await asyncio.gather(*creating, return_exceptions=True)
    assert [type(one) for one in ended[1:]] == [StorageError] * 2
    assert await kept(store.path) == {"dead_letters": [], "one": [], "orders": ["billing"]}


async def test_when_all_has_ended_no_change_is_under_way() -> None:
    streams = Streams(MemoryStreamStore())
    await streams.start()
    names = [f"s{number}" for number in range(99)]
    creating = [asyncio.ensure_future(streams.create_stream(name, StreamSettings((name,)))) for name in names]
    await asyncio.sleep(0)

    await streams.stop()

    assert [one.done() for one in creating] == [True] * 99
    await asyncio.gather(*creating, return_exceptions=True)


# What is on its way while a stream is deleted


class ThreadedStore(MemoryStreamStore):
    """In memory, but with a thread, so that there is a time in which it deletes."""

    threaded = True


async def test_what_is_asked_of_a_stream_while_it_is_deleted_stops_nothing() -> None:
    streams = Streams(ThreadedStore())
    await streams.start()
    await streams.create_stream("orders", ORDERS)
    async with streams.consume("orders", "billing"):
        pass
    deleting = asyncio.ensure_future(streams.delete_stream("orders"))
    await asyncio.sleep(0)

    asked: list[Coroutine[Any, Any, object]] = [
        streams.append([said(1)]),
        streams.delete_consumer("orders", "billing"),
        streams.create_stream("sales", SALES),
        anext(aiter(streams.consume("orders", "new", ConsumerSettings(only_new=True)))),  # type: ignore[list-item]
    ]
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*asked, return_exceptions=True)
        await deleting

    assert isinstance(answers[0], StreamNotFoundError)
    assert isinstance(answers[3], StreamNotFoundError)
    assert streams.failure is None
    assert [one.name for one in await streams.streams()] == ["dead_letters", "sales"]
    await streams.stop()


# The dead letters


class FullStore(MemoryStreamStore):
    """Without room for a new stream, when it is told so."""

    full = False

    def put_stream(self, name: str, settings: StreamSettings, now: float) -> StreamState:
        if self.full:
            raise StorageFullError
        return super().put_stream(name, settings, now)


async def emptied_without_room() -> Streams:
    """Streams whose dead letters were emptied when there was no room; by now there is."""
    store = FullStore()
    streams = Streams(store)
    await streams.start()
    await streams.create_stream("orders", ORDERS)
    store.full = True
    with pytest.raises(StorageFullError):
        await streams.delete_stream(dead_letters.NAME)
    assert [one.name for one in await streams.streams()] == ["orders"]
    store.full = False
    return streams


async def bury(streams: Streams) -> None:
    await streams.append([said("poison")])
    async with streams.consume("orders", "billing") as deliveries:
        await (await anext(aiter(deliveries))).reject("no such customer")


async def go_in_circles(streams: Streams) -> None:
    await streams.append([circle_letter(Envelope("a", Message("event", None, MessageContext("ann"))), "17 hops")])


@pytest.mark.parametrize("need", [bury, go_in_circles])
async def test_dead_letters_that_had_no_room_for_an_empty_stream_have_one_when_it_is_needed(
    need: Callable[[Streams], Coroutine[Any, Any, None]],
) -> None:
    streams = await emptied_without_room()

    await need(streams)

    [letters, _] = await streams.streams()
    assert (letters.name, letters.messages, letters.settings) == (dead_letters.NAME, 1, dead_letters.SETTINGS)
    await streams.stop()


async def test_nobody_takes_the_subjects_of_the_dead_letters_meanwhile() -> None:
    streams = await emptied_without_room()

    with pytest.raises(StreamOverlapError):
        await streams.create_stream("mine", StreamSettings((CIRCLES,)))
    await streams.stop()
