"""Levels of the control plane's loggers that change for a while."""

import asyncio
import logging
from collections.abc import Iterator

import pytest

from tekton.service.log_levels import LogLevels, UnknownLoggerError
from tekton.testing.clock import ManualClock
from tekton.utils.log_levels import own_level

NAME = "log-levels.of-a-test"


@pytest.fixture
def levels() -> Iterator[LogLevels]:
    root = logging.root.level
    logging.getLogger(NAME)
    levels = LogLevels(ManualClock())
    yield levels
    levels.stop()
    logging.root.setLevel(root)
    logging.getLogger(NAME).setLevel(logging.NOTSET)


async def test_a_level_holds_for_a_while_and_then_what_held_before(levels: LogLevels) -> None:
    logging.getLogger(NAME).setLevel(logging.ERROR)
    levels.change(NAME, "debug", 600)
    levels.change(NAME, "info", 0.001)
    assert (own_level(NAME), levels.changed[NAME].before) == ("info", "error")

    later = asyncio.Event()
    asyncio.get_running_loop().call_later(0.002, later.set)
    async with asyncio.timeout(10):
        await later.wait()

    assert own_level(NAME) == "error"


async def test_a_change_can_be_taken_back_before_its_time(levels: LogLevels) -> None:
    levels.change(NAME, "debug", 600)

    levels.restore(NAME)
    levels.restore(NAME)

    assert own_level(NAME) is None
    assert levels.levels().get(NAME) is None


def test_without_a_time_it_holds_until_the_end(levels: LogLevels) -> None:
    levels.change(NAME, "debug")
    assert levels.changed[NAME].until is None

    levels.stop()

    assert own_level(NAME) is None


def test_a_reload_changes_what_held_before_and_not_what_holds(levels: LogLevels) -> None:
    levels.change("root", "debug")
    logging.root.setLevel(logging.ERROR)

    levels.configured()

    assert own_level("root") == "debug"
    levels.restore("root")
    assert own_level("root") == "error"


def test_a_logger_that_there_is_not_is_refused(levels: LogLevels) -> None:
    with pytest.raises(UnknownLoggerError) as raised:
        levels.change(NAME + "x", "debug")

    assert raised.value.nearest == NAME
    assert not levels.changed


def test_no_more_than_a_hundred_can_be_changed(levels: LogLevels) -> None:
    names = [f"{NAME}.{number}" for number in range(101)]
    for name in names:
        logging.getLogger(name)
    for name in names[:100]:
        levels.change(name, "debug")

    with pytest.raises(ValueError, match="the levels of 100 loggers are changed already"):
        levels.change(names[100], "debug")
    levels.change(names[0], "info")
