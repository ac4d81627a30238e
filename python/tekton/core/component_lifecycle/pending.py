"""What waits for the store, in the order in which it was accepted, and how much of it there may be.

Sizes are estimates of the JSON of the records that go to the store, and so of most of what they cost in memory.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence

import msgspec

from tekton.core.audit.entry import Draft
from tekton.core.component_lifecycle.documents import DocumentChange
from tekton.core.component_lifecycle.steps import Before, Fact, Key, Step, change_of
from tekton.core.component_lifecycle.store import Papers
from tekton.core.events import can_be_told
from tekton.core.idempotency import Claim
from tekton.core.lifecycle import Change, ComponentRecord
from tekton.utils.tekton_errors import StorageError

MAX_BATCH = 512
MAX_BATCH_BYTES = 1024 * 1024
"""A batch ends before the entry with which it would have more; one entry always fits."""
MAX_PENDING = 16_384
MAX_PENDING_BYTES = 64 * 1024 * 1024
"""From here on commands are refused. Observations are not: what has happened has happened."""

_SMALL = 512
"""Bytes that a record without a reason, metadata or tools, and with few names, is counted as."""
_FEW = 8

_encode = msgspec.json.Encoder().encode


class Entry:
    """Steps that become visible together: a command with its callers, or an observation (*fact*) that has to wait.

    `audit` is what the audit log says of it, `audit_seq` the number of that once it is durable, `documents` are the
    changes of documents in it. `lasting` says that a refusal of the store is only a delay. `claim` is that of the
    request which made it, if the row of its key goes with the entry.
    """

    __slots__ = (
        "audit", "audit_seq", "before", "callers", "changes", "claim", "documents", "fact", "key", "lasting", "size",
        "steps",
    )  # fmt: skip

    def __init__(
        self,
        key: Key,
        steps: Sequence[Step],
        before: Sequence[Before],
        fact: Fact | None = None,
        *,
        audit: Draft | None = None,
        documents: Sequence[DocumentChange] = (),
        lasting: bool = False,
        claim: Claim | None = None,
    ) -> None:
        self.key = key
        self.steps = steps
        self.before = before
        self.fact = fact
        self.audit = audit
        self.audit_seq = 0
        self.documents = documents
        self.lasting = lasting
        self.claim = claim
        self.callers: list[asyncio.Future[int]] = []
        self.changes: list[Change] = []
        # The steps of one entry write much the same record over again.
        self.size = _size(steps[0].record) * len(steps) if steps else 0
        for document in documents:
            self.size += len(document.body or b"")

    @property
    def is_command(self) -> bool:
        """True for what somebody wants to be done, and is told of when it is refused."""
        wanted = self.steps or self.documents or self.audit is not None
        return bool(wanted) and self.fact is None and not self.lasting

    def new_caller(self) -> "asyncio.Future[int]":
        """A future that is done when the entry is published, and fails when it is refused.

        Its result is `audit_seq`.
        """
        caller = asyncio.get_running_loop().create_future()
        self.callers.append(caller)
        return caller

    def answer(self, error: StorageError | None) -> None:
        """Tell the callers that the entry is published, or why it is not."""
        if self.claim is not None:
            self.claim.written(error)
        for caller in self.callers:
            if not can_be_told(caller):
                continue
            if error is None:
                caller.set_result(self.audit_seq)
            else:
                caller.set_exception(error)


def _size(record: ComponentRecord) -> int:
    # Encoding takes longer than everything else here, and nearly all are small.
    large = record.metadata or record.reason or record.offered or record.offered_agents
    if large or len(record.capabilities) + len(record.dependencies) > _FEW:
        return len(_encode(record))
    return _SMALL


class Pending:
    """The entries that no batch has taken yet."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    @property
    def crowded(self) -> bool:
        """True when there is no room for another command."""
        return len(self._entries) >= MAX_PENDING or self._size >= MAX_PENDING_BYTES

    def append(self, entry: Entry) -> None:
        """Add *entry*, whether or not there is room."""
        self._entries.append(entry)
        self._size += entry.size

    def take_batch(self) -> list[Entry]:
        """Remove and return the oldest entries, as many as make one batch."""
        batch: list[Entry] = []
        size = 0
        while self._entries and len(batch) < MAX_BATCH:
            size += self._entries[0].size
            if batch and size > MAX_BATCH_BYTES:
                break
            batch.append(self._entries.popleft())
        self._size -= sum(entry.size for entry in batch)
        return batch

    def take_all(self) -> list[Entry]:
        """Remove and return everything."""
        entries, self._entries, self._size = list(self._entries), deque(), 0
        return entries


def give_revisions(entries: Sequence[Entry], base: int) -> list[Change]:
    """Make the changes of *entries*, with revisions from *base* on."""
    changes: list[Change] = []
    for entry in entries:
        entry.changes = [change_of(step, base + len(changes) + offset) for offset, step in enumerate(entry.steps)]
        changes.extend(entry.changes)
    return changes


def papers_of(entries: Sequence[Entry]) -> Papers | None:
    """What *entries* carry beside their changes; None when that is nothing."""
    audit = [entry.audit for entry in entries if entry.audit is not None]
    documents = [document for entry in entries for document in entry.documents]
    claims = [(entry.claim, entry.steps) for entry in entries if entry.claim is not None]
    if not (audit or documents or claims):
        return None
    keys = [claim.row(steps) for claim, steps in claims]
    return Papers(audit, documents, keys, [one for claim, _ in claims for one in claim.forgotten()])


def give_numbers(entries: Sequence[Entry], last: int) -> None:
    """Tell *entries* the numbers that theirs got in the audit log, of which *last* is the highest."""
    for entry in reversed(entries):
        if entry.audit is not None:
            entry.audit_seq = last
            last -= 1
