"""Versions of agents, and ranges of them: `>=1.2, <2`.

Versions are those of Semantic Versioning 2.0.0, where zeros at the end may be left out: `1` is `1.0.0`. A range is one
or more comparisons with commas between them, all of which must hold; a bare version is one with `==`. The order is that
of section 11 of the specification: `1.0.0-rc.1` comes before `1.0.0`, and build metadata counts for nothing. A
comparison is no more than that: `<2` is true of `2.0.0-rc.1`.
"""

import operator
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Self

__all__ = ["InvalidVersionError", "Version", "VersionRange"]

MOST_CHARACTERS: Final = 255

_NUMBER = r"(0|[1-9][0-9]{0,17})"
_WORDS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_VERSION = re.compile(rf"{_NUMBER}(?:\.{_NUMBER})?(?:\.{_NUMBER})?(?:-({_WORDS}))?(?:\+{_WORDS})?")
_COMPARISON = re.compile(r"(==|!=|<=|>=|<|>)?\s*(\S+)")
_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class InvalidVersionError(ValueError):
    """A text that is no version, or no range of them."""


class Version(NamedTuple):
    """A version, ordered as its parts are. *stage* sorts what comes before a release; a release has (1,)."""

    major: int
    minor: int
    patch: int
    stage: tuple[Any, ...] = (1,)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The version that *text* is. Raises InvalidVersionError."""
        found = _VERSION.fullmatch(text) if len(text) <= MOST_CHARACTERS else None
        if found is None:
            raise InvalidVersionError(f"{text[:64]!r} is no version like '1.4.0'")
        major, minor, patch, before = found.groups()
        return cls(int(major), int(minor or 0), int(patch or 0), _stage(before) if before else (1,))


class VersionRange:
    """The versions of which some comparisons hold."""

    __slots__ = ("_comparisons", "text")

    def __init__(self, text: str) -> None:
        """Raises InvalidVersionError for what is no range."""
        self.text = text
        self._comparisons = [_comparison(part.strip()) for part in text[: MOST_CHARACTERS + 1].split(",")]

    def __contains__(self, version: Version) -> bool:
        return all(holds(version, other) for holds, other in self._comparisons)


def _stage(before: str) -> tuple[Any, ...]:
    words = before.split(".")
    if any(word.isdecimal() and word[0] == "0" and word != "0" for word in words):
        raise InvalidVersionError(f"{before[:64]!r} has a number that begins with 0")
    # Numbers before words, and the shorter one first where one begins as the other: section 11.4.
    return (0, tuple((0, int(word), "") if word.isdecimal() else (1, 0, word) for word in words))


def _comparison(text: str) -> tuple[Callable[[Any, Any], bool], Version]:
    found = _COMPARISON.fullmatch(text)
    if found is None:
        raise InvalidVersionError(f"{text[:64]!r} is no comparison like '>=1.2'")
    return _OPERATORS[found[1] or "=="], Version.parse(found[2])
