"""Tests of tekton.core.degradation.bulkhead: how many run, who waits, and that no place is lost."""

import asyncio

import pytest

from tekton.core.degradation.bulkhead import Bulkhead, Slot
from tekton.utils.tekton_errors import BulkheadFullError


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_without_a_queue_one_too_many_is_refused_at_once() -> None:
    bulkhead = Bulkhead("rhetor", 2)
    slots = [await bulkhead.enter() for _ in range(2)]

    with pytest.raises(BulkheadFullError) as refused:
        await bulkhead.enter()

    assert (refused.value.component_id, refused.value.limit, refused.value.waiting) == ("rhetor", 2, 0)
    slots[0].release()
    await bulkhead.enter()
    assert bulkhead.running == 2


async def test_without_a_limit_there_is_always_a_place() -> None:
    bulkhead = Bulkhead("rhetor")

    slots = [await bulkhead.enter() for _ in range(100)]
    assert bulkhead.running == 100
    for slot in slots:
        slot.release()

    assert bulkhead.running == 0


async def test_those_who_wait_get_their_place_in_the_order_of_their_arrival() -> None:
    bulkhead = Bulkhead("rhetor", 1, max_waiting=3)
    first = await bulkhead.enter()
    order: list[int] = []

    async def enter(number: int) -> None:
        slot = await bulkhead.enter()
        order.append(number)
        slot.release()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(enter(number))
        await settled()
        assert bulkhead.waiting == 3
        with pytest.raises(BulkheadFullError, match="1 calls run already, 3 wait"):
            await bulkhead.enter()
        first.release()

    assert order == [0, 1, 2]
    assert (bulkhead.running, bulkhead.waiting) == (0, 0)


async def test_one_who_gives_up_waiting_leaves_the_queue() -> None:
    bulkhead = Bulkhead("rhetor", 1, max_waiting=1)
    first = await bulkhead.enter()
    waiting = asyncio.create_task(bulkhead.enter())
    await settled()

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert bulkhead.waiting == 0
    first.release()
    assert bulkhead.running == 0


@pytest.mark.parametrize("released_first", [True, False])
async def test_a_place_that_is_handed_to_one_who_gives_up_at_that_moment_is_not_lost(released_first: bool) -> None:
    bulkhead = Bulkhead("rhetor", 1, max_waiting=2)
    first = await bulkhead.enter()
    gives_up, patient = (asyncio.create_task(bulkhead.enter()) for _ in range(2))
    await settled()

    if released_first:
        first.release()
    gives_up.cancel()
    if not released_first:
        first.release()
    outcomes = await asyncio.gather(gives_up, patient, return_exceptions=True)

    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert isinstance(outcomes[1], Slot)
    outcomes[1].release()
    assert (bulkhead.running, bulkhead.waiting) == (0, 0)


async def test_no_place_is_lost_whenever_callers_give_up() -> None:
    bulkhead = Bulkhead("rhetor", 2, max_waiting=100)

    async def work() -> None:
        slot = await bulkhead.enter()
        try:
            await asyncio.sleep(0)
        finally:
            slot.release()

    for round_ in range(40):
        tasks = [asyncio.create_task(work()) for _ in range(9)]
        for _ in range(round_ % 8):
            await asyncio.sleep(0)
        for task in tasks[round_ % 3 :: 2]:
            task.cancel()
        async with asyncio.timeout(10):
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)

        assert {type(outcome) for outcome in outcomes} <= {type(None), asyncio.CancelledError}
        assert (bulkhead.running, bulkhead.waiting) == (0, 0)


async def test_a_slot_with_two_holders_is_free_when_both_have_let_go() -> None:
    bulkhead = Bulkhead("rhetor", 1)
    slot = await bulkhead.enter()
    slot.hold()

    slot.release()
    assert bulkhead.running == 1
    slot.release()

    assert bulkhead.running == 0


@pytest.mark.parametrize(("concurrent", "waiting"), [(0, 0), (1, -1)])
def test_limits_that_are_none_are_refused(concurrent: int, waiting: int) -> None:
    with pytest.raises(ValueError, match="max_concurrent"):
        Bulkhead("rhetor", concurrent, waiting)
