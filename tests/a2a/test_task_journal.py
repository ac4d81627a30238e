"""Whoever wants to know hears what happens to tasks."""

import asyncio
import logging

import pytest

from tekton.a2a.task_event import Budget, Canceled, Created, Leased
from tekton.a2a.task_journal import TaskChange, TaskJournal
from tekton.a2a.task_log import MemoryTaskLog
from tekton.testing import ManualClock

CREATED = Created("review", {}, 1.0, Budget(), "t")


def journal() -> TaskJournal:
    return TaskJournal(MemoryTaskLog(), ManualClock(wall=50.0))


def test_listeners_hear_of_every_event_in_order_until_they_have_enough() -> None:
    told: list[TaskChange] = []
    journal_ = journal()
    enough = journal_.listen(told.append)

    task = journal_.append("t", CREATED, Leased("w", "ada"))
    enough()
    enough()
    journal_.append("t", Canceled())

    assert [(change.event.number, change.revision) for change in told] == [(1, 1), (2, 2)]
    assert (told[1].task, told[1].event.at) == (task, 50.0)
    assert journal_.version == 3


def test_a_listener_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    journal_ = journal()
    journal_.listen(lambda _: 1 / 0)

    with caplog.at_level(logging.ERROR):
        journal_.append("t", CREATED)

    assert "a listener failed at a change of task t" in caplog.text


async def test_who_waits_for_a_task_is_woken_by_that_one_only() -> None:
    journal_ = journal()
    journal_.append("t", CREATED)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        one = group.create_task(journal_.next_change("t"))
        any_ = group.create_task(journal_.changed(1))
        await asyncio.sleep(0)
        journal_.append("u", CREATED)
        assert await any_ == 2
        assert not one.done()
        journal_.append("t", Canceled())
