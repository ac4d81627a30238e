"""A service as the whole of a process: its event loop, and the signals that end it."""

import asyncio
import logging
import signal
from contextlib import AbstractAsyncContextManager
from typing import Final

LAST_GRACE: Final = 1.0
"""Seconds that what still runs gets to end when the service was left."""

_logger = logging.getLogger("tekton.component")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run_until_signalled(service: AbstractAsyncContextManager[object]) -> None:
    """Enter *service*, wait for SIGTERM or SIGINT, leave it. Raises what entering and leaving raise.

    What ignores its cancellation is left behind. The second signal ends the process at once.
    """
    runner = asyncio.Runner(loop_factory=_loop_factory())
    try:
        runner.run(_serve(service))
    finally:
        # To close it is to wait for all that runs on it, for ever if need be.
        if runner.run(_has_ended()):
            runner.close()


async def _serve(service: AbstractAsyncContextManager[object]) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    signalled = asyncio.Event()

    def end() -> None:
        for signum in _SIGNALS:
            loop.remove_signal_handler(signum)
        signalled.set()
        task.cancel()

    for signum in _SIGNALS:
        loop.add_signal_handler(signum, end)
    try:
        async with service:
            await _until_cancelled(task)
    except asyncio.CancelledError:
        if not signalled.is_set():
            raise


async def _until_cancelled(task: "asyncio.Task[None]") -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        # Leaving the service is ordinary work of this task, not something to be cancelled.
        task.uncancel()


async def _has_ended() -> bool:
    """Cancel what still runs; true when that has ended."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    stubborn = (await asyncio.wait(rest, timeout=LAST_GRACE))[1] if rest else set()
    for task in stubborn:
        _logger.warning("%s ignores its cancellation and is left behind", task.get_name())
    return not stubborn


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop
