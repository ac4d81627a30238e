"""Restores a backup and is killed at a step of it: `restorer.py DIRECTORY BACKUP STEP [EVENT]`.

A step is whatever is done to a file in the directory through the system: opening, renaming, removing; or only EVENT.
"""

import os
import signal
import sys
from itertools import count
from pathlib import Path

from tekton.bus.streams.backup import STREAMS
from tekton.core.component_lifecycle.restore import Restoration

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.truncate"}


def main(directory: Path, backup: Path, fatal: int, events: set[str]) -> None:
    steps = count(1)

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event in events and str(arguments[0]).startswith(str(directory)) and next(steps) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    with Restoration(directory, backup, 1_700_000_000.0, [STREAMS]) as restoration:
        restoration.carry_out()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), set(sys.argv[4:]) or EVENTS)
