"""The readings of security: credentials that were refused, given out and taken back, and the keys that there are."""

from collections.abc import Iterator
from typing import Final, get_args

from tekton.core.audit.failed_logins import FailedLogins, Kind
from tekton.core.metrics.metrics import Reading
from tekton.service.security import Security

SOON: Final = 604_800.0
"""Seconds: an API key that expires within them expires soon."""


def refused(failed_logins: FailedLogins) -> Iterator[Reading]:
    """Credentials that were refused."""
    for kind in get_args(Kind):
        yield Reading("tekton_auth_failures", failed_logins.kinds[kind], (kind,))


def credentials(security: Security) -> Iterator[Reading]:
    """Tokens and signing keys."""
    now, ring = security.now(), security.ring
    yield Reading("tekton_logins_throttled", security.logins.refused)
    yield Reading("tekton_tokens_issued", security.issued)
    yield Reading("tekton_credentials_revoked", security.revoked)
    yield Reading("tekton_signing_keys", sum(now < ring.retires_at(key) for key in ring.keys))
    if made := ring.signing_key(now).published_at:
        yield Reading("tekton_signing_key_age", max(0.0, now - made))


def api_keys(security: Security) -> Iterator[Reading | None]:
    """API keys. O(keys)."""
    now = security.now()
    live = expired = expiring = 0
    oldest = now
    for key in security.api_keys:
        if key.lives(now):
            live += 1
            oldest = min(oldest, key.created_at)
            expiring += key.expires_at is not None and key.expires_at < now + SOON
        else:
            expired += 1
        yield None
    yield Reading("tekton_api_keys", live, ("live",))
    yield Reading("tekton_api_keys", expired, ("expired",))
    yield Reading("tekton_api_keys_expiring", expiring)
    yield Reading("tekton_api_key_oldest_age", now - oldest)
