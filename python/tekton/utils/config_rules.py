"""Rules for single values of the configuration that their types cannot express.

Each takes a value of the right type and answers None, or the problem and a suggestion.
"""

import re
from urllib.parse import urlsplit

from tekton.auth.roles import (
    ACTIONS,
    PERMISSIONS,
    ROLES,
    permission_of,
    uncallable,
    unconsumable,
    unhearable,
    unpublishable,
    unstorable,
)
from tekton.utils.tekton_errors import InvalidIdError
from tekton.utils.tekton_ids import check_id, did_you_mean

Problem = tuple[str, str | None]

MIN_SECRET_BYTES = 32
MIN_SIZE_BYTES = 64 * 1024
MIN_HISTORY_BYTES = 1024 * 1024
_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?([KMGT]?)(?:i?B)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SAMPLE_SECRETS = frozenset(
    {
        "your_jwt_secret_here",
        "your-256-bit-secret",
        "a-string-secret-at-least-256-bits-long",
        "changeme",
        "change_me",
        "secret",
        "password",
    }
)
OWN_SUBJECTS = frozenset({"owner", "anonymous", "tekton"})
"""Who acts when nobody has been named; nobody else may be called so."""

OWN_STREAMS = frozenset({"dead_letters", "hops"})
"""The stream in which messages end that nobody could work on, and a name under which it keeps others."""

_COMPONENTS = re.compile(r"[a-z0-9_*-]{1,128}")
_SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:+-]{0,127}")
_ORIGIN = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?/?")
_KEY_MATERIAL = re.compile(r"-----BEGIN|^\s*(?:ssh-|ecdsa-|[\[{])|\"kty\"")
_NO_SECRET = "remove it, and Tekton creates a random one in its data directory"


def check_component(value: str) -> Problem | None:
    """A component id."""
    return _id_problem(value, dots=False)


def check_capability(value: str) -> Problem | None:
    """A capability id; it may have dots."""
    return _id_problem(value, dots=True)


def _id_problem(value: str, *, dots: bool) -> Problem | None:
    try:
        check_id(value, dots=dots)
    except InvalidIdError as error:
        return str(error).partition(": ")[2], error.hint
    return None


def check_secret(value: str) -> Problem | None:
    """A secret that cannot be guessed. The value itself is never part of the answer."""
    if value.lower() in _SAMPLE_SECRETS:
        return "is a sample value that everybody knows", _NO_SECRET
    if (length := len(value.encode())) < MIN_SECRET_BYTES:
        return f"has {length} bytes; at least {MIN_SECRET_BYTES} are needed", _NO_SECRET
    if len(set(value)) < 8:
        return "is too regular to be a secret", _NO_SECRET
    if _KEY_MATERIAL.search(value):
        return "is a key or a certificate, which others may know", _NO_SECRET
    return None


def check_pattern(value: str) -> Problem | None:
    """A regular expression."""
    try:
        re.compile(value)
    except re.error as error:
        return f"is not a regular expression: {error}", None
    return None


def check_probe_address(value: str) -> Problem | None:
    """A path on the component's port, or a URL."""
    if not value.isprintable() or " " in value:
        return "must not contain spaces or control characters", "write a space as %20"
    if value.startswith(("/", "http://", "https://")):
        return None
    return "must be a path that begins with '/', or a whole URL", f"write '/{value}'"


def check_network(value: str) -> Problem | None:
    """A network, or a single address."""
    from ipaddress import ip_network

    try:
        ip_network(value)
    except ValueError as error:
        advice = "clear the bits behind the prefix" if "host bits" in str(error) else "write it like 10.1.0.0/16"
        return "is no network", advice
    return None


def check_origin(value: str) -> Problem | None:
    """A web origin: a scheme, a host and perhaps a port, as browsers send it."""
    if _ORIGIN.fullmatch(value):
        return None
    advice = "name each origin" if "*" in value else "write it like https://ops.example, without a path"
    return "is no origin", advice


def check_http_url(value: str) -> Problem | None:
    """The base URL of an HTTP server: a scheme, a host, perhaps a port and a path."""
    advice = "write it like http://collector:4318"
    wrong = ("is no URL of an HTTP server", advice)
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return wrong
    if not usable or parts.query or parts.fragment or not value.isprintable() or " " in value:
        return wrong
    return ("must not have a user name or a password", advice) if parts.username is not None else None


def check_text(value: str) -> Problem | None:
    """A text that says something."""
    return check_argument(value) if value.strip() else ("must not be empty", None)


