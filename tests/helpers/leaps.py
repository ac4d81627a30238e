"""Time that passes at once, for what cannot run on virtual time: threads, and sockets with somebody at the other end.

A short timeout may be over before anything has begun. A long one is not, and `leap` ends it when all is as it should.
"""

import asyncio


class Leaps:
    """Has the running loop of real time leap ahead."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        time, self._ahead = loop.time, 0.0
        loop.time = lambda: time() + self._ahead  # type: ignore[method-assign]

    def leap(self, seconds: float) -> None:
        """So many *seconds* have passed: timers that were to run meanwhile run in the next turn of the loop."""
        self._ahead += seconds
