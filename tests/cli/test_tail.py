"""Reading log files from their end, and on."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tekton.cli import tail
from tekton.cli.tail import follow_file, last_lines


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "hermes.log"


@given(
    lines=st.lists(
        st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=30), max_size=20
    ),
    count=st.integers(0, 25),
    block=st.integers(1, 40),
    ended=st.booleans(),
)
def test_the_last_lines_are_those_of_the_whole_file(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], count: int, block: int, ended: bool
) -> None:
    path = tmp_path_factory.mktemp("tail") / "log"
    path.write_bytes(("\n".join(lines) + ("\n" if ended and lines else "")).encode())
    whole = path.read_bytes().decode()
    expected = whole.removesuffix("\n").split("\n") if whole else []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail, "_BLOCK", block)
        assert last_lines(path, count) == (expected[-count:] if count else [])


def test_bytes_that_are_not_text_are_replaced(log: Path) -> None:
    log.write_bytes(b"a\xffb\n")

    assert last_lines(log, 1) == ["a\ufffdb"]


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
