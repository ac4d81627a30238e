"""The verb ps: the components and their states, once or as they change."""

import sys
from collections.abc import Callable, Iterator, Sequence

import click

from tekton.cli.client import Client, component_path, connect
from tekton.cli.components import STATES, pick
from tekton.cli.names import expand
from tekton.cli.options import Target, instant, output_options, target_options
from tekton.cli.picture import Picture
from tekton.cli.render import (
    GUTTER,
    Column,
    clean,
    counts,
    date_and_time,
    item_line,
    paint_state,
    print_items,
    share,
    short_duration,
    short_size,
    table,
)
from tekton.cli.template import Template
from tekton.cli.terminal import is_live
from tekton.cli.watch import Record, polled, watch
from tekton.utils.tekton_errors import ComponentNotFoundError

LOOK_EVERY = 1.0
"""Seconds between two looks of a picture: CPU, memory and uptime are no changes, and have to be asked for."""

Row = Callable[[Record], list[str]]

_HEALTH_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}

_COLUMNS = (
    Column("COMPONENT"),
    Column("STATE"),
    Column("HEALTH", spare=3),
    Column("RESTARTS", numeric=True, spare=4),
    Column("UPTIME", spare=2),
    Column("CPU", spare=6),
    Column("MEM", spare=5),
    Column("PORT", spare=1),
    Column("NOTE"),
)
_TABLES = ("table", "wide")
_WIDE = (
    *(Column(column.title, column.numeric) for column in _COLUMNS[:-1]),
    Column("PID"),
    Column("INSTANCE"),
    Column("VERSION"),
    Column("CAPABILITIES"),
    Column("NOTE"),
)


def _fields() -> Sequence[str]:
    from tekton.service.views import ComponentView

    return ("name", *ComponentView.__struct_fields__)


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Only those in this state.")
@click.option("--type", "kind", metavar="TYPE", help="Only those of this type.")
@click.option("-w", "--watch", "follow", is_flag=True, help="Go on: redraw on a terminal, else append what changes.")
@click.option("--at", callback=instant, metavar="TIME", help="As it was then: 10:31, -2h, or a date and time.")
@output_options("table", "wide", "json", "jsonl", "name", fields=_fields)
@target_options
def ps(
    *,
    names: tuple[str, ...],
    states: tuple[str, ...],
    kind: str | None,
    follow: bool,
    at: float | None,
    output: str | Template,
    target: Target,
) -> None:
    """List the components and their states."""
    if follow:
        _check_watch(at, output)
    client = connect(target)

    def wanted(views: list[Record]) -> list[Record]:
        chosen = [pick(views, name) for name in _named(names, views)] if names else views
        return [view for view in chosen if (not states or view["state"] in states) and kind in (None, _type(view))]

    if follow and output in _TABLES and is_live(sys.stdout):
        _redraw(client, wanted, output)
    system = client.get("/api/system", None if at is None else {"at": f"{at:.6f}"})
    system["components"] = wanted(system["components"])
    if output in _TABLES:
        lines = _table(system["components"], output)
        for line in [*_heading(system.get("past")), *lines]:
            click.echo(line)
        if not follow:
            click.echo(f"\n{footer(system['components'])}")
    else:
        print_items(output, system, "components")
    if follow:
        _append(client, wanted, output, system)


def _check_watch(at: float | None, output: str | Template) -> None:
    if at is not None:
        raise click.UsageError("the past does not change: --at cannot be watched")
    if output in ("json", "name"):
        raise click.UsageError(f"what is watched has no end: not with -o {output}; -o jsonl is for programs")


def _heading(past: Record | None) -> list[str]:
    """That what follows is the past, if it is."""
    if past is None:
        return []
    told = f"as it was at {date_and_time(past['at'])}; there is data since {date_and_time(past['known_since'])}"
    down = [] if past["running"] else ["the control plane was down then: this is what it had known before"]
    return [told, *down, ""]


def _named(names: Sequence[str], views: list[Record]) -> tuple[str, ...]:
    return expand(names, {view["component_id"]: view.get("groups", ()) for view in views})


def footer(views: list[Record]) -> str:
    """How many are in which state, and what to look at first."""
    text = counts(view["state"] for view in views)
    failed = next((view["component_id"] for view in views if view["state"] == "failed"), None)
    return f"{text}{GUTTER * 4}tekton why {failed}" if failed else text


def state_cell(view: Record) -> str:
    """The state of a component; of one with replicas, how many of them can be used."""
    replicas = f" {view['ready_replicas']}/{view['replicas']}" if view["replicas"] > 1 else ""
    return paint_state(f"{view['state']}{replicas}", view["state"])


def _table(views: list[Record], output: str | Template) -> list[str]:
    columns, row = (_WIDE, _wide_row) if output == "wide" else (_COLUMNS, _row)
    return table(columns, [row(view) for view in views], fit=output != "wide")


def _row(view: Record) -> list[str]:
    health = view["health"] or "-"
    return [
        view["component_id"],
        state_cell(view),
        click.style(health, fg=_HEALTH_COLOURS[health]) if health in _HEALTH_COLOURS else health,
        str(view["restarts"]),
        "-" if view["uptime"] is None else short_duration(view["uptime"]),
        share(view["cpu"]),
        short_size(view["memory"]),
        _or_dash(view["port"]),
        clean(view["note"] or ""),
    ]


def _wide_row(view: Record) -> list[str]:
    *cells, note = _row(view)
    capabilities = ",".join(view["capabilities"])
    described = (view["pid"], view["instance_uuid"][:8] or None, clean(view["version"]) or None, capabilities or None)
    return [*cells, *map(_or_dash, described), note]


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _type(view: Record) -> str:
    return str(view["component_type"])


# Going on


def _redraw(client: Client, wanted: Callable[[list[Record]], list[Record]], output: str | Template) -> None:
    context = click.get_current_context()
    with Picture(sys.stdout, color=context.color is not False) as picture:
        for system in polled(client, "/api/system", LOOK_EVERY):
            views = wanted(system["components"])
            picture.draw([*_table(views, output), "", footer(views)])


def _append(
    client: Client, wanted: Callable[[list[Record]], list[Record]], output: str | Template, system: Record
) -> None:
    """Tell of every change of what is *wanted*, below what was printed."""
    layout = _Layout(_table(system["components"], output)[0]) if output in _TABLES else None
    for view in _changed(client, system["revision"]):
        for chosen in _among(wanted, system["components"], view):
            if layout is None:
                click.echo(item_line(output, chosen))
            else:
                click.echo(layout.line((_wide_row if output == "wide" else _row)(chosen)))


def _among(wanted: Callable[[list[Record]], list[Record]], known: Sequence[Record], view: Record) -> list[Record]:
    """*view* if it is wanted. Beside it are the others, so that a name that was asked for is always found."""
    name = view["component_id"]
    views = [*(other for other in known if other["component_id"] != name), view]
    return [chosen for chosen in wanted(views) if chosen["component_id"] == name]


def _changed(client: Client, since: int) -> Iterator[Record]:
    """A component after each of its changes: in the state that the change brought, whatever came after it."""
    for piece in watch(client, since=since):
        if piece.change is None:
            continue
        try:
            view = client.get(component_path(piece.change["component_id"]))
        except ComponentNotFoundError:
            continue  # it has left
        if view["state"] != piece.change["state"]:
            view |= {"state": piece.change["state"], "note": piece.change["reason"], "health": None}
        yield view


class _Layout:
    """The columns of a table that is printed already: later rows stand below its headings where they can."""

    def __init__(self, heading: str) -> None:
        titles = heading.split()
        starts = [heading.index(title) for title in titles]
        ends = [*starts[1:], len(heading)]
        self._widths = [end - start for start, end in zip(starts, ends, strict=True)]
        self._numeric = [title == "RESTARTS" for title in titles]

    def line(self, cells: Sequence[str]) -> str:
        return "".join(map(self._cell, cells, self._widths, self._numeric)).rstrip()

    def _cell(self, text: str, width: int, numeric: bool) -> str:
        room = max(width - len(GUTTER), 0)
        padding = " " * max(room - len(click.unstyle(text)), 0)
        return (padding + text if numeric else text + padding) + GUTTER
