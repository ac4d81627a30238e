import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import atexit, sys
from tekton.process_exit import leave
atexit.register(lambda: sys.stderr.write("taken apart"))
sys.stdout.write("said")
leave(3)
"""


def test_what_was_printed_is_written_and_nothing_else_is_done() -> None:
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=50, check=False)

    assert (result.returncode, result.stdout, result.stderr) == (3, "said", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_what_cannot_be_written_is_no_success() -> None:
    code = CODE.replace("leave(3)", "leave(0)")
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, timeout=50, check=False
        )

    assert result.returncode != 0
    assert "No space left on device" in result.stderr


def test_a_process_without_a_standard_output_ends_as_well() -> None:
    code = CODE.replace('sys.stdout.write("said")', "sys.stdout = None")

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)

    assert result.returncode == 3, result.stderr
