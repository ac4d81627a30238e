"""On whose behalf: an attribution holds in its own task, and nowhere else."""

import asyncio
import gc
from collections.abc import Iterator
from contextvars import Context, copy_context
from weakref import ref

import pytest

from tekton.core.attribution import Attribution, act_for, attributed, current

ANN = Attribution("ann", "token", "192.0.2.7", "r1")
BOB = Attribution("bob")


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What refers to itself stays."""
    gc.disable()
    yield
    gc.enable()


async def test_an_attribution_holds_until_its_block_ends() -> None:
    with attributed(ANN):
        assert current() == ANN
        await asyncio.sleep(0)
        assert current() == ANN

    assert current() is None


async def test_the_inner_of_two_attributions_holds() -> None:
    with attributed(ANN):
        with attributed(BOB):
            assert current() == BOB
        with attributed(None):
            assert current() is None
        assert current() == ANN


async def test_it_ends_with_its_block_when_that_fails() -> None:
    with pytest.raises(ValueError, match="x"), attributed(ANN):
        raise ValueError("x")

    assert current() is None


async def test_what_a_caller_has_set_off_is_not_attributed_to_him() -> None:
    found: list[Attribution | None] = []

    async def work() -> None:
        found.append(current())

    with attributed(ANN):
        asyncio.get_running_loop().call_soon(lambda: found.append(current()))
        async with asyncio.TaskGroup() as group:
            group.create_task(work())

    assert found == [None, None]


async def test_a_task_that_acts_for_somebody_does_so_until_it_ends() -> None:
    asked = 0

    def source() -> Attribution:
        nonlocal asked
        asked += 1
        return ANN

    async def request() -> Attribution | None:
        act_for(source)
        await asyncio.sleep(0)
        assert asked == 0
        return current()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(request())

    assert (task.result(), asked) == (ANN, 1)
    assert current() is None


async def test_tasks_do_not_see_the_attributions_of_one_another() -> None:
    async def work(attribution: Attribution) -> Attribution | None:
        with attributed(attribution):
            await asyncio.sleep(0)
            return current()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work(one)) for one in (ANN, BOB)]

    assert [task.result() for task in tasks] == [ANN, BOB]


def test_without_an_event_loop_it_holds_in_the_thread() -> None:
    with attributed(ANN):
        assert current() == ANN
    assert current() is None


async def test_it_holds_in_no_callback_that_outlives_its_task() -> None:
    found: list[Attribution | None] = []
    contexts: list[Context] = []

    async def request() -> None:
        act_for(lambda: ANN)
        contexts.append(copy_context())

    await asyncio.create_task(request())
    asyncio.get_running_loop().call_soon(lambda: found.append(current()), context=contexts[0])
    await asyncio.sleep(0)

    assert found == [None]


async def test_a_task_that_acts_for_somebody_leaves_nothing_to_collect(no_collector: None) -> None:
    async def request() -> None:
        act_for(lambda: ANN)

    task = asyncio.create_task(request())
    await task
    gone = ref(task)
    del task
    await asyncio.sleep(0)  # what has woken this test refers to the task

    assert gone() is None
