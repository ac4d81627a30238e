"""What an import makes: components as they are written in components.json, and notes on what is not carried over.

Texts in components.json have variables of their own (`${NAME}`), which Tekton replaces when it starts. What another
tool leaves to a shell must come through unchanged (`literal`); what it replaces itself is translated (`replaced`).
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tekton.utils.tekton_ids import nearest_id

Component = dict[str, Any]

_SHELL_CHARACTERS = re.compile(r"[|&;<>()$`*?\[\]#~\n]|^\s*\w+=")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(us|ms|[smhd])")
_UNITS = {"us": 1e-6, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_REFERENCE = re.compile(r"\$(?:\$|(?P<plain>\w+)|\{(?P<name>\w+)(?:(?P<operator>:?[-?+])(?P<rest>[^}]*))?\})")


class Note(NamedTuple):
    """Something that was not carried over, or not as it was: where it stands, and what became of it."""

    place: str
    text: str


class ImportedError(ValueError):
    """The file is not what it is taken for; the message says why."""


@dataclass
class Draft:
    """The components by id, and the notes. `directory` is that of the file which is read."""

    directory: Path
    components: dict[str, Component] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    _ids: dict[str, str] = field(default_factory=dict)

    def note(self, place: str, text: str) -> None:
        """Tell that something at *place* is not as it was."""
        self.notes.append(Note(place, text))

    def name_all(self, names: Iterable[str], place: str) -> None:
        """Give every one of *names* an id that is valid here and that no other has."""
        for name in names:
            wanted = nearest_id(name) or "component"
            identity = next(candidate for candidate in _candidates(wanted) if candidate not in self._ids.values())
            if identity != name:
                self.note(f"{place}.{name}", f"is called {identity!r}: ids are lower-case letters, digits, '-' and '_'")
            self._ids[name] = identity

    def id_of(self, name: str) -> str:
        """The id of what is called *name* in the file."""
        return self._ids.get(name) or nearest_id(name) or name

    def knows(self, name: str) -> bool:
        """True when the file has something of this name."""
        return name in self._ids

    def drop(self, place: str, members: Mapping[str, Any], reasons: Mapping[str, str], known: Iterable[str]) -> None:
        """Tell which of *members* are not carried over: those with a reason, and those that nobody *known* takes."""
        taken = set(known)
        for key in members:
            if key in reasons:
                self.note(f"{place}.{key}", f"dropped: {reasons[key]}")
            elif key not in taken and not key.startswith("x-"):
                self.note(f"{place}.{key}", "dropped: there is nothing like it")


def _candidates(wanted: str) -> Iterable[str]:
    yield wanted
    yield from (f"{wanted}-{number}" for number in range(2, 1000))


def table(value: object, place: str) -> dict[str, Any]:
    """*value* as a table with texts for keys; nothing is an empty one. Raises ImportedError for anything else."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ImportedError(f"{place} should be a table of names and values")
    return {str(key): member for key, member in value.items()}


def items(value: object) -> list[Any]:
    """*value* as a list: one thing is a list of one."""
    return [] if value is None else list(value) if isinstance(value, list) else [value]


def text(value: object) -> str:
    """A scalar of YAML as a text."""
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def assignments(value: object, place: str) -> dict[str, str | None]:
    """Environment variables, written as a table or as a list of NAME=value; None for one without a value."""
    if not isinstance(value, list):
        return {name: None if entry is None else text(entry) for name, entry in table(value, place).items()}
    pairs = [text(entry).partition("=") for entry in value]
    return {name: rest if mark else None for name, mark, rest in pairs}


def seconds(value: object) -> float | None:
    """A length of time in seconds: a number, or a text such as `1m30s`; None when it is neither."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    parts = _DURATION_PART.findall(text(value))
    if not parts or "".join(number + unit for number, unit in parts) != text(value).strip():
        return None
    return round(sum(float(number) * _UNITS[unit] for number, unit in parts), 6)


def whole(value: object) -> int | None:
    """*value* if it is a whole number, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def literal(value: str) -> str:
    """*value* as a text of components.json in which Tekton replaces nothing."""
    return re.sub(r"\$(?=[${])", "$$", value)


def replaced(value: str) -> str:
    """*value*, in which compose replaces variables, as a text in which Tekton does. Those not set are empty."""
    return _REFERENCE.sub(_reference, value)


def _reference(match: re.Match[str]) -> str:
    name, default = match["plain"] or match["name"], ""
    if name is None:
        return "$$"
    if (match["operator"] or "").endswith("-"):
        default = match["rest"]
    return f"${{{name}:-{default}}}"


def words_of(value: object) -> list[str]:
    """A command as words, translated: a list as it is, a text split as a shell would, or handed to one."""
    if isinstance(value, list):
        return [replaced(text(word)) for word in value]
    try:
        return [replaced(word) for word in shlex.split(text(value))]
    except ValueError:
        return ["sh", "-c", replaced(text(value))]


def shell_command(line: str) -> list[str]:
    """What another tool hands to a shell: as words where that is the same, else with the shell in front."""
    try:
        words = [] if _SHELL_CHARACTERS.search(line) else shlex.split(line)
    except ValueError:
        words = []
    return words or ["sh", "-c", literal(line)]


def memory(value: object) -> str | None:
    """An amount of memory as limits take it (`512M`); None when it cannot be read."""
    match = re.fullmatch(r"(\d+)\s*([bkmgt]?)(?:i?b)?", text(value).strip().lower())
    if match is None:
        return None
    number, unit = match.groups()
    return f"{number}{unit.upper()}" if unit not in ("", "b") else number
