"""Tests of tekton.core.signals: waiting for names."""

import asyncio

from tekton.core.signals import Signals


async def test_everybody_who_waits_for_a_name_is_woken() -> None:
    signals = Signals()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(signals.wait(["a", "b"]))
        await asyncio.sleep(0)
        signals.notify("b")


async def test_other_names_wake_nobody() -> None:
    signals = Signals()

    with signals.watch(["a"]) as changed:
        signals.notify("b")
        assert not changed.done()
        signals.notify("a")
        assert changed.done()
        signals.notify("a")


async def test_a_notification_that_nobody_waits_for_is_forgotten() -> None:
    signals = Signals()
    signals.notify("a")

    with signals.watch(["a"]) as changed:
        assert not changed.done()


async def test_those_who_gave_up_leave_nothing_behind() -> None:
    signals = Signals()
    waiting = asyncio.ensure_future(signals.wait(["a", "b", "a"]))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])

    assert signals._waiting == {}
