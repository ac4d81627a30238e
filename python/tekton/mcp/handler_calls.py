"""Calls of the handlers of messages: whatever a handler does, whoever waits for it hears of it in time.

    calls = HandlerCalls("engram")
    value = await calls.value(handler, message, timeout=5.0, what="handler of orders")

What a handler raises is raised here, and what would end the process (SystemExit, KeyboardInterrupt) as a RuntimeError.
One that ignores its cancellation, at the deadline of its message or when whoever waits is cancelled, is given up after
a grace, and runs on by itself.
"""

import asyncio
from typing import Any, Final

from tekton.core.calls import Outcome, UserCalls, UserFunction, call, is_async
from tekton.core.degradation.bulkhead import Slot, call_in_place
from tekton.mcp.message import Message
from tekton.utils.tekton_errors import MessageExpiredError

__all__ = ["HandlerCalls"]

CANCEL_GRACE: Final = 0.25
"""Seconds that a handler gets to end after it was cancelled."""


class HandlerCalls:
    """Calls of the handlers of *owner*, each of which gets *grace* seconds to end after it was cancelled."""

    def __init__(self, owner: str, grace: float = CANCEL_GRACE) -> None:
        self._owner = owner
        self._grace = grace
        self._calls = UserCalls("handlers")

    async def value(
        self, function: UserFunction, message: Message, timeout: float | None, what: str, slot: Slot | None = None
    ) -> Any:
        """What *function* returns, called because of *message*; the log calls it *what*.

        A thread keeps *slot* until it has ended, however long after that. Raises what the function raises; what is no
        Exception, and a cancellation that is its own, as a RuntimeError; and MessageExpiredError after *timeout*
        seconds.
        """
        task = self._calls.spawn(call(function) if slot is None else call_in_place(function, slot), what, self._owner)
        if slot is not None and not is_async(function):
            slot.hold()
            task.add_done_callback(lambda _: slot.release())
        try:
            async with asyncio.timeout(timeout):
                await asyncio.wait({task})
        except TimeoutError:
            raise MessageExpiredError(message.message_id) from None
        finally:
            await self._calls.end(task, self._grace)
        if task.cancelled():
            raise RuntimeError("a handler has raised CancelledError")
        return _value(task.result())


def _value(outcome: Outcome) -> Any:
    error = outcome.error
    if error is None:
        return outcome.value
    if isinstance(error, Exception):
        raise error
    raise RuntimeError(f"a handler has raised {type(error).__name__}") from error
