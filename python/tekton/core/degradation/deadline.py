"""The deadline of the call that the running code belongs to, however deep it is in it.

It travels in the context, into tasks and threads too, so that what is called on the way can give up in time.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class _Deadline:
    at: float
    now: Callable[[], float]
    outer: "_Deadline | None"
    over: bool = False


_deadline: ContextVar[_Deadline | None] = ContextVar("tekton_deadline", default=None)


def time_left() -> float | None:
    """Seconds until the call that the running code belongs to has to be over (negative: it should be); None: no limit.

    May be asked in any thread.
    """
    deadline = _present()
    return None if deadline is None else deadline.at - deadline.now()


@contextmanager
def within(timeout: float | None, *, ends: bool = False) -> Iterator[float | None]:
    """A call of at most *timeout* seconds, and of no more than is left of the one that it is a part of.

    Gives its deadline, by the clock of the running loop. With *ends* it is that of the call alone: tasks that were
    begun on the way, and go on when it is over, are bound by it no more.
    """
    now = asyncio.get_running_loop().time
    left = [seconds for seconds in (timeout, time_left()) if seconds is not None]
    deadline = _Deadline(now() + min(left), now, _present()) if left else None
    token = _deadline.set(deadline)
    try:
        yield None if deadline is None else deadline.at
    finally:
        _deadline.reset(token)
        if deadline is not None:
            deadline.over = ends


def _present() -> _Deadline | None:
    deadline = _deadline.get()
    while deadline is not None and deadline.over:
        deadline = deadline.outer
    return deadline
