"""Background tasks: what stopping one does when the one who stops it is cancelled himself."""

import asyncio
from contextlib import suppress

import pytest

from tekton.background import BackgroundGroup, BackgroundTask
from tekton.utils.causes import CAUSE, Cause


async def stubborn(begun: asyncio.Event, go_on: asyncio.Event) -> None:
    """Cleans up for as long as nobody sets *go_on*."""
    try:
        begun.set()
        await asyncio.Event().wait()
    finally:
        await go_on.wait()


async def test_who_stops_a_task_because_he_was_cancelled_goes_on_cleaning_up() -> None:
    begun, cleaned_up = asyncio.Event(), asyncio.Event()

    async def use() -> None:
        task = BackgroundTask("helper")
        task.start(stubborn(begun, begun))
        try:
            await asyncio.Event().wait()
        finally:
            await task.stop()
            cleaned_up.set()

    async with asyncio.timeout(5):
        user = asyncio.ensure_future(use())
        await begun.wait()
        user.cancel()
        with pytest.raises(asyncio.CancelledError):
            await user

    assert cleaned_up.is_set()


async def test_who_is_cancelled_while_he_stops_a_task_waits_no_longer() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    task = BackgroundTask("helper")
    task.start(stubborn(begun, go_on))

    async with asyncio.timeout(5):
        await begun.wait()
        stopping = asyncio.ensure_future(task.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await stopping


async def test_a_task_of_an_owner_is_caused_by_no_message_and_one_of_a_group_by_that_of_who_spawned_it() -> None:
    found: list[object] = []

    async def note() -> None:
        found.append(CAUSE.get())

    cause = Cause("0190b5e4-7e4d-7c3a-8f2b-3d6f1a2b3c4d", 1)
    token = CAUSE.set(cause)
    task, group = BackgroundTask("helper"), BackgroundGroup("helpers")
    try:
        task.start(note())
        await group.spawn(note(), "one")
        await task.join()
    finally:
        CAUSE.reset(token)

    assert found == [None, cause]


async def test_stopping_raises_what_the_task_failed_with(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("no")

    task = BackgroundTask("helper")
    task.start(fail())
    async with asyncio.timeout(5):
        with suppress(ValueError):
            await task.join()
        with pytest.raises(ValueError, match="no"):
            await task.stop()

    assert "background task helper failed" in caplog.text
