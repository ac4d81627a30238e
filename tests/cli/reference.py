"""Keeps docs/reference/cli.md and the pages in cli/ true: their help texts are those of the commands.

python tests/cli/reference.py      write them anew
"""

import re
from collections.abc import Sequence
from pathlib import Path

import click

from tekton.cli.app import VERBS, cli

_FOLDER = Path(__file__).parents[2] / "docs" / "reference"
REFERENCE = _FOLDER / "cli.md"
PAGES = [REFERENCE, *sorted((_FOLDER / "cli").glob("*.md"))]

_BLOCK = re.compile(r"(```console\n\$ tekton((?: [a-z][\w-]*)*) --help\n).*?(```)", re.DOTALL)


def with_current_help(text: str) -> str:
    """*text* with the help of every command that it shows as it is now."""
    return _BLOCK.sub(lambda block: f"{block[1]}{_help(block[2].split())}\n{block[3]}", text)


def verbs() -> set[str]:
    """All verbs, and those below them: `config`, `config check`."""
    root = _root()
    return {path for name in VERBS for path in _below(name, cli.get_command(root, name))} - {"status"}


def _below(path: str, command: click.Command | None) -> list[str]:
    commands = command.commands if isinstance(command, click.Group) else {}
    return [path, *(found for name, one in commands.items() for found in _below(f"{path} {name}", one))]


def shown(text: str) -> set[str]:
    """The verbs whose help *text* shows."""
    return {block[2].strip() for block in _BLOCK.finditer(text) if block[2]}


def _root() -> click.Context:
    # Commands remember the names of the help option from the first context that asks.
    return click.Context(cli, info_name="tekton", terminal_width=88, **cli.context_settings)


def _help(words: Sequence[str]) -> str:
    command: click.Command = cli
    context = _root()
    for word in words:
        assert isinstance(command, click.Group)
        below = command.get_command(context, word)
        assert below is not None, word
        command, context = below, click.Context(below, info_name=word, parent=context)
    return command.get_help(context)


if __name__ == "__main__":
    for page in PAGES:
        known = page.read_text()
        assert shown(known) <= verbs()
        page.write_text(with_current_help(known))
