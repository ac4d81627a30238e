"""Asking before something that cannot be undone. Where nobody can answer, nothing waits for an answer."""

import sys

import click


def confirm(question: str) -> bool:
    """What the person says to *question*. Raises UsageError when stdin is not a terminal: then only `--yes` goes on."""
    if not somebody_is_there():
        raise click.UsageError(f"{question} Nobody can be asked here; say --yes")
    return click.confirm(question, err=True)


def somebody_is_there() -> bool:
    """True when stdin is a terminal."""
    return sys.stdin.isatty()
