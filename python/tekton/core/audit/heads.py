"""Signed heads: what proves that the end of the audit log was not cut off, and its entries not written anew.

Whoever can write the database can make a chain of his own. So now and then the newest entry is signed, with a key that
is not in the database, and the signature appended to a second file, which may lie on another disk or be collected by
another machine. Only what a signed head vouches for is ever dropped from the log.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from tekton.background import BackgroundTask
from tekton.clock import Clock
from tekton.core.audit.entry import AuditHead
from tekton.core.audit.log import AuditLog
from tekton.utils.tekton_errors import StorageError

FILE_NAME = "audit-heads.jsonl"
INTERVAL = 60.0
"""Seconds between two heads, if there are new entries."""

_logger = logging.getLogger("tekton.audit")


class Signature(NamedTuple):
    """A signature, and the name of the key that made it."""

    key: str
    value: bytes


Sign = Callable[[bytes], Signature]
Check = Callable[[bytes, Signature], bool | None]
"""Whether a message was signed so; None when the key is not known (any more)."""


class SignedHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest entry at the time `at` (wall-clock seconds), and who says so. Hash and signature in hexadecimal."""

    seq: int
    hash: str
    at: float
    key: str
    signature: str

    @classmethod
    def sign(cls, head: AuditHead, at: float, sign: Sign) -> "SignedHead":
        """*head*, signed."""
        made = sign(_message(head.seq, head.hash.hex(), at))
        return cls(head.seq, head.hash.hex(), at, made.key, made.value.hex())

    def check(self, check: Check) -> bool | None:
        """Whether the signature is right; None when its key is not known."""
        try:
            signature = Signature(self.key, bytes.fromhex(self.signature))
        except ValueError:
            return False
        return check(_message(self.seq, self.hash, self.at), signature)


class HeadFile:
    """Signed heads at *path*, one in a line. All methods block; nothing that is there is ever changed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, head: SignedHead) -> None:
        """Add *head*, durably. Raises OSError."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "rb+", buffering=0) as file:
            line = msgspec.json.encode(head) + b"\n"
            # What a crash has left of a line must not spoil this one.
            file.write(line if _is_at_start_of_line(descriptor) else b"\n" + line)
            os.fsync(descriptor)

    def read(self) -> tuple[list[SignedHead], int]:
        """All heads, oldest first, and how many lines are none. Nothing where there is no file. Raises OSError."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return [], 0
        heads: list[SignedHead] = []
        unreadable = 0
        for line in content.splitlines():
            try:
                heads.append(_decode(line))
            except msgspec.DecodeError:
                unreadable += 1
        return heads, unreadable


class HeadKeeper:
    """Signs the newest entry of *log* every minute, and when it stops, and lets old entries be dropped."""

    def __init__(self, log: AuditLog, file: HeadFile, sign: Sign, clock: Clock, interval: float = INTERVAL) -> None:
        self._log = log
        self._file = file
        self._sign = sign
        self._clock = clock
        self._interval = interval
        self.signed_at = clock.time()
        """When the newest head was signed, in wall-clock seconds; as long as none was, when we began."""
        self._last = AuditHead(0, b"")
        self._failed = False
        self._stopping = asyncio.Event()
        self._task = BackgroundTask("audit heads")

    @property
    def unsigned(self) -> int:
        """How many entries came after the newest head, as far as we know."""
        return self._log.head.seq - self._last.seq

    def start(self) -> None:
        """Begin, with a head of what is there."""
        self._stopping.clear()
        self._task.start(self._run())

    async def stop(self) -> None:
        """Sign the last entry, and end."""
        # Not by cancelling: a thread that is writing a head would go on.
        self._stopping.set()
        await self._task.join()
        await self._log.flush()
        await self.keep()

    async def keep(self) -> None:
        """Sign the newest entry now, unless that is done. What fails is logged, and tried again the next time."""
        head = self._log.head
        if head.seq == 0 or head == self._last:
            return
        try:
            signed = SignedHead.sign(head, self._clock.time(), self._sign)
            await asyncio.to_thread(self._file.append, signed)
        except OSError as error:
            self._report(f"{self._file.path}: {error.strerror or error}")
            return
        self._last, self._failed, self.signed_at = head, False, signed.at
        try:
            await self._log.trim(head.seq)
        except StorageError as error:
            self._report(str(error))

    async def _run(self) -> None:
        while True:
            await self.keep()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._stopping.wait()
                return

    def _report(self, problem: str) -> None:
        level = logging.DEBUG if self._failed else logging.WARNING
        self._failed = True
        _logger.log(level, "the head of the audit log was not signed, or old entries not dropped: %s", problem)


_decode = msgspec.json.Decoder(SignedHead).decode


def _message(seq: int, digest: str, at: float) -> bytes:
    return b"tekton audit head\n" + msgspec.json.encode([seq, digest, at])


def _is_at_start_of_line(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
