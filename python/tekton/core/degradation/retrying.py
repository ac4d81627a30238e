"""Trying one component again, for as long as attempts, budget and time are left.

It sleeps on the running loop, and delays come from `Retries`: so the same code runs in virtual time.
"""

import asyncio
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
    retries.earn()
    failures = 0
    while True:
        try:
            with one_layer():
                return await attempt()
        except Exception as error:
            failures += 1
            if failures >= retries.attempts or not worth(error):
                raise
            delay, left = retries.delay(failures), time_left()
            if (left is not None and delay >= left) or not retries.spend():
                raise
        await asyncio.sleep(delay)
