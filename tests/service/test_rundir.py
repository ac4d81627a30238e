"""The run directory: what a control plane leaves there for the one that replaces it."""

from pathlib import Path

import pytest

from tekton.service.rundir import ControlFile, RunDirectory


def directory(tmp_path: Path) -> RunDirectory:
    made = RunDirectory(tmp_path)
    made.prepare()
    return made


def test_the_port_of_one_that_has_crashed_is_known(tmp_path: Path) -> None:
    directory(tmp_path).announce(ControlFile(1, "http://[::1]:8123", "", 1.0))

    assert RunDirectory(tmp_path).last_port() == 8123


def test_one_that_has_withdrawn_leaves_no_port(tmp_path: Path) -> None:
    made = directory(tmp_path)
    made.announce(ControlFile(1, "http://127.0.0.1:8123", "", 1.0))
    made.withdraw()

    assert made.last_port() == 0


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid":1,"url":"http://h:x","socket":"","started_at":1.0}'])
def test_what_cannot_be_read_is_no_port(tmp_path: Path, content: str) -> None:
    made = directory(tmp_path)
    (tmp_path / "run" / "control.json").write_text(content)

    assert made.last_port() == 0
