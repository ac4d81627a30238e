"""What takes its time is measured beside the event loop, once at a time."""

import asyncio
import logging
from collections.abc import Iterable

import pytest

from tekton.core.metrics.metrics import Reading
from tekton.service.readings.measured import Measured, Measurement


async def found_by(measured: Measured, measurement: Measurement) -> list[float]:
    """What is told when a measurement that is under way is over."""
    async with asyncio.timeout(10):
        await measured._underway[measurement]
    return [reading.value for reading in measured.read()]


async def test_what_was_found_last_is_told() -> None:
    found = [1.0]
    measured = Measured()

    async def measure() -> Iterable[Reading]:
        return [Reading("x", value) for value in found]

    measured.add(measure)
    assert list(measured.read()) == []
    measured.begin()
    assert await found_by(measured, measure) == [1.0]
    found[:] = [2.0, 3.0]
    measured.begin()
    assert await found_by(measured, measure) == [2.0, 3.0]
    await measured.stop()


async def test_one_that_hangs_is_not_begun_again_and_holds_up_no_other() -> None:
    began = 0
    measured = Measured()

    async def hang() -> Iterable[Reading]:
        nonlocal began
        began += 1
        await asyncio.Event().wait()
        return []

    async def measure() -> Iterable[Reading]:
        return [Reading("x", 1.0)]

    measured.add(hang, measure)
    measured.begin()
    assert await found_by(measured, measure) == [1.0]
    measured.begin()
    assert await found_by(measured, measure) == [1.0]
    await measured.stop()

    assert began == 1


async def test_one_that_fails_is_logged_once_and_told_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    outcomes: list[float | None] = [1.0, None, None]
    measured = Measured()

    async def measure() -> Iterable[Reading]:
        value = outcomes.pop(0)
        if value is None:
            raise OSError("it is broken")
        return [Reading("x", value)]

    measured.add(measure)
    for _ in range(3):
        measured.begin()
        assert await found_by(measured, measure) == [1.0]

    assert outcomes == []
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    await measured.stop()
