"""Tests of tekton.core.component_lifecycle.readiness."""

import asyncio
import threading

import pytest
from leaps import Leaps

from tekton.core.component_lifecycle.readiness import (
    CheckFailedError,
    NotReadyError,
    ReadinessCondition,
    all_of,
    any_of,
)
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


@virtual_time
async def test_an_answer_that_takes_too_long_is_one_that_is_not_there_yet() -> None:
    answers = iter([100.0, 0.0])

    async def check() -> bool:
        await asyncio.sleep(next(answers))
        return True

    found: list[tuple[str, str | None]] = []
    began = current_clock().monotonic()
    await ReadinessCondition("port", check, interval=1, check_timeout=3).wait(lambda *news: found.append(news))

    assert found == [("port", "no answer within 3 s"), ("port", None)]
    assert current_clock().monotonic() - began == pytest.approx(4)


async def test_a_check_whose_thread_hangs_is_not_begun_a_second_time() -> None:
    begun: list[int] = []
    began, goes_on = threading.Event(), threading.Event()

    def check() -> bool:
        begun.append(1)
        began.set()
        return goes_on.wait(20)

    def hear(_: str, finding: str | None) -> None:
        found.append(finding)
        if len(found) == 4:
            assert len(begun) == 1
            goes_on.set()

    found: list[str | None] = []
    leaps, condition = Leaps(), ReadinessCondition("port", check, interval=0.01, check_timeout=10.0)
    async with asyncio.timeout(30):
        waiting = asyncio.ensure_future(condition.wait(hear))
        assert await asyncio.to_thread(began.wait, 20)
        leaps.leap(10.0)
        await waiting

    assert found[0] == "no answer within 10 s"
    assert found[1:4] == ["an earlier check has not returned"] * 3
    assert found[-1] is None


@virtual_time
async def test_a_check_says_in_its_own_words_what_is_in_the_way() -> None:
    async def check() -> bool:
        raise CheckFailedError("the schema has version 3, not 4")

    with pytest.raises(NotReadyError, match="schema not met after 2 s: the schema has version 3, not 4"):
        await ReadinessCondition("schema", check, timeout=2).wait()


def after(seconds: float, name: str = "port", timeout: float | None = None) -> ReadinessCondition:
    clock = current_clock()
    began = clock.monotonic()
    return ReadinessCondition(name, lambda: clock.monotonic() >= began + seconds, 1, timeout)


@virtual_time
async def test_all_of_several_are_waited_for_at_the_same_time() -> None:
    began = current_clock().monotonic()
    condition = all_of(after(3, "port"), after(5, "cache"))

    await condition.wait()

    assert condition.name == "port and cache"
    assert current_clock().monotonic() - began == pytest.approx(5)


@virtual_time
async def test_one_of_all_that_fails_is_enough() -> None:
    began = current_clock().monotonic()

    with pytest.raises(NotReadyError, match="cache not met after 2 s: not yet"):
        await all_of(after(30, "port"), after(5, "cache", timeout=2)).wait()

    assert current_clock().monotonic() - began == pytest.approx(2)


@virtual_time
async def test_any_of_several_is_the_first_that_is_met() -> None:
    began = current_clock().monotonic()
    condition = any_of(after(30), after(5, "cache", timeout=2), all_of(after(3), after(4)))

    await condition.wait()

    assert condition.name == "port or cache or port and port"
    assert current_clock().monotonic() - began == pytest.approx(4)


@virtual_time
async def test_any_of_several_fails_with_the_last_of_them() -> None:
    with pytest.raises(NotReadyError, match="cache not met after 2 s: not yet; port not met after 3 s: not yet"):
        await any_of(after(30, "port", timeout=3), after(30, "cache", timeout=2)).wait()


def test_of_nothing_there_is_no_condition() -> None:
    with pytest.raises(ValueError, match="at least one"):
        all_of()
