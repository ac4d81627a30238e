"""Whoever fills the dead letters pushes out his own, on both stores, in virtual time."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from at_once_store import AtOnceStore

from tekton.bus import dead_letters
from tekton.bus.bus import ConsumerSettings, StreamSettings
from tekton.bus.envelope import Envelope
from tekton.bus.streams import fair_shares
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.bus.streams.store import Batch, Committed, StreamStore
from tekton.bus.streams.streams import Streams
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message
from tekton.testing.clock import current_clock, virtual_time
from tekton.utils.tekton_errors import StorageFullError

SENDER = MessageContext("ann")


class FullForRemovals(MemoryStreamStore):
    """Has no room to take anything away while it is `full`."""

    full = True

    def commit(self, batch: Batch, now: float) -> Committed:
        if batch.removed and self.full:
            raise StorageFullError("no room")
        return super().commit(batch, now)


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StreamStore:
    if request.param == "memory":
        return MemoryStreamStore()
    return AtOnceStore(tmp_path / "bus.db", reserve_bytes=0)


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives the stream of the dead letters other limits."""
    return lambda **limits: monkeypatch.setattr(dead_letters, "SETTINGS", replace(dead_letters.SETTINGS, **limits))


async def started(store: StreamStore, *names: str) -> Streams:
    streams = Streams(store, current_clock())
    await streams.start()
    for name in names:
        await streams.create_stream(name, StreamSettings((f"{name}.>",)))
    return streams


async def give_up(streams: Streams, name: str, count: int, text: str = "") -> None:
    """Have *count* messages of the stream *name* become dead letters, one after another."""
    message = [Envelope(f"{name}.new", Message("event", text, SENDER)) for _ in range(count)]
    await streams.append(message)
    async with streams.consume(name, "worker", ConsumerSettings(ack_wait=1e6)) as consumption:
        done = 0
        async for delivery in consumption:
            await delivery.reject("no")
            done += 1
            if done == count:
                break
    # What makes room goes on in the background.
    await asyncio.sleep(0.1)


def kept(streams: Streams) -> tuple[Counter[str], list[int]]:
    """How many dead letters there are of each stream, and their numbers."""
    page = streams.store.read(dead_letters.NAME, 0, ">", 10_000, 1 << 30)
    return Counter(one.subject.rpartition(".")[2] for one in page.envelopes), [one.sequence for one in page.envelopes]


@virtual_time
async def flood(store: StreamStore) -> None:
    streams = await started(store, "orders", "shop", "mail")
    await give_up(streams, "orders", 3)
    await give_up(streams, "shop", 5)

    await give_up(streams, "mail", 200)

    counts, sequences = kept(streams)
    [info] = [one for one in await streams.streams() if one.name == dead_letters.NAME]
    await streams.stop()
    assert (counts["orders"], counts["shop"]) == (3, 5)
    assert 20 <= counts["mail"] <= 22
    assert sequences[:8] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert sequences[-1] == 208  # the newest of those who have most are there
    assert info.dropped == 208 - len(sequences)


def test_who_fills_the_dead_letters_pushes_out_his_own(store: StreamStore, limit: Callable[..., None]) -> None:
    limit(max_messages=40)

    flood(store)


@virtual_time
async def flood_of_large_ones(store: StreamStore) -> None:
    streams = await started(store, "orders", "mail")
    await give_up(streams, "orders", 100)

    await give_up(streams, "mail", 30, "x" * 10_000)

    counts, _ = kept(streams)
    await streams.stop()
    assert counts["orders"] == 100
    assert 5 <= counts["mail"] <= 15


def test_large_ones_count_by_their_size(
    store: StreamStore, limit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(max_bytes=200_000)
    monkeypatch.setattr(fair_shares, "MOST_BYTES", 15_000)  # one at a time

    flood_of_large_ones(store)


@virtual_time
async def flood_by_all(store: StreamStore) -> None:
    streams = await started(store, "orders", "shop")
    for _ in range(20):
        await give_up(streams, "orders", 3)
        await give_up(streams, "shop", 3)

    counts, _ = kept(streams)
    await streams.stop()
    assert counts.total() <= 30
    assert min(counts.values()) >= 10


def test_those_who_have_much_have_alike(store: StreamStore, limit: Callable[..., None]) -> None:
    limit(max_messages=40)

    flood_by_all(store)


@virtual_time
async def test_what_could_not_be_taken_away_goes_later(limit: Callable[..., None]) -> None:
    limit(max_messages=40)
    store = FullForRemovals()
    streams = await started(store, "orders", "mail")
    await give_up(streams, "orders", 2)
    await give_up(streams, "mail", 35)
    before = kept(streams)[0]
    store.full = False
    await asyncio.sleep(fair_shares.RETRY_AFTER)

    await give_up(streams, "mail", 1)

    after = kept(streams)[0]
    await streams.stop()
    assert before == {"orders": 2, "mail": 35}
    assert (after["orders"], after["mail"]) == (2, 24)  # 25 in all, and the one more
