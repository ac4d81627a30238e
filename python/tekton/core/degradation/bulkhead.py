"""At most so many calls of a component at once, so that one that hangs does not use up its callers."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from tekton.core.calls import Outcome, UserFunction, call, is_async
from tekton.utils.tekton_errors import BulkheadFullError


class Slot:
    """The place of one call, held by the call and perhaps by a thread that outlives it. Free when all have let go."""

    __slots__ = ("_bulkhead", "_holders")

    def __init__(self, bulkhead: "Bulkhead") -> None:
        self._bulkhead = bulkhead
        self._holders = 1

    def hold(self) -> None:
        """Somebody else holds it too."""
        self._holders += 1

    def release(self) -> None:
        """One of the holders lets go."""
        self._holders -= 1
        if not self._holders:
            self._bulkhead._leave()


class Bulkhead:
    """Places for *max_concurrent* calls of a component, and for *max_waiting* that wait in the order of their arrival.

    Without *max_concurrent* there is always a place. Used on one event loop.
    """

    def __init__(self, component_id: str, max_concurrent: int | None = None, max_waiting: int = 0) -> None:
        if (max_concurrent is not None and max_concurrent < 1) or max_waiting < 0:
            raise ValueError("max_concurrent is at least 1, max_waiting not negative")
        self.component_id = component_id
        self.max_concurrent = max_concurrent
        self.max_waiting = max_waiting
        self.running = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many calls wait for a place."""
        return len(self._queue)

    async def enter(self) -> Slot:
        """A place, at once or after waiting. Raises BulkheadFullError when too many wait already."""
        if self._is_full():
            await self._wait()
        else:
            self.running += 1
        return Slot(self)

    def _is_full(self) -> bool:
        return self.max_concurrent is not None and (self.running >= self.max_concurrent or bool(self._queue))

    async def _wait(self) -> None:
        if len(self._queue) >= self.max_waiting:
            raise BulkheadFullError(self.component_id, self.max_concurrent or 0, len(self._queue))
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():  # it was handed a place in the same turn of the loop
                self._leave()
            elif turn in self._queue:
                self._queue.remove(turn)
            raise

    def _leave(self) -> None:
        # The place is handed over, and `running` stays as it is: nobody can come between.
        while self._queue and self.running <= (self.max_concurrent or 0):
            turn = self._queue.popleft()
            if not turn.done():  # one that was cancelled may not know it yet
                turn.set_result(None)
                return
        self.running -= 1


class InThread:
    """A plain function in a thread, which keeps *slot* if its call ends before it does."""

    __slots__ = ("_function", "_kept", "_lock", "_loop", "_over", "_slot")

    def __init__(self, function: Callable[[], object], slot: Slot) -> None:
        self._function = function
        self._slot = slot
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._over = self._kept = False

    def __call__(self) -> object:
        try:
            return self._function()
        finally:
            with self._lock:
                self._over = True
            if self._kept:
                with suppress(RuntimeError):  # the loop is closed, and nobody calls any more
                    self._loop.call_soon_threadsafe(self._slot.release)

    def outlive(self) -> None:
        """Nobody waits for it any more."""
        with self._lock:
            if not self._over:
                self._kept = True
                self._slot.hold()


async def call_in_place(function: UserFunction, slot: Slot) -> Outcome:
    """As `call`; a thread keeps *slot* until it has ended, also when whoever called does not wait for that."""
    if is_async(function):
        return await call(function)
    in_thread = InThread(function, slot)
    try:
        return await call(in_thread)
    except asyncio.CancelledError:
        in_thread.outlive()
        raise
