"""Tests of tekton.core.component_lifecycle.readiness."""

import asyncio

import pytest

from tekton.core.component_lifecycle.readiness import NotReadyError, ReadinessCondition
from tekton.testing import current_clock, virtual_time


@virtual_time
async def test_a_check_is_repeated_until_it_is_true() -> None:
    answers = iter([False, None, 0, "yes"])

    async def check() -> object:
        return next(answers)

    began = current_clock().monotonic()
    await ReadinessCondition("port", check, interval=2).wait()

    assert current_clock().monotonic() - began == pytest.approx(6)


@virtual_time
async def test_a_check_may_wait_by_itself() -> None:
    async def check() -> bool:
        await asyncio.sleep(100)
        return True

    await ReadinessCondition("port", check).wait()


@virtual_time
async def test_a_check_may_be_a_plain_function() -> None:
    await ReadinessCondition("port", lambda: True).wait()


@virtual_time
async def test_at_its_deadline_a_condition_says_what_was_in_the_way() -> None:
    async def check() -> bool:
        raise ConnectionRefusedError("port 8001")

    with pytest.raises(NotReadyError, match="port not met after 5 s: ConnectionRefusedError: port 8001"):
        await ReadinessCondition("port", check, timeout=5).wait()


@virtual_time
async def test_a_check_that_never_answers_ends_at_the_deadline() -> None:
    with pytest.raises(NotReadyError, match="has not answered"):
        await ReadinessCondition("port", asyncio.Event().wait, timeout=5).wait()


@virtual_time
async def test_the_timeout_of_somebody_else_is_not_the_condition_s() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await ReadinessCondition("port", asyncio.Event().wait, timeout=5).wait()
