"""Readiness conditions: what must hold before a started component counts as ready.

A start function says that a component has been started; whether it can be used is asked by its conditions. The
start-up coordinator waits for all of them, in order, within the start timeout.
"""

import asyncio
from dataclasses import dataclass

from tekton.core.calls import UserFunction, call, describe


class NotReadyError(Exception):
    """A condition was not met by its deadline; the text names it and says what the last check found."""


@dataclass(frozen=True, slots=True)
class ReadinessCondition:
    """A named check, asked every *interval* seconds until it returns something true.

    A check that raises counts as not met. `timeout` is the condition's own deadline in seconds (None: that of the
    start). A check may also wait by itself and return True when the time has come.
    """

    name: str
    check: UserFunction
    interval: float = 0.25
    timeout: float | None = None

    async def wait(self) -> None:
        """Return when the condition is met. Raises NotReadyError at its deadline."""
        finding: str | None = "the check has not answered"
        deadline = asyncio.timeout(self.timeout)
        try:
            async with deadline:
                while True:
                    finding = await self._find()
                    if finding is None:
                        return
                    await asyncio.sleep(self.interval)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise NotReadyError(f"{self.name} not met after {self.timeout:g} s: {finding}") from None

    async def _find(self) -> str | None:
        """None when the condition is met, else what is in the way."""
        outcome = await call(self.check)
        if outcome.error is not None:
            return describe(outcome.error)
        return None if outcome.value else "not yet"
