"""Reading logs that are written, truncated and replaced at the same time."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tekton.supervisor.logs import LogCursor, evidence, follow, tail


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "component.log"


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


class TestTail:
    @pytest.mark.parametrize("count", [0, 1, 3, 999, 1000, 1001, 5000])
    def test_it_agrees_with_reading_everything(self, log: Path, count: int) -> None:
        lines = [f"line {n} {'x' * (n % 400)}" for n in range(1000)]
        log.write_text("\n".join(lines) + "\n")
        assert tail(log, count) == (lines[-count:] if count else [])

    def test_a_last_line_without_end_counts(self, log: Path) -> None:
        log.write_text("one\ntwo\nthr")
        assert tail(log, 2) == ["two", "thr"]

    def test_empty_lines_are_lines(self, log: Path) -> None:
        log.write_text("one\n\n\n")
        assert tail(log, 3) == ["one", "", ""]

    def test_a_missing_or_empty_file_has_no_lines(self, log: Path) -> None:
        assert tail(log, 5) == []
        log.touch()
        assert tail(log, 5) == []

    def test_bytes_that_are_not_text_are_replaced(self, log: Path) -> None:
        log.write_bytes(b"caf\xe9\n")
        assert tail(log, 1) == ["caf�"]


class TestEvidence:
    def test_only_what_this_start_wrote_counts(self, log: Path) -> None:
        log.write_text("old\nTraceback\n\nboom  \n")
        assert evidence(log, len("old\n")) == ["Traceback", "boom"]
        assert evidence(log, len("old\n"), lines=1) == ["boom"]

    def test_a_log_that_was_truncated_meanwhile_gives_nothing(self, log: Path) -> None:
        log.write_text("short\n")
        assert evidence(log, 1000) == []
        assert evidence(log.with_name("none"), 0) == []


class TestCursor:
    def test_only_new_complete_lines_are_read(self, log: Path) -> None:
        log.write_text("old\n")
        with LogCursor(log, 4) as cursor:
            assert cursor.read() == []
            append(log, "a\nb")
            assert cursor.read() == ["a"]
            append(log, "c\r\n")
            assert cursor.read() == ["bc"]

    def test_a_file_that_appears_later_is_read_from_its_beginning(self, log: Path) -> None:
        with LogCursor(log) as cursor:
            assert cursor.read() == []
            append(log, "first\n")
            assert cursor.read() == ["first"]

    def test_truncation_starts_anew(self, log: Path) -> None:
        log.write_text("a long line\n")
        with LogCursor(log) as cursor:
            cursor.read()
            log.write_text("new\n")
            assert cursor.read() == ["new"]

    def test_after_rotation_the_rest_of_the_old_file_comes_first(self, log: Path) -> None:
        log.write_text("a\n")
        with LogCursor(log) as cursor:
            cursor.read()
            append(log, "b\n")
            os.replace(log, log.with_suffix(".1"))
            assert cursor.read() == ["b"]
            assert cursor.read() == []
            append(log, "c\n")
            assert cursor.read() == ["c"]

    def test_a_line_without_end_does_not_grow_forever(self, log: Path) -> None:
        log.write_text("x" * 300_000 + "\n")
        with LogCursor(log) as cursor:
            pieces = [piece for _ in range(10) for piece in cursor.read()]
        assert "".join(pieces) == "x" * 300_000
        assert max(map(len, pieces)) <= 2 * 64 * 1024


class TestFollow:
    async def test_it_gives_the_end_and_then_what_is_added(self, log: Path) -> None:
        append(log, "one\ntwo\nthr")
        lines = follow(log, 1, poll=0.001)
        async with asyncio.timeout(5):
            assert await anext(lines) == "two"
            append(log, "ee\nfour\n")
            assert [await anext(lines), await anext(lines)] == ["three", "four"]
        await close(lines)

    async def test_it_waits_for_a_file_that_does_not_exist(self, log: Path) -> None:
        lines = follow(log, poll=0.001)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            first = group.create_task(anext(lines))  # type: ignore[arg-type]
            await asyncio.sleep(0)
            append(log, "hello\n")
        assert first.result() == "hello"
        await close(lines)


async def close(lines: AsyncIterator[str]) -> None:
    await lines.aclose()  # type: ignore[attr-defined]
