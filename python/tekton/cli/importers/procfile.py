"""Procfiles: a name and a command for a shell on every line."""

import re
from pathlib import Path

from tekton.cli.importers.draft import Draft, ImportedError, shell_command

_LINE = re.compile(r"([A-Za-z0-9_-]+)\s*:\s*(.+)")
_FIRST_PORT = 5000
_PORT_STEP = 100


def read_procfile(content: str, path: Path) -> Draft:
    """The processes of a Procfile. Raises ImportedError.

    As with its runners, a process gets a port from 5000 upward in PORT, and the variables of the `.env` beside it.
    """
    draft = Draft(path.parent)
    lines = dict(_entries(content, path))
    draft.name_all(lines, path.name)
    shared = {"env_file": ".env"} if (path.parent / ".env").is_file() else {}
    for position, (name, line) in enumerate(lines.items()):
        port = {"port": _FIRST_PORT + _PORT_STEP * position} if "PORT" in line else {}
        draft.components[draft.id_of(name)] = {"command": shell_command(line), **port, **shared}
    if lines:
        draft.note(path.name, "one that ends does not end the others: it is restarted when it failed")
    return draft


def _entries(content: str, path: Path) -> list[tuple[str, str]]:
    found = []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ImportedError(f"{path}:{number}: expected NAME: COMMAND")
        found.append((match[1], match[2].strip()))
    return found
