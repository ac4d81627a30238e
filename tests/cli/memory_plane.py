"""A control plane in memory, in a loop and a thread of its own, for commands that run in the thread of the test."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from tekton.testing.control_plane import InMemoryControlPlane


class MemoryPlane:
    """It runs from when it is made to `end`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.plane: InMemoryControlPlane = self.do(self._begin)

    def do(self, function: Callable[[], Any]) -> Any:
        """What comes of awaiting *function* on the loop of the control plane."""
        return asyncio.run_coroutine_threadsafe(function(), self._loop).result(10)

    async def _begin(self) -> InMemoryControlPlane:
        plane = InMemoryControlPlane()
        return await plane.__aenter__()

    def end(self) -> None:
        async def end() -> None:
            await self.plane.__aexit__(None, None, None)

        self.do(end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
