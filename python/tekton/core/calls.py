"""Calling functions that belong to users, without letting them do harm.

Whatever such a function does (raise, exit, block, return something odd), the caller gets an `Outcome`. Coroutine
functions run on the loop; plain ones run in a thread of their own, so that one that blocks or hangs holds up nobody:
neither the loop, nor other calls (a shared pool could be used up), nor the end of the process. What ignores its
cancellation is abandoned (`UserCalls`).
"""

import asyncio
import contextvars
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor, Future
from typing import Any, NamedTuple, ParamSpec, TypeVar

from tekton.background import BackgroundGroup
from tekton.utils.redaction import redact
from tekton.utils.tekton_errors import ComponentError, SpawnError, TektonError

UserFunction = Callable[[], Awaitable[object]] | Callable[[], object]

_P = ParamSpec("_P")
_T = TypeVar("_T")

CANCEL_GRACE = 5.0
"""Seconds that a call gets to end after it was cancelled; then it is abandoned."""

_LONGEST_REASON = 500

_logger = logging.getLogger("tekton.calls")


class Outcome(NamedTuple):
    """What a call returned, or what it raised."""

    value: object
    error: BaseException | None


async def call(function: UserFunction) -> Outcome:
    """Call *function*, and await what it returns if that can be awaited.

    Everything it raises, SystemExit included, is in the outcome; only cancellation passes through. When a thread is
    cancelled, it runs on by itself and nobody waits for it.
    """
    try:
        begun = Outcome(function(), None) if _is_async(function) else await _in_thread(function)
        return Outcome(await begun.value, None) if inspect.isawaitable(begun.value) else begun
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return Outcome(None, error)


class UserCalls:
    """User code in tasks of their own, which can be given up."""

    def __init__(self, name: str) -> None:
        self._group = BackgroundGroup(name)
        self._running: set[asyncio.Task[Any]] = set()

    def spawn(self, code: Coroutine[Any, Any, _T], name: str) -> "asyncio.Task[_T]":
        """Run *code* in the background."""
        task = self._group.spawn(code, name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def end(self, task: "asyncio.Task[Any]") -> None:
        """Cancel *task* and wait until it has ended; after `CANCEL_GRACE` seconds it is on its own."""
        if task.done():
            return
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_GRACE)
        if not task.done():
            _logger.warning("%s ignores its cancellation and was abandoned", task.get_name(), extra={"leaked": True})

    async def close(self) -> None:
        """End everything that still runs, all at the same time."""
        running = list(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=CANCEL_GRACE)


def describe(error: BaseException) -> str:
    """Type and text of *error* in one line, without passwords, at most 500 characters.

    Errors of ours speak for themselves: their type, and the component that the reader knows anyway, are left out.
    """
    reason = error.reason if isinstance(error, (ComponentError, SpawnError)) else str(error)
    text = " ".join(reason.split())
    if not isinstance(error, TektonError) or not text:
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return redact(text)[:_LONGEST_REASON]


def _is_async(function: UserFunction) -> bool:
    # Objects with an async __call__ count as well.
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


async def _in_thread(function: Callable[[], object]) -> Outcome:
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(_THREADS, context.run, _attempt, function)


def _attempt(function: Callable[[], object]) -> Outcome:
    # As a value, because neither a future nor a coroutine can carry every exception (StopIteration).
    try:
        return Outcome(function(), None)
    except BaseException as error:
        return Outcome(None, error)


class _DaemonThreads(Executor):
    """A daemon thread per call."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Future[_T]":
        future: Future[_T] = Future()
        future.set_running_or_notify_cancel()
        threading.Thread(target=_resolve, args=(future, fn, args, kwargs), daemon=True, name="tekton-call").start()
        return future


def _resolve(future: "Future[Any]", fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    try:
        future.set_result(fn(*args, **kwargs))
    except BaseException as error:
        future.set_exception(error)


_THREADS = _DaemonThreads()
