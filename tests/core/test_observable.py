"""Changes are told to listeners, each of them, and to those who wait, as a version."""

import asyncio
import logging

import pytest

from tekton.core.observable import Observable


class Lamp(Observable[str]):
    def __init__(self) -> None:
        super().__init__(logging.getLogger("tekton.lamp"))

    def turn(self, state: str) -> None:
        self._tell(state, "the lamp")


def test_listeners_hear_each_change_in_order_until_they_have_enough() -> None:
    lamp, told = Lamp(), list[str]()
    enough = lamp.listen(told.append)

    lamp.turn("on")
    lamp.turn("off")
    enough()
    enough()
    lamp.turn("on")

    assert told == ["on", "off"]
    assert lamp.version == 3


def test_a_listener_that_fails_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    lamp, told = Lamp(), list[str]()
    lamp.listen(lambda _: 1 / 0)
    lamp.listen(told.append)

    with caplog.at_level(logging.ERROR, "tekton.lamp"):
        lamp.turn("on")

    assert told == ["on"]
    assert "a listener failed at a change of the lamp" in caplog.text


def test_a_listener_may_make_a_change_itself_and_end_itself() -> None:
    lamp, told = Lamp(), list[tuple[str, int]]()

    def once(state: str) -> None:
        told.append((state, lamp.version))
        enough()
        lamp.turn("off")

    enough = lamp.listen(once)
    lamp.turn("on")

    assert told == [("on", 1)]
    assert lamp.version == 2


async def test_who_waits_is_woken_once_for_the_changes_in_between() -> None:
    lamp = Lamp()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waits = [group.create_task(lamp.changed(0)) for _ in range(2)]
        await asyncio.sleep(0)

        lamp.turn("on")
        lamp.turn("off")

    assert [one.result() for one in waits] == [2, 2]
    assert await lamp.changed(1) == 2
