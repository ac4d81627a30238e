"""The programs that components need beside Python: an image has them only if a line of its Dockerfile installs them.

Seen is what commands and probes begin with, and in what a shell is given to run those of PACKAGES. What a program
starts in its turn is not seen.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from tekton.generate.blueprint import Blueprint, Part

PACKAGES = {"curl": "curl", "node": "nodejs", "perl": "perl"}
"""Programs, and the packages of Debian that have them."""

_PYTHON = re.compile(r"python[\d.]*|tekton")
_SHELLS = frozenset({"sh", "bash", "dash"})
_WORD = re.compile(r"[\w.-]+")


def programs(system: Blueprint) -> dict[str, list[str]]:
    """What each component needs that has a command or a probe which is not Python."""
    found = {part.name: list(dict.fromkeys(_of(part, Path(system.directory)))) for part in system.parts}
    return {name: needed for name, needed in found.items() if needed}


def packages(system: Blueprint) -> list[str]:
    """The packages of Debian that have them, as far as they are known."""
    named = {name for needed in programs(system).values() for name in needed}
    return sorted(package for program, package in PACKAGES.items() if program in named)


def note(system: Blueprint) -> Iterator[str]:
    """The sentence about it for whoever builds the image; none where all is Python."""
    found = programs(system)
    if found:
        whose = ", ".join(f"{name} ({', '.join(needed)})" for name, needed in found.items())
        yield f"Not Python, so that the image has to have their programs: {whose}."


def _of(part: Part, directory: Path) -> Iterator[str]:
    probes = (part.spec.startup, part.spec.ready, part.spec.liveness)
    for command in (part.command, *(probe.exec for probe in probes if probe is not None and probe.exec is not None)):
        program = PurePath(command[0]).name
        if not _PYTHON.fullmatch(program):
            yield program
        if program in _SHELLS:
            yield from sorted(
                PACKAGES.keys() & set(_WORD.findall(_script(command[1:], Path(part.spec.cwd), directory)))
            )


def _script(words: Sequence[str], *places: Path) -> str:
    """What a shell is given: *words*, and the text of the file that one of them names."""
    files = [place / word for word in words if not word.startswith("-") for place in places]
    texts = [file.read_text("utf-8", "replace") for file in files if _is_file(file)]
    return "\n".join([*words, *texts[:1]])


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
