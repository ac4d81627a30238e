"""A thread of its own for work that may block for as long as a disk does."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Final, TypeVar

from tekton.utils.tekton_errors import StorageError

_T = TypeVar("_T")

MOST_JOBS: Final = 1000
"""Who asks gives up after a while, but what he has asked for waits until the disk answers."""


class Worker:
    """Does one thing after the other. It does not hold up the end of the process, whatever the disk does."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._name = name
        self._thread: threading.Thread | None = None
        self._stopped = False

    def submit(self, job: Callable[[], _T]) -> "Future[_T]":
        """Have *job* done; the future is given what comes of it.

        Raises StorageError after `stop` and while MOST_JOBS wait, and RuntimeError when the machine has no thread.
        """
        if self._stopped:
            raise StorageError(f"{self._name} has stopped")
        if self._jobs.qsize() >= MOST_JOBS:
            raise StorageError(f"{self._name} does not get on: {MOST_JOBS} requests wait for the disk already")
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            thread.start()
            self._thread = thread
        future: Future[_T] = Future()
        self._jobs.put(lambda: _fulfil(future, job))
        return future

    def stop(self) -> None:
        """End when all is done that was asked for."""
        self._stopped = True
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _fulfil(future: "Future[_T]", job: Callable[[], _T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(job())
    except BaseException as error:
        future.set_exception(error)
