"""Asking, at a real terminal."""

import os
import pty
import subprocess
import sys

import pytest

CODE = "from tekton.cli.confirm import confirm; print(confirm('go on?'))"


@pytest.mark.parametrize(("typed", "answer"), [(b"y\n", "True\n"), (b"n\n", "False\n"), (b"\n", "False\n")])
def test_the_person_at_the_terminal_is_asked(typed: bytes, answer: str) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, typed)

    result = subprocess.run(
        [sys.executable, "-c", CODE], stdin=theirs, capture_output=True, text=True, timeout=30, check=True
    )

    os.close(ours)
    os.close(theirs)
    assert result.stdout == answer
    assert "go on? [y/N]" in result.stderr


def test_a_pipe_is_not_asked() -> None:
    result = subprocess.run(
        [sys.executable, "-c", CODE], input="y\n", capture_output=True, text=True, timeout=30, check=False
    )

    assert result.returncode != 0
    assert "Nobody can be asked here; say --yes" in result.stderr
