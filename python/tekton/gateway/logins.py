"""How often credentials may be tried that are not valid.

Five failures a minute are let through for each account, and a hundred for each address elsewhere. (All programs of this
machine share an address, and would lock each other out.) Whoever has had them is answered `rate_limited` before anybody
looks at what he shows, right or wrong. One more try comes back every 12 s for an account, more than one a second for an
address: nobody is locked out for good. Nor is anybody locked out by others who has been let in before: what was once
valid is looked at in any case (`auth.AccessPolicy`).

An account is what a credential names by itself: the key, for an API key. Tokens and the credentials of owner and
components name none that could be guessed at. Failures through the Unix socket do not count: whoever gets there is the
owner.
"""

from typing import Final

from tekton.gateway.admission import address_of
from tekton.gateway.errors import RateLimitedError
from tekton.gateway.rates import TokenBuckets
from tekton.gateway.request import LOOPBACK

PER_ACCOUNT: Final = 5
PER_ADDRESS: Final = 100
"""Failures a minute."""

_REMEMBERED: Final = 16_384


class LoginThrottle:
    """Counts what has failed, and says when it is too much. Instants are seconds on a clock that never goes back."""

    def __init__(self, per_account: int = PER_ACCOUNT, per_address: int = PER_ADDRESS) -> None:
        self.refused = 0
        """Requests whose credentials nobody looked at."""
        self._accounts = TokenBuckets(per_account / 60, per_account, _REMEMBERED)
        self._addresses = TokenBuckets(per_address / 60, per_address, _REMEMBERED)

    def check(self, client: str, account: str | None, now: float) -> None:
        """Raise RateLimitedError when there have been too many failures lately."""
        if not client:
            return
        wait = 0.0 if client.startswith(LOOPBACK) else self._addresses.wait(address_of(client), now)
        if account is not None:
            wait = max(wait, self._accounts.wait(account, now))
        if wait:
            self.refused += 1
            raise RateLimitedError("too many credentials that are not valid", wait)

    def failed(self, client: str, account: str | None, now: float) -> None:
        """A credential was not valid."""
        if not client:
            return
        if not client.startswith(LOOPBACK):
            self._addresses.take(address_of(client), now)
        if account is not None:
            self._accounts.take(account, now)


def account_of(credential: str) -> str | None:
    """What *credential* names by itself, None for nothing: `tk_<id>_…` is a key, whose id is the account."""
    prefix, _, rest = credential.partition("_")
    key, found, _ = rest.partition("_")
    return key[:64] if prefix == "tk" and found and key else None
