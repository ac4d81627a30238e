"""Verifying the tokens of a control plane somewhere else: with its public keys, by its policy.

    auth = RemoteAuth(control_plane, "greeter")
    auth.start()
    principal = auth.identify(token)                    # asks nobody

* A token is accepted that was made for this component: `aud` is its id. One for the control plane, or for another
  component, is refused, so that nobody who is given a token can use it elsewhere.
* The keys are those of `/.well-known/jwks.json`. They are asked for anew when they are five minutes old, when the
  policy names others, and, at most every ten seconds, when a token names one that is not known. One question at a
  time, two seconds and 64 KiB for the answer, no redirects.
* The policy (whose roles count, what is revoked) comes over `/events/auth`, at once when it changes.
* When the control plane is away, tokens are judged by what it has said last, for an hour at most.

Tokens that are signed with a secret (`jwt_secret`) cannot be verified here: who can verify them could make them.
"""

import asyncio
import base64
import logging
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tekton.auth.policy import Policy, PolicyReader
from tekton.auth.principal import Principal
from tekton.auth.terms import AUDIENCE, LEEWAY
from tekton.background import BackgroundTask
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.utils.control_plane import ControlPlane
from tekton.utils.tekton_errors import InvalidTokenError, TektonError, TransportError

if TYPE_CHECKING:
    from tekton.auth.keys import KeyRing
    from tekton.auth.tokens import TokenVerifier

TIMEOUT: Final = 2.0
"""Seconds for an answer to begin and, of the keys, to end."""
MAX_KEYS_BYTES: Final = 64 * 1024
KEYS_LIFE: Final = 300.0
UNKNOWN_KEY_PAUSE: Final = 10.0
"""Seconds between two questions for a key that is not known: anybody can name one."""
STALE_LIFE: Final = 3600.0
"""Seconds for which what the control plane has said last holds when it is away."""
SILENCE: Final = 15.0
"""Seconds without a sign of the policy's stream, which has one every five, after which it is connected anew."""
BACKOFF: Final = (0.1, 10.0)

_MOST_HEADS: Final = 256
_KEYS_PATH: Final = "/.well-known/jwks.json"
_POLICY_PATH: Final = "/events/auth"
_NOT_READABLE: Final = (TektonError, msgspec.MsgspecError, ValueError, RecursionError)

_logger = logging.getLogger("tekton.auth")


class UnverifiableError(TransportError):
    """Whether a token is valid cannot be said: what the control plane says is not known, or too old."""


