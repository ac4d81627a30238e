"""The disk: what could not be kept, read, saved or restored."""

from collections.abc import Sequence

from tekton.utils.tekton_errors.base import TektonError

__all__ = [
    "AuditBrokenError",
    "BackupError",
    "BackupExistsError",
    "KeyFileError",
    "SchemaVersionError",
    "StorageBusyError",
    "StorageCorruptError",
    "StorageError",
    "StorageFullError",
    "StorageLockedError",
    "StorageUnknownError",
]


class StorageError(TektonError):
    """Base of storage failures."""

    code = "storage"


class StorageFullError(StorageError):
    """No room to commit. The change was undone; reads, heartbeats and observations go on."""

    code = "storage_full"
    hint = "free disk space; nothing has to be restarted"


class StorageBusyError(StorageError):
    """More changes wait for the disk than there is room for. Nothing was changed; ask again later.

    `waiting` is how many wait, `retry_after` the seconds after which asking again makes sense.
    """

    code = "storage_busy"
    hint = "send changes more slowly, or use a faster disk"

    def __init__(self, waiting: int, retry_after: float = 1.0) -> None:
        self.waiting = waiting
        self.retry_after = retry_after
        super().__init__(f"{waiting} changes wait for the disk already")


class StorageUnknownError(StorageError):
    """A commit failed in a way that leaves its outcome open. The store accepts nothing more."""

    code = "storage_unknown"
    hint = "read the component again after the control plane has restarted"

    def __init__(self, message: str) -> None:
        self.outcome = "unknown"
        super().__init__(message)


class StorageCorruptError(StorageError):
    """Stored data is damaged, or acknowledged changes are missing. Nothing was served from it."""

    code = "storage_corrupt"
    hint = "tekton restore BACKUP, or move the data directory away and start anew"

    def __init__(self, path: str, evidence: str) -> None:
        self.path = path
        self.evidence = evidence
        super().__init__(f"{path}: {evidence}")


class StorageLockedError(StorageError):
    """Another process owns the data directory."""

    code = "storage_locked"

    def __init__(self, path: str, owner_pid: int | None) -> None:
        self.path = path
        self.owner_pid = owner_pid
        owner = f"process {owner_pid}" if owner_pid else "another process"
        super().__init__(f"{path} is in use by {owner}")


class SchemaVersionError(StorageError):
    """The database was written by a newer Tekton, or by something else; it was not touched."""

    code = "schema_version"

    def __init__(self, path: str, found: int, supported: int) -> None:
        self.path = path
        self.found = found
        self.supported = supported
        super().__init__(f"{path} has schema {found}; this Tekton reads up to {supported}")


class KeyFileError(StorageError):
    """The file of the signing keys cannot be used, or must not be: others could have read it. Nothing was changed."""

    code = "key_file"
    hint = (
        "make the file yours alone (chmod 600), or move it away; without it new keys are made, and what the old ones "
        "have signed is void"
    )

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}")


class BackupError(StorageError):
    """A backup cannot be written to a place, or restored from it. Nothing was changed."""

    code = "backup"

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}")


class AuditBrokenError(StorageError):
    """The audit log is not what was written. `problems` says what is wrong with it."""

    code = "audit_broken"
    hint = "keep a copy of the data directory, and find out who could write to it"

    def __init__(self, path: str, problems: Sequence[str]) -> None:
        self.path = path
        self.problems = list(problems)
        super().__init__("\n".join((f"{path}: the audit log is not what was written", *self.problems)))


class BackupExistsError(BackupError):
    """There is something already where a backup was to be written. It was left alone."""

    code = "backup_exists"
    hint = "choose another name, or remove what is there"

    def __init__(self, path: str) -> None:
        super().__init__(path, "exists already")
