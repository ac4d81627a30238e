"""Keeps docs/reference/cli.md true: its help texts are those of the commands.

python tests/cli/reference.py      write them anew
"""

import re
from pathlib import Path

import click

from tekton.cli.app import VERBS, cli

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"

_BLOCK = re.compile(r"(```console\n\$ tekton( \w+)? --help\n).*?(```)", re.DOTALL)


def with_current_help(text: str) -> str:
    """*text* with the help of every command that it shows as it is now."""
    return _BLOCK.sub(lambda block: f"{block[1]}{_help((block[2] or '').strip())}\n{block[3]}", text)


def shown(text: str) -> set[str]:
    """The verbs whose help *text* shows."""
    return {block[2].strip() for block in _BLOCK.finditer(text) if block[2]}


def _help(verb: str) -> str:
    root = click.Context(cli, info_name="tekton", terminal_width=88, **cli.context_settings)
    if not verb:
        return cli.get_help(root)
    command = cli.get_command(root, verb)
    assert command is not None
    return command.get_help(click.Context(command, info_name=verb, parent=root))


if __name__ == "__main__":
    known = REFERENCE.read_text()
    assert shown(known) <= set(VERBS)
    REFERENCE.write_text(with_current_help(known))
