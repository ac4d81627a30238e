"""The verb task watch: one task until it is over, or all of them as they change."""

import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import click

from tekton.cli.client import Client, connect
from tekton.cli.options import Target, output_options, target_options
from tekton.cli.picture import Picture
from tekton.cli.render import clock_time, to_json
from tekton.cli.task_follow import Follower, events
from tekton.cli.task_ids import task_path, whole_id
from tekton.cli.task_run import follow, outcome
from tekton.cli.task_view import COLUMNS, lines, row
from tekton.cli.terminal import is_live
from tekton.cli.watch import polled

Json = dict[str, Any]

LOOK_EVERY = 1.0
"""Seconds between two looks at the list."""
_SHOWN = 20
_LOOKED_AT = 100


@click.command()
@click.argument("task_id", metavar="[TASK]", required=False)
@click.option("--all", "everybodys", is_flag=True, help="Without TASK: those of others, too.")
@click.option("-r", "--raw", is_flag=True, help="Of a result that is a text: as it is, without quotes.")
@output_options("text", "json", "jsonl")
@target_options
def watch(*, task_id: str | None, everybodys: bool, raw: bool, output: str, target: Target) -> int:
    """Follow one task until it is over, or all of them.

    Of one task, what happens is said on stderr, what it asks is asked on the terminal, and its result is printed, as
    `tekton task run` does it; -o jsonl prints all that has happened, event by event. Without TASK the newest tasks are
    redrawn on a terminal, and elsewhere those that change are appended.
    """
    if task_id is None and output == "json":
        raise click.UsageError("what is watched has no end: not with -o json; -o jsonl is for programs")
    client = connect(target)
    if task_id is not None:
        return _watch_one(client, whole_id(client, task_id), raw=raw, output=output)
    query = {"limit": _LOOKED_AT} | ({"all": "true"} if everybodys else {})
    looks = (page["items"] for page in polled(client, f"/api/tasks?{urlencode(query)}", LOOK_EVERY))
    if output == "text" and is_live(sys.stdout):
        _redraw(looks)
    _append(looks, output)
    return 0


def _watch_one(client: Client, task_id: str, *, raw: bool, output: str) -> int:
    if output != "jsonl":
        return follow(Follower(client, task_id), raw=raw, output=output)
    for event in events(client, task_id):
        if event is not None:
            click.echo(to_json(event))
    view = client.get(task_path(task_id))
    if view["state"] != "completed":
        raise outcome(view)
    return 0


def _redraw(looks: Iterator[list[Json]]) -> None:
    context = click.get_current_context()
    with Picture(sys.stdout, color=context.color is not False) as picture:
        for found in looks:
            picture.draw(lines(found[:_SHOWN]))


def _append(looks: Iterator[list[Json]], output: str) -> None:
    """Print each task that has changed since the look before, the one that has changed last at the end."""
    known: dict[str, int] = {}
    for found in looks:
        changed = [view for view in found if known.get(view["task_id"]) != view["number"]]
        known = {view["task_id"]: view["number"] for view in found}
        for view in sorted(changed, key=lambda view: float(view["changed_at"])):
            click.echo(to_json(view) if output == "jsonl" else _line(view))


def _line(view: Json) -> str:
    cells = [cell for cell, column in zip(row(view), COLUMNS, strict=True) if column.title != "AGE"]
    return "  ".join((clock_time(view["changed_at"]), *cells)).rstrip()
