"""What may be asked of the audit log, and the answer."""

from typing import NamedTuple

from tekton.core.audit.entry import AuditEntry

SCANNED_AT_ONCE = 10_000
"""Entries that a store looks at in one go: while it reads it commits nothing."""


RESTORE = "restore"
"""The one action with which a log may go on after a gap in the numbers: that of what was lost with the restore."""


class AuditQuery(NamedTuple):
    """Which entries: those of an actor, of an action, about a target, since a time (wall-clock seconds)."""

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    since: float | None = None

    def takes(self, entry: AuditEntry) -> bool:
        """Whether that entry is meant."""
        return (
            self.actor in (None, entry.actor)
            and self.action in (None, entry.action)
            and self.target in (None, entry.target)
            and (self.since is None or entry.at >= self.since)
        )


class AuditPage(NamedTuple):
    """Entries, newest first; `before` is the number below which to go on, None at the end of the log.

    A page may have fewer entries than were asked for, or none, and yet not be the last.
    """

    entries: list[AuditEntry]
    before: int | None
