"""Asking before something that cannot be undone. Where nobody can answer, nothing waits for an answer."""

import sys
from collections.abc import Callable

import click

_LOOK_EVERY = 1.0


def confirm(question: str) -> bool:
    """What the person says to *question*. Raises UsageError when stdin is not a terminal: then only `--yes` goes on."""
    if not somebody_is_there():
        raise click.UsageError(f"{question} Nobody can be asked here; say --yes")
    return click.confirm(question, err=True)


def somebody_is_there() -> bool:
    """True when stdin is a terminal."""
    return sys.stdin.isatty()


def ask(prompt: str, still: Callable[[], bool]) -> str | None:
    """The line that the person types at *prompt*; None when *still*, which is asked once a second, says no meanwhile.

    Raises Abort at the end of the input.
    """
    click.echo(prompt, nl=False, err=True)
    while not _is_typed(_LOOK_EVERY):
        if not still():
            click.echo(err=True)
            return None
    line = sys.stdin.readline()
    if not line:
        raise click.Abort
    return line.rstrip("\r\n")


def _is_typed(within: float) -> bool:
    """True when a line is there, within that many seconds."""
    if sys.platform == "win32":
        return True  # there, only reading tells
    import select

    # A Ctrl-C right before it blocks is noticed when the time is over.
    return bool(select.select([sys.stdin], [], [], within)[0])
