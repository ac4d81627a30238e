"""Tests of tekton.service.watchdog, on real time: a blocked thread is nothing that a virtual clock can make."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise

import pytest
import uvloop

from tekton.clock import SystemClock
from tekton.service.watchdog import Watchdog

THRESHOLD = 0.2


def run(body: Callable[[], object], loop_factory: "Callable[[], asyncio.AbstractEventLoop] | None" = None) -> Watchdog:
    """Call *body* on a watched loop, and come back when the loop has been idle again."""

    async def watched() -> Watchdog:
        watchdog = Watchdog(THRESHOLD)
        watchdog.start()
        await asyncio.sleep(THRESHOLD)
        body()
        await asyncio.sleep(3 * THRESHOLD)
        await asyncio.to_thread(watchdog.stop)
        return watchdog

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(watched())


def a_bad_handler() -> None:
    time.sleep(6 * THRESHOLD)


@pytest.mark.parametrize("loop_factory", [None, uvloop.Loop], ids=["asyncio", "uvloop"])
def test_a_blocked_loop_is_logged_with_the_stack_of_the_blocker_and_its_length(
    loop_factory: "Callable[[], asyncio.AbstractEventLoop] | None", caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "tekton.watchdog"):
        watchdog = run(a_bad_handler, loop_factory)

    said = [record.getMessage() for record in caplog.records]
    where, end = next(pair for pair in pairwise(said) if "a_bad_handler" in pair[0])
    assert where.startswith("the event loop is blocked; it is in a_bad_handler (test_watchdog.py:")
    assert "called by watched" in where
    assert end.startswith("the event loop was blocked for ")
    assert watchdog.blocks >= 1
    assert watchdog.lags.read().sum > THRESHOLD


@pytest.mark.parametrize("loop_factory", [None, uvloop.Loop], ids=["asyncio", "uvloop"])
def test_an_idle_loop_is_neither_woken_nor_accused(
    loop_factory: "Callable[[], asyncio.AbstractEventLoop] | None", caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "tekton.watchdog"):
        run(lambda: None, loop_factory)

    assert caplog.records == []


STOPPED = """
import asyncio, logging, sys
from tekton.service.watchdog import Watchdog

logging.basicConfig(stream=sys.stdout)

async def main():
    watchdog = Watchdog(1.0)
    watchdog.start()
    print("up", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await asyncio.sleep(1.2)
    watchdog.stop()

asyncio.run(main())
"""


def test_a_process_that_was_stopped_has_not_blocked_its_loop() -> None:
    child = subprocess.Popen([sys.executable, "-c", STOPPED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        os.kill(child.pid, signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        time.sleep(2.5)  # the length of the fault

        os.kill(child.pid, signal.SIGCONT)
        output, _ = child.communicate("go on\n", timeout=20)

    assert (output, child.returncode) == ("", 0)


async def test_a_loop_that_waits_for_the_watchdog_to_end_is_not_accused(caplog: pytest.LogCaptureFixture) -> None:
    asked = threading.Event()

    class Telling(SystemClock):
        """Read by the watchdog when it begins to wait for the loop."""

        def monotonic(self) -> float:
            asked.set()
            return super().monotonic()

    watchdog = Watchdog(2.0, clock=Telling())
    with caplog.at_level(logging.WARNING, "tekton.watchdog"):
        watchdog.start()
        asked.wait(30)
        watchdog.stop()

    assert caplog.records == []


async def test_stopping_twice_does_nothing() -> None:
    watchdog = Watchdog(THRESHOLD)
    watchdog.start()

    watchdog.stop()
    watchdog.stop()
