"""What is written when, what waits for the disk, and what the disk's refusals do, in virtual time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import pytest

from tekton.a2a.work import writer as module
from tekton.a2a.work.work_batch import WorkBatch
from tekton.a2a.work.writer import LAZINESS, PAUSE, RETRY_AFTER, WorkWriter
from tekton.clock import SYSTEM_CLOCK
from tekton.testing.clock import current_clock, virtual_time
from tekton.utils.tekton_errors import StorageBusyError, StorageError, StorageFullError, StorageUnknownError

_T = TypeVar("_T")


class AtOnce:
    """A thread that has done everything when it is asked to, or nothing before it is told to."""

    def __init__(self) -> None:
        self.stands = False
        self._jobs: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, job: Callable[[], _T]) -> "Future[_T]":
        future: Future[_T] = Future()
        self._jobs.append((future, job))
        if not self.stands:
            self.go_on()
        return future

    def go_on(self) -> None:
        self.stands = False
        jobs, self._jobs = self._jobs, []
        for future, job in jobs:
            try:
                future.set_result(job())
            except StorageError as error:
                future.set_exception(error)


class Paper:
    """A file that remembers how many changes each batch had. It fails with *error*, as long as there is one."""

    def __init__(self) -> None:
        self.written: list[int] = []
        self.tries = 0
        self.tidied = 0
        self.more = 0
        self.error: StorageError | None = None

    def write(self, batch: WorkBatch) -> None:
        self.tries += 1
        if self.error is not None:
            raise self.error
        self.written.append(batch.changes)

    def tidy(self) -> bool:
        if self.error is not None:
            raise self.error
        self.tidied += 1
        return self.tidied < self.more


class Setting:
    def __init__(self) -> None:
        self.paper, self.desk = Paper(), AtOnce()
        self.writer = WorkWriter(self.paper, self.desk, current_clock())

    def change(self, count: int = 1, size: int = 10) -> None:
        for _ in range(count):
            self.writer.admit(size)


@virtual_time
async def test_what_is_said_in_one_turn_is_written_together() -> None:
    at = Setting()
    at.change(3)

    await asyncio.gather(at.writer.flush(), at.writer.flush())

    assert (at.paper.written, at.writer.waiting) == ([3], 0)
    await at.writer.flush()
    assert at.paper.tries == 1


@virtual_time
async def test_what_comes_while_a_batch_is_written_is_the_next_one() -> None:
    at = Setting()
    at.desk.stands = True
    at.change()
    first = asyncio.ensure_future(at.writer.flush())
    await asyncio.sleep(0.01)
    at.change(5)
    second = asyncio.ensure_future(at.writer.flush())
    await asyncio.sleep(0.01)
    assert (first.done(), at.writer.waiting) == (False, 6)

    at.desk.go_on()
    await asyncio.gather(first, second)

    assert at.paper.written == [1, 5]


@virtual_time
async def test_what_nobody_waits_for_is_written_a_little_later() -> None:
    at = Setting()
    at.change(2)

    await asyncio.sleep(LAZINESS - 0.01)
    assert at.paper.written == []
    at.change()
    await asyncio.sleep(0.02)
    assert at.paper.written == [3]


def test_changes_may_come_before_there_is_a_loop() -> None:
    paper, desk = Paper(), AtOnce()
    writer = WorkWriter(paper, desk, SYSTEM_CLOCK)
    writer.admit(1)

    asyncio.run(writer.flush())

    assert paper.written == [1]


@virtual_time
async def test_a_batch_has_so_many_changes_and_bytes_and_one_change_always_fits() -> None:
    at = Setting()
    at.change(600)
    at.change(3, 600_000)
    at.change(1, 5_000_000)

    await at.writer.flush()

    assert at.paper.written == [512, 89, 1, 1, 1]


@virtual_time
async def test_there_is_no_room_for_more_than_can_wait() -> None:
    at = Setting()
    at.desk.stands = True
    at.change(module.MOST_WAITING)
    with pytest.raises(StorageBusyError):
        at.change()

    flushed = asyncio.ensure_future(at.writer.flush())
    await asyncio.sleep(0.01)
    at.desk.go_on()
    await flushed

    at.change(1, module.MOST_WAITING_BYTES + 1)
    with pytest.raises(StorageBusyError):
        at.change(1, 1)
    await at.writer.flush()
    at.change()


# Refusals


@virtual_time
async def test_what_finds_no_room_stays_and_is_tried_again_by_whoever_waits_next() -> None:
    at = Setting()
    at.paper.error = StorageFullError("full")
    at.change(2)
    with pytest.raises(StorageFullError):
        await at.writer.flush()
    at.change()
    with pytest.raises(StorageFullError):
        await at.writer.flush()
    assert (at.writer.full, at.writer.failure, at.writer.waiting) == (True, None, 3)

    at.paper.error = None
    await at.writer.flush()

    assert (at.paper.written, at.writer.full) == ([3], False)


@virtual_time
async def test_what_finds_no_room_is_tried_again_after_a_while_and_not_before() -> None:
    at = Setting()
    at.paper.error = StorageFullError("full")
    at.change()
    await asyncio.sleep(LAZINESS + 0.01)
    at.change()
    await asyncio.sleep(RETRY_AFTER - 0.1)
    assert at.paper.tries == 1

    at.paper.error = None
    await asyncio.sleep(0.2)

    assert (at.paper.written, at.writer.full) == ([2], False)


@virtual_time
async def test_after_an_unknown_outcome_nothing_is_taken_and_all_who_wait_are_told() -> None:
    at = Setting()
    told: list[StorageError] = []
    at.writer.add_failure_listener(told.append)
    at.paper.error = StorageUnknownError("the store has stopped")
    at.change()

    outcomes = await asyncio.gather(at.writer.flush(), at.writer.flush(), return_exceptions=True)

    assert [type(one) for one in outcomes] == [StorageUnknownError] * 2
    assert told == [at.writer.failure]
    with pytest.raises(StorageUnknownError):
        at.writer.admit(1)
    with pytest.raises(StorageUnknownError):
        await at.writer.flush()
    await asyncio.sleep(10)
    assert at.paper.tries == 1


@virtual_time
async def test_an_error_that_nobody_knows_is_an_unknown_outcome() -> None:
    at = Setting()
    future: Future[None] = Future()
    future.set_exception(ZeroDivisionError())
    at.desk.submit = lambda _: future  # type: ignore[assignment,method-assign,return-value]
    at.change()

    with pytest.raises(StorageUnknownError, match="ZeroDivisionError"):
        await at.writer.flush()


@virtual_time
async def test_whoever_waits_no_longer_holds_nobody_up() -> None:
    at = Setting()
    at.desk.stands = True
    at.change()
    gone, stays = asyncio.ensure_future(at.writer.flush()), asyncio.ensure_future(at.writer.flush())
    await asyncio.sleep(0.01)
    gone.cancel()

    at.desk.go_on()
    await stays

    assert gone.cancelled()


# Tidying


@virtual_time
async def test_there_is_time_to_tidy_when_nothing_has_come_for_a_while() -> None:
    at = Setting()
    at.paper.more = 3
    at.change()
    await at.writer.flush()

    await asyncio.sleep(PAUSE - 0.1)
    assert at.paper.tidied == 0
    await asyncio.sleep(PAUSE * 5)
    assert at.paper.tidied == 3


@virtual_time
async def test_tidying_that_finds_no_room_is_done_later_and_that_fails_stops_everything() -> None:
    at = Setting()
    at.change()
    await at.writer.flush()
    at.paper.error = StorageFullError("full")
    await asyncio.sleep(PAUSE + 0.1)
    assert at.writer.failure is None

    at.paper.error = StorageUnknownError("the file was taken away")
    await asyncio.sleep(RETRY_AFTER)
    assert isinstance(at.writer.failure, StorageUnknownError)
