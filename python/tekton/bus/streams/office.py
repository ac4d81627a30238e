"""What those who hand out a stream's messages ask of those who have the streams."""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from tekton.bus.envelope import Envelope
from tekton.bus.streams.consumer import Dying
from tekton.bus.streams.store import Placed, StreamStore
from tekton.bus.streams.view import StreamView

_T = TypeVar("_T")


class Office(Protocol):
    """`Streams` is one."""

    @property
    def store(self) -> StreamStore:
        """The store, for `ask`."""
        ...

    def note_progress(self) -> None:
        """Something of a consumer has to be written, soon."""
        ...

    def ask(self, job: Callable[[], _T]) -> "asyncio.Future[_T]":
        """Have *job* done, which reads from the store."""
        ...

    def bury(self, view: StreamView, consumer: str, envelope: Envelope, dying: Dying) -> "asyncio.Future[list[Placed]]":
        """Write a dead letter."""
        ...
