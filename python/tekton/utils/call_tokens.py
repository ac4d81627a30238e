"""Tokens to show to other components, got from the control plane: one for each component that asks who calls.

Nothing of what was shown to us is ever shown to others. A token that we show is made for that one component, so that it
can be used nowhere else, and says no more of us than who we are; it is renewed when most of its life is over.
"""

import asyncio
from typing import Final, NamedTuple

import msgspec

from tekton.utils.control_plane import ControlPlane
from tekton.utils.tekton_errors import TransportError
from tekton.utils.tekton_http import Answer, HttpClient

LIFE: Final = 3600.0
"""Seconds for which a token is asked for."""
RENEWED_AT: Final = 0.8
"""The part of its life after which it is not shown any more."""
PAUSE: Final = 30.0
"""Seconds until the control plane is asked again when there was no token to be had."""
_TIMEOUT: Final = 5.0
_DENIED: Final = 403
_MOST: Final = 1024


class _Token(NamedTuple):
    text: str | None
    """None: there is none to be had."""
    until: float


class _Made(msgspec.Struct, frozen=True):
    token: str
    issued_at: float
    expires_at: float


_decoder: "msgspec.json.Decoder[_Made]" = msgspec.json.Decoder(_Made)


class CallTokens:
    """The tokens of one caller. With a *component_id* they say that, and claim at most the role `component`."""

    def __init__(self, control_plane: ControlPlane, component_id: str | None = None) -> None:
        self._plane = control_plane
        self._component_id = component_id
        self._http: HttpClient | None = None
        self._tokens: dict[str, _Token] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def close(self) -> None:
        """Forget the tokens and close the connection."""
        self._tokens.clear()
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    async def known(self, audience: str) -> str | None:
        """A token for a component that has asked for one before; None for all others."""
        token = self._tokens.get(audience)
        if token is None or token.text is None:
            return None
        return token.text if _now() < token.until else await self.renewed(audience)

    async def renewed(self, audience: str, refused: str | None = None) -> str | None:
        """A token for *audience* that is another one than was *refused*. None when there is none to be had."""
        async with self._asking.setdefault(audience, asyncio.Lock()):
            token = self._tokens.get(audience)
            if token is None or _now() >= token.until or (token.text is not None and token.text == refused):
                token = self._keep(audience, await self._ask(audience))
        return token.text

    def _keep(self, audience: str, token: _Token) -> _Token:
        while len(self._tokens) >= _MOST and audience not in self._tokens:
            oldest = next(iter(self._tokens))
            del self._tokens[oldest]
            self._asking.pop(oldest, None)
        self._tokens[audience] = token
        return token

    async def _ask(self, audience: str) -> _Token:
        try:
            made = _decoder.decode((await self._order({"audience": audience, "expires_in": LIFE})).body)
        except (TransportError, msgspec.MsgspecError, UnicodeDecodeError):
            # Anonymous callers get none, and where a secret signs nobody does.
            return _Token(None, _now() + PAUSE)
        return _Token(made.token, _now() + RENEWED_AT * (made.expires_at - made.issued_at))

    async def _order(self, order: dict[str, object]) -> Answer:
        if self._component_id is None:
            return await self._send(order)
        if self._plane.credential is None:
            # Through the socket we would be the owner, which a component is not to say of itself.
            return await self._send({**order, "subject": self._component_id, "roles": []})
        answer = await self._send({**order, "roles": ["component"]})
        return await self._send({**order, "roles": []}) if answer.status == _DENIED else answer

    async def _send(self, order: dict[str, object]) -> Answer:
        if self._http is None:
            self._http = self._plane.client(_TIMEOUT)
        return await self._http.send("POST", "/api/auth/token", order)


def _now() -> float:
    return asyncio.get_running_loop().time()
