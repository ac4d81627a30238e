"""The keys that sign tokens and agent cards: what they do, and new ones. Never the keys themselves."""

import msgspec

from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.service.signing_keys import KeyState, KeyStatus, KeyUse
from tekton.service.system import System
from tekton.utils.tekton_errors import (
    KeyFileError,
    KeyRotationError,
    StorageBusyError,
    StorageFullError,
    StorageUnknownError,
)

_PATH = "/api/auth/signing-keys"


class SigningKeyView(msgspec.Struct, frozen=True):
    """What a key does: `published` (it will sign), `signs`, `verifies` (it did), `retired`. Times are in seconds.

    `use` is what it signs: `tokens`, or agent `cards`, which all keys sign that have not retired. `retires_at` is null
    while it has no successor.
    """

    id: str
    use: KeyUse
    algorithm: str
    state: KeyState
    published_at: float
    signs_from: float
    retires_at: float | None


class SigningKeyList(msgspec.Struct, frozen=True):
    """All keys, in the order in which they sign: those for tokens, then those for cards, if these can be used.

    `life` is the age at which the newest one for tokens gets a successor by itself.
    """

    items: list[SigningKeyView]
    life: float | None


class SigningKeyRotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new key for tokens, or for agent cards. Without `overlap` it signs at once, and all from before is void."""

    overlap: bool = True
    use: KeyUse = "tokens"


class SigningKeysApi:
    """Handlers over the signing keys of the system."""

    def __init__(self, system: System) -> None:
        self._system = system

    async def list(self, _: Request) -> SigningKeyList:
        system = self._system
        keys = [*system.signing_keys.listed(), *system.card_keys.listed()]
        return SigningKeyList([_view(key) for key in keys], system.signing_keys.life)

    async def rotate(self, request: Request) -> SigningKeyView:
        order: SigningKeyRotation = request.body
        keys = self._system.card_keys if order.use == "cards" else self._system.signing_keys
        return _view(await keys.rotate(overlap=order.overlap))


def _view(key: KeyStatus) -> SigningKeyView:
    return SigningKeyView(key.kid, key.use, key.algorithm, key.state, key.published_at, key.signs_from, key.retires_at)


def routes(system: System) -> list[Route]:
    """The routes under /api/auth/signing-keys."""
    api = SigningKeysApi(system)
    return [
        Route(
            "GET",
            _PATH,
            api.list,
            summary="The keys that sign tokens and agent cards, without the keys themselves",
            permission="auth:manage",
            response=SigningKeyList,
        ),
        Route(
            "POST",
            f"{_PATH}/rotate",
            api.rotate,
            summary="A new key that signs tokens, or agent cards, in place of the one that does",
            permission="auth:manage",
            body=SigningKeyRotation,
            response=SigningKeyView,
            status=201,
            errors=(KeyRotationError, KeyFileError, StorageBusyError, StorageFullError, StorageUnknownError),
        ),
    ]
