"""Documents: small things that last. That stores keep them is in test_store.py."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from tekton.core.audit.query import AuditQuery
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.documents import MAX_BODY_BYTES
from tekton.core.component_lifecycle.store import MemoryStore, Papers
from tekton.testing.faults import FaultyStore
from tekton.utils.tekton_errors import StorageFullError


class SlowStore(FaultyStore):
    """Commits when the test says so. `commits` are the numbers of documents in each."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.go_on = threading.Event()
        self.begun = threading.Event()
        self.commits: list[int] = []

    def commit(self, batch: Sequence[Any], papers: Papers = Papers()) -> None:  # noqa: B008
        self.begun.set()
        self.go_on.wait(5)
        super().commit(batch, papers)
        self.commits.append(len(papers.documents))


async def test_several_documents_are_one_commit_and_one_entry_of_the_audit_log() -> None:
    store = SlowStore()
    store.go_on.set()
    async with ComponentRegistry(store=store) as registry:
        await registry.documents.put_all("key", {"a": b"1", "b": b"2"}, action="key.rotate", detail="of two")

        entries = (await registry.audit.page(AuditQuery())).entries

        assert dict(registry.documents.all("key")) == {"a": b"1", "b": b"2"}
        assert [(entry.action, entry.target, entry.detail) for entry in entries] == [("key.rotate", "a", "of two")]
        assert store.commits == [2]


async def test_of_several_documents_none_is_kept_when_one_cannot_be() -> None:
    store = SlowStore()
    store.go_on.set()
    async with ComponentRegistry(store=store) as registry:
        with pytest.raises(ValueError, match="more than a document may have"):
            await registry.documents.put_all("key", {"a": b"1", "b": bytes(MAX_BODY_BYTES + 1)})
        store.full = True
        with pytest.raises(StorageFullError):
            await registry.documents.put_all("key", {"a": b"1", "b": b"2"})

        assert dict(registry.documents.all("key")) == {}
        store.full = False


@pytest.mark.parametrize("full", [False, True])
async def test_who_is_cancelled_has_waited_until_it_shows_or_was_refused(full: bool) -> None:
    store = SlowStore()
    store.full = full
    async with ComponentRegistry(store=store) as registry:
        caller = asyncio.ensure_future(registry.documents.put("key", "a", b"1"))
        await asyncio.to_thread(store.begun.wait, 5)

        caller.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not caller.done()
        store.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await caller

        assert dict(registry.documents.all("key")) == ({} if full else {"a": b"1"})
        store.full = False
