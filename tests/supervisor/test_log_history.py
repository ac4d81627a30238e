"""Many logs as one: merged, paged, bounded."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tekton.supervisor import log_history
from tekton.supervisor.log_history import (
    CursorError,
    HistoryPage,
    Positions,
    decode_cursor,
    encode_cursor,
    read_page,
)
from tekton.supervisor.log_lines import clock_time
from tekton.supervisor.log_rotation import Rotation, rotate
from tekton.testing.clock import ManualClock
from tekton.utils.log_query import EVERYTHING, Query

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()


def at(seconds: float, text: str) -> str:
    return f"{clock_time(NOON + seconds)} INFO {text}"


def write(directory: Path, **logs: list[str]) -> dict[str, Path]:
    for name, lines in logs.items():
        (directory / f"{name}.log").write_text("".join(f"{line}\n" for line in lines))
    return {name: directory / f"{name}.log" for name in logs}


def page(
    logs: Mapping[str, Path], limit: int = 100, query: Query = EVERYTHING, before: Positions | None = None
) -> HistoryPage:
    return read_page(logs, query, limit, clock=ManualClock(), before=before)


def texts(found: HistoryPage) -> list[str]:
    return [entry.line.text.rpartition(" ")[2] for entry in found.entries]


def all_pages(logs: Mapping[str, Path], limit: int, query: Query = EVERYTHING) -> list[str]:
    lines: list[str] = []
    before: Positions | None = None
    for _ in range(1000):
        found = page(logs, limit, query, before)
        lines = texts(found) + lines
        cursor = encode_cursor(found.rest)
        if cursor is None:
            return lines
        before = decode_cursor(cursor, logs)
    raise AssertionError("it does not end")


def test_lines_of_all_logs_stand_in_the_order_of_their_times(tmp_path: Path) -> None:
    logs = write(
        tmp_path, a=[at(1, "a1"), "more-of-a1", at(4, "a4")], b=["before-b2", at(2, "b2"), at(3, "b3"), at(5, "b5")]
    )

    found = page(logs)

    assert texts(found) == ["a1", "more-of-a1", "before-b2", "b2", "b3", "a4", "b5"]
    assert [entry.time is None for entry in found.entries] == [False, False, True, False, False, False, False]
    assert (dict(found.rest), found.stopped) == ({}, None)


def test_a_log_without_times_stands_where_it_was_last_written(tmp_path: Path) -> None:
    logs = write(tmp_path, a=[at(1, "a1"), at(3, "a3")], plain=["p1", "p2"])
    os.utime(logs["plain"], (NOON + 2, NOON + 2))

    assert texts(page(logs)) == ["a1", "p1", "p2", "a3"]


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_pages_put_together_are_the_whole(tmp_path: Path, limit: int) -> None:
    logs = write(
        tmp_path,
        a=[at(n, f"a{n}") for n in range(0, 20, 2)],
        b=[at(n, f"b{n}") for n in range(1, 20, 3)],
        empty=[],
    )
    logs["absent"] = tmp_path / "absent.log"

    assert all_pages(logs, limit) == texts(page(logs, 1000))
    assert len(all_pages(logs, limit)) == 17


LINE = st.one_of(
    st.builds(at, st.integers(0, 50), st.text("xyz", min_size=1, max_size=30)),
    st.text("uvw", max_size=100),
)


@given(st.lists(st.lists(LINE, max_size=30), max_size=3), st.integers(1, 9), st.integers(10, 200))
def test_every_line_is_there_once_and_in_the_order_of_its_log(
    tmp_path_factory: pytest.TempPathFactory, contents: list[list[str]], limit: int, block: int
) -> None:
    logs = write(tmp_path_factory.mktemp("logs"), **{f"log{n}": lines for n, lines in enumerate(contents)})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_history, "_SMALLEST_BLOCK", block)
        patch.setattr(log_history, "_LARGEST_BLOCK", block)
        found: dict[str, list[str]] = {name: [] for name in logs}
        before: Positions | None = None
        while before is None or before:
            got = page(logs, limit, before=before)
            for entry in reversed(got.entries):
                found[entry.unit].insert(0, entry.line.text)
            before = got.rest

    assert found == {f"log{n}": lines for n, lines in enumerate(contents)}


def test_what_comes_meanwhile_is_on_no_older_page_and_a_rotation_changes_nothing(tmp_path: Path) -> None:
    logs = write(tmp_path, a=[at(n, f"a{n:04}" + "x" * 100) for n in range(200)])
    first = page(logs, 50)
    with logs["a"].open("a") as log:
        log.write(at(999, "new") + "\n")
    rotate(str(logs["a"]), Rotation(8192, 20))

    rest = page(logs, 1000, before=first.rest)

    assert [text[:5] for text in texts(rest)] == [f"a{n:04}" for n in range(150)]


def test_only_what_a_query_wants_is_on_a_page(tmp_path: Path) -> None:
    logs = write(tmp_path, a=[at(n, f"a{n}") for n in range(100)], b=[at(n, f"b{n}") for n in range(100)])

    assert texts(page(logs, 3, Query("comp:a /a.?7$/", NOON))) == ["a77", "a87", "a97"]
    assert texts(page(logs, 100, Query(f"since:{NOON + 98}", NOON))) == ["a98", "b98", "a99", "b99"]
    assert page(logs, 100, Query(f"since:{NOON + 98}", NOON)).rest == {}
    assert texts(page(logs, 2, Query(f"until:{NOON + 1}", NOON))) == ["a1", "b1"]


def test_a_look_that_is_too_long_says_so_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_history, "MOST_READ", 64 * 1024)
    logs = write(tmp_path, a=[at(0, "needle"), *(at(n, "hay" + "x" * 100) for n in range(2000))])
    query = Query("needle", NOON)

    first = page(logs, 10, query)

    assert (texts(first), first.stopped) == ([], "bytes")
    assert all_pages(logs, 10, query) == ["needle"]


def test_a_look_takes_two_seconds_at_most(tmp_path: Path) -> None:
    class Slow(ManualClock):
        def monotonic(self) -> float:
            self.advance(1.5)
            return super().monotonic()

    logs = write(tmp_path, a=[at(n, "hay") for n in range(2000)])

    found = read_page(logs, Query("needle", NOON), 10, clock=Slow())

    assert found.stopped == "time"
    assert 0 < found.rest["a"] < logs["a"].stat().st_size


def test_large_lines_make_a_page_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_history, "MOST_GIVEN", 10_000)
    logs = write(tmp_path, a=[at(n, "x" * 3000) for n in range(10)])

    found = page(logs, 100)

    assert (len(found.entries), found.stopped) == (4, "size")


def test_a_line_without_end_comes_in_pieces(tmp_path: Path) -> None:
    logs = write(tmp_path, a=[at(0, "x" * 1_000_000), at(1, "after")])

    found = page(logs)

    assert found.entries[-1].line.text.endswith("after")
    assert sum(len(entry.line.text) for entry in found.entries[:-1]) == len(at(0, "")) + 1_000_000
    assert max(len(entry.line.text) for entry in found.entries) < 400_000


def test_a_long_row_of_empty_lines_is_read_no_further_than_a_page_needs(tmp_path: Path) -> None:
    empty = 300_000
    logs = write(tmp_path, a=[at(0, "before"), *[""] * empty])

    found = page(logs, 1)

    assert texts(found) == [""]
    assert found.rest["a"] > empty // 2


def test_the_more_logs_there_are_the_less_of_each_is_read_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_history, "MOST_READ", 1024 * 1024)
    logs = write(tmp_path, **{f"a{number}": ["x" * 1000] * 300 for number in range(60)})

    found = page(logs, 100)

    assert found.stopped == "bytes" or len(found.entries) == 100
    assert sum(log.stat().st_size for log in logs.values()) - sum(found.rest.values()) < 2 * 1024 * 1024


def test_what_is_no_log_has_no_lines(tmp_path: Path) -> None:
    logs = write(tmp_path, a=[at(0, "a")])
    logs["pipe"] = tmp_path / "pipe.log"
    os.mkfifo(logs["pipe"])

    assert texts(page(logs)) == ["a"]


@pytest.mark.parametrize("text", ["", "x", "!!", "gaJh", "wKE", "\u00e9", "gcQGAAAAAAAA_w"])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(CursorError):
        decode_cursor(text, {})


def test_a_cursor_names_only_logs_that_there_are(tmp_path: Path) -> None:
    cursor = encode_cursor({"a": 5, "b": 2**40})

    assert cursor is not None
    assert decode_cursor(cursor, {"b": tmp_path, "c": tmp_path}) == {"b": 2**40}
    assert encode_cursor({}) is None
    assert encode_cursor({str(number): 1 for number in range(301)}) is None
