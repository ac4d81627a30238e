"""Trying one component again: stamina drives it, our budget and our clock decide.

stamina reads a clock only for its own time limit, which is not used; its delays come from `Retries` (full jitter from
the generator that was passed in), and it sleeps on the running loop. So the same code runs in virtual time. It is
imported when something is retried for the first time.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tekton.core.degradation.deadline import time_left
from tekton.utils.retries import Retries, one_layer

_T = TypeVar("_T")


async def retried(attempt: Callable[[], Awaitable[_T]], retries: Retries, worth: Callable[[Exception], bool]) -> _T:
    """Await *attempt* until it succeeds, fails in a way that is not *worth* another try, or nothing is left.

    That is: attempts, budget, or time before the deadline of the call. Raises what the last attempt raised. Inside an
    attempt nothing else is retried: layers of retries multiply.
    """
    from stamina import AsyncRetryingCaller

    failures = 0

    def again(error: BaseException) -> bool | float:
        nonlocal failures
        failures += 1
        if failures >= retries.attempts or not isinstance(error, Exception) or not worth(error):
            return False
        delay = retries.delay(failures)
        left = time_left()
        return delay if (left is None or delay < left) and retries.spend() else False

    async def once() -> _T:
        with one_layer():
            return await attempt()

    retries.earn()
    return await AsyncRetryingCaller(attempts=None, timeout=None)(again, once)
