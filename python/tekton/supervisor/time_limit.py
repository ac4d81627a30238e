"""A limit for work that gives nothing back before it is done: a regular expression on a line that does not suit it.

    with time_limit(0.1):
        found = pattern.search(line)

Some expressions need exponential time. In a thread they would hold the interpreter as they do here; but the engine
looks for signals while it searches, and an alarm clock ends it.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TimeLimitError(Exception):
    """The work was broken off."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Break off what is done inside after *seconds*, with TimeLimitError. Python code and regular expressions only.

    They are seconds of work of this process: that the machine is busy with others does not count. Works in the main
    thread, to which signals come; elsewhere nothing is limited.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGVTALRM, _expire)
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGVTALRM})
    # Twice finally: the alarm rings once at most, be it in the first.
    pending = (0.0, 0.0)
    try:
        try:
            pending = signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
            yield
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGVTALRM, signal.SIG_DFL if handler is None else handler)
        signal.setitimer(signal.ITIMER_VIRTUAL, *pending)


def _expire(_signum: int, _frame: FrameType | None) -> None:
    raise TimeLimitError