class RemoteAuth:
    """Verifies tokens for *component_id*; see the module. Nothing is asked for before `start`."""

    def __init__(
        self,
        control_plane: ControlPlane,
        component_id: str,
        *,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random | None = None,
    ) -> None:
        self._url = control_plane.url
        self._http = control_plane.client(TIMEOUT, max_answer=MAX_KEYS_BYTES)
        # For a component of that name no token can be made: it would be one for the control plane.
        self._audience = component_id if component_id != AUDIENCE else f"component:{component_id}"
        self._clock = clock
        self._random = rng or random.Random()
        self._keeping = BackgroundTask("keys that verify tokens")
        self._watching = BackgroundTask("policy of the control plane")
        self._asking = asyncio.Lock()
        self._keys_told, self._policy_told = asyncio.Event(), asyncio.Event()
        self._changed = asyncio.Event()
        self._ring: KeyRing | None = None
        self._verifier: TokenVerifier | None = None
        self._reader: PolicyReader | None = None
        self._names: frozenset[str] = frozenset()
        self._heads: set[str] = set()
        self._keys_at = self._policy_at = self._asked_at = float("-inf")
        self._connected = False
        self._changes = self._policies = 0
        self._complaint = ""

    @property
    def running(self) -> bool:
        """True between `start` and `stop`."""
        return self._watching.running

    def start(self) -> None:
        """Learn keys and policy, and go on to. Returns at once."""
        self._keeping.start(self._keep_keys())
        self._watching.start(self._watch_policy())

    async def stop(self) -> None:
        """Learn nothing more. Stopping twice does nothing."""
        await self._keeping.stop()
        await self._watching.stop()
        await self._http.close()

    @property
    def epoch(self) -> int:
        """A number that changes when a token may be judged differently than before."""
        return self._changes if self._is_usable() else -1

    async def wait_changed(self) -> None:
        """Return when the keys or the policy have changed since the last call."""
        await self._changed.wait()
        self._changed.clear()

    def identify(self, token: str) -> Principal:
        """Who shows *token*. Raises InvalidTokenError, and UnverifiableError when that cannot be said."""
        if self._reader is None or not self._is_usable():
            raise UnverifiableError(self._url, "has not said for too long which tokens are valid")
        if self._verifier is None:
            raise InvalidTokenError("cannot be verified: the control plane has no public keys")
        claims = self._verifier.verify(token, self._clock.time())
        return self._reader.principal(claims, float(claims.expires_at + LEEWAY))

    def lacks(self, token: str) -> bool:
        """Whether to `catch_up` before *token* is judged."""
        if not (self._keys_told.is_set() and self._policy_told.is_set()):
            return True
        head = token.partition(".")[0]
        if head in self._heads:
            return False
        kid = _kid(head)
        if kid is None:
            return False
        if not self._knows(kid):
            return self._asking.locked() or self._now() - self._asked_at >= UNKNOWN_KEY_PAUSE
        if len(self._heads) < _MOST_HEADS:
            self._heads.add(head)
        return False

    async def catch_up(self, token: str) -> None:
        """Start if necessary, and learn what there is to learn about *token*, within two seconds or so."""
        if not self.running:
            self.start()
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._keys_told.wait()
                await self._policy_told.wait()
        except TimeoutError:
            return
        kid = _kid(token.partition(".")[0])
        if kid is not None and not self._knows(kid):
            await self._ask_keys(lacking=kid)

    # The keys

    async def _keep_keys(self) -> None:
        failures = 0
        while True:
            known = await self._ask_keys()
            self._keys_told.set()
            failures = 0 if known else failures + 1
            await asyncio.sleep(KEYS_LIFE if known else self._delay(failures))

    async def _ask_keys(self, lacking: str | None = None) -> bool:
        """Ask for the keys; True when there was an answer. For a key that is *lacking* only if that makes sense."""
        async with self._asking:
            if lacking is not None and self._is_vain(lacking):
                return False
            self._asked_at, policies = self._now(), self._policies
            try:
                ring = _ring_of(await self._http.request("GET", _KEYS_PATH))
            except _NOT_READABLE as error:
                self._complain("the keys that verify tokens were not learned", error)
                return False
            self._adopt_keys(ring)
            if policies != self._policies:
                self._withdraw()  # the answer may be older than the policy
            return True

    def _is_vain(self, kid: str) -> bool:
        return self._knows(kid) or self._now() - self._asked_at < UNKNOWN_KEY_PAUSE

    def _adopt_keys(self, ring: "KeyRing | None") -> None:
        first, self._keys_at = self._keys_at == float("-inf"), self._now()
        if _names(ring) == _names(self._ring) and not first:
            return
        self._verify_by(ring)
        if ring is None:
            _logger.warning("%s signs tokens with a secret, so that they cannot be verified here", self._url)
        self._note_change()

    # The policy

    async def _watch_policy(self) -> None:
        failures = 0
        while True:
            try:
                async with aclosing(self._http.stream_events(_POLICY_PATH, silence=SILENCE)) as events:
                    async for event in events:
                        if event.event != "policy":
                            continue
                        failures = 0
                        await self._adopt_policy(msgspec.json.decode(event.data, type=Policy))
            except _NOT_READABLE as error:
                self._complain("the policy of the control plane was not learned", error)
            self._lose()
            self._policy_told.set()
            failures += 1
            await asyncio.sleep(self._delay(failures))

    async def _adopt_policy(self, policy: Policy) -> None:
        self._reader = PolicyReader(policy)
        self._names = frozenset(policy.keys)
        self._policies += 1
        self._connected, self._complaint = True, ""
        self._withdraw()
        if self._names != _names(self._ring):
            await self._ask_keys()
        self._policy_told.set()

    def _withdraw(self) -> None:
        """Use no key any more that the policy does not name: it may have become known to somebody."""
        if self._ring is not None and not self._names >= _names(self._ring):
            from tekton.auth.keys import KeyRing

            left = [key for key in self._ring.keys if key.kid in self._names]
            self._verify_by(KeyRing(left) if left else None)
        self._note_change()

    def _verify_by(self, ring: "KeyRing | None") -> None:
        # Not when the module is imported: most components are never shown a token.
        from tekton.auth.tokens import TokenVerifier

        self._ring = ring
        self._verifier = None if ring is None else TokenVerifier(ring, audience=self._audience)

    def _lose(self) -> None:
        if self._connected:
            self._policy_at, self._connected = self._now(), False

    # What is known

    def _is_usable(self) -> bool:
        now = self._now()
        return now - self._keys_at <= STALE_LIFE and (self._connected or now - self._policy_at <= STALE_LIFE)

    def _knows(self, kid: str) -> bool:
        return self._ring is not None and self._ring.find(kid, self._clock.time()) is not None

    def _note_change(self) -> None:
        self._changes += 1
        self._heads.clear()
        self._changed.set()

    def _now(self) -> float:
        # Also while the machine sleeps, what is known becomes older.
        return self._clock.boottime()

    def _delay(self, failures: int) -> float:
        limit = min(BACKOFF[1], BACKOFF[0] * 2 ** min(failures, 16))
        return self._random.uniform(limit / 2, limit)

    def _complain(self, what: str, error: Exception) -> None:
        if what != self._complaint:
            self._complaint = what
            _logger.warning("%s: %s", what, error)


def _ring_of(document: Any) -> "KeyRing | None":
    """The keys in a JSON Web Key Set; None when it is empty. Raises ValueError for anything else."""
    if not isinstance(document, dict):
        raise ValueError("no JSON Web Key Set")
    from tekton.auth.keys import KeyRing

    return None if document.get("keys") == [] else KeyRing.of_jwks(document)


def _names(ring: "KeyRing | None") -> frozenset[str]:
    return frozenset() if ring is None else frozenset(key.kid for key in ring.keys)


def _kid(head: str) -> str | None:
    """The name of a key in the first part of a token; None when there is none. Nothing else of it is believed."""
    try:
        header = msgspec.json.decode(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    kid = header.get("kid") if isinstance(header, dict) else None
    return kid if isinstance(kid, str) else None
