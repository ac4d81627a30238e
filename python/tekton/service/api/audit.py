"""The audit log: who changed what, when and from where."""

from typing import Annotated

import msgspec

from tekton.core.audit.entry import AuditEntry
from tekton.core.audit.query import AuditQuery
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.service.system import System
from tekton.utils.tekton_errors import StorageCorruptError, StorageUnknownError

_YEAR_10000 = 253_402_300_800


class AuditFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which entries: of an actor, of an action, about a target, since a time. `cursor` continues a page."""

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    since: Annotated[float, msgspec.Meta(ge=0, le=_YEAR_10000)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    cursor: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] | None = None


class AuditAnswer(msgspec.Struct, frozen=True):
    """Entries, newest first; `cursor` is where the next page begins, null at the end of the log."""

    items: list[AuditEntry]
    cursor: int | None


def routes(system: System) -> list[Route]:
    """The route that reads the audit log."""

    async def audit(request: Request) -> AuditAnswer:
        asked: AuditFilter = request.query
        query = AuditQuery(asked.actor, asked.action, asked.target, asked.since)
        entries, before = await system.registry.audit.page(query, asked.limit, asked.cursor)
        return AuditAnswer(entries, before)

    return [
        Route(
            "GET",
            "/api/audit",
            audit,
            summary="The audit log, newest entries first",
            permission="audit:read",
            query=AuditFilter,
            response=AuditAnswer,
            errors=(StorageCorruptError, StorageUnknownError),
        )
    ]
