"""The command `tekton`: one file per group of verbs, each imported only when its verb is used."""

from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (*arguments* default to those of the process) and return its exit status."""
    from tekton.cli.app import run

    return run(arguments)


def command() -> NoReturn:
    """The command `tekton`: run the command line, and end the process."""
    import os

    from tekton.process_exit import leave

    if os.getpid() == 1:
        from tekton.supervisor.process_one import below_process_one

        leave(below_process_one(main))
    leave(main())
