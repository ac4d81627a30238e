"""How long conversations are kept in which nobody says anything any more."""

import asyncio
import math
from collections.abc import Callable
from typing import Final

from tekton.clock import Clock
from tekton.service.conversations import Conversations
from tekton.utils.tekton_errors import ConversationNotFoundError, StorageCorruptError

PAUSE: Final = 60.0
"""Seconds between two looks at all of them, at least."""
_PAGE: Final = 500


class ConversationRetention:
    """Forgets *conversations*, but none of those that *needed* names: they have tasks that are open."""

    def __init__(self, conversations: Conversations, needed: Callable[[], set[str]], clock: Clock) -> None:
        self.forgotten = 0
        """How many were forgotten since the start."""
        self._conversations = conversations
        self._needed = needed
        self._clock = clock
        self._age: float | None = None
        self._not_before = -math.inf

    @property
    def age(self) -> float | None:
        """Seconds for which one is kept in which nothing happens; None: for good."""
        return self._age

    @age.setter
    def age(self, age: float | None) -> None:
        if age != self._age:
            self._age, self._not_before = age, -math.inf

    async def sweep(self) -> int:
        """Forget what is due; returns how many that were. O(conversations), but only where one may be due."""
        now, age = self._clock.time(), self._age
        if age is None or now < self._not_before:
            return 0
        since, oldest, forgotten = now - age, now, 0
        after: int | None = 0
        while after is not None:
            quiet = self._conversations.quiet(since, after, _PAGE)
            gone = self._forget(quiet.ids, since)
            forgotten += gone
            # One that is needed is looked at again soon.
            oldest = min(oldest, quiet.oldest if gone == len(quiet.ids) else since)
            after = quiet.after
            if gone:
                await self._conversations.flush()
            await asyncio.sleep(0)
            if self._age != age:  # by now; what was due may have to stay
                return forgotten
        self._not_before = max(oldest + age, now + PAUSE)
        return forgotten

    def _forget(self, ids: list[str], since: float) -> int:
        needed = self._needed() if ids else set()
        gone = [id_ for id_ in ids if id_ not in needed and self._drop(id_, since)]
        self.forgotten += len(gone)
        return len(gone)

    def _drop(self, conversation_id: str, since: float) -> bool:
        try:
            return self._conversations.drop_quiet(conversation_id, since)
        except (ConversationNotFoundError, StorageCorruptError):  # what cannot be read stays
            return False
