"""The conditions under which a component is ready."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from tekton.component.hooks import call_hook

Condition = Callable[[], Awaitable[bool] | bool]

READY_POLL = 0.1
"""Seconds between two looks at the conditions while the component is not ready yet."""

SERVING_POLL = 1.0
"""The same when it is ready: so long it takes until no more traffic comes to a component that cannot take any."""

_logger = logging.getLogger("tekton.component")


class Conditions:
    """What must hold for *component_id* to be ready; without a condition it is."""

    def __init__(self, component_id: str) -> None:
        self._component_id = component_id
        self._conditions: list[Condition] = []

    def add(self, condition: Condition) -> None:
        """One more. It holds while it returns True, and does not while it raises."""
        self._conditions.append(condition)

    async def failing(self) -> str | None:
        """Which condition does not hold, and why; None when all do."""
        for condition in self._conditions:
            try:
                if not await call_hook(condition):
                    return f"{name_of(condition)} does not hold"
            except Exception as error:
                return f"{name_of(condition)}: {error!r}"
        return None

    async def met(self, endpoint: str) -> None:
        """Return as soon as all hold; until then the log says which does not, and at which *endpoint*."""
        told = None
        while (reason := await self.failing()) is not None:
            if reason != told:
                _logger.info("%s is not ready on %s: %s", self._component_id, endpoint, reason)
            told = reason
            await asyncio.sleep(READY_POLL)

    async def watch(self, tell: Callable[[bool, str], Awaitable[None]]) -> None:
        """From now on *tell* whenever they cease to hold (False, and why) or hold again. Ends when there are none."""
        held: str | None = None
        while self._conditions:
            await asyncio.sleep(SERVING_POLL)
            reason = await self.failing()
            if (reason is None) is not (held is None):
                _logger.info(
                    "%s takes %s", self._component_id, f"no requests: {reason}" if reason else "requests again"
                )
                await tell(reason is None, reason or "")
            held = reason


def name_of(function: Callable[[], object]) -> str:
    """The name of *function*, as words."""
    return getattr(function, "__name__", repr(function)).replace("_", " ")
