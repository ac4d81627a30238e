"""API keys: secrets for programs that cannot fetch themselves a token.

    tk_<id>_<secret><checksum>

The prefix lets scanners find one that has leaked, the checksum tells a mistyped one without looking anything up, and
the id says which it is without telling the secret. Only the SHA-256 of a key is kept: its secret has 256 random bits,
so there is nothing to guess. A subject may have two keys that live, so that one takes over before the other has ended.

When a key was used last is known at once, and stored once in a while: it must not cost a commit for each request.
"""

import asyncio
import hashlib
import hmac
import re
import secrets
import string
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from msgspec import structs

from tekton.auth.documents import Documents
from tekton.utils.tekton_errors import InvalidTokenError, KeyLimitError

KIND: Final = "api_key"
USE_KIND: Final = "api_key_use"
LIVE_KEYS: Final = 2
"""Keys that a subject may have at a time."""
STORED_EVERY: Final = 3600.0
"""Seconds by which the time of the last use, as it is stored, may lag behind."""

_ALPHABET: Final = string.digits + string.ascii_letters
_FORM: Final = re.compile(r"(tk_([0-9A-Za-z]{12})_[0-9A-Za-z]{43})([0-9A-Za-z]{6})")
_NO_DIGEST: Final = "0" * 64


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a key: all but the key itself. Times are in seconds since the epoch.

    `digest` is the SHA-256 of the whole key. Without `expires_at` it lives until it is revoked.
    """

    id: str
    subject: str
    roles: tuple[str, ...]
    component_id: str | None = None
    label: str = ""
    digest: str
    created_at: float
    expires_at: float | None = None

    def lives(self, now: float) -> bool:
        """Whether it is accepted at *now*."""
        return self.expires_at is None or now < self.expires_at


class ApiKeys:
    """The API keys among *documents*.

    The methods that change something raise StorageError, and then nothing was changed.
    """

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._used: dict[str, float] = {}
        self._changing = asyncio.Lock()

    @property
    def epoch(self) -> int:
        """A number that grows with each change of a key: who remembers which ones were valid compares it."""
        return self._documents.changes(KIND)

    def verify(self, text: str, now: float) -> ApiKey:
        """The key that *text* is. Raises InvalidTokenError when it is none that lives.

        What is stored is compared in constant time, and something is compared when there is nothing.
        """
        form = _FORM.fullmatch(text)
        if form is None or _checksum(form[1]) != form[3]:
            raise InvalidTokenError("is no API key, or a mistyped one")
        key = self.find(form[2])
        if not hmac.compare_digest(_digest(text), key.digest if key else _NO_DIGEST) or key is None:
            raise InvalidTokenError("is no API key of ours")
        if not key.lives(now):
            raise InvalidTokenError(f"is the API key {key.id}, which has expired")
        self._used[key.id] = max(now, self._used.get(key.id, 0.0))
        return key

    def find(self, key_id: str) -> ApiKey | None:
        """The key with that id, whether or not it lives."""
        body = self._documents.all(KIND).get(key_id)
        return None if body is None else msgspec.json.decode(body, type=ApiKey)

    def __iter__(self) -> Iterator[ApiKey]:
        """All keys, one by one, in no particular order."""
        return (msgspec.json.decode(body, type=ApiKey) for body in list(self._documents.all(KIND).values()))

    def listed(self, subject: str | None = None) -> list[ApiKey]:
        """All keys, or those of one subject, oldest first."""
        found = (key for key in self if subject is None or key.subject == subject)
        return sorted(found, key=lambda key: (key.created_at, key.id))

    def last_used(self, key_id: str) -> float | None:
        """When the key was used last, in seconds since the epoch; None: never."""
        body = self._documents.all(USE_KIND).get(key_id)
        stored = None if body is None else msgspec.json.decode(body, type=float)
        return max((at for at in (stored, self._used.get(key_id)) if at is not None), default=None)

    async def create(
        self,
        subject: str,
        roles: Sequence[str],
        now: float,
        *,
        expires_at: float | None = None,
        component_id: str | None = None,
        label: str = "",
    ) -> tuple[str, ApiKey]:
        """A new key for *subject*: its text, which is not kept, and what is. Raises KeyLimitError for a third one."""
        text = _new_key()
        key = ApiKey(
            id=text[3:15],
            subject=subject,
            roles=tuple(roles),
            component_id=component_id,
            label=label,
            digest=_digest(text),
            created_at=now,
            expires_at=expires_at,
        )
        async with self._changing:
            self._check_limit(subject, now)
            await self._put([key], "api_key.create", _whose(key))
        return text, key

    async def rotate(
        self, key_id: str, now: float, overlap: float, *, latest: float | None = None
    ) -> tuple[str, ApiKey] | None:
        """A new key in place of that one, which ends *overlap* seconds from now at the latest; None: there is none.

        The new one has the life time of the old one, counted anew, but ends at *latest* at the latest. Both are one
        change: there is never a new one beside an old one that does not end. Raises KeyLimitError while a rotation is
        not over.
        """
        async with self._changing:
            old = self.find(key_id)
            if old is None or not old.lives(now):
                return None
            self._check_limit(old.subject, now)
            text = _new_key()
            life = None if old.expires_at is None else now + old.expires_at - old.created_at
            new = structs.replace(
                old, id=text[3:15], digest=_digest(text), created_at=now, expires_at=_earliest(life, latest)
            )
            ending = structs.replace(old, expires_at=_earliest(now + overlap, old.expires_at))
            await self._put([new, ending], "api_key.rotate", f"{_whose(new)} in place of {old.id}")
        return text, new

    async def revoke(self, key_id: str) -> bool:
        """Remove a key at once. False: there is none."""
        async with self._changing:
            if self.find(key_id) is None:
                return False
            await self._documents.delete(KIND, key_id, action="api_key.revoke")
            if key_id in self._documents.all(USE_KIND):
                await self._documents.delete(USE_KIND, key_id)
            self._used.pop(key_id, None)
        return True

    async def store_last_used(self) -> None:
        """Store when keys were used last, of those for which what is stored is old. To be called now and then."""
        for key_id, used in list(self._used.items()):
            if self.find(key_id) is None:
                del self._used[key_id]
                continue
            body = self._documents.all(USE_KIND).get(key_id)
            if body is None or used - msgspec.json.decode(body, type=float) >= STORED_EVERY:
                await self._documents.put(USE_KIND, key_id, msgspec.json.encode(used))

    async def forget_expired(self, now: float, kept: float) -> int:
        """Remove the keys that ended more than *kept* seconds ago; returns how many."""
        ended = [key.id for key in self.listed() if key.expires_at is not None and key.expires_at + kept < now]
        for key_id in ended:
            await self.revoke(key_id)
        return len(ended)

    async def _put(self, keys: Sequence[ApiKey], action: str, detail: str) -> None:
        bodies = {key.id: msgspec.json.encode(key) for key in keys}
        await self._documents.put_all(KIND, bodies, action=action, detail=detail)

    def _check_limit(self, subject: str, now: float) -> None:
        if sum(key.lives(now) for key in self.listed(subject)) >= LIVE_KEYS:
            raise KeyLimitError(subject, LIVE_KEYS)


def _earliest(*instants: float | None) -> float | None:
    return min((at for at in instants if at is not None), default=None)


def _whose(key: ApiKey) -> str:
    return f"{key.subject} [{', '.join(key.roles)}]"


def _new_key() -> str:
    text = f"tk_{_random(12)}_{_random(43)}"
    return text + _checksum(text)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(text: str) -> str:
    """CRC-32 in base 62, as GitHub's tokens have it."""
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = _ALPHABET[digit] + digits
    return digits


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
