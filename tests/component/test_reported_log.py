"""What waits for a report: in its order, bounded, and until it is known to have arrived."""

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from tekton.a2a.task import Lease, Task, TaskState
from tekton.a2a.task_event import (
    ArtifactAdded,
    Budget,
    Change,
    Completed,
    Created,
    InputGiven,
    InputRequired,
    Progressed,
    Spent,
    StepCompleted,
)
from tekton.a2a.task_reports import MOST_CHANGES
from tekton.component import reported_log
from tekton.component.reported_log import ReportedLog
from tekton.utils.tekton_errors import StaleLeaseError, StorageBusyError, TaskStateError


def log_of() -> ReportedLog:
    created = Created("review", {}, 100.0, Budget(), "t1")
    return ReportedLog(
        Task("t1", created, 0.0, 0.0, state=TaskState.WORKING, epoch=3, lease=Lease(3, "", "a")), lambda: None
    )


def say(log: ReportedLog, *changes: Change, epoch: int | None = 3) -> None:
    log.append("t1", changes, 1.0, epoch=epoch)


def said(batch: tuple[int, list[msgspec.Raw], bool]) -> tuple[int, list[Any], bool]:
    first, changes, ends = batch
    return first, [msgspec.json.decode(change) for change in changes], ends


def step(name: str, size: int = 0) -> StepCompleted:
    return StepCompleted(name, "x" * size)


async def test_changes_wait_in_their_order_until_they_are_taken() -> None:
    log = log_of()
    say(log, step("a"), step("b"))
    before = said(log.batch(10_000))
    gone = log.take(1)
    after = said(log.batch(10_000))

    assert [change["step"] for change in before[1]] == ["a", "b"]
    assert (before[0], gone, after[0], [change["step"] for change in after[1]]) == (0, [step("a")], 1, ["b"])


async def test_a_flush_ends_when_all_before_it_is_taken() -> None:
    log = log_of()
    say(log, step("a"))
    async with asyncio.TaskGroup() as group:
        flush = group.create_task(log.flush())
        await asyncio.sleep(0)
        say(log, step("b"))
        waits = not flush.done()
        log.take(1)

    assert waits
    assert not log.is_reported


async def test_a_report_has_no_more_than_so_much_or_one_change() -> None:
    log = log_of()
    say(log, step("a", 500), step("b", 500), step("c", 5000))

    assert len(log.batch(1200)[1]) == 2
    log.take(2)
    assert len(log.batch(1200)[1]) == 1


async def test_a_report_has_no_more_changes_than_is_taken_at_once() -> None:
    log = log_of()
    say(log, *[Spent(1.0)] * (MOST_CHANGES + 2))
    log.conclude(Completed("done"))
    first = log.batch(10**9)
    log.take(MOST_CHANGES)
    second = log.batch(10**9)

    assert [(place, len(changes), ends) for place, changes, ends in (first, second)] == [
        (0, MOST_CHANGES, False),
        (MOST_CHANGES, 3, True),
    ]


async def test_the_end_comes_behind_everything_else() -> None:
    log = log_of()
    say(log, step("a", 500))
    log.conclude(Completed("x" * 800))
    first = said(log.batch(1000))
    log.take(1)
    second = said(log.batch(10))

    assert (first[2], second[2], second[1][0]["event"]) == (False, True, "completed")


async def test_only_the_last_progress_that_was_not_sent_waits() -> None:
    log = log_of()
    say(log, Progressed(1))
    log.batch(1000)
    say(log, Progressed(2))
    say(log, Progressed(3))

    assert [change["done"] for change in said(log.batch(1000))[1]] == [1.0, 3.0]


async def test_what_is_heard_is_not_reported() -> None:
    log = log_of()
    say(log, InputRequired("ask", "Which?"))
    log.take(1)
    say(log, InputGiven("ask", "that"), epoch=None)

    assert (log.now.steps, log.now.state, log.is_reported) == ({"ask": "that"}, TaskState.WORKING, True)


async def test_what_cannot_happen_is_refused_here() -> None:
    log = log_of()

    with pytest.raises(StaleLeaseError):
        say(log, step("a"), epoch=2)
    with pytest.raises(TaskStateError):
        say(log, InputRequired("a", "?"), InputRequired("b", "?"))
    assert log.is_reported


@pytest.mark.parametrize("limit", ["MOST_WAITING", "MOST_WAITING_BYTES"])
async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(reported_log, limit, 2)
    log = log_of()
    say(log, ArtifactAdded("a", 1))
    with suppress(StorageBusyError):  # one that is as large as that
        say(log, ArtifactAdded("b", 1))

    with pytest.raises(StorageBusyError):
        say(log, ArtifactAdded("c", 1))
    assert len(log.batch(10_000)[1]) <= 2


async def test_nothing_goes_on_when_the_work_has_ended() -> None:
    log = log_of()
    say(log, step("a"))
    async with asyncio.TaskGroup() as group:
        flush = group.create_task(log.flush())
        await asyncio.sleep(0)
        log.take(1)
        log.conclude(Completed(1))  # before the one who waits has heard of it
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waits = not flush.done()
        flush.cancel()

    assert waits


async def test_what_is_dropped_is_waited_for_no_more() -> None:
    log = log_of()
    say(log, step("a"))
    log.drop()

    assert said(log.batch(1000)) == (0, [], False)
