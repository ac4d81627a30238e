"""The end of a process that is done.

An interpreter takes itself apart before it exits: 10 ms of CPU for a guard, 20 for a command, 40 for a control plane,
one after the other in each `tekton down`. Everything of ours is closed by then, so there is nothing in it for anybody.
"""

import os
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End this process with *code*, as soon as what it has printed is written. No `atexit` function is called.

    When that cannot be written the interpreter ends in its own way, and says so.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            # A process may have been started without one.
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        sys.exit(code)
    os._exit(code)
