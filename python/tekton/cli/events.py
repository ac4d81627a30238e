"""The verb events: the changes of all components, past and present.

What has happened comes from the history that the registry keeps; what is happening from the change feed, from
the revision at which the history ended, so that nothing is missed or told twice.
"""

from collections.abc import Iterable
from typing import Any

import click

from tekton.cli.client import Client, component_path, connect
from tekton.cli.components import unknown_component
from tekton.cli.options import Target, duration, output_options, target_options
from tekton.cli.render import clean, clock_time, happening, say, to_json
from tekton.cli.watch import watch
from tekton.clock import SYSTEM_CLOCK
from tekton.utils.tekton_errors import ComponentNotFoundError

Entry = dict[str, Any]

FIELDS = ("revision", "at", "kind", "component_id", "instance_uuid", "previous", "state", "reason")
"""What an event consists of, for machines as for people."""

_MOST = 1000
_WANTED = "stopped"  # the reason of every step on the way to a stop that somebody asked for
_NAME_WIDTH = 12


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now.")
@click.option("--since", callback=duration, metavar="TIME", help="Only what happened less than this long ago.")
@click.option(
    "-n",
    "--tail",
    "count",
    type=click.IntRange(0, _MOST),
    help="How many past events. Default: 100; with -f alone, none.",
)
@output_options("table", "json", "jsonl")
@target_options
def events(
    *, names: tuple[str, ...], follow: bool, since: float | None, count: int | None, output: str, target: Target
) -> None:
    """Show what happened, or what is happening."""
    if follow and output == "json":
        raise click.UsageError("a stream has no end: use -o jsonl with --follow")
    client = connect(target)
    system = client.get("/api/system")
    known = [view["component_id"] for view in system["components"]]
    for name in names:
        if name not in known:
            raise unknown_component(name, known)
    wanted = count if count is not None else (0 if follow and since is None else 100)
    earliest = 0.0 if since is None else SYSTEM_CLOCK.time() - since
    past = _past(client, names or known, wanted, earliest) if wanted else []
    if output == "json":
        click.echo(to_json({"events": past}, indent=2))
        return
    for entry in past:
        _print(entry, output)
    if follow:
        _follow(client, frozenset(names), max([system["revision"], *(entry["revision"] for entry in past)]), output)


def line(entry: Entry) -> str:
    """One event for people: `10:44:01.002  billing       ready → failed  process exited: signal 9`."""
    what = happening(entry)
    reason = f"  {clean(entry['reason'])}" if entry["reason"] not in (None, entry["state"], _WANTED) else ""
    return f"{clock_time(entry['at'])}  {entry['component_id']:<{_NAME_WIDTH}}  {what}{reason}"


def _past(client: Client, names: Iterable[str], count: int, earliest: float) -> list[Entry]:
    """The last *count* events of these components since *earliest*, oldest first."""
    entries: list[Entry] = []
    for name in names:
        try:
            entries += client.get(component_path(name, "history"), {"limit": count})["items"]
        except ComponentNotFoundError:
            continue  # configured, but nothing has happened to it yet
    recent = sorted((entry for entry in entries if entry["at"] >= earliest), key=lambda entry: entry["revision"])
    return recent[-count:]


def _follow(client: Client, names: frozenset[str], since: int, output: str) -> None:
    for piece in watch(client, since=since):
        if piece.change is not None and (not names or piece.change["component_id"] in names):
            _print(piece.change, output)
        elif piece.kind == "reset":
            say("some events were missed: the control plane no longer has them in memory; see tekton events -n 1000")


def _print(entry: Entry, output: str) -> None:
    if output == "jsonl":
        click.echo(to_json({field: entry[field] for field in FIELDS}))
    else:
        click.echo(line(entry))
