"""Waiting for something to happen to a component, without polling and without a task per waiter."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Signals:
    """Wakes those who wait for a name. A notification that nobody waits for is forgotten: check, then wait."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    def notify(self, name: str) -> None:
        """Wake everybody who waits for *name*."""
        for future in self._waiting.get(name, ()):
            if not future.done():
                future.set_result(None)

    async def wait(self, names: Iterable[str]) -> None:
        """Wait for the next notification of any of *names*."""
        with self.watch(names) as changed:
            await changed

    @contextmanager
    def watch(self, names: Iterable[str]) -> "Iterator[asyncio.Future[None]]":
        """A future that is done at the next notification of any of *names*."""
        watched = frozenset(names)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for name in watched:
            self._waiting.setdefault(name, set()).add(future)
        try:
            yield future
        finally:
            for name in watched:
                self._leave(name, future)

    def _leave(self, name: str, future: "asyncio.Future[None]") -> None:
        waiting = self._waiting[name]
        waiting.discard(future)
        if not waiting:
            del self._waiting[name]
