"""What others can follow, two ways: listeners hear each change as it happens; who only waits has a version.

    class ToolRegistry(Observable[ToolChange]):
        def add(self, tool: Tool) -> None:
            ...
            self._tell(ToolChange("added", tool), tool.name)

Used on one event loop; it may be made before there is one.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Observable"]

_ChangeT = TypeVar("_ChangeT")


class Observable(Generic[_ChangeT]):
    """Something that tells of its changes. What a listener raises goes to *logger*."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._listeners: list[Callable[[_ChangeT], object]] = []
        self._turned = asyncio.Event()
        self._version = 0

    @property
    def version(self) -> int:
        """How many changes there were."""
        return self._version

    async def changed(self, since: int) -> int:
        """Wait until `version` is no longer *since*; returns what it is. Changes in between count as one."""
        while self._version == since:
            await self._turned.wait()
        return self._version

    def listen(self, listener: Callable[[_ChangeT], object]) -> Callable[[], None]:
        """Tell *listener* of each change from now on; returns the function that ends that. It must return at once."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def _tell(self, change: _ChangeT, of: str) -> None:
        """*change* has happened, to what is called *of*. It makes the version `version + 1`."""
        self._version += 1
        turned, self._turned = self._turned, asyncio.Event()
        turned.set()
        for listener in tuple(self._listeners):
            try:
                listener(change)
            except Exception:
                self._logger.exception("a listener failed at a change of %s", of)
