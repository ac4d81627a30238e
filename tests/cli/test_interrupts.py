"""An interrupt is never lost."""

import subprocess
import sys

DROPPED = """
import signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
from tekton.cli import heed_interrupt

class Last:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

sys.unraisablehook = heed_interrupt
try:
    Last()
    threading.Event().wait(30)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_one_that_comes_while_an_object_is_torn_down_comes_again() -> None:
    done = subprocess.run([sys.executable, "-c", DROPPED], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("interrupted\n", "")
