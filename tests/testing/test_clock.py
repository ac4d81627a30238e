"""Tests of tekton.testing.clock: time that a test moves."""

import asyncio
import threading

import pytest

from tekton.testing import ManualClock, VirtualTimeLoop, current_clock, virtual_time


def test_a_manual_clock_stands_still_until_it_is_advanced() -> None:
    clock = ManualClock(monotonic=10.0, wall=100.0)

    assert (clock.monotonic(), clock.time()) == (10.0, 100.0)
    assert clock.advance(2.5) == 12.5
    assert (clock.monotonic(), clock.time()) == (12.5, 102.5)


def test_a_manual_clock_refuses_to_go_back_and_stays_where_it_is() -> None:
    clock = ManualClock(monotonic=10.0)

    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)

    assert clock.monotonic() == 10.0


def test_setting_the_wall_clock_does_not_move_the_monotonic_one() -> None:
    clock = ManualClock(monotonic=10.0, wall=100.0)

    clock.set_wall(50.0)

    assert (clock.monotonic(), clock.time()) == (10.0, 50.0)


def test_a_suspended_machine_moves_the_wall_clock_alone() -> None:
    clock = ManualClock(monotonic=10.0, wall=100.0)

    clock.suspend(60)

    assert (clock.monotonic(), clock.time(), clock.asleep()) == (10.0, 160.0, 60.0)


@virtual_time
async def test_a_sleep_takes_its_virtual_time_and_no_other() -> None:
    before = current_clock().monotonic()

    for _ in range(3600):
        await asyncio.sleep(1)

    assert current_clock().monotonic() - before == pytest.approx(3600)


@virtual_time
async def test_timers_fire_in_the_order_of_their_deadlines() -> None:
    fired: list[float] = []
    loop = asyncio.get_running_loop()
    for delay in (30.0, 0.5, 7200.0, 1.0):
        loop.call_later(delay, fired.append, delay)

    await asyncio.sleep(10_000)

    assert fired == [0.5, 1.0, 30.0, 7200.0]


@virtual_time
async def test_a_timeout_of_virtual_time_expires() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(86_400):
            await asyncio.Event().wait()


@virtual_time
async def test_time_stands_still_while_a_thread_works() -> None:
    may_end = threading.Event()
    loop = asyncio.get_running_loop()
    before = loop.time()

    async with asyncio.timeout(1):
        job = loop.run_in_executor(None, may_end.wait)
        loop.call_soon(may_end.set)
        await job

    assert loop.time() == before


@virtual_time
async def test_advancing_the_clock_makes_timers_late_as_a_stopped_process_does() -> None:
    clock = current_clock()
    woken_at: list[float] = []
    start = clock.monotonic()
    asyncio.get_running_loop().call_later(1, lambda: woken_at.append(clock.monotonic() - start))

    clock.advance(60)
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert woken_at == [60.0]


def test_the_decorated_function_returns_what_the_coroutine_returned() -> None:
    @virtual_time
    async def answer(question: str) -> int:
        return len(question)

    assert answer("abc") == 3


async def test_there_is_no_virtual_clock_on_a_real_loop() -> None:
    with pytest.raises(RuntimeError, match="virtual_time"):
        current_clock()


def test_a_loop_can_share_a_clock_with_what_it_runs() -> None:
    clock = ManualClock()
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(clock)) as runner:
        runner.run(asyncio.sleep(5))

    assert clock.monotonic() == 1_005.0
