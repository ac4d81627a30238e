"""What counts as a secret, and how it is kept out of everything that people read.

A name tells: `API_TOKEN`, `db_password`, `jwt_secret`, but not `token_expiry`. Values known to be secret are also
removed wherever they turn up inside other text (a command line, a URL).
"""

import re
from collections.abc import Iterable

REDACTED = "[redacted]"

_SECRET_NAME = re.compile(
    r"(?:^|[_\W])(?:secret|token|password|passwd|pwd|passphrase|credentials?|authorization|cookie|key|apikey)s?(?=$|[_\W])",
    re.IGNORECASE,
)
_HARMLESS_NAME = re.compile(r"[_\W](?:expiry|expires|timeout|ttl|count|limit|file|path|type|name|id)$", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):([^/\s@]+)@")
_SHORTEST = 6  # shorter values would black out ordinary words


def is_secret_name(name: str) -> bool:
    """True when a setting, variable or log field called *name* should not be shown."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return _SECRET_NAME.search(words) is not None and _HARMLESS_NAME.search(words) is None


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """*text* without any of *secrets* (those of at least 6 characters) and without passwords in URLs."""
    for secret in sorted((secret for secret in secrets if len(secret) >= _SHORTEST), key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return _URL_PASSWORD.sub(rf"\1:{REDACTED}@", text)


def redact_json(value: object, secrets: Iterable[str] = ()) -> object:
    """The JSON *value* with every string redacted and every member with a secret name blacked out."""
    known = tuple(secrets)
    match value:
        case str():
            return redact(value, known)
        case dict():
            return {key: _redact_member(str(key), member, known) for key, member in value.items()}
        case list() | tuple():
            return [redact_json(item, known) for item in value]
    return value


def _redact_member(name: str, value: object, secrets: tuple[str, ...]) -> object:
    return REDACTED if isinstance(value, str) and value and is_secret_name(name) else redact_json(value, secrets)
