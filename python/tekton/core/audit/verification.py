"""Is the audit log what was written? Works on what is stored alone, in one pass.

What each part shows:

* an entry that was changed, moved, put in or taken out breaks the chain there;
* a chain that somebody has written anew, or whose end he has cut off, contradicts a signed head.

After the newest signed head nothing but the chain speaks for the entries.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from tekton.core.audit.entry import AuditHead, Draft, Row, hash_of
from tekton.core.audit.heads import Check, SignedHead
from tekton.core.audit.query import RESTORE

MAX_PROBLEMS = 20
"""How many problems are told of; one is enough."""


class Ends(NamedTuple):
    """What a store says of its log: the newest entry that was dropped, and the newest entry."""

    base: AuditHead
    head: AuditHead


class Verdict(msgspec.Struct, kw_only=True):
    """What was found. `problems` is empty for a sound log, in which `entries` from `first` to `last` are kept.

    `heads` signed heads were checked, the newest of which vouches for all up to `vouched`; of `unchecked` heads the key
    is not known any more; `later` were signed after the last entry (a backup is older than its log). `restores` are the
    numbers of entries at which a backup was restored.
    """

    entries: int = 0
    first: int | None = None
    last: int | None = None
    heads: int = 0
    unchecked: int = 0
    vouched: int = 0
    later: int = 0
    restores: list[int] = []
    problems: list[str] = []

    @property
    def sound(self) -> bool:
        """True when nothing is wrong."""
        return not self.problems

    def complain(self, problem: str) -> None:
        """Note a problem, unless there are many already."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


def verify(
    rows: Iterable[Row], ends: Ends, heads: Sequence[SignedHead], check: Check, *, complete: bool = True
) -> Verdict:
    """Verify *rows*, oldest first.

    *complete*: no entry is newer than these. Not so for a backup: heads that were signed later say nothing of it.
    """
    verification = _Verification(ends, {head.seq for head in heads}, check, complete=complete)
    for row in rows:
        verification.take(row)
    verification.finish()
    for head in heads:
        verification.compare(head)
    return verification.conclude()


class _Verification:
    def __init__(self, ends: Ends, signed: set[int], check: Check, *, complete: bool) -> None:
        self._ends = ends
        self._signed = signed
        self._check = check
        self._complete = complete
        self._last = ends.base
        self._hashes: dict[int, str] = {}
        self._gaps: list[range] = []
        self._verdict = Verdict(restores=[], problems=[])

    def take(self, row: Row) -> None:
        """The next entry: is it itself, and does it follow?"""
        said, before, verdict = _draft(row), self._last, self._verdict
        follows = hash_of(before.hash, row.body.encode()) == row.hash
        if row.seq != before.seq + 1:
            missing = range(before.seq + 1, row.seq)
            if said is not None and said.action == RESTORE and follows:
                self._gaps.append(missing)
                verdict.restores.append(row.seq)
            else:
                verdict.complain(f"{_entries(missing.start, missing.stop - 1)} missing")
        elif not follows:
            verdict.complain(f"entry {row.seq} was changed, or does not follow entry {before.seq}")
        elif said is None:
            verdict.complain(f"entry {row.seq} cannot be read")
        if said is not None and said.seq != row.seq:
            verdict.complain(f"entry {row.seq} was written as entry {said.seq}")
        verdict.entries += 1
        verdict.first = row.seq if verdict.first is None else verdict.first
        if row.seq in self._signed:
            self._hashes[row.seq] = row.hash.hex()
        self._last = AuditHead(row.seq, row.hash)

    def finish(self) -> None:
        """There are no more entries: does the database say so, too?"""
        last, head = self._last, self._ends.head
        if self._verdict.entries:
            self._verdict.last = last.seq
        if head.seq > last.seq:
            self._verdict.complain(f"{_entries(last.seq + 1, head.seq)} missing at the end")
        elif head != last:
            self._verdict.complain(f"the last entry is {last.seq}, but the database has noted another one as the last")

    def compare(self, head: SignedHead) -> None:
        """A signed head: is the entry still the one that was signed?"""
        verdict, time = self._verdict, datetime.fromtimestamp(head.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        right = head.check(self._check)
        if right is False:
            verdict.complain(f"the head of entry {head.seq}, {time}, has a signature that is not ours")
            return
        if right:
            verdict.heads += 1
        else:
            verdict.unchecked += 1
        if head.seq > self._last.seq:
            verdict.later += 1
            if self._complete:
                verdict.complain(f"the log ends with entry {self._last.seq}, but entry {head.seq} was signed at {time}")
        elif self._is_kept(head.seq) and self._hashes.get(head.seq) != head.hash:
            verdict.complain(f"entry {head.seq} is not the one that was signed at {time}")
        elif right:
            verdict.vouched = max(verdict.vouched, head.seq)

    def conclude(self) -> Verdict:
        """What was found."""
        base, verdict = self._ends.base.seq, self._verdict
        if base > verdict.vouched and not verdict.unchecked:
            verdict.complain(f"the entries up to {base} were dropped, and no signed head vouches for them")
        return verdict

    def _is_kept(self, seq: int) -> bool:
        return seq > self._ends.base.seq and not any(seq in gap for gap in self._gaps)


def _draft(row: Row) -> Draft | None:
    try:
        return row.draft()
    except msgspec.MsgspecError:
        return None


def _entries(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"
