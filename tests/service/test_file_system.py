"""The file system of the data directory."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tekton.service.file_system import doubt, file_system_type


@pytest.fixture
def memory_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "a disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mount)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_directory_in_memory_is_doubted(memory_disk: Path) -> None:
    directory = memory_disk / "data"
    directory.mkdir()

    assert doubt(directory) == f"{directory} is on tmpfs: it is gone when the machine stops"


def test_a_directory_beside_it_is_not(memory_disk: Path) -> None:
    assert file_system_type(memory_disk.parent) != "tmpfs" or file_system_type(Path("/tmp")) == "tmpfs"
    assert file_system_type(Path("/proc")) == "proc"
    assert doubt(Path("/proc")) is None
