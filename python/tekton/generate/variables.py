"""The variables of a configuration, `${NAME}` and `${NAME:-default}`, which stay open in what is generated."""

import re
from collections.abc import Callable, Iterator

_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}")

Replace = Callable[[str, str | None], str]
"""Writes a variable, given its name and default, as the target does."""


def written_for(text: str, variable: Replace, dollar: str = "$") -> str:
    """*text* of components.json in the notation of another tool, in which a dollar sign by itself is *dollar*."""
    pieces, end = [], 0
    for found in _VARIABLE.finditer(text):
        pieces.append(text[end : found.start()].replace("$", dollar))
        pieces.append(dollar if found["name"] is None else variable(found["name"], found["default"]))
        end = found.end()
    return "".join([*pieces, text[end:].replace("$", dollar)])


def references(text: str) -> Iterator[tuple[str, str | None]]:
    """The variables that *text* refers to, with their defaults; None where there is none."""
    return ((found["name"], found["default"]) for found in _VARIABLE.finditer(text) if found["name"])


def is_reference(text: str) -> bool:
    """True for a text that is a variable, and nothing else."""
    found = _VARIABLE.fullmatch(text)
    return found is not None and found["name"] is not None
