"""The verb trace: what was done, by whom, and where the time went."""

from collections.abc import Iterable, Iterator
from typing import Any

import click

from tekton.cli.client import connect
from tekton.cli.options import Target, duration, output_options, target_options
from tekton.cli.render import Column, clean, date_and_time, elapsed, plural, share, table, to_json
from tekton.clock import SYSTEM_CLOCK

Json = dict[str, Any]

_COLUMNS = (
    Column("TRACE"),
    Column("STARTED", spare=1),
    Column("DURATION", numeric=True),
    Column("SPANS", numeric=True, spare=3),
    Column("ERRORS", numeric=True),
    Column("COMPONENTS", spare=2),
    Column("NAME"),
)
_STEPS = (
    Column("SPAN"),
    Column("COMPONENT", spare=2),
    Column("DURATION", numeric=True),
    Column("SHARE", numeric=True, spare=3),
    Column("TIME"),
)
_WHOLE_ID = 32
_SHORT_ID = 12
_SEARCHED = 200
_BAR = 24


@click.group()
@target_options
@click.pass_context
def trace(context: click.Context, target: Target) -> None:
    """Show what was done, by whom, and where the time went.

    A trace is a request, or a start, with all that it set off: each piece of work is a span.
    """
    context.obj = target


@trace.command("ls")
@click.option("--component", metavar="NAME", help="Only traces in which this component took part.")
@click.option("--name", metavar="TEXT", help="Only traces whose name contains this.")
@click.option("--min", "least", callback=duration, metavar="TIME", help="Only traces that took so long, as in 500ms.")
@click.option("--failed", is_flag=True, help="Only traces in which something failed.")
@click.option("--since", callback=duration, metavar="TIME", help="Only what happened within this time, as in 2h.")
@click.option("-n", "--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="At most so many.")
@output_options("table", "json")
@target_options
def list_(
    *,
    component: str | None,
    name: str | None,
    least: float | None,
    failed: bool,
    since: float | None,
    limit: int,
    output: str,
    target: Target,
) -> None:
    """List the latest traces.

    The latest ones, oldest first, each by the beginning of its id, which is enough for `tekton trace show`.
    """
    after = None if since is None else SYSTEM_CLOCK.time() - since
    wanted = {
        "component": component,
        "name": name,
        "min_duration": least,
        "status": "error" if failed else None,
        "since": after,
        "limit": limit,
    }
    found = _ask(target, wanted)
    if output == "json":
        click.echo(to_json(found, indent=2))
        return
    for line in table(_COLUMNS, [_row(one) for one in reversed(found["items"])]):
        click.echo(line)


@trace.command()
@click.argument("trace_id", metavar="[ID]", required=False)
@output_options("text", "json")
@target_options
def show(trace_id: str | None, output: str, target: Target) -> None:
    """Show one trace, span by span.

    ID is that of a trace, or the beginning of it; without it, the latest one is shown. The bars stand where the time
    was spent, from the beginning of the trace to its end.
    """
    found = connect(target).get(f"/api/traces/{_whole_id(target, trace_id)}")
    if output == "json":
        click.echo(to_json(found, indent=2))
        return
    for line in waterfall(found["trace"], found["spans"]):
        click.echo(line)


def waterfall(summary: Json, spans: Iterable[Json]) -> Iterator[str]:
    """The lines of a trace."""
    failed = f", {plural(summary['errors'], 'error')}" if summary["errors"] else ""
    yield f"{summary['trace_id']}  {date_and_time(summary['started_at'])}"
    yield f"{plural(summary['spans'], 'span')} in {length(summary['duration'])}{failed}"
    yield ""
    spans = list(spans)
    yield from table(_STEPS, [_step(span, summary) for span in spans])
    problems = [span for span in spans if span["status"] == "error"]
    if problems:
        yield ""
    for span in problems:
        yield f"{clean(span['component'])}: {clean(span['name'])}: {clean(span['message']) or 'failed'}"


def length(seconds: float) -> str:
    """How long a span took: `12 µs`, `3.2 ms`, `0.31 s`, `3m`."""
    if seconds >= 0.1:
        return elapsed(seconds)
    if seconds >= 0.001:
        milliseconds = seconds * 1000
        return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"
    return f"{seconds * 1e6:.0f} µs"


def bar(span: Json, summary: Json, width: int = _BAR) -> str:
    """Where in the time of the trace a span lies, as a line of *width* characters at most."""
    whole = summary["duration"] or 1.0
    begin = min(max((span["started_at"] - summary["started_at"]) / whole, 0.0), 1.0)
    first = min(int(begin * width), width - 1)
    cells = min(round(span["duration"] / whole * width), width - first)
    return " " * first + ("█" * cells or "▏")


def _step(span: Json, summary: Json) -> list[str]:
    mark = "✗ " if span["status"] == "error" else ""
    part = share(span["duration"] / summary["duration"]) if summary["duration"] else "-"
    name = "  " * min(span["depth"], 20) + mark + clean(span["name"])
    return [name, clean(span["component"]), length(span["duration"]), part, bar(span, summary)]


def _row(one: Json) -> list[str]:
    return [
        one["trace_id"][:_SHORT_ID],
        date_and_time(one["started_at"]),
        length(one["duration"]),
        str(one["spans"]),
        str(one["errors"] or "-"),
        " → ".join(map(clean, one["components"])),
        clean(one["name"]),
    ]


def _ask(target: Target, wanted: Json) -> Json:
    answer: Json = connect(target).get(
        "/api/traces", {name: str(value) for name, value in wanted.items() if value is not None}
    )
    return answer


def _whole_id(target: Target, given: str | None) -> str:
    """The id that begins as *given*. Raises TraceNotFoundError."""
    if given is not None and len(given) >= _WHOLE_ID:
        return given
    prefix = (given or "").rstrip("….").lower()
    latest = _ask(target, {"limit": 1 if given is None else _SEARCHED})["items"]
    found = [one["trace_id"] for one in latest if one["trace_id"].startswith(prefix)]
    if len(found) > 1 and given is not None:
        raise click.UsageError(f"{len(found)} traces begin with {given}: {', '.join(found[:3])}")
    if not found:
        from tekton.utils.tekton_errors import TraceNotFoundError

        raise TraceNotFoundError(given or "at all")
    return str(found[0])
