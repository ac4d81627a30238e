"""Clients in threads, at work as long as a `with` block."""

import threading
from collections.abc import Callable, Iterable
from typing import Self


class ClientThreads:
    """Each of *bodies* runs in a thread of its own, until it sees `_stop`."""

    def __init__(self, bodies: Iterable[Callable[[], None]]) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=body) for body in bodies]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)
