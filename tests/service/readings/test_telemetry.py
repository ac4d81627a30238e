"""What is read of logs, traces and history."""

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tekton.core.history.store import MemoryTelemetryStore, Row
from tekton.core.tracing import Span
from tekton.service.log_feed import MOST_WAITING, Follower, LogFeed
from tekton.service.readings.telemetry import file_sizes, history, logs, oldest, traces
from tekton.service.tracing import Tracing
from tekton.supervisor.log_history import Entry
from tekton.supervisor.log_lines import read_line
from tekton.testing.clock import ManualClock
from tekton.utils.log_format import TextFormatter
from tekton.utils.log_query import EVERYTHING
from tekton.utils.log_writer import QueueHandler

Read = Callable[..., Any]


class Exporter:
    """Takes every second span."""

    def __init__(self) -> None:
        self.sent = self.lost = 0

    def export(self, spans: Sequence[Span]) -> None:
        self.sent += len(spans) // 2
        self.lost += len(spans) - len(spans) // 2

    def close(self) -> None: ...


def test_records_are_counted_by_level_and_so_are_those_that_are_missing(tmp_path: Path, read: Read) -> None:
    reader = partial(logs, LogFeed(dict))
    names = [("tekton_log_records", "warning"), ("tekton_log_records", "info"), ("tekton_log_records_missing",)]
    before = [read(reader, *name) for name in names]
    with (tmp_path / "log").open("w") as stream:
        handler = QueueHandler(stream, TextFormatter())
        for level in (logging.WARNING, logging.WARNING, logging.INFO):
            handler.handle(logging.LogRecord("app", level, "", 0, "hello", (), None))
        assert handler.written(10)
        told = [read(reader, *name) for name in names]
        stream.close()
        handler.handle(logging.LogRecord("app", logging.ERROR, "", 0, "lost", (), None))
        assert handler.written(10)
        lost = read(reader, *names[2])
        handler.close()

    assert [now - then for now, then in zip(told, before, strict=True)] == [2, 1, 0]
    assert lost - before[2] == 1


def test_lines_that_a_follower_was_too_slow_for_are_counted() -> None:
    follower = Follower(EVERYTHING, lambda _: True)
    entries = [Entry("worker", None, read_line(f"line {number}"), number, 0.0) for number in range(MOST_WAITING + 3)]

    assert follower.add(entries[:MOST_WAITING]) == 0
    assert follower.add(entries[MOST_WAITING:]) == 3


async def test_spans_are_counted_from_their_arrival_to_where_they_go(read: Read) -> None:
    clock = ManualClock()
    tracing = Tracing(MemoryTelemetryStore(clock=clock), exporter=Exporter(), clock=clock)
    span = Span(trace_id="a" * 32, span_id="b" * 16, name="x", component="x", started_at=clock.time(), duration=0.1)

    tracing.receive([span] * 3)
    with tracing.tracer.begin("own"):
        pass
    await tracing.stop()

    names = ("received", "recorded", "dropped", "exported", "not_exported")
    assert [read(partial(traces, tracing), f"tekton_spans_{name}") for name in names] == [3, 4, 0, 2, 2]


async def test_the_history_tells_what_came_and_what_was_lost(read: Read) -> None:
    clock = ManualClock()
    store = MemoryTelemetryStore(clock=clock)
    store.append("span", [Row(clock.time(), "x", b"{}"), Row(float("nan"), "x", b"{}")])
    clock.advance(60)
    reader = partial(history, store)

    assert read(reader, "tekton_history_rows", "span") == 2
    assert read(reader, "tekton_history_rows_dropped", "span") == 1
    assert read(reader, "tekton_history_rows", "state") == 0
    assert read(reader, "tekton_history_size") == store.status().size_bytes > 0
    assert [read(reader, f"tekton_history_{name}") for name in ("unwritable", "begun_anew")] == [0, 0]
    ages = await oldest(store, clock)
    assert read(lambda: ages, "tekton_history_oldest_age", "span") == 60


def test_files_are_as_large_as_they_are_and_folders_as_what_lies_in_them(tmp_path: Path, read: Read) -> None:
    (tmp_path / "file").write_bytes(b"x" * 10)
    (tmp_path / "logs").mkdir()
    for name in ("a", "b"):
        (tmp_path / "logs" / name).write_bytes(b"x" * 5)
    os.symlink(tmp_path / "file", tmp_path / "logs" / "link")
    link = (tmp_path / "logs" / "link").lstat().st_size

    found = file_sizes({"database": tmp_path / "file", "logs": tmp_path / "logs", "log": tmp_path / "missing"})

    assert read(lambda: found, "tekton_data_size") == {("database",): 10, ("logs",): 10 + link, ("log",): 0}
