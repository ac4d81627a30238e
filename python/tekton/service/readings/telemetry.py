"""The readings of logs, traces and history, and of what takes a while to look at: sizes of files, and of the past."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tekton.clock import Clock
from tekton.core.history.store import KINDS, TelemetryStore
from tekton.core.metrics.metrics import Reading
from tekton.service.log_feed import LogFeed
from tekton.service.tracing import Tracing
from tekton.utils.log_writer import records_missing, records_written

_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def logs(feed: LogFeed) -> Iterator[Reading]:
    """What was logged by the control plane, and who follows the logs of all."""
    written = records_written()
    for level in _LEVELS:
        yield Reading("tekton_log_records", written[level], (level.lower(),))
    yield Reading("tekton_log_records_missing", records_missing())
    yield Reading("tekton_log_followers", len(feed))
    yield Reading("tekton_log_lines_skipped", feed.dropped)


def traces(tracing: Tracing) -> Iterator[Reading]:
    """What has become of spans."""
    exported, lost = tracing.exported or (0, 0)
    yield Reading("tekton_spans_received", tracing.received)
    yield Reading("tekton_spans_recorded", tracing.recorded)
    yield Reading("tekton_spans_dropped", tracing.dropped)
    yield Reading("tekton_spans_exported", exported)
    yield Reading("tekton_spans_not_exported", lost)


def history(store: TelemetryStore) -> Iterator[Reading]:
    """What has become of rows of the history."""
    status = store.status()
    for kind in KINDS:
        yield Reading("tekton_history_rows", status.total.get(kind, 0), (kind,))
        yield Reading("tekton_history_rows_dropped", status.dropped.get(kind, 0), (kind,))
    yield Reading("tekton_history_size", status.size_bytes)
    yield Reading("tekton_history_unwritable", status.problem is not None)
    yield Reading("tekton_history_begun_anew", status.begun_anew)


async def oldest(store: TelemetryStore, clock: Clock) -> list[Reading]:
    """How far the history goes back. Waits for the disk."""
    since = {kind: await store.known_since(kind) for kind in KINDS}
    return [Reading("tekton_history_oldest_age", max(0.0, clock.time() - at), (kind,)) for kind, at in since.items()]


def file_sizes(parts: Mapping[str, Path]) -> list[Reading]:
    """The sizes of files and folders, folders by what lies in them. Blocks."""
    return [Reading("tekton_data_size", _size(path), (part,)) for part, path in parts.items()]


def _size(path: Path) -> int:
    try:
        if not path.is_dir():
            return path.stat().st_size
        with os.scandir(path) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except OSError:
        return 0
