"""Entries of the audit log, and the chain that they form.

An entry is kept as the text of a JSON array, and hashed with the hash of the one before it:

    body = [at, actor, via, address, request, action, target, outcome, detail, intent, seq]
    hash = SHA-256(previous hash ++ body in UTF-8)

`at` is in whole microseconds. The first entry follows 32 zero bytes. Only the store's writer makes entries of drafts:
in the order in which they are committed.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Literal, NamedTuple

import msgspec

from tekton.core.attribution import Attribution

Outcome = Literal["done", "intent", "failed", "refused", "unknown"]
"""`intent`: it was about to be done; another entry, which names this one, says what came of it. `unknown`: nobody
lived to say."""

GENESIS = bytes(32)
"""What the first entry follows."""

MAX_TEXT = 1024
"""Characters of a field; what is longer is cut off."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One entry of the log. `at` is in wall-clock seconds; the hashes are in hexadecimal.

    `actor` is a subject, `via` how that was proved, `address` where the request came from, `request` its id. `target`
    is what `action` was done to. `intent` is the number of the entry whose outcome this is.
    """

    seq: int
    at: float
    actor: str
    via: str
    address: str
    request: str
    action: str
    target: str
    outcome: Outcome
    detail: str
    intent: int | None
    previous_hash: str
    hash: str


class Draft(msgspec.Struct, array_like=True, gc=False):
    """An entry that is to be. `at` is in microseconds; `seq` is given by whoever puts it into the chain."""

    at: int
    actor: str
    via: str
    address: str
    request: str
    action: str
    target: str
    outcome: Outcome
    detail: str
    intent: int | None
    seq: int = 0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Draft).decode


class AuditHead(NamedTuple):
    """The newest entry of a log: its number (0: there is none) and its hash."""

    seq: int
    hash: bytes


EMPTY = AuditHead(0, GENESIS)


class Row(NamedTuple):
    """An entry as a store keeps it."""

    seq: int
    body: str
    hash: bytes

    def draft(self) -> Draft:
        """What the body says. Raises msgspec.ValidationError or DecodeError for what is none."""
        return _decode(self.body)

    def entry(self, previous: bytes) -> AuditEntry:
        """The entry that this is, after one whose hash was *previous*. Raises as `draft`."""
        said = self.draft()
        return AuditEntry(
            seq=self.seq,
            at=said.at / 1e6,
            actor=said.actor,
            via=said.via,
            address=said.address,
            request=said.request,
            action=said.action,
            target=said.target,
            outcome=said.outcome,
            detail=said.detail,
            intent=said.intent,
            previous_hash=previous.hex(),
            hash=self.hash.hex(),
        )


def draft(
    at: float,
    by: Attribution,
    action: str,
    target: str,
    *,
    outcome: Outcome = "done",
    detail: str = "",
    intent: int | None = None,
) -> Draft:
    """A draft of what *by* did at *at* (wall-clock seconds). Its texts are made printable, and not too long."""
    actor, via, address, request = by
    texts = f"{actor}{address}{request}{target}{detail}"
    # Nearly always one look is enough.
    if not (len(texts) <= MAX_TEXT and texts.isascii() and texts.isprintable()):
        actor, address, request, target, detail = map(_printable, (actor, address, request, target, detail))
    return Draft(int(at * 1e6), actor, via, address, request, action, target, outcome, detail, intent)


def hash_of(previous: bytes, body: bytes) -> bytes:
    """The hash of the entry with that *body* after one with the hash *previous*."""
    return sha256(previous + body).digest()


def chained(head: AuditHead, drafts: Iterable[Draft]) -> list[Row]:
    """*drafts* as the entries that come after *head*; their `seq` is set."""
    rows: list[Row] = []
    seq, previous = head
    for one in drafts:
        seq += 1
        one.seq = seq
        body = _encode(one)
        previous = hash_of(previous, body)
        rows.append(Row(seq, body.decode(), previous))
    return rows


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text[:MAX_TEXT])
