"""Reading log files from their end, and on."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tekton.cli import tail
from tekton.cli.tail import follow_file


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "hermes.log"


def following(path: Path, count: int, monkeypatch: pytest.MonkeyPatch, *writes: str) -> Iterator[str]:
    """Follow *path*; whenever there is nothing to read, the next of *writes* is appended to it."""
    waiting = iter(writes)

    def write(_: float) -> None:
        text = next(waiting, None)
        if text is None:
            raise AssertionError("nothing more is going to be written")
        with path.open("a") as file:
            file.write(text)

    monkeypatch.setattr(tail, "pause", write)
    return follow_file(path, count)


def test_following_begins_with_the_last_lines(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write_text("1\n2\n3\n")

    assert list(islice(following(log, 2, monkeypatch, "4\n"), 3)) == ["2", "3", "4"]


def test_a_line_is_told_when_it_is_complete(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write_text("")

    assert list(islice(following(log, 0, monkeypatch, "on", "e\ntw", "o\n"), 2)) == ["one", "two"]


def test_a_file_that_does_not_exist_yet_is_waited_for(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(islice(following(log, 5, monkeypatch, "one\n"), 1)) == ["one"]


def test_a_file_that_was_replaced_is_read_from_its_beginning(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write_text("a long line of the old file\n")
    lines = following(log, 0, monkeypatch, "")
    monkeypatch.setattr(tail, "pause", lambda _: (log.rename(f"{log}.1"), log.write_text("new\n")))

    assert next(lines) == "new"


def test_a_file_that_was_cut_is_read_from_its_beginning(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write_text("a long line of the old file\n")
    lines = following(log, 0, monkeypatch, "")
    monkeypatch.setattr(tail, "pause", lambda _: log.write_text("new\n"))

    assert next(lines) == "new"
