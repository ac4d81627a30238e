"""Tests of tekton.core.startup.signals: watching names."""

import asyncio

from tekton.core.startup.signals import Signals


async def test_everybody_who_watches_a_name_is_told() -> None:
    signals = Signals()

    async def wait() -> set[str]:
        with signals.watch(["a", "b"]) as watch:
            await watch.changed()
            return watch.take()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = [group.create_task(wait()) for _ in range(3)]
        await asyncio.sleep(0)
        signals.notify("b")

    assert [task.result() for task in waiting] == [{"b"}] * 3


async def test_other_names_wake_nobody() -> None:
    signals = Signals()

    with signals.watch(["a"]) as watch:
        changed = watch.changed()
        signals.notify("b")
        assert not changed.done()
        signals.notify("a")
        assert changed.done()
        signals.notify("a")


async def test_what_happens_between_two_looks_is_not_lost() -> None:
    signals = Signals()

    with signals.watch(["a", "b"]) as watch:
        signals.notify("a")
        signals.notify("b")
        assert watch.changed().done()
        assert watch.take() == {"a", "b"}
        assert not watch.changed().done()
        signals.notify("b")
        assert watch.changed().done()
        assert watch.take() == {"b"}


async def test_a_notification_that_nobody_watches_for_is_forgotten() -> None:
    signals = Signals()
    signals.notify("a")

    with signals.watch(["a"]) as watch:
        assert not watch.changed().done()


async def test_those_who_gave_up_leave_nothing_behind() -> None:
    signals = Signals()

    async def wait() -> None:
        with signals.watch(["a", "b", "a"]) as watch:
            await watch.changed()

    waiting = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])

    assert signals._watches == {}
