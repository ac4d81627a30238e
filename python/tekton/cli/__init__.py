"""The command `tekton`: one file per group of verbs, each imported only when its verb is used."""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (*arguments* default to those of the process) and return its exit status."""
    from tekton.cli.app import run

    return run(arguments)
