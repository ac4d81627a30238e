"""The writer of streams lets the registry go first, and gets on all the same. In virtual time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from itertools import pairwise
from typing import Any, Final

import pytest
from stream_owner import Nobody, put

from tekton.bus.bus import StreamSettings
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.bus.streams.writer import StreamWriter
from tekton.core.precedence import LONGEST_REST, RESTS, Precedence
from tekton.testing.clock import current_clock, virtual_time

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


def new_writer(desk: SlowDesk, precedence: Precedence) -> StreamWriter:
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
