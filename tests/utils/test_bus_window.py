"""How much may be under way at a time."""

import asyncio

import pytest

from tekton.utils.bus_window import Window


async def entering(window: Window, size: int, inside: list[int]) -> None:
    await window.enter(size)
    inside.append(size)


async def settled() -> None:
    """Every task has had its turn."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_so_many_may_be_inside() -> None:
    window, inside = Window(2, 100), list[int]()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for size in (1, 2, 3):
            group.create_task(entering(window, size, inside))
        await settled()
        assert inside == [1, 2]
        window.leave(1)

    assert inside == [1, 2, 3]


async def test_and_so_much() -> None:
    window, inside = Window(10, 100), list[int]()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for size in (60, 50, 10):
            group.create_task(entering(window, size, inside))
        await settled()
        assert inside == [60], "who is small does not pass who came first"
        window.leave(60)

    assert inside == [60, 50, 10]


async def test_one_alone_may_be_as_large_as_it_likes() -> None:
    window = Window(10, 100)

    async with asyncio.timeout(5):
        await window.enter(1000)


async def test_who_gives_up_lets_the_next_one_in() -> None:
    window, inside = Window(10, 100), list[int]()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        await window.enter(50)
        large = group.create_task(entering(window, 80, inside))
        group.create_task(entering(window, 40, inside))
        await settled()
        assert inside == []
        large.cancel()

    assert inside == [40]


async def test_who_is_cancelled_when_he_was_let_in_leaves_nothing_behind() -> None:
    window, inside = Window(1, 100), list[int]()
    await window.enter(1)
    second = asyncio.ensure_future(entering(window, 2, inside))
    await settled()

    window.leave(1)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second

    async with asyncio.timeout(5):
        await window.enter(3)
