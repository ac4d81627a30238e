"""The verb top: what uses CPU and memory, the greediest first."""

import sys
from typing import Literal

import click

from tekton.cli.client import connect
from tekton.cli.options import Target, duration, target_options
from tekton.cli.picture import Picture
from tekton.cli.ps import LOOK_EVERY, state_cell
from tekton.cli.render import GUTTER, Column, counts, share, short_duration, short_size, table
from tekton.cli.terminal import Keys, is_live
from tekton.cli.watch import Record, polled
from tekton.clock import SYSTEM_CLOCK

Order = Literal["cpu", "memory"]

_LEAST_INTERVAL = 0.5
_KEYS: dict[str, Order] = {"c": "cpu", "m": "memory"}
_COLUMNS = (
    Column("COMPONENT"),
    Column("STATE", spare=1),
    Column("CPU", numeric=True),
    Column("MEM", numeric=True),
    Column("RESTARTS", numeric=True, spare=3),
    Column("UPTIME", spare=2),
    Column("PID"),
)


@click.command()
@click.option(
    "--sort", "order", type=click.Choice(["cpu", "mem"]), default="cpu", show_default=True, help="What comes first."
)
@click.option("--interval", callback=duration, metavar="TIME", help="How long between two looks. Default: 1s.")
@target_options
def top(order: str, interval: float | None, target: Target) -> None:
    """Show what uses CPU and memory.

    CPU is that of the process and of all that it started, as a share of one core, since the look before. On a terminal
    the table is redrawn every second until q is pressed; c and m sort by CPU and memory. Elsewhere it is printed once.
    """
    client = connect(target)
    by: Order = "cpu" if order == "cpu" else "memory"
    if not is_live(sys.stdout):
        for line in _table(client.get("/api/system")["components"], by):
            click.echo(line)
        return
    every = max(LOOK_EVERY if interval is None else interval, _LEAST_INTERVAL)
    color = click.get_current_context().color is not False
    with Picture(sys.stdout, color=color) as picture, Keys() as keys:
        for system in polled(client, "/api/system", 0.0):
            chosen = _show(picture, keys, system["components"], by, every)
            if chosen is None:
                return
            by = chosen


def _show(picture: Picture, keys: Keys, views: list[Record], by: Order, every: float) -> Order | None:
    """Show one look for *every* seconds; the order that was chosen meanwhile, None when it is enough."""
    until = SYSTEM_CLOCK.monotonic() + every
    while (left := until - SYSTEM_CLOCK.monotonic()) > 0:
        picture.draw([_heading(views, by), "", *_table(views, by)])
        key = keys.pressed(left).lower()
        if key in ("q", "\x03", "\x1b"):
            return None
        by = _KEYS.get(key, by)
    return by


def _heading(views: list[Record], by: Order) -> str:
    cpu = share(sum(view["cpu"] or 0.0 for view in views))
    memory = short_size(sum(view["memory"] or 0 for view in views))
    keys = [f"{key} [{order}]" if by == order else f"{key} {order}" for key, order in _KEYS.items()]
    totals = f"{counts(view['state'] for view in views)}; cpu {cpu}, memory {memory}"
    return (GUTTER * 2).join([totals, GUTTER.join([*keys, "q quit"])])


def _table(views: list[Record], by: Order) -> list[str]:
    greedy = sorted(views, key=lambda view: (-(view[by] or 0), view["component_id"]))
    return table(_COLUMNS, [_row(view) for view in greedy])


def _row(view: Record) -> list[str]:
    return [
        view["component_id"],
        state_cell(view),
        share(view["cpu"]),
        short_size(view["memory"]),
        str(view["restarts"]),
        "-" if view["uptime"] is None else short_duration(view["uptime"]),
        "-" if view["pid"] is None else str(view["pid"]),
    ]
