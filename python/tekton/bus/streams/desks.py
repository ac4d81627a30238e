"""Where the work of a store is done, and how to have it done there."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from tekton.bus.streams.store import Desk
from tekton.utils.tekton_errors import StorageError

_T = TypeVar("_T")


class AtOnce:
    """A Desk without a thread, for a store that waits for no disk."""

    def submit(self, job: Callable[[], _T]) -> "Future[_T]":
        """See Desk. It is done when this returns."""
        future: Future[_T] = Future()
        try:
            future.set_result(job())
        except Exception as error:
            future.set_exception(error)
        return future

    def stop(self) -> None:
        """See Desk."""


def submit(desk: Desk, job: Callable[[], _T]) -> "Future[_T]":
    """Have *job* done at *desk*. What keeps it from being done comes out of the future."""
    try:
        return desk.submit(job)
    except (RuntimeError, StorageError) as error:  # no thread, or too much to do
        future: Future[_T] = Future()
        future.set_exception(error)
        return future


def ask(desk: Desk, job: Callable[[], _T]) -> "asyncio.Future[_T]":
    """As `submit`, for who waits on the running event loop."""
    return asyncio.wrap_future(submit(desk, job))
