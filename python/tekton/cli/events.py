"""The verb events: the changes of all components, past and present.

What has happened comes from the history that the registry keeps; what is happening from the change feed, from
the revision at which the history ended, so that nothing is missed or told twice. What follows from a failure, a restart
that is planned or given up, is no change of the registry: it is asked for when a failure is told.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import click

from tekton.cli.client import Client, component_path, connect
from tekton.cli.components import unknown_component
from tekton.cli.names import expand
from tekton.cli.options import Target, duration, output_options, target_options
from tekton.cli.render import clean, clock_time, elapsed, happening, say, to_json
from tekton.cli.template import Template
from tekton.cli.unit_names import UnitNames
from tekton.cli.watch import watch
from tekton.clock import SYSTEM_CLOCK
from tekton.utils.tekton_errors import ComponentNotFoundError, TektonError

Entry = dict[str, Any]

FIELDS = ("revision", "at", "kind", "component_id", "instance_uuid", "previous", "state", "reason")
"""What an event consists of, for machines as for people."""

KINDS = ("state", "registered", "updated", "deregistered", "serving", "restart_planned", "gave_up")
"""What kinds of events there are."""

_MOST = 1000
_WANTED = "stopped"  # the reason of every step on the way to a stop that somebody asked for
_NAME_WIDTH = 12


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("-f", "--follow", "-w", "--watch", is_flag=True, help="Go on with what happens from now.")
@click.option("--since", callback=duration, metavar="TIME", help="Only what happened less than this long ago.")
@click.option(
    "-n",
    "--tail",
    "count",
    type=click.IntRange(0, _MOST),
    help="How many past events. Default: 100; with -f alone, none.",
)
@click.option("--kind", "kinds", type=click.Choice(KINDS), multiple=True, help="Only events of this kind.")
@output_options("table", "json", "jsonl", fields=lambda: ("name", *FIELDS))
@target_options
def events(
    *,
    names: tuple[str, ...],
    follow: bool,
    since: float | None,
    count: int | None,
    kinds: tuple[str, ...],
    output: str | Template,
    target: Target,
) -> None:
    """Show what happened, or what is happening."""
    if follow and output == "json":
        raise click.UsageError("a stream has no end: use -o jsonl with --follow")
    client = connect(target)
    system = client.get("/api/system")
    known = [view["component_id"] for view in system["components"]]
    names = expand(names, {view["component_id"]: view.get("groups", ()) for view in system["components"]})
    for name in names:
        if name not in known:
            raise unknown_component(name, known)
    wanted = count if count is not None else (0 if follow and since is None else 100)
    earliest = 0.0 if since is None else SYSTEM_CLOCK.time() - since
    # So many of the kinds that are asked for: those of other kinds in between do not count.
    past = _past(client, names or known, _MOST if kinds else wanted, earliest) if wanted else []
    position = max([system["revision"], *(entry["revision"] for entry in past)])
    chosen = _of_kinds(_with_plans(client, past), kinds)
    if kinds:
        chosen = iter([*chosen][-wanted:] if wanted else [])
    if follow:
        chosen = chain(chosen, _of_kinds(_following(client, frozenset(names), position), kinds))
    if output == "json":
        click.echo(to_json({"events": list(chosen)}, indent=2))
        return
    replicated = [view["component_id"] for view in system["components"] if view.get("replicas", 1) > 1]
    units = UnitNames(client, replicated)
    for entry in chosen:
        _print(entry, output, units)


def _of_kinds(entries: Iterable[Entry], kinds: tuple[str, ...]) -> Iterator[Entry]:
    return (entry for entry in entries if not kinds or entry["kind"] in kinds)


def line(entry: Entry, name: str | None = None) -> str:
    """One event for people: `10:44:01.002  billing       ready → failed  process exited: signal 9`.

    *name* is that of the unit, where it is not just the component.
    """
    what = happening(entry)
    reason = f"  {clean(entry['reason'])}" if entry["reason"] not in (None, entry["state"], _WANTED) else ""
    return f"{clock_time(entry['at'])}  {name or entry['component_id']:<{_NAME_WIDTH}}  {what}{reason}"


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


def _following(client: Client, names: frozenset[str], since: int) -> Iterator[Entry]:
    for piece in watch(client, since=since):
        if piece.change is not None and (not names or piece.change["component_id"] in names):
            yield piece.change
            yield from _plan(client, piece.change)
        elif piece.kind == "reset":
            say("some events were missed: the control plane no longer has them in memory; see tekton events -n 1000")


def _with_plans(client: Client, past: list[Entry]) -> Iterator[Entry]:
    """*past*, and behind the failures that nothing has followed yet what is planned."""
    newest = {entry["component_id"]: entry["revision"] for entry in past}
    for entry in past:
        yield entry
        if newest[entry["component_id"]] == entry["revision"]:
            yield from _plan(client, entry)


def _plan(client: Client, failure: Entry) -> Iterator[Entry]:
    """What Recovery makes of a failure."""
    if failure["state"] != "failed" or failure["kind"] != "state" or failure["reason"] == _WANTED:
        return
    try:
        plan = client.get(component_path(failure["component_id"], "why"))["restart"]
    except TektonError:
        return  # it has left, or the control plane restarts: what it has told counts
    if plan is not None and plan["gave_up"]:
        reason = f"after {plan['attempt']} of {plan['max']} restarts"
        yield {**failure, "kind": "gave_up", "previous": None, "reason": reason}
    elif plan is not None and plan["next_in"] is not None:
        when = f"{plan['attempt']} of {plan['max']} in {elapsed(plan['next_in'])}"
        yield {**failure, "kind": "restart_planned", "previous": None, "reason": when}


def _print(entry: Entry, output: str | Template, units: UnitNames) -> None:
    if isinstance(output, Template):
        click.echo(output.fill({**entry, "name": units.of(entry)}))
    elif output == "jsonl":
        told = {field: entry[field] for field in FIELDS}
        if entry["kind"] == "serving" and "record" in entry:
            told["serving"] = entry["record"]["serving"]
        click.echo(to_json(told))
    else:
        click.echo(line(entry, units.of(entry)))
