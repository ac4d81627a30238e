"""What counts as a secret, and how it is kept out of everything that people read.

A name tells: `API_TOKEN`, `db_password`, `jwt_secret`, but not `token_expiry`. Values known to be secret are also
removed wherever they turn up inside other text (a command line, a URL). Text that strangers have written (a log) is
scrubbed as well: what stands behind a secret name, and what has the form of a credential, is blacked out on suspicion.
"""

import re
from collections.abc import Callable, Iterable

REDACTED = "[redacted]"

_SECRET_NAME = re.compile(
    r"(?:^|[_\W])(?:secret|token|password|passwd|pwd|passphrase|credentials?|authorization|cookie|key|apikey)s?(?=$|[_\W])",
    re.IGNORECASE,
)
_HARMLESS_NAME = re.compile(
    r"[_\W](?:expiry|expires|life|timeout|ttl|count|limit|file|path|type|name|id)$", re.IGNORECASE
)
_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):([^/\s@]+)@")
_QUERY = re.compile(r"""(?<=[?&])([\w.-]++)=([^\s&#"']++)""")
_ASSIGNMENT = re.compile(r"""(?<![\w.-])(-{0,2}[A-Za-z_][\w.-]*+)(["']?\s*+[:=]\s*+)("[^"]*+"|'[^']*+'|[^\s,;&"']++)""")
_OPTION = re.compile(r"""(?<![\w-])(--?[A-Za-z][\w-]*+)(\s++)("[^"]*+"|'[^']*+'|[^\s"'-][^\s"']*+)""")
_CREDENTIAL = re.compile(
    r"\b(?:(?i:bearer|basic)\s++[\w.~+/=-]{8,}+"  # an Authorization header
    r"|(?<![\w-])eyJ[\w-]++\.[\w-]++\.[\w-]*+"  # a JSON web token
    r"|tk_[0-9A-Za-z]{12}_[0-9A-Za-z]{43,}+"  # an API key of ours
    r"|(?:sk|pk|rk|ghp|gho|ghs|github_pat|glpat|xox[abprs])[-_][\w-]{16,}+|AKIA[0-9A-Z]{16})"  # well-known keys
)
# In what we write ourselves, words like "basic authentication" are words: a credential has digits.
_IN_MESSAGE = re.compile(
    r"\b(?:(?i:bearer|basic)\s++(?=[A-Za-z.~+/=_-]*[0-9])[\w.~+/=-]{16,}+"
    r"|(?<![\w-])eyJ[\w-]++\.[\w-]++\.[\w-]*+"
    r"|tk_[0-9A-Za-z]{12}_[0-9A-Za-z]{43,}+"
    r"|(?:sk|pk|rk|ghp|gho|ghs|github_pat|glpat|xox[abprs])[-_][\w-]{16,}+|AKIA[0-9A-Z]{16})"
)
# One of these is in whatever the patterns match, and none in most messages.
_KEYS = ("sk", "pk", "rk", "github_pat", "glpat")
_HINTS = (
    *("://", "?", "&", "eyJ", "tk_", "AKIA", "earer", "EARER", "asic", "ASIC", "xox", "ghp", "gho", "ghs"),
    *(name + end for name in _KEYS for end in "-_"),
)
_SHORTEST = 6  # shorter values would black out ordinary words


def is_secret_name(name: str) -> bool:
    """True when a setting, variable or log field called *name* should not be shown."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return _SECRET_NAME.search(words) is not None and _HARMLESS_NAME.search(words) is None


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """*text* without any of *secrets* (those of at least 6 characters), and without what is secret in URLs."""
    for secret in sorted((secret for secret in secrets if len(secret) >= _SHORTEST), key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return _QUERY.sub(_redact_parameter, _URL_PASSWORD.sub(rf"\1:{REDACTED}@", text))


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """*text* of a stranger without *secrets*, and without what looks like one: rather too much than too little."""
    text = _CREDENTIAL.sub(REDACTED, redact(text, secrets))
    return _OPTION.sub(_scrub_assignment, _ASSIGNMENT.sub(_scrub_assignment, text))


def redact_message(text: str, secrets: Iterable[str] = ()) -> str:
    """*text* that a program of ours logs, as `redact` does, and without what has the form of a credential.

    Costs next to nothing for a text that has no such thing.
    """
    if secrets or any(hint in text for hint in _HINTS):
        text = _IN_MESSAGE.sub(REDACTED, redact(text, secrets))
    return text


def _redact_parameter(match: re.Match[str]) -> str:
    return f"{match[1]}={REDACTED}" if is_secret_name(match[1]) else match[0]


def _scrub_assignment(match: re.Match[str]) -> str:
    name, between, value = match.groups()
    quote = value[0] if value[0] in "\"'" else ""
    return f"{name}{between}{quote}{REDACTED}{quote}" if is_secret_name(name) else match[0]


def redact_json(value: object, secrets: Iterable[str] = (), clean: Callable[..., str] = redact) -> object:
    """The JSON *value* with every string cleaned and every member with a secret name blacked out.

    So is what follows an option with a secret name in a list (`--password`, `x`). *clean* is `redact` or `scrub`.
    """
    known = tuple(secrets)
    match value:
        case str():
            return clean(value, known)
        case dict():
            return {key: _redact_member(str(key), member, known, clean) for key, member in value.items()}
        case list() | tuple():
            before = (None, *value)
            return [
                REDACTED if isinstance(item, str) and _is_secret_option(option) else redact_json(item, known, clean)
                for option, item in zip(before, value)
            ]
    return value


def _is_secret_option(text: object) -> bool:
    return isinstance(text, str) and text.startswith("-") and is_secret_name(text)


def _redact_member(name: str, value: object, secrets: tuple[str, ...], clean: Callable[..., str]) -> object:
    return REDACTED if isinstance(value, str) and value and is_secret_name(name) else redact_json(value, secrets, clean)
