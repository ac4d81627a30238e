"""Tests of tekton.core.startup.places: places that can be lent."""

import asyncio

from tekton.core.startup.places import Place, Places, hold, lent
from tekton.testing import virtual_time


class Guest:
    """Somebody who wants a place."""

    def __init__(self, places: Places) -> None:
        self.place: Place | None = None
        self.leave = asyncio.Event()
        self.task = asyncio.ensure_future(self._stay(places))

    async def _stay(self, places: Places) -> None:
        async with places.take() as self.place:
            await self.leave.wait()

    @property
    def seated(self) -> bool:
        return self.place is not None and not self.task.done()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def guests(places: Places, count: int) -> list[Guest]:
    made = [Guest(places) for _ in range(count)]
    await settle()
    return made


async def dismiss(*leaving: Guest) -> None:
    for guest in leaving:
        guest.leave.set()
    await asyncio.wait([guest.task for guest in leaving])


@virtual_time
async def test_places_are_given_in_the_order_of_asking() -> None:
    first, second, third = await guests(Places(1), 3)
    assert [guest.seated for guest in (first, second, third)] == [True, False, False]

    await dismiss(first)
    await settle()

    assert [guest.seated for guest in (second, third)] == [True, False]
    await dismiss(second, third)


@virtual_time
async def test_without_a_limit_everybody_gets_one() -> None:
    everybody = await guests(Places(None), 100)
    assert all(guest.seated for guest in everybody)
    await dismiss(*everybody)


@virtual_time
async def test_a_lent_place_is_taken_by_the_next_and_comes_back_before_newcomers_get_one() -> None:
    places = Places(1)
    lender, borrower, newcomer = await guests(places, 3)
    assert lender.place is not None

    lender.place.lend()
    await settle()
    assert borrower.seated
    back = asyncio.ensure_future(lender.place.take_back())
    await settle()
    assert not back.done()
    await dismiss(borrower)
    await settle()

    assert back.done()
    assert not newcomer.seated
    await dismiss(lender)
    await settle()
    assert newcomer.seated
    await dismiss(newcomer)


@virtual_time
async def test_a_place_comes_back_when_the_last_wait_in_it_is_over() -> None:
    places = Places(1)
    lender, other = await guests(places, 2)
    assert lender.place is not None
    lender.place.lend()
    lender.place.lend()
    await lender.place.take_back()
    await settle()
    assert other.seated

    back = asyncio.ensure_future(lender.place.take_back())
    await settle()
    lender.place.lend()
    await dismiss(other)
    await back
    # Somebody waits in it again: it is free for others.
    third = (await guests(places, 1))[0]
    assert third.seated
    lender.place.give_up()
    await dismiss(lender, third)


@virtual_time
async def test_no_place_is_lost_whoever_gives_up_waiting_for_one_and_when() -> None:
    for steps in range(6):
        places = Places(1)
        holder, waiting = await guests(places, 2)
        holder.leave.set()
        for _ in range(steps):
            await asyncio.sleep(0)
        waiting.task.cancel()
        await asyncio.wait([holder.task, waiting.task])

        last = (await guests(places, 1))[0]
        assert last.seated, steps
        await dismiss(last)


@virtual_time
async def test_a_place_that_is_closed_while_it_is_lent_does_not_come_back() -> None:
    places = Places(1)
    lender, other = await guests(places, 2)
    assert lender.place is not None
    lender.place.lend()
    await settle()
    await dismiss(lender)
    await lender.place.take_back()
    await dismiss(other)

    both = await guests(places, 2)
    assert [guest.seated for guest in both] == [True, False]
    await dismiss(*both)


@virtual_time
async def test_a_wait_that_is_given_up_leaves_the_place_to_the_others_in_it() -> None:
    places = Places(1)
    lender, other = await guests(places, 2)
    assert lender.place is not None
    lender.place.lend()
    lender.place.lend()
    await settle()
    assert other.seated

    lender.place.give_up()
    back = asyncio.ensure_future(lender.place.take_back())
    await settle()
    assert not back.done()
    await dismiss(other)
    await back

    newcomer = (await guests(places, 1))[0]
    assert not newcomer.seated
    await dismiss(lender, newcomer)


# A place that is found in the context.


@virtual_time
async def test_what_is_begun_in_a_place_can_lend_it_while_it_waits() -> None:
    places = Places(1)
    room = asyncio.Event()

    async def begun() -> None:
        async with lent():
            await room.wait()

    async def holder() -> None:
        async with places.take() as place:
            hold(place)
            async with asyncio.TaskGroup() as group:
                group.create_task(begun())

    async with asyncio.TaskGroup() as group:
        held = group.create_task(holder())
        (guest,) = await guests(places, 1)
        assert guest.seated
        room.set()
        await settle()
        assert not held.done()
        await dismiss(guest)
    assert places._free == 1


@virtual_time
async def test_a_wait_that_is_cancelled_does_not_lose_the_place() -> None:
    places = Places(1)

    async def holder() -> None:
        async with places.take() as place:
            hold(place)
            async with lent():
                await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        held = group.create_task(holder())
        await settle()
        held.cancel()
    assert places._free == 1


@virtual_time
async def test_without_a_place_nothing_is_lent() -> None:
    async with lent():
        pass
