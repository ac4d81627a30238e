"""The keys that sign tokens, or agent cards, while a control plane runs: who rotates them, and when.

They are rotated when somebody asks for it, and by themselves when the newest one has reached a certain age. The file is
what counts: others rotate it as well, and sign by it (`tekton.utils.tekton_auth`). It is looked at often enough that a
new key is known here, and published, long before it signs.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from tekton.auth.key_file import KeyFile
from tekton.auth.keys import PUBLISH_DELAY, Algorithm, KeyRing, SigningKey
from tekton.background import BackgroundGroup, BackgroundTask
from tekton.clock import Clock
from tekton.core.attribution import Attribution, current
from tekton.core.audit.log import AuditLog
from tekton.utils.tekton_errors import KeyRotationError, StorageError, TektonError

LOOK: Final = PUBLISH_DELAY / 6
"""Seconds between two looks at the file, and at the age of the newest key."""

KeyState = Literal["published", "signs", "verifies", "retired"]
KeyUse = Literal["tokens", "cards"]

_ACTION: Final = "signing_key.rotate"

_logger = logging.getLogger("tekton.security")


class KeyStatus(NamedTuple):
    """What a key does now. Times are in seconds since the epoch; `retires_at` is None while it has no successor."""

    kid: str
    use: KeyUse
    algorithm: Algorithm
    state: KeyState
    published_at: float
    signs_from: float
    retires_at: float | None


class SigningKeys:
    """The keys of *ring*, which *file* keeps; without one, *ring* is a secret. *audit* gets to know of each rotation.

    They sign what *use* says. A key that is *life* seconds old gets a successor; None: never by itself. *changed* is
    called when the keys have.
    """

    def __init__(
        self,
        ring: KeyRing,
        file: KeyFile | None,
        audit: AuditLog,
        *,
        use: KeyUse = "tokens",
        life: float | None,
        clock: Clock,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.life = life
        self._use = use
        self._ring = ring
        self._file = file
        self._audit = audit
        self._clock = clock
        self._changed = changed
        self._seen = None if file is None else file.signature()
        self._complaint = ""
        self._rotating = asyncio.Lock()
        self._rotations = BackgroundGroup("rotation")
        self._looking = BackgroundTask("signing keys")

    def start(self) -> None:
        """Look at the file and at the age of the keys, now and from now on."""
        if self._file is not None:
            self._looking.start(self._keep_looking())

    async def stop(self) -> None:
        """End what `start` began, and the rotations that are under way."""
        await self._looking.stop()
        await self._rotations.stop()

    def listed(self) -> list[KeyStatus]:
        """All keys, in the order in which they sign."""
        now = self._clock.time()
        signing = self._ring.signing_key(now)
        return [self._status(key, signing, now) for key in self._ring.keys]

    async def rotate(self, *, overlap: bool = True) -> KeyStatus:
        """Make a new key; see `KeyRing.rotated` for *overlap*. It is on the disk, and published, on return.

        A caller that is cancelled does not take it back. Raises KeyRotationError for a secret and when too many keys
        still verify, KeyFileError, and the errors of the store when it cannot be entered in the audit log; then nothing
        has changed.
        """
        rotation = self._rotations.spawn(self._rotate(current(), overlap=overlap), "asked for")
        made = await asyncio.shield(rotation)
        if isinstance(made, TektonError):
            raise made
        return made

    async def look(self) -> None:
        """Adopt what others have made of the file, and rotate if the newest key is too old. What fails is logged."""
        try:
            await self._reload()
            if self.life is not None and self._clock.time() - self._ring.keys[-1].published_at >= self.life:
                made = await self.rotate()
                _logger.info(
                    "the keys that sign %s were rotated: %s signs from %s", self._use, made.kid, _text(made.signs_from)
                )
            self._complaint = ""
        except (StorageError, KeyRotationError) as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                _logger.warning("the keys that sign %s are as before: %s", self._use, error)

    async def _keep_looking(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK)

    async def _reload(self) -> None:
        assert self._file is not None
        # One `stat`, which is no reason to go to a thread. Before the file is read: what comes after is seen next time.
        seen = self._file.signature()
        if seen == self._seen:
            return
        async with self._rotating:
            self._adopt(await asyncio.to_thread(self._file.load))
            self._seen = seen

    async def _rotate(self, by: Attribution | None, *, overlap: bool) -> KeyStatus | TektonError:
        """A value in any case: nobody may be left who waits for it."""
        try:
            async with self._rotating:
                return await self._rotate_alone(by, overlap=overlap)
        except TektonError as error:
            return error

    async def _rotate_alone(self, by: Attribution | None, *, overlap: bool) -> KeyStatus:
        file, now = self._file, self._clock.time()
        self._ring.check_rotation(now, overlap=overlap)
        assert file is not None
        effect = await self._audit.intend(_ACTION, self._ring.signing_key(now).kid, by=by)
        try:
            self._adopt(await asyncio.to_thread(file.add, now, overlap=overlap))
        except BaseException as error:
            effect.fail(error)
            raise
        made = self.listed()[-1]
        since = f"from {_text(made.signs_from)}" if overlap else f"at once, and all {self._use} from before are void"
        effect.conclude("done", f"{made.kid} signs {self._use} {since}")
        return made

    def _adopt(self, keys: list[SigningKey]) -> None:
        if [key.kid for key in keys] != [key.kid for key in self._ring.keys]:
            self._ring.replace(keys)
            self._changed()

    def _status(self, key: SigningKey, signing: SigningKey, now: float) -> KeyStatus:
        retires_at = self._ring.retires_at(key)
        state: KeyState = (
            "signs"
            if key is signing
            else "retired"
            if now >= retires_at
            else "published"
            if now < key.signs_from
            else "verifies"
        )
        ends = None if retires_at == float("inf") else retires_at
        return KeyStatus(key.kid, self._use, key.algorithm, state, key.published_at, key.signs_from, ends)


def _text(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
