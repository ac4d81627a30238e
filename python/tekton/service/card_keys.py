"""The keys that sign our agent cards: `keys/cards.json` in the data directory, apart from those that sign tokens.

A card is signed with every key that has not retired. So whoever has pinned one of them goes on accepting our cards, and
has until that key retires to learn of the next one. They are rotated only when somebody asks for it: nobody can tell
who has pinned them.

A file that cannot be used takes down nothing: cards are not signed then, and readiness and the log say why.
"""

import asyncio
import logging
from pathlib import Path
from typing import Final

from tekton.auth.key_file import KeyFile
from tekton.auth.keys import KeyRing
from tekton.clock import Clock
from tekton.core.audit.log import AuditLog
from tekton.service.signing_keys import KeyStatus, SigningKeys
from tekton.utils.tekton_errors import KeyFileError

OVERLAP: Final = 30 * 86_400.0
"""Seconds for which a key signs and is published beside its successor."""
FILE_NAME: Final = "cards.json"

_logger = logging.getLogger("tekton.security")


class CardKeys:
    """The keys of *ring*, which *keys* rotates; both are None where *broken* says why there are none. See `open`."""

    def __init__(
        self, ring: KeyRing | None, keys: SigningKeys | None = None, broken: KeyFileError | None = None
    ) -> None:
        self.ring: Final = ring
        self._keys = keys
        self._broken = broken

    @classmethod
    async def open(cls, data_dir: Path, audit: AuditLog, clock: Clock) -> "CardKeys":
        """The keys of a data directory, the first of which is made now. What is the matter is logged and told."""
        file = KeyFile(data_dir, name=FILE_NAME, retired=None, max_life=OVERLAP, publish_delay=0.0)
        try:
            ring = await asyncio.to_thread(file.load_or_create, clock.time())
        except KeyFileError as error:
            _logger.error("agent cards are not signed: %s", error)
            return cls(None, broken=error)
        return cls(ring, SigningKeys(ring, file, audit, use="cards", life=None, clock=clock))

    def start(self) -> None:
        """Look at the file from now on."""
        if self._keys is not None:
            self._keys.start()

    async def stop(self) -> None:
        """End what `start` began, and the rotations that are under way."""
        if self._keys is not None:
            await self._keys.stop()

    @property
    def problems(self) -> list[str]:
        """What is the matter, in a few words that everybody may read."""
        return [] if self._broken is None else ["agent cards: not signed"]

    def listed(self) -> list[KeyStatus]:
        """All keys, in the order in which they came."""
        return [] if self._keys is None else self._keys.listed()

    async def rotate(self, *, overlap: bool = True) -> KeyStatus:
        """Make a new key, which signs at once. Without *overlap* those before are given up.

        Raises as `SigningKeys.rotate`.
        """
        if self._keys is None:
            assert self._broken is not None
            raise KeyFileError(self._broken.path, self._broken.problem)
        return await self._keys.rotate(overlap=overlap)
