"""Calling functions that belong to users, without letting them do harm.

Whatever such a function does (raise, exit, block, return something odd), the caller gets an `Outcome`. Coroutine
functions run on the loop; plain ones run in a thread of their own, so that one that blocks or hangs holds up nobody:
neither the loop, nor other calls (a shared pool could be used up), nor the end of the process. What ignores its
cancellation is abandoned, and remembered as leaked for as long as it runs (`UserCalls`).
"""

import asyncio
import contextvars
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor, Future
from functools import partial
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
        begun = Outcome(function(), None) if is_async(function) else await _in_thread(function)
        return Outcome(await begun.value, None) if inspect.isawaitable(begun.value) else begun
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return Outcome(None, error)


class _Thread:
    """A call in a thread: whether it still runs."""

    __slots__ = ("_value", "_wanted", "over")

    def __init__(self) -> None:
        self.over = False
        self._value: object = None
        self._wanted = True

    def finish(self, value: object) -> None:
        """In the thread: it has returned *value*, or raised."""
        self._value = value
        self.over = True
        self._discard()

    def abandon(self) -> None:
        """Nobody waits for it any more."""
        self._wanted = False
        self._discard()

    def _discard(self) -> None:
        # A coroutine that nobody awaits is to be closed. Whoever of the two comes last does it; twice is the same.
        if not self._wanted and inspect.iscoroutine(self._value):
            self._value.close()


class _Call(NamedTuple):
    """Code of *owner* that is, or was, running: a task, and the threads that it has begun."""

    owner: str
    what: str
    task: "asyncio.Task[Any]"
    threads: list[_Thread]

    @property
    def over(self) -> bool:
        return self.task.done() and all(thread.over for thread in self.threads)


_threads: contextvars.ContextVar[list[_Thread] | None] = contextvars.ContextVar("tekton_threads", default=None)


class UserCalls:
    """User code in tasks of their own, which can be given up."""

    def __init__(self, name: str) -> None:
        self._group = BackgroundGroup(name)
        self._running: dict[asyncio.Task[Any], _Call] = {}
        self._leaked: list[_Call] = []

    def spawn(self, code: Coroutine[Any, Any, _T], what: str, owner: str) -> "asyncio.Task[_T]":
        """Run *code*, the *what* (such as `start function`) of the component *owner*, in the background."""
        threads: list[_Thread] = []
        context = contextvars.copy_context()
        context.run(_threads.set, threads)
        task = context.run(self._group.spawn, code, f"{what} of {owner}")
        self._running[task] = _Call(owner, what, task, threads)
        task.add_done_callback(self._forget)
        return task

    async def end(self, task: "asyncio.Task[Any]", grace: float = CANCEL_GRACE) -> None:
        """Cancel *task* and wait until it has ended; after *grace* seconds it is on its own.

        A thread cannot be cancelled: one that the task has begun is on its own at once.
        """
        if task.done():
            return
        running = self._running[task]
        task.cancel()
        await asyncio.wait({task}, timeout=grace)
        if not running.over:
            self._abandon(running)

    def leaked(self, owner: str) -> list[str]:
        """What was abandoned of the component *owner* and still runs."""
        return [call.what for call in self._leaked if call.owner == owner and not call.over]

    async def close(self) -> None:
        """End everything that still runs, all at the same time."""
        running = list(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=CANCEL_GRACE)

    def _abandon(self, call: _Call) -> None:
        self._leaked = [*(other for other in self._leaked if not other.over), call]
        fields = {"component": call.owner, "leaked": True}
        _logger.warning("the %s of %s ignores its cancellation and was abandoned", call.what, call.owner, extra=fields)

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        del self._running[task]


def describe(error: BaseException) -> str:
    """Type and text of *error* in one line, without passwords and lone surrogates, at most 500 characters.

    Errors of ours speak for themselves: their type, and the component that the reader knows anyway, are left out.
    """
    reason = error.reason if isinstance(error, (ComponentError, SpawnError)) else str(error)
    text = " ".join(reason.split())
    if not isinstance(error, TektonError) or not text:
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return redact(text)[:_LONGEST_REASON].encode(errors="replace").decode()


def is_async(function: Callable[..., object]) -> bool:
    """True for what is called on the loop; objects with an async `__call__` count as well."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def bound(function: Callable[..., object], /, *args: Any, **kwargs: Any) -> UserFunction:
    """*function* with these arguments, for `call`; one that is async stays so (a `partial` of an object does not)."""
    return partial(_awaited, function, args, kwargs) if is_async(function) else partial(function, *args, **kwargs)


async def _awaited(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    return await function(*args, **kwargs)


async def _in_thread(function: Callable[[], object]) -> Outcome:
    thread = _Thread()
    if (threads := _threads.get()) is not None:
        threads[:] = [other for other in threads if not other.over] + [thread]
    context = contextvars.copy_context()
    try:
        return await asyncio.get_running_loop().run_in_executor(_THREADS, context.run, _attempt, function, thread)
    except asyncio.CancelledError:
        thread.abandon()
        raise


def _attempt(function: Callable[[], object], thread: _Thread) -> Outcome:
    # As a value, because neither a future nor a coroutine can carry every exception (StopIteration).
    try:
        outcome = Outcome(function(), None)
    except BaseException as error:
        outcome = Outcome(None, error)
    thread.finish(outcome.value)
    return outcome


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
