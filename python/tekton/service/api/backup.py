"""Backup: a copy of the database, made while everything goes on."""

from pathlib import Path

import msgspec

from tekton.core.component_lifecycle.backup import Backup
from tekton.gateway.errors import InvalidInputError, PermissionDeniedError, UnavailableError
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.service.system import System
from tekton.utils.tekton_errors import (
    BackupError,
    BackupExistsError,
    StorageBusyError,
    StorageCorruptError,
    StorageFullError,
    StorageUnknownError,
)


class BackupOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to write the backup; a new file in `backups/` of the data directory without it."""

    path: str | None = None


def routes(system: System) -> list[Route]:
    """The route that writes a backup."""

    async def backup(request: Request) -> Backup:
        path = _path(request)
        with await system.registry.audit.intend("system.backup", "" if path is None else str(path)) as effect:
            written = await system.backups.write(path)
            effect.conclude("done", written.path)
            return written

    return [
        Route(
            "POST",
            "/api/system/backup",
            backup,
            summary="Write a backup of the database",
            permission="system:control",
            body=BackupOrder,
            response=Backup,
            status=201,
            errors=(
                PermissionDeniedError,
                BackupExistsError,
                BackupError,
                StorageBusyError,
                StorageFullError,
                StorageUnknownError,
                StorageCorruptError,
                UnavailableError,
            ),
        )
    ]


def _path(request: Request) -> Path | None:
    """Where the caller wants it: anywhere, for one who reaches the Unix socket, and so is the user that we run as."""
    order: BackupOrder = request.body
    if order.path is None:
        return None
    if request.principal.via != "socket":
        raise PermissionDeniedError("system:control", "a path can be given through the Unix socket only")
    path = Path(order.path)
    if not path.is_absolute() or "\0" in order.path:
        raise InvalidInputError("/path", "expected an absolute path")
    return path
