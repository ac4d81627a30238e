"""The audit log of a running control plane: who signs its heads, and what is entered beside the commands.

Operations on processes are entered here, in the one place through which all of them go: the intent before, durable
before anything happens, and the outcome after.
"""

import logging
from collections.abc import Awaitable
from typing import TypeVar

from tekton.clock import Clock
from tekton.core.attribution import Attribution, current
from tekton.core.audit.failed_logins import FailedLogins
from tekton.core.audit.heads import FILE_NAME, HeadFile, HeadKeeper, Sign
from tekton.core.audit.log import AuditLog, Effect
from tekton.core.audit.refusals import Refusals
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import StorageError

SIGNALLED = Attribution("owner", "signal")
"""Whoever sends the control plane a signal is its owner, or root."""

_logger = logging.getLogger("tekton.audit")

_T = TypeVar("_T")


class Auditing:
    """What the control plane does for its audit log *log*. *sign* signs its heads."""

    def __init__(
        self, log: AuditLog, failed_logins: FailedLogins, config: TektonConfig, sign: Sign, clock: Clock
    ) -> None:
        self.log = log
        self.failed_logins = failed_logins
        self.refusals = Refusals(log)
        self.heads = HeadKeeper(log, HeadFile(config.audit_heads or config.data_dir / FILE_NAME), sign, clock)
        self._stop: Effect | None = None

    def start(self) -> None:
        """Begin to sign heads, and to enter what is refused."""
        self.heads.start()
        self.failed_logins.start()
        self.refusals.start()

    async def stop(self) -> None:
        """Enter and sign what is left. Call it after the last effect and before the registry is closed."""
        if self._stop is not None:
            self._stop.conclude()
        await self.failed_logins.stop()
        await self.refusals.stop()
        await self.heads.stop()

    async def intend_to_stop(self) -> None:
        """Enter that the whole system is about to stop.

        That is never refused: a signal could not be. Where it cannot be entered now, it is tried again at the end.
        """
        by = current() or SIGNALLED
        try:
            self._stop = self._stop or await self.log.intend("system.stop", by=by)
        except StorageError as error:
            _logger.warning("the stop is not in the audit log yet: %s", error)
            self.log.note(by, ("system.stop", ""), "done", "", None)

    def signalled_to_stop(self, signal: str) -> None:
        """Enter that *signal* stops the whole system."""
        if self._stop is None:
            self.log.note(SIGNALLED, ("system.stop", ""), "done", signal, None)


async def concluded(effect: Effect, attempt: Awaitable[_T]) -> _T:
    """Carry out *attempt*, which gives what it failed with or raises that, and enter what came of it."""
    with effect:
        result = await attempt
        if isinstance(result, Exception):
            effect.fail(result)
        return result
