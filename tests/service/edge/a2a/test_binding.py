"""Streams of events: what is told, how they end when something goes wrong, and what is left behind."""

from collections.abc import AsyncIterator

import pytest

from tekton.gateway.errors import PermissionDeniedError
from tekton.gateway.sse import EventStream
from tekton.service.edge.a2a.binding import streamed
from tekton.service.edge.a2a.errors import A2aError
from tekton.service.edge.a2a.wire import State, StatusUpdate, StreamResponse, TaskStatus
from tekton.utils.tekton_errors import StorageError

WORKING = StreamResponse(
    status_update=StatusUpdate(task_id="t", context_id="c", status=TaskStatus(state=State.WORKING))
)


def tell(update: StreamResponse) -> bytes:
    assert update is WORKING
    return b"+"


def fail(error: A2aError) -> bytes:
    return f"!{error.reason}".encode()


class Updates:
    """Updates that end with *error*, if there is one."""

    def __init__(self, error: Exception | None = None) -> None:
        self.closed = False
        self._error = error

    async def run(self) -> AsyncIterator[list[StreamResponse]]:
        try:
            yield [WORKING]
            yield [WORKING, WORKING]
            if self._error is not None:
                raise self._error
        finally:
            self.closed = True

    def stream(self) -> EventStream:
        return streamed(self.run(), tell, fail)


async def test_what_is_told_together_is_sent_together() -> None:
    updates = Updates()

    assert [chunk async for chunk in updates.stream().source] == [b"+", b"++"]
    assert not updates.stream().farewell


async def test_an_error_is_the_last_event() -> None:
    assert [chunk async for chunk in Updates(StorageError("full")).stream().source] == [b"+", b"++", b"!STORAGE"]


async def test_whose_right_is_lost_is_told_nothing_more() -> None:
    with pytest.raises(PermissionDeniedError):
        [chunk async for chunk in Updates(PermissionDeniedError("tasks:run")).stream().source]


async def test_what_follows_a_task_ends_with_the_stream() -> None:
    updates = Updates()
    source = updates.stream().source
    await anext(source)

    await source.aclose()  # type: ignore[attr-defined]

    assert updates.closed
