"""Waiting for something to happen to a component, without polling and without a task per waiter."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Watch:
    """What has happened to the watched names since they were last asked about."""

    __slots__ = ("_changed", "_names")

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._changed: asyncio.Future[None] | None = None

    def note(self, name: str) -> None:
        """Something has happened to *name*."""
        self._names.add(name)
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def changed(self) -> "asyncio.Future[None]":
        """A future that is done as soon as there is something to `take`."""
        if self._changed is None or self._changed.done():
            self._changed = asyncio.get_running_loop().create_future()
            if self._names:
                self._changed.set_result(None)
        return self._changed

    def take(self) -> set[str]:
        """The names to which something has happened since the last call."""
        names, self._names = self._names, set()
        return names


class Signals:
    """Tells those who watch a name. A notification that nobody watches for is forgotten: watch, then look."""

    __slots__ = ("_watches",)

    def __init__(self) -> None:
        self._watches: dict[str, dict[Watch, None]] = {}

    def notify(self, name: str) -> None:
        """Tell everybody who watches *name*, whoever has watched longest first."""
        for watch in self._watches.get(name, ()):
            watch.note(name)

    @contextmanager
    def watch(self, names: Iterable[str]) -> Iterator[Watch]:
        """Watch *names*. Every one costs as much as a dictionary entry, however long the watch lasts."""
        watched = dict.fromkeys(names)
        watch = Watch()
        for name in watched:
            self._watches.setdefault(name, {})[watch] = None
        try:
            yield watch
        finally:
            for name in watched:
                self._leave(name, watch)

    def _leave(self, name: str, watch: Watch) -> None:
        watches = self._watches[name]
        watches.pop(watch, None)
        if not watches:
            del self._watches[name]
