"""Names: which ids are valid, and which valid name somebody probably meant.

Component and agent ids are lower-case letters, digits, `-` and `_`, at most 128 characters, beginning and ending
with a letter or digit. Capability and tool ids may be several such parts joined by dots.
"""

import re
from collections.abc import Iterable

from tekton.utils.tekton_errors import InvalidIdError

ID_PATTERN = r"[a-z0-9](?:[a-z0-9_-]{0,126}[a-z0-9])?"
DOTTED_ID_PATTERN = rf"(?=.{{1,255}}$){ID_PATTERN}(?:\.{ID_PATTERN})*"

_ID = re.compile(ID_PATTERN)
_DOTTED_ID = re.compile(DOTTED_ID_PATTERN)


def nearest_id(value: str) -> str | None:
    """The closest valid id to *value*, or None when nothing of it can be kept."""
    kept = re.sub(r"[^a-z0-9_-]+", "-", value.lower())
    return kept.strip("-_")[:128].rstrip("-_") or None


def check_id(value: str, field: str = "/component_id", *, dots: bool = False) -> str:
    """Return *value* when it is a valid id (*dots*: of a capability or tool); else raise InvalidIdError."""
    if (_DOTTED_ID if dots else _ID).fullmatch(value) is None:
        parts = [nearest_id(part) for part in value.split(".")] if dots else [nearest_id(value)]
        raise InvalidIdError(field, value, ".".join(part for part in parts if part) or None)
    return value


def nearest_name(value: str, names: Iterable[str], closeness: float = 0.6) -> str | None:
    """The one of *names* that *value* was probably meant to be, or None when none is close."""
    import difflib

    matches = difflib.get_close_matches(value, list(names), n=1, cutoff=closeness)
    return matches[0] if matches else None


def did_you_mean(value: str, names: Iterable[str], closeness: float = 0.6) -> str | None:
    """The question "did you mean 'x'?" for the nearest of *names*, or None."""
    nearest = nearest_name(value, names, closeness)
    return f"did you mean {nearest!r}?" if nearest else None
