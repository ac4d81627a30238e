"""The command `tekton`: one file per group of verbs, each imported only when its verb is used."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_SOON = 0.02


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (*arguments* default to those of the process) and return its exit status."""
    from tekton.cli.app import run

    return run(arguments)


def command() -> NoReturn:
    """The command `tekton`: run the command line, and end the process."""
    import os

    from tekton.process_exit import leave

    sys.unraisablehook = heed_interrupt
    if os.getpid() == 1:
        from tekton.supervisor.process_one import below_process_one

        leave(below_process_one(main))
    leave(main())


def heed_interrupt(lost: "UnraisableHookArgs") -> None:
    """Interrupt again, where Python has dropped a Ctrl-C: it does, when one comes while an object is torn down.

    A little later, because in here it would be dropped as well.
    """
    import os
    import signal
    import threading

    if issubclass(lost.exc_type, KeyboardInterrupt):
        again = threading.Timer(_SOON, os.kill, (os.getpid(), signal.SIGINT))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(lost)
