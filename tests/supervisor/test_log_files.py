"""What may lie in the place of a log, and what is done about it."""

import os
import socket
from pathlib import Path

import pytest

from tekton.supervisor.log_files import open_log_file
from tekton.supervisor.log_rotation import Rotation, rotate
from tekton.supervisor.logs import LogCursor, evidence, tail
from tekton.supervisor.spawn import open_log_or_null

STRANGER = 54321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A file that only we may read."""
    path = tmp_path / "shadow"
    path.write_text("root:secret\n")
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs" / "component.log"


def _refuses(log: Path, problem: str) -> None:
    for read in (lambda: tail(log, 5), lambda: LogCursor(log).read(), lambda: rotate(str(log), Rotation(1, 1))):
        with pytest.raises(OSError, match=problem):
            read()
    assert evidence(log, 0) == []


@as_root
def test_a_link_of_a_stranger_is_not_followed(log: Path, precious: Path) -> None:
    log.symlink_to(precious)
    os.chown(log, STRANGER, STRANGER, follow_symlinks=False)

    _refuses(log, "a link that belongs to somebody else")
    assert precious.read_text() == "root:secret\n"


@as_root
def test_nor_is_one_in_the_place_of_an_older_part(log: Path, precious: Path) -> None:
    log.write_text("one\n")
    older = log.with_name("component.log.1")
    older.symlink_to(precious)
    os.chown(older, STRANGER, STRANGER, follow_symlinks=False)

    with pytest.raises(OSError, match="a link that belongs to somebody else"):
        tail(log, 5)


def test_a_link_of_ours_leads_where_we_want_it(log: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.log").write_text("one\ntwo\n")
    log.symlink_to("../elsewhere.log")

    assert tail(log, 1) == ["two"]


def test_a_link_to_a_link_is_not_followed(log: Path, tmp_path: Path, precious: Path) -> None:
    (tmp_path / "second").symlink_to(precious)
    log.symlink_to(tmp_path / "second")

    with pytest.raises(OSError, match="symbolic links"):
        tail(log, 1)


def test_nobody_waits_for_a_pipe(log: Path) -> None:
    os.mkfifo(log)

    _refuses(log, "not a regular file|No such device")
    opened = open_log_or_null(str(log))
    os.close(opened.descriptor)
    assert "No such device or address" in str(opened.problem)


def test_nobody_writes_to_a_pipe_that_may_not_be_read(log: Path) -> None:
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    try:
        opened = open_log_or_null(str(log))
        os.close(opened.descriptor)
    finally:
        os.close(reader)
    assert "it is not a regular file" in str(opened.problem)


def test_a_device_is_no_log(log: Path) -> None:
    log.symlink_to("/dev/zero")
    _refuses(log, "not a regular file")


def test_a_directory_is_no_log(log: Path) -> None:
    log.mkdir()
    with pytest.raises(OSError, match=r"not a regular file|Is a directory"):
        tail(log, 5)


def test_a_socket_is_no_log(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(log.parent)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(log.name)
        with pytest.raises(OSError, match="No such device or address"):
            tail(log, 5)


def test_output_may_be_thrown_away_by_a_link(log: Path) -> None:
    log.symlink_to("/dev/null")

    opened = open_log_or_null(str(log))
    os.close(opened.descriptor)

    assert opened.problem is None


@as_root
def test_the_file_of_a_rotation_is_not_written_through_a_link(log: Path, precious: Path) -> None:
    log.write_text("x" * 100_000)
    log.with_name("component.log.part").symlink_to(precious)

    rotate(str(log), Rotation(4096, 1))

    assert precious.read_text() == "root:secret\n"


def test_a_log_is_read_waiting_as_files_are(log: Path) -> None:
    log.touch()
    file = open_log_file(log)
    blocking = os.get_blocking(file)
    os.close(file)
    assert blocking
