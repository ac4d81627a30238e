"""What somebody was not let do, in the audit log: one entry for each principal, address, action, target and minute.

As with refused credentials (`failed_logins`): who tries can fill neither the log nor the memory. Of more than a
hundred different refusals of one principal at one address in a minute the rest is counted together, so that nobody can
hide among them what others try; and so is what is more than a thousand in all.
"""

import asyncio
import logging
from collections import Counter
from typing import NamedTuple

from tekton.background import BackgroundTask
from tekton.core.attribution import Attribution
from tekton.core.audit.log import AuditLog
from tekton.utils.tekton_errors import StorageError

MAX_KINDS = 1000
MAX_OF_ONE = 100
INTERVAL = 60.0

_logger = logging.getLogger("tekton.audit")


class Refused(NamedTuple):
    """A refusal: who wanted what, of what, and why it was refused. The *address* is without a port."""

    actor: str
    via: str
    address: str
    action: str
    target: str
    reason: str


_REST = Refused("anonymous", "none", "", "refused", "", "too many refusals to tell apart")


def _rest_of(refused: Refused) -> Refused:
    return _REST._replace(actor=refused.actor, via=refused.via, address=refused.address)


class Refusals:
    """Counts refusals, and enters them in *log* every *interval* seconds, and when it stops."""

    def __init__(self, log: AuditLog, interval: float = INTERVAL) -> None:
        self.total = 0
        """Refusals, all told."""
        self._log = log
        self._interval = interval
        self._counts: Counter[Refused] = Counter()
        self._kinds: Counter[tuple[str, str]] = Counter()
        """How many different ones there are of an actor at an address."""
        self._task = BackgroundTask("refusals")

    def start(self) -> None:
        """Begin to enter what is counted."""
        self._task.start(self._run())

    async def stop(self) -> None:
        """Enter what was counted, and end."""
        await self._task.stop()
        await self.enter()

    def note(self, refused: Refused) -> None:
        """Count one refusal. The first of its kind is logged at once."""
        self.total += 1
        if refused not in self._counts and self._kind_of(refused) is refused:
            _logger.info("%s of %s was refused: %s", refused.action, refused.target, refused.reason)
        self._count(refused, 1)

    async def enter(self) -> None:
        """Enter what was counted. What the store refuses is kept for the next time, within the same bounds."""
        counts, self._counts = self._counts, Counter()
        self._kinds.clear()
        for number, (refused, times) in enumerate(counts.items()):
            try:
                await self._enter(refused, times)
            except StorageError as error:
                _logger.warning("refusals are not in the audit log yet: %s", error)
                for kept, again in list(counts.items())[number:]:
                    self._count(kept, again)
                return

    async def _enter(self, refused: Refused, times: int) -> None:
        by = Attribution(refused.actor, refused.via, refused.address)
        detail = refused.reason if times == 1 else f"{refused.reason} ({times} times)"
        await self._log.record(refused.action, refused.target, "refused", detail, by=by)

    def _count(self, refused: Refused, times: int) -> None:
        kind = self._kind_of(refused)
        if kind not in self._counts:
            self._kinds[kind.actor, kind.address] += 1
        self._counts[kind] += times

    def _kind_of(self, refused: Refused) -> Refused:
        """As what it is counted: itself, or one of too many."""
        if refused in self._counts:
            return refused
        if len(self._counts) >= MAX_KINDS:
            return _REST
        return refused if self._kinds[refused.actor, refused.address] < MAX_OF_ONE else _rest_of(refused)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self.enter()
