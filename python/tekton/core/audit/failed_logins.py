"""Credentials that were refused, in the audit log: one entry for each address, reason and minute.

So that somebody who guesses can fill neither the log nor the memory: of more than a thousand pairs in a minute the rest
is counted together.
"""

import asyncio
import logging
from collections import Counter
from typing import Literal

from tekton.background import BackgroundTask
from tekton.core.attribution import Attribution
from tekton.core.audit.log import AuditLog
from tekton.utils.tekton_errors import StorageError

MAX_PAIRS = 1000
INTERVAL = 60.0

_REST = ("", "too many addresses to tell apart")

Kind = Literal["expired", "revoked", "unknown", "malformed"]
"""What was the matter with a credential: it was valid once, it was taken back, it is none of ours, or it is none."""

_KINDS: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    ("expired", ("expired",)),
    ("revoked", ("revoked", "barred")),
    ("unknown", ("of ours", "PyJWT", "another issuer", "somebody else")),
)

_logger = logging.getLogger("tekton.audit")


class FailedLogins:
    """Counts refused credentials, and enters them in *log* every minute, and when it stops."""

    def __init__(self, log: AuditLog, interval: float = INTERVAL) -> None:
        self.total = 0
        """Refusals, all told."""
        self.kinds: Counter[Kind] = Counter()
        """The same by what was the matter."""
        self._log = log
        self._interval = interval
        self._counts: Counter[tuple[str, str]] = Counter()
        self._task = BackgroundTask("failed logins")

    def start(self) -> None:
        """Begin to enter what is counted."""
        self._task.start(self._run())

    async def stop(self) -> None:
        """Enter what was counted, and end."""
        await self._task.stop()
        await self.enter()

    def note(self, address: str, reason: str) -> None:
        """Count one refusal. *address* is that of the peer; its port does not matter. The first is logged at once."""
        self.total += 1
        self.kinds[kind_of(reason)] += 1
        pair = (without_port(address), reason)
        if pair not in self._counts and _REST not in self._counts:
            _logger.info("a credential from %s was refused: %s", address or "the Unix socket", reason)
        self._counts[pair if pair in self._counts or len(self._counts) < MAX_PAIRS else _REST] += 1

    async def enter(self) -> None:
        """Enter what was counted. What the store refuses is kept for the next time, within the same bounds."""
        counts, self._counts = self._counts, Counter()
        for number, ((address, reason), times) in enumerate(counts.items()):
            by = Attribution("anonymous", "none", address)
            detail = reason if times == 1 else f"{reason} ({times} times)"
            try:
                await self._log.record("login", address, "refused", detail, by=by)
            except StorageError as error:
                _logger.warning("refused logins are not in the audit log yet: %s", error)
                self._keep(list(counts.items())[number:])
                return

    def _keep(self, counts: list[tuple[tuple[str, str], int]]) -> None:
        for pair, times in counts:
            self._counts[pair if pair in self._counts or len(self._counts) < MAX_PAIRS else _REST] += times

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self.enter()


def kind_of(reason: str) -> Kind:
    """What was the matter with a credential that was refused for *reason*."""
    return next((kind for kind, words in _KINDS if any(word in reason for word in words)), "malformed")


def without_port(address: str) -> str:
    """The host of *address*."""
    host, colon, port = address.rpartition(":")
    return host.strip("[]") if colon and port.isdigit() and (host.startswith("[") or ":" not in host) else address