def check_argument(value: str) -> Problem | None:
    """A text that can be handed to a process: no operating system takes a NUL in one."""
    return ("must not contain the character NUL", None) if "\0" in value else None


def check_variable(value: str) -> Problem | None:
    """The name of an environment variable."""
    valid = value and "=" not in value and "\0" not in value
    return None if valid else (f"{value!r} cannot be the name of an environment variable", None)


def check_true(value: object) -> Problem | None:
    """A switch that is on or absent."""
    return ("can only be true", "remove it") if value is False else None


def check_backoff(value: tuple[float, float]) -> Problem | None:
    """The shortest and the longest delay."""
    return None if value[0] <= value[1] else ("the first delay is longer than the longest", "write [shortest, longest]")


def parse_size(value: int | str) -> int:
    """A size in bytes: a number of them, or a text such as `512M` (powers of 1024). Raises ValueError."""
    if isinstance(value, int):
        return value
    found = _SIZE.fullmatch(value.strip())
    if found is None:
        raise ValueError(value)
    return int(float(found[1]) * _UNITS[found[2].upper()])


def check_size(value: int | str) -> Problem | None:
    """A size in bytes that makes sense for a file or for memory."""
    try:
        size = parse_size(value)
    except ValueError:
        return "is no size", "write a number of bytes, or one like '512M' or '2G'"
    return None if size >= MIN_SIZE_BYTES else ("is less than 64K", None)


def check_history_size(value: int | str) -> Problem | None:
    """A size that a database makes sense with, or none at all."""
    try:
        size = parse_size(value)
    except ValueError:
        return "is no size", "write a number of bytes, or one like '256M' or '2G'"
    return None if size == 0 or size >= MIN_HISTORY_BYTES else ("is less than 1M", "write 0 to keep none on disk")


def check_user(value: str) -> Problem | None:
    """A user, perhaps with a group."""
    user, colon, group = value.partition(":")
    if user and "\0" not in value and (group or not colon) and ":" not in group:
        return None
    return "is no user", "write 'name' or 'name:group'"


def check_permission(value: str) -> Problem | None:
    """A permission, by its own name or by that of an action."""
    if permission_of(value) is not None:
        return None
    advice = did_you_mean(value, [*PERMISSIONS, *ACTIONS]) or f"the permissions are {', '.join(PERMISSIONS)}"
    return f"there is no permission {value!r}", advice


def check_role_name(value: str) -> Problem | None:
    """The name of a role that is not there already."""
    if value in ROLES:
        return f"the role {value!r} is built in", "give yours another name"
    return check_component(value)


def check_component_pattern(value: str) -> Problem | None:
    """A pattern of component ids, in which `*` stands for any characters."""
    if _COMPONENTS.fullmatch(value):
        return None
    return f"{value!r} can match no component", "write ids in lower case, with * for any characters"


def check_published(value: str) -> Problem | None:
    """A pattern of subjects that a role may permit to publish to."""
    return _pattern_problem(value, unpublishable(value))


def check_subscribed(value: str) -> Problem | None:
    """A pattern of subjects that a role may permit to subscribe to."""
    return _pattern_problem(value, unhearable(value))


def check_called(value: str) -> Problem | None:
    """A pattern of tools, in which `*` stands for any characters."""
    problem = uncallable(value)
    return None if problem is None else (f"{value!r} {problem}", "write <component>.<tool>, with * for any characters")


def check_consumed(value: str) -> Problem | None:
    """A pattern of consumers, in which `*` stands for any characters."""
    problem = unconsumable(value)
    return None if problem is None else (f"{value!r} {problem}", "write orders/billing, with * for any characters")


def check_stored(value: str) -> Problem | None:
    """A pattern of subjects that a stream may take."""
    return _pattern_problem(value, unstorable(value))


def check_stream_name(value: str) -> Problem | None:
    """The name of a stream: an id that Tekton does not use itself."""
    if value in OWN_STREAMS:
        return f"{value!r} is a name of Tekton's own", "give yours another one"
    return check_component(value)


def _pattern_problem(value: str, problem: str | None) -> Problem | None:
    if problem is None:
        return None
    advice = "tokens with dots between them; * is one token, and a last > all that follow"
    return f"{value!r} {problem}", advice if problem.startswith("is no pattern") else None


def check_subject(value: str) -> Problem | None:
    """A subject to whom roles are bound."""
    if value in OWN_SUBJECTS:
        return f"{value!r} is Tekton's own", "choose another subject"
    if _SUBJECT.fullmatch(value):
        return None
    return f"{value!r} is no subject", "1 to 128 letters, digits and . _ @ : + -"
