"""Tests of tekton.core.degradation.deadline: how much time is left, however deep one is."""

import asyncio

from tekton.core.degradation.deadline import time_left, within
from tekton.testing import virtual_time


@virtual_time
async def test_time_passes() -> None:
    assert time_left() is None
    with within(10.0) as deadline:
        await asyncio.sleep(4)
        assert time_left() == 6.0
        assert deadline == asyncio.get_running_loop().time() + 6.0
        await asyncio.sleep(7)
        assert time_left() == -1.0

    assert time_left() is None


@virtual_time
async def test_a_call_inside_another_one_has_no_more_time_than_that() -> None:
    with within(10.0):
        with within(60.0):
            assert time_left() == 10.0
        with within(None):
            assert time_left() == 10.0
        with within(3.0):
            assert time_left() == 3.0
        assert time_left() == 10.0


@virtual_time
async def test_without_a_limit_there_is_no_deadline() -> None:
    with within(None) as deadline:
        assert deadline is None
        assert time_left() is None


@virtual_time
async def test_tasks_and_threads_know_the_deadline_too() -> None:
    async def ask() -> float | None:
        return time_left()

    with within(10.0):
        assert await asyncio.create_task(ask()) == 10.0
        assert await asyncio.to_thread(time_left) == 10.0


@virtual_time
async def test_what_goes_on_after_a_call_that_ends_is_bound_no_more() -> None:
    over = asyncio.Event()
    left: list[float | None] = []

    async def background() -> None:
        left.append(time_left())
        await over.wait()
        left.append(time_left())

    with within(60):
        async with asyncio.TaskGroup() as group:
            with within(30, ends=True):
                group.create_task(background())
                await asyncio.sleep(10)
            over.set()

    assert left == [30, 50]
