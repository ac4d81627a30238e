"""Owned background work: the one place that creates tasks.

A `BackgroundTask` is the task behind a `start()`/`stop()` pair. Its failure is never lost: it is logged when it
happens and raised again from `stop()`. Everything that can live inside one coroutine uses `asyncio.TaskGroup`
instead.

What runs for as long as its owner belongs to no request, even if one has started it: a `BackgroundTask` begins outside
every trace, and no message has caused it. What a `BackgroundGroup` spawns goes on in the trace of whoever spawned it.
"""

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any, TypeVar

from tekton.utils.causes import CAUSE
from tekton.utils.trace_context import CURRENT

_T = TypeVar("_T")

_logger = logging.getLogger("tekton.background")


class BackgroundTask:
    """One coroutine that runs until it returns or is stopped."""

    __slots__ = ("_name", "_task")

    def __init__(self, name: str) -> None:
        self._name = name
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """True from `start()` until the coroutine has ended."""
        return self._task is not None and not self._task.done()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run *coroutine* in the background. Raises RuntimeError if one is running already."""
        if self.running:
            coroutine.close()
            raise RuntimeError(f"{self._name} is already running")
        context = copy_context()
        context.run(CURRENT.set, None)
        context.run(CAUSE.set, None)
        self._task = asyncio.get_running_loop().create_task(coroutine, name=self._name, context=context)
        self._task.add_done_callback(self._report)

    async def stop(self) -> None:
        """Cancel the coroutine and wait until it has cleaned up; raise what it failed with, if it did.

        Stopping what is not running does nothing.
        """
        task, self._task = self._task, None
        if task is None:
            return
        current = asyncio.current_task()
        # Whoever cleans up because he was cancelled has heard of that already, and goes on cleaning up.
        before = 0 if current is None else current.cancelling()
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            if current is not None and current.cancelling() > before:
                raise

    async def join(self) -> None:
        """Wait until the coroutine has ended by itself; raise what it failed with, if it did."""
        if self._task is not None:
            await asyncio.shield(self._task)

    def _report(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("background task %s failed", self._name, exc_info=error)


class BackgroundGroup:
    """A set of background coroutines with one owner: spawned at any time, all stopped together.

    A failure of one does not fell its siblings; it is logged with its name.
    """

    __slots__ = ("_name", "_tasks")

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def spawn(self, coroutine: Coroutine[Any, Any, _T], name: str) -> "asyncio.Task[_T]":
        """Run *coroutine* until it ends or the group is stopped."""
        task = asyncio.get_running_loop().create_task(coroutine, name=f"{self._name}:{name}")
        self._tasks[task] = None
        task.add_done_callback(self._forget)
        return task

    async def stop(self) -> None:
        """Cancel all that still run, the oldest first, and wait until they have cleaned up."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("background task %s failed", task.get_name(), exc_info=error)
