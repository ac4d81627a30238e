"""The file system of the data directory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tekton.service.file_system import doubt, file_system_type


@pytest.fixture
def mounted(tmp_path: Path, memory_disk: Any) -> Iterator[Path]:
    with memory_disk(tmp_path / "a disk", "size=1m") as mount:
        yield mount


def test_a_directory_in_memory_is_doubted(mounted: Path) -> None:
    directory = mounted / "data"
    directory.mkdir()

    assert doubt(directory) == f"{directory} is on tmpfs: it is gone when the machine stops"


def test_a_directory_beside_it_is_not(mounted: Path) -> None:
    assert file_system_type(mounted.parent) != "tmpfs" or file_system_type(Path("/tmp")) == "tmpfs"
    assert file_system_type(Path("/proc")) == "proc"
    assert doubt(Path("/proc")) is None
