"""The writer of streams lets the registry go first, and gets on all the same. In virtual time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from itertools import pairwise
from typing import Any, Final

import pytest
from stream_owner import Nobody, put

from tekton.bus.bus import StreamSettings
from tekton.bus.streams.append_queue import MAX_BATCH
from tekton.bus.streams.desks import AtOnce
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.bus.streams.store import Batch, Committed, Desk, Placed, Progress
from tekton.bus.streams.writer import GATHER, LAZINESS, StreamWriter
from tekton.core.precedence import LONGEST_REST, RESTS, Precedence
from tekton.testing.clock import current_clock, virtual_time
from tekton.utils.tekton_errors import StreamNotFoundError

LONG: Final = 0.004
"""Seconds of a commit after which a rest is as long as any."""


class SlowDesk:
    """A desk at which everything takes *seconds*; when each job began."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.began: list[float] = []

    def submit(self, job: Callable[[], Any]) -> "Future[Any]":
        future: Future[Any] = Future()
        self.began.append(current_clock().monotonic())
        asyncio.get_running_loop().call_later(self.seconds, lambda: future.set_result(job()))
        return future

    def stop(self) -> None:
        pass


class Done(Nobody):
    """Has *count* messages that are done with."""

    def __init__(self, count: int) -> None:
        self.removing = [("orders", sequence) for sequence in range(1, count + 1)]

    def progress(self) -> tuple[list[Progress], list[tuple[str, int]]]:
        return [], self.removing

    def committed(self, batch: Batch, _: Committed) -> None:
        self.removing = [one for one in self.removing if one not in batch.removed]


def new_writer(desk: Desk, precedence: Precedence) -> StreamWriter:
    store = MemoryStreamStore()
    store.put_stream("orders", StreamSettings(("orders.>",)), 0.0)
    return StreamWriter(store, desk, Nobody(), current_clock(), precedence)


async def store_one_by_one(writer: StreamWriter, count: int) -> list[int]:
    """Store *count* messages, each when the one before is on the disk; their places."""
    return [(await writer.append([put(number)]))[0].sequence for number in range(count)]


def distances(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


@virtual_time
async def test_commits_follow_one_another_where_nobody_goes_first() -> None:
    desk = SlowDesk(LONG)

    await store_one_by_one(new_writer(desk, Precedence(current_clock())), 3)

    assert distances(desk.began) == pytest.approx([LONG, LONG])


@virtual_time
async def test_a_registry_that_is_changed_all_the_time_holds_up_each_commit_for_one_rest_at_most() -> None:
    precedence, desk = Precedence(current_clock()), SlowDesk(LONG)
    precedence.begin()

    places = await store_one_by_one(new_writer(desk, precedence), 50)

    assert places == list(range(1, 51))
    assert distances(desk.began) == pytest.approx([LONG + LONGEST_REST] * 49)


@virtual_time
async def test_after_a_short_commit_the_rest_is_short() -> None:
    precedence, desk = Precedence(current_clock()), SlowDesk(0.0005)
    precedence.begin()

    await store_one_by_one(new_writer(desk, precedence), 3)

    assert distances(desk.began) == pytest.approx([0.0005 * (1 + RESTS)] * 2)


@virtual_time
async def test_what_comes_during_a_rest_is_stored_together_in_order() -> None:
    precedence, desk = Precedence(current_clock()), SlowDesk(LONG)
    precedence.begin()
    writer = new_writer(desk, precedence)
    await writer.append([put("first")])

    placed = await asyncio.gather(*(writer.append([put(number)]) for number in range(20)))

    assert [one.sequence for [one] in placed] == list(range(2, 22))
    assert len(desk.began) == 2


@virtual_time
async def test_a_flush_waits_for_what_a_rest_holds_up() -> None:
    precedence, desk = Precedence(current_clock()), SlowDesk(LONG)
    precedence.begin()
    writer = new_writer(desk, precedence)
    await writer.append([put("first")])
    second = writer.append([put("second")])

    await writer.flush()

    assert [one.sequence for one in second.result()] == [2]


@virtual_time
async def test_what_a_batch_does_not_take_away_goes_with_the_next_ones_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tekton.bus.streams.writer.REMOVED_AT_ONCE", 4)
    owner, desk, store = Done(10), SlowDesk(LONG), MemoryStreamStore()
    writer = StreamWriter(store, desk, owner, current_clock())

    writer.note_progress()
    await asyncio.sleep(LAZINESS + 1)

    assert owner.removing == []
    assert distances(desk.began) == pytest.approx([LONG, LONG])


@virtual_time
async def test_so_it_does_while_messages_are_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tekton.bus.streams.writer.REMOVED_AT_ONCE", 4)
    owner, store = Done(10), MemoryStreamStore()
    store.put_stream("orders", StreamSettings(("orders.>",)), 0.0)
    writer = StreamWriter(store, SlowDesk(GATHER / 100), owner, current_clock())

    await asyncio.sleep(GATHER)
    writer.note_progress()
    for number in range(1, 4):
        await writer.append([put(number)])

    assert owner.removing == []


@virtual_time
async def test_a_flush_waits_for_all_that_is_done_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tekton.bus.streams.writer.REMOVED_AT_ONCE", 4)
    owner = Done(10)
    writer = StreamWriter(MemoryStreamStore(), SlowDesk(LONG), owner, current_clock())
    writer.note_progress()

    await writer.flush()

    assert owner.removing == []


@virtual_time
async def test_what_the_store_has_no_stream_for_is_refused_alone() -> None:
    writer = new_writer(AtOnce(), Precedence(current_clock()))
    asked = [writer.append([put(1)]), writer.append([put(2), put(3)._replace(stream="sales")]), writer.append([put(4)])]

    one, lost, other = await asyncio.gather(*asked, return_exceptions=True)

    assert isinstance(lost, StreamNotFoundError)
    assert [one, other] == [[Placed(1, duplicate=False)], [Placed(2, duplicate=False)]]
    assert (writer.failure, writer.stored) == (None, 2)


@virtual_time
async def test_a_job_that_was_cancelled_does_not_hold_up_those_behind_it() -> None:
    writer = new_writer(AtOnce(), Precedence(current_clock()))
    cancelled, job = writer.alone(lambda: 1), writer.alone(lambda: 2)
    cancelled.cancel()

    async with asyncio.timeout(1):
        assert await job == 2
        writer.alone(lambda: 3).cancel()
        assert len(await writer.append([put(1)])) == 1


class Forgetful(Nobody):
    """Has had the stream "sales" once."""

    def has_stream(self, name: str) -> bool:
        return name != "sales"


@virtual_time
async def test_more_than_a_batch_for_a_stream_that_is_gone_does_not_hold_up_what_is_behind_it() -> None:
    store = MemoryStreamStore()
    store.put_stream("orders", StreamSettings(("orders.>",)), 0.0)
    writer = StreamWriter(store, AtOnce(), Forgetful(), current_clock())
    gone = [writer.append([put(number)._replace(stream="sales")]) for number in range(MAX_BATCH)]
    behind = writer.append([put("behind")])

    async with asyncio.timeout(1):
        ends = await asyncio.gather(*gone, return_exceptions=True)
        assert len(await behind) == 1
    assert all(isinstance(one, StreamNotFoundError) for one in ends)
