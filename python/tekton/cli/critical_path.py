"""The verb critical-path: what the last start of the system took, and what it waited for."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tekton.cli.client import connect
from tekton.cli.options import Target, output_options, target_options
from tekton.cli.render import Column, elapsed, plural, say, share, table, to_json

Startup = dict[str, Any]

_COLUMNS = (
    Column("COMPONENT"),
    Column("WAITED", numeric=True),
    Column("STARTING", numeric=True),
    Column("UNTIL READY", numeric=True),
    Column("SHARE", numeric=True),
    Column("FOR"),
)


@click.command("critical-path")
@click.option(
    "--trace",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the whole start as a Chrome trace, for ui.perfetto.dev.",
)
@output_options("table", "json")
@target_options
def critical_path(trace: Path | None, output: str, target: Target) -> None:
    """Show what the last start took.

    Prints the chain of components that each waited for the one before, up to the one that was ready last: nothing else
    would have made the start shorter. SHARE is the part of the whole start that went by between one and the next.
    """
    startup: Startup = connect(target).get("/api/startup")
    if output == "json":
        click.echo(to_json(startup, indent=2))
    else:
        for line in explain(startup):
            click.echo(line)
    if trace is not None:
        trace.write_text(json.dumps(chrome_trace(startup)))
        say(f"{plural(len(startup['components']), 'component')} written to {trace}")


def explain(startup: Startup) -> Iterator[str]:
    """The critical path as a table, and what it adds up to."""
    path = steps(startup)
    if not path:
        yield "nothing was started"
        return
    yield from table(_COLUMNS, [_row(step, startup["duration"]) for step in path])
    yield ""
    ready = sum(one["ready_at"] is not None for one in startup["components"])
    all_of_them = plural(len(startup["components"]), "component")
    so_far = "" if startup["done"] else " so far"
    yield f"{ready} of {all_of_them} ready in {elapsed(startup['duration'])}{so_far}"


def steps(startup: Startup) -> list[Startup]:
    """The records of the critical path, each with `waiting`, `starting`, `until_ready` and `own` in seconds.

    `own` is how much later it was ready than the one before it on the path.
    """
    records = {one["component_id"]: one for one in startup["components"]}
    before = startup["began_at"]
    found = []
    for name in startup["critical_path"]:
        record = records[name]
        own = max(record["ready_at"] - before, 0.0)
        found.append({**record, **phases(record), "own": own})
        before = max(before, record["ready_at"])
    return found


def phases(record: Startup) -> dict[str, float | None]:
    """How long a component waited, how long until its process ran, and how long from then until it was ready."""
    queued, started, launched, ready = (record[f"{what}_at"] for what in ("queued", "started", "launched", "ready"))
    launched = None if launched is None or started is None else max(launched, started)
    return {
        "waiting": _length(queued, started),
        "starting": _length(started, launched),
        "until_ready": _length(started if launched is None else launched, ready),
    }


def _length(begin: float | None, end: float | None) -> float | None:
    return None if begin is None or end is None else max(end - begin, 0.0)


def _row(step: Startup, duration: float) -> list[str]:
    lengths = [step[phase] for phase in ("waiting", "starting", "until_ready")]
    return [
        step["component_id"],
        *("-" if length is None else elapsed(length) for length in lengths),
        share(step["own"] / duration) if duration else "-",
        step["blocked_by"] or "",
    ]


def chrome_trace(startup: Startup) -> dict[str, Any]:
    """The start in the Trace Event Format, which Perfetto and Chrome read: a row per component, a bar per phase."""
    on_path = set(startup["critical_path"])
    events: list[dict[str, Any]] = [_name("process_name", 0, "tekton up")]
    for number, record in enumerate(startup["components"], start=1):
        events.append(_name("thread_name", number, record["component_id"]))
        events += _bars(record, number, startup["began_at"] or 0.0, record["component_id"] in on_path)
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _bars(record: Startup, thread: int, began: float, critical: bool) -> Iterator[dict[str, Any]]:
    at = record["queued_at"]
    for phase, length in phases(record).items():
        if length is None:
            continue
        yield {
            "name": phase.replace("_", " "),
            "cat": "critical" if critical else "start",
            "ph": "X",
            "pid": 1,
            "tid": thread,
            "ts": round((at - began) * 1e6),
            "dur": round(length * 1e6),
            "args": {name: record[name] for name in ("component_id", "state", "waited", "blocked_by")},
        }
        at += length


def _name(kind: str, thread: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": 1, "tid": thread, "args": {"name": name}}
