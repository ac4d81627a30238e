"""API keys: made, listed, succeeded by another one, removed. The text of a key is told once, and not kept."""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from tekton.auth.api_keys import ApiKey
from tekton.auth.principal import Principal
from tekton.gateway.auth import AUTHENTICATED
from tekton.gateway.errors import PermissionDeniedError
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.service.api.delegation import check_roles, chosen_roles, chosen_subject, latest_end
from tekton.service.system import System
from tekton.utils.tekton_errors import (
    ApiKeyNotFoundError,
    KeyLimitError,
    StorageBusyError,
    StorageFullError,
    StorageUnknownError,
)

_STORAGE = (StorageBusyError, StorageFullError, StorageUnknownError)
_YEARS = 10 * 366 * 86_400.0


class KeyOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key for the caller, or for another `subject`, which holds for `expires_in` seconds (null: until it is removed).

    Without `roles` it has all of the subject's. `label` is for people.
    """

    subject: str | None = None
    roles: list[str] | None = None
    expires_in: Annotated[float, msgspec.Meta(ge=1, le=_YEARS)] | None = None
    label: Annotated[str, msgspec.Meta(max_length=128)] = ""


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a key: all but the key itself."""

    id: str
    subject: str
    roles: Sequence[str]
    label: str
    created_at: float
    expires_at: float | None
    last_used: float | None


class NewKey(KeyView, frozen=True, kw_only=True):
    """A key, with its text. It is told this once."""

    key: str


class KeyList(msgspec.Struct, frozen=True):
    """Keys, oldest first."""

    items: list[KeyView]


class KeyQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose keys; without it those of the caller, or of everybody for who manages them."""

    subject: str | None = None


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For how many seconds the old key goes on to hold beside the new one."""

    overlap: Annotated[float, msgspec.Meta(ge=0, le=2_592_000)] = 3600.0


class Keys:
    """Handlers over the API keys."""

    def __init__(self, system: System) -> None:
        self._system = system

    async def create(self, request: Request) -> NewKey:
        order: KeyOrder = request.body
        security, caller = self._system.security, request.principal
        subject = chosen_subject(caller, order.subject)
        roles = chosen_roles(security, caller, subject, order.roles)
        now = security.now()
        wanted = None if order.expires_in is None else now + order.expires_in
        ends = min((at for at in (wanted, latest_end(security, caller, subject)) if at is not None), default=None)
        await security.bind(subject, roles)
        text, key = await security.api_keys.create(subject, roles, now, expires_at=ends, label=order.label)
        return self._new(text, key)

    async def list(self, request: Request) -> KeyList:
        query: KeyQuery = request.query
        caller = request.principal
        subject = query.subject or (None if _manages(caller) else caller.subject)
        if subject != caller.subject and not _manages(caller):
            raise PermissionDeniedError("auth:manage")
        return KeyList([self._view(key) for key in self._system.security.api_keys.listed(subject)])

    async def rotate(self, request: Request) -> NewKey:
        order: Rotation = request.body
        security, caller, key = self._system.security, request.principal, self._found(request)
        latest = None
        if caller.token_id != key.id:  # a key may always be succeeded by who has it
            check_roles(caller, key.roles)
            latest = latest_end(security, caller, key.subject)
        made = await security.api_keys.rotate(key.id, security.now(), order.overlap, latest=latest)
        if made is None:
            raise ApiKeyNotFoundError(key.id)
        return self._new(*made)

    async def remove(self, request: Request) -> KeyView:
        key = self._found(request)
        view = self._view(key)
        await self._system.security.revoke_key(key.id)
        return view

    def _found(self, request: Request) -> ApiKey:
        """The key that the path names. To those who may not have it, it does not exist."""
        key_id = request.params["key_id"]
        key = self._system.security.api_keys.find(key_id)
        if key is None or (key.subject != request.principal.subject and not _manages(request.principal)):
            raise ApiKeyNotFoundError(key_id)
        return key

    def _view(self, key: ApiKey) -> KeyView:
        return KeyView(
            id=key.id,
            subject=key.subject,
            roles=key.roles,
            label=key.label,
            created_at=key.created_at,
            expires_at=key.expires_at,
            last_used=self._system.security.api_keys.last_used(key.id),
        )

    def _new(self, text: str, key: ApiKey) -> NewKey:
        return NewKey(key=text, **msgspec.structs.asdict(self._view(key)))


def _manages(caller: Principal) -> bool:
    return caller.grants.allows("auth:manage")


def routes(system: System) -> list[Route]:
    """The routes under /api/keys."""
    api = Keys(system)
    one = "/api/keys/{key_id}"
    return [
        Route(
            "POST",
            "/api/keys",
            api.create,
            summary="An API key for the caller, or for somebody else",
            permission=AUTHENTICATED,
            body=KeyOrder,
            response=NewKey,
            repeats="known",
            status=201,
            errors=(PermissionDeniedError, KeyLimitError, *_STORAGE),
        ),
        Route(
            "GET",
            "/api/keys",
            api.list,
            summary="API keys, without the keys themselves",
            permission=AUTHENTICATED,
            query=KeyQuery,
            response=KeyList,
            errors=(PermissionDeniedError,),
        ),
        Route(
            "POST",
            f"{one}/rotate",
            api.rotate,
            summary="Another API key in place of one, which ends a little later",
            permission=AUTHENTICATED,
            body=Rotation,
            response=NewKey,
            repeats="known",
            status=201,
            errors=(PermissionDeniedError, ApiKeyNotFoundError, KeyLimitError, *_STORAGE),
        ),
        Route(
            "DELETE",
            one,
            api.remove,
            summary="Accept an API key no more",
            permission=AUTHENTICATED,
            response=KeyView,
            errors=(ApiKeyNotFoundError, *_STORAGE),
        ),
    ]
