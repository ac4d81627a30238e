"""One owner per data directory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tekton.core.component_lifecycle.directory_lock import DirectoryLock
from tekton.utils.tekton_errors import StorageLockedError

HOLD = """
import sys
from pathlib import Path
from tekton.core.component_lifecycle.directory_lock import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_the_second_owner_is_told_the_first(tmp_path: Path) -> None:
    first = DirectoryLock(tmp_path)
    first.acquire()

    with pytest.raises(StorageLockedError) as caught:
        DirectoryLock(tmp_path).acquire()

    assert caught.value.path == str(tmp_path)
    assert caught.value.owner_pid == os.getpid()
    first.release()


def test_a_released_lock_can_be_taken(tmp_path: Path) -> None:
    first, second = DirectoryLock(tmp_path), DirectoryLock(tmp_path)
    first.acquire()
    first.release()
    first.release()

    second.acquire()

    assert (tmp_path / "LOCK").read_text() == f"{os.getpid()}\n"
    second.release()
    assert (tmp_path / "LOCK").read_text() == ""


def test_a_lock_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        lock = DirectoryLock(tmp_path)
        with pytest.raises(StorageLockedError) as caught:
            lock.acquire()
        assert caught.value.owner_pid == owner.pid

        owner.kill()
        owner.wait(5)

        lock.acquire()
        lock.release()
