"""Changes of what streams there are: one at a time, and each to its end, whoever waits for it.

What the store was told to do cannot be taken back. So what is in memory follows, also when whoever has asked is gone.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tekton.background import BackgroundGroup
from tekton.utils.tekton_errors import TektonError

_T = TypeVar("_T")

Change = Callable[[], Awaitable[_T]]


class Changes:
    """Makes changes in the order in which they were asked for."""

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Lock()
        self._tasks = BackgroundGroup("streams")

    async def make(self, change: Change[_T]) -> _T:
        """Make *change*, and return or raise what comes of it. Whoever is cancelled takes nothing back."""
        made = await asyncio.shield(self.begin(change))
        if isinstance(made, TektonError):
            raise made
        return made

    def begin(self, change: Change[_T]) -> "asyncio.Task[_T | TektonError]":
        """Make *change* for nobody who waits. What it fails with is its result."""
        return self._tasks.spawn(self._make(change), "change")

    async def finish(self) -> None:
        """Wait until all that was asked for is made."""
        async with self._one_at_a_time:
            pass

    async def _make(self, change: Change[_T]) -> _T | TektonError:
        async with self._one_at_a_time:
            try:
                return await change()
            except TektonError as error:
                return error
