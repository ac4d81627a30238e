"""What is not accepted any more although it has not expired: a token, all tokens of a subject, or a subject.

Revocations are documents, and nothing but these: one holds from the moment it is committed, and after a restart. They
go by the id of a token (`jti`), never by its text, which could be spelled in another way. One that can make no
difference any more, since everything it is about has expired, is forgotten. An API key is not revoked but removed
(`ApiKeys.revoke`); a subject that is barred is so with its keys.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from tekton.auth.documents import Documents
from tekton.auth.terms import LEEWAY, MAX_LIFE

KIND: Final = "revocation"


class Revocation(msgspec.Struct, frozen=True):
    """One revocation. `issued_up_to` (seconds since the epoch): what was issued later is not meant; None: all is meant.

    `useless_at` is when it can be forgotten; None: never.
    """

    issued_up_to: int | None
    useless_at: float | None
    reason: str = ""

    def covers(self, issued_at: float) -> bool:
        """Whether it is about a token that was issued then."""
        return self.issued_up_to is None or issued_at <= self.issued_up_to


class Revocations:
    """The revocations among *documents*.

    The methods that change something raise StorageError, and then nothing was changed.
    """

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    @property
    def epoch(self) -> int:
        """A number that grows with each revocation: who remembers what was valid compares it."""
        return self._documents.changes(KIND)

    def is_revoked(self, token_id: str, subject: str, issued_at: float) -> bool:
        """Whether a token is revoked. Three lookups in memory, and nothing more as long as none is found."""
        known = self._documents.all(KIND)
        if not known:
            return False
        return _of_token(token_id) in known or self._covers(known, subject, issued_at)

    def is_barred(self, subject: str) -> bool:
        """Whether nothing at all is accepted from *subject*."""
        return self._covers(self._documents.all(KIND), subject, float("inf"))

    async def revoke_token(self, token_id: str, expires_at: float, *, reason: str = "") -> None:
        """Accept a token no more, which would expire at *expires_at* (seconds since the epoch)."""
        await self._put(_of_token(token_id), Revocation(None, expires_at + LEEWAY, reason))

    async def revoke_issued(self, subject: str, now: float, *, reason: str = "") -> None:
        """Accept no token more that *subject* was given until *now*; what is issued from the next second on counts."""
        if not self.is_barred(subject):
            await self._put(_of_subject(subject), Revocation(int(now), now + MAX_LIFE + 2 * LEEWAY, reason))

    async def bar(self, subject: str, *, reason: str = "") -> None:
        """Accept nothing from *subject*, whenever it was issued, until `restore`."""
        await self._put(_of_subject(subject), Revocation(None, None, reason), "revocation.bar")

    async def restore(self, subject: str, now: float) -> None:
        """Accept again what *subject* is given from the next second on. Tokens from before stay revoked."""
        if self.is_barred(subject):
            revocation = Revocation(int(now), now + MAX_LIFE + 2 * LEEWAY)
            await self._put(_of_subject(subject), revocation, "revocation.restore")

    async def forget_useless(self, now: float) -> int:
        """Forget the revocations that can make no difference any more; returns how many."""
        useless = [
            name for name, entry in self.listed().items() if entry.useless_at is not None and entry.useless_at < now
        ]
        for name in useless:
            await self._documents.delete(KIND, name, action="revocation.forget")
        return len(useless)

    def listed(self) -> dict[str, Revocation]:
        """All revocations, by `token:<id>` or `subject:<name>`."""
        return {name: _decode(body) for name, body in self._documents.all(KIND).items()}

    def _covers(self, known: Mapping[str, bytes], subject: str, issued_at: float) -> bool:
        body = known.get(_of_subject(subject))
        return body is not None and _decode(body).covers(issued_at)

    async def _put(self, name: str, revocation: Revocation, action: str = "revocation.add") -> None:
        body = msgspec.json.encode(revocation)
        await self._documents.put(KIND, name, body, action=action, detail=revocation.reason)


def _decode(body: bytes) -> Revocation:
    return msgspec.json.decode(body, type=Revocation)


def _of_token(token_id: str) -> str:
    return f"token:{token_id}"


def _of_subject(subject: str) -> str:
    return f"subject:{subject}"
