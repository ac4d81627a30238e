"""A service as the whole of a process: its event loop, and the signals that end it."""

import asyncio
import signal
from contextlib import AbstractAsyncContextManager

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run_until_signalled(service: AbstractAsyncContextManager[object]) -> None:
    """Enter *service*, wait for SIGTERM or SIGINT, leave it. Raises what entering and leaving raise.

    The second signal ends the process at once.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(service))


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


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop
