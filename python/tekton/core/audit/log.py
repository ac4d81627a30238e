"""The audit log as the rest of Tekton uses it.

What changes the registry or a document is entered by the store itself, in the transaction that makes the change. Here
is entered what is no such change: reads of secrets, logins, and above all effects outside of the database, which no
transaction can hold. Of those there are two entries: the intent is durable before the effect begins, the outcome
follows when it has ended. An intent without an outcome when the store is opened again gets the outcome `unknown`.

What cannot be entered must not be done: the storage errors are raised before the effect.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Protocol, Self

from tekton.core.attribution import TEKTON, Attribution, current
from tekton.core.audit.entry import AuditHead, Draft, Outcome, draft
from tekton.core.audit.query import AuditPage, AuditQuery

Now = Callable[[], float]

MAX_PAGE = 1000


class AuditWriter(Protocol):
    """What the log asks of the commit queue."""

    @property
    def audit_head(self) -> AuditHead:
        """The newest durable entry."""
        ...

    def audit(self, draft: Draft) -> "asyncio.Future[int]":
        """Enter *draft*; durable when that is done, which gives its number. Raises the storage errors."""
        ...

    async def flush(self) -> None:
        """Wait until all that was entered is durable, or refused."""
        ...

    def note(self, draft: Draft) -> None:
        """Enter *draft* as soon as that can be done; a refusal of the store is only a delay."""
        ...

    def read_audit(self, query: AuditQuery, limit: int, before: int | None) -> Awaitable[AuditPage]:
        """Some entries, newest first, after a look at a bounded number of them."""
        ...

    def trim_audit(self, signed: int) -> Awaitable[bool]:
        """Drop some entries up to *signed* if there are too many; True when there are more to drop."""
        ...


class Effect:
    """Something that is about to be done, and is in the log already. The outcome is what its block ends with.

        with await audit.intend("kill", "rhetor", "TERM"):
            ...

    An exception makes it `failed`. Who has no block calls `conclude`.
    """

    __slots__ = ("_by", "_concluded", "_log", "_what", "seq")

    def __init__(self, log: "AuditLog", by: Attribution, what: tuple[str, str], seq: int) -> None:
        self._log = log
        self._by = by
        self._what = what
        self._concluded = False
        self.seq = seq

    def conclude(self, outcome: Outcome = "done", detail: str = "") -> None:
        """Enter the outcome, without waiting for the disk. The first call counts."""
        if not self._concluded:
            self._concluded = True
            self._log.open_intents -= 1
            self._log.note(self._by, self._what, outcome, detail, self.seq)

    def fail(self, error: BaseException) -> None:
        """Enter that it failed with *error*."""
        interrupted = isinstance(error, asyncio.CancelledError)
        self.conclude("failed", "interrupted" if interrupted else str(error) or type(error).__name__)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.conclude()
        else:
            self.fail(error)


class AuditLog:
    """The log that *writer* keeps. *now* is in wall-clock seconds."""

    def __init__(self, writer: AuditWriter, now: Now) -> None:
        self.open_intents = 0
        """How many of the things that were about to be done have no outcome yet."""
        self._writer = writer
        self._now = now

    @property
    def head(self) -> AuditHead:
        """The newest durable entry."""
        return self._writer.audit_head

    async def record(
        self,
        action: str,
        target: str = "",
        outcome: Outcome = "done",
        detail: str = "",
        *,
        by: Attribution | None = None,
    ) -> int:
        """Enter what *by* (whoever is attributed, or else Tekton) did; durable on return. The number of the entry.

        Raises StorageFullError, and the other storage errors: then it is not in the log, and must not be done.
        """
        by = by or current() or TEKTON
        return await self._writer.audit(draft(self._now(), by, action, target, outcome=outcome, detail=detail))

    async def intend(self, action: str, target: str = "", detail: str = "", *, by: Attribution | None = None) -> Effect:
        """Enter that something is about to be done; durable on return. Raises as `record`."""
        by = by or current() or TEKTON
        entered = self._writer.audit(draft(self._now(), by, action, target, outcome="intent", detail=detail))
        try:
            effect = Effect(self, by, (action, target), await asyncio.shield(entered))
        except asyncio.CancelledError:
            # It will be in the log, and nobody is left who could do it.
            entered.add_done_callback(partial(self._give_up, by, (action, target)))
            raise
        self.open_intents += 1
        return effect

    def _give_up(self, by: Attribution, what: tuple[str, str], entered: "asyncio.Future[int]") -> None:
        if not entered.cancelled() and entered.exception() is None:
            self.note(by, what, "failed", "interrupted", entered.result())

    def note(self, by: Attribution, what: tuple[str, str], outcome: Outcome, detail: str, intent: int | None) -> None:
        """Enter what has happened, or (the number of) whose outcome it is: as soon as possible, without waiting."""
        self._writer.note(draft(self._now(), by, *what, outcome=outcome, detail=detail, intent=intent))

    async def page(self, query: AuditQuery, limit: int = 100, before: int | None = None) -> AuditPage:
        """Up to *limit* (1 to 1000) entries that *query* means, with numbers below *before*, newest first.

        Looks at as many entries as that takes; between portions of them the store commits. Reads the disk.
        """
        limit = max(1, min(limit, MAX_PAGE))
        page = await self._writer.read_audit(query, limit, before)
        entries = page.entries
        while len(entries) < limit and page.before is not None:
            page = await self._writer.read_audit(query, limit - len(entries), page.before)
            entries.extend(page.entries)
        return AuditPage(entries, page.before)

    async def flush(self) -> None:
        """Wait until the outcomes that were entered are durable, unless the store refuses them."""
        await self._writer.flush()

    async def trim(self, signed: int) -> None:
        """Drop old entries up to *signed*, as far as there are more than are to be kept. Commits go on in between."""
        while await self._writer.trim_audit(signed):
            pass
