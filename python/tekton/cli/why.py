"""The verb why: the chain of causes behind a component's state, with evidence and the next thing to do."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import click

from tekton.cli.client import Client, component_path, connect
from tekton.cli.options import Target, output_options, target_options
from tekton.cli.problems import say_help
from tekton.cli.render import Column, ago, clean, happening, paint_state, short_duration, table, to_json
from tekton.clock import SYSTEM_CLOCK
from tekton.utils.tekton_errors import ComponentNotFoundError

Why = dict[str, Any]

_HISTORY = 8  # a restart is seven
_DEEPEST = 16
_COLUMNS = (Column("WHEN"), Column("CHANGE"), Column("REASON"))


class Cause(NamedTuple):
    """One link of the chain: `depth` 0 is the component that was asked about."""

    depth: int
    why: Why


@click.command()
@click.argument("name")
@output_options("text", "json")
@target_options
def why(name: str, output: str, target: Target) -> None:
    """Explain why a component is in its state.

    Shows what it waits for or which failure stopped it, down to the first cause, its last transitions, the evidence,
    and what depends on it.
    """
    client = connect(target)
    chain = list(causes(client, name))
    if output == "json":
        click.echo(to_json({**chain[0].why, "causes": [cause.why for cause in chain[1:]]}, indent=2))
        return
    for line in explain(chain, SYSTEM_CLOCK.time()):
        click.echo(line)
    _advise(chain)


def causes(client: Client, name: str) -> Iterator[Cause]:
    """The component and, depth first, what it waits for or what failed it; every component once."""
    seen = {name}
    pending = [(0, name)]
    while pending:
        depth, component = pending.pop()
        try:
            found: Why = client.get(component_path(component, "why"))
        except ComponentNotFoundError:
            if depth == 0:
                raise
            continue  # it is named as a dependency, and nothing more is known of it
        yield Cause(depth, found)
        blockers = dict.fromkeys([*found["failed_dependencies"], *found["waiting_for"]])
        deeper = [blocker for blocker in blockers if blocker not in seen and depth < _DEEPEST]
        seen.update(deeper)
        pending += [(depth + 1, blocker) for blocker in reversed(deeper)]


def explain(chain: list[Cause], now: float) -> Iterator[str]:
    """The explanation, line by line. *now* in wall-clock seconds."""
    for cause in chain:
        yield _sentence(cause, now)
    first = chain[0].why
    if (plan := _restart(first["restart"])) is not None:
        yield f"  restart     {plan}"
    if first["dependents"]:
        yield f"  needed by   {', '.join(first['dependents'])}"
    root = _root(chain)
    if root["evidence"]:
        yield f"\nEvidence ({root['component_id']})"
        yield from (f"  {clean(line)}" for line in root["evidence"])
    if first["history"]:
        yield "\nLast transitions"
        rows = [_history_row(entry, now) for entry in first["history"][:_HISTORY]]
        yield from (f"  {line}" for line in table(_COLUMNS, rows)[1:])


def _root(chain: list[Cause]) -> Why:
    """The first cause: what failed by itself; without such a failure, the deepest thing that is waited for."""
    failed = [cause for cause in chain if cause.why["state"] == "failed" and not cause.why["failed_dependencies"]]
    return max(failed or chain, key=lambda cause: cause.depth).why


def _sentence(cause: Cause, now: float) -> str:
    found = cause.why
    since = f" ({ago(now - found['since'])})" if found["since"] is not None else ""
    state = paint_state(found["state"], found["state"])
    lead = "" if cause.depth == 0 else f"{'  ' * cause.depth}because "
    return f"{lead}{found['component_id']} is {state}{since}{_reason(found)}"


def _reason(found: Why) -> str:
    if found["reason"]:
        return f": {clean(found['reason'])}"
    if found["failed_dependencies"]:
        return f": it needs {', '.join(found['failed_dependencies'])}"
    return f": waiting for {', '.join(found['waiting_for'])}" if found["waiting_for"] else ""


def _restart(plan: Why | None) -> str | None:
    if plan is None or (plan["attempt"] == 0 and plan["next_in"] is None and not plan["gave_up"]):
        return None
    count = f"{plan['attempt']} of {plan['max']}"
    if plan["gave_up"]:
        return f"given up after {count}"
    if plan["next_in"] is None:
        return f"attempt {count}"
    return f"attempt {count} in {short_duration(plan['next_in'])}"


def _history_row(entry: dict[str, Any], now: float) -> list[str]:
    return [ago(now - entry["at"]), happening(entry), clean(entry["reason"] or "")]


def _advise(chain: list[Cause]) -> None:
    root = _root(chain)
    name = root["component_id"]
    if root["state"] == "failed":
        say_help(f"tekton logs {name}, then tekton restart {name}")
    elif root["state"] == "stopped":
        say_help(f"tekton start {name}")
