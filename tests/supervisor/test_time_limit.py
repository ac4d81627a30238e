"""Breaking off what would not end: real searches, real alarms."""

import asyncio
import re
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from tekton.supervisor.time_limit import TimeLimitError, time_limit

ENDLESS = re.compile(r"(a+)+$")
LINE = "a" * 64 + "!"


def _search() -> None:
    with time_limit(0.01):
        ENDLESS.search(LINE)


def test_a_search_that_would_take_for_ever_is_broken_off() -> None:
    with pytest.raises(TimeLimitError):
        _search()


def test_what_is_done_in_time_is_not() -> None:
    for _ in range(100):
        with time_limit(60):
            assert ENDLESS.search("a" * 64)
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_the_loop_goes_on(run: Callable[[Any], Any]) -> None:
    async def searches() -> int:
        count = 0
        for _ in range(3):
            with pytest.raises(TimeLimitError):
                _search()
            await asyncio.sleep(0)
            count += 1
        return count

    assert run(searches()) == 3


def test_a_blocked_alarm_rings_all_the_same_and_is_blocked_again() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGVTALRM})
    try:
        with pytest.raises(TimeLimitError):
            _search()
        assert signal.SIGVTALRM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_the_alarm_of_somebody_else_is_set_again() -> None:
    heard: list[int] = []

    def hear(number: int, _frame: object) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGVTALRM, hear)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, 3600)
        with pytest.raises(TimeLimitError):
            _search()
        left, _ = signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        handler = signal.getsignal(signal.SIGVTALRM)
    finally:
        signal.signal(signal.SIGVTALRM, before)

    assert 3000 < left < 3700
    assert (handler, heard) == (hear, [])


def test_in_another_thread_nothing_is_limited() -> None:
    found: list[bool] = []

    def search() -> None:
        with time_limit(0.000001):
            found.append(ENDLESS.search("a" * 64) is not None)

    thread = threading.Thread(target=search)
    thread.start()
    thread.join()

    assert found == [True]
