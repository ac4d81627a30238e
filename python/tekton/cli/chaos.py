"""The verb chaos: what a failure would do, and failures on purpose."""

from collections.abc import Iterator
from typing import Any

import click

from tekton.cli.client import component_path, connect, load_config
from tekton.cli.components import unknown_component
from tekton.cli.options import Target, output_options, target_options
from tekton.cli.render import Column, plural, say, table, to_json

Impact = dict[str, Any]

_CAPABILITIES = (Column("CAPABILITY"), Column("NOW"), Column("THEN"))
_COMPONENTS = (Column("COMPONENT"), Column("THEN"))
_EFFECTS = {
    "goes_on": "goes on, without it",
    "degrades": "degraded, until it is back",
    "restarts": "restarted, when it is back",
    "waits": "is not up, and waits for it",
}


@click.group()
@target_options
@click.pass_context
def chaos(context: click.Context, target: Target) -> None:
    """Make something fail, or see what would happen.

    For drills: what is to survive a failure is best seen surviving one before it is needed.
    """
    context.obj = target


@chaos.command()
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Only show what would happen.")
@click.option("--hold", is_flag=True, help="It is not restarted until somebody starts it.")
@click.option("--offline", is_flag=True, help="With --dry-run: by the configuration, as if everything in it were up.")
@output_options("text", "json")
@target_options
def kill(*, name: str, dry_run: bool, hold: bool, offline: bool, output: str, target: Target) -> None:
    """Kill a component, and show what that does.

    Shows who serves its capabilities afterwards, and what becomes of those that need it. It is killed as by
    `tekton kill`: its policy restarts it, unless it is held.
    """
    if offline and not dry_run:
        raise click.UsageError("--offline is for --dry-run: what does not run cannot be killed")
    impact = _configured_impact(target, name) if offline else connect(target).get(component_path(name, "impact"))
    if hold:
        impact["comes_back"] = False
    pids = [] if dry_run else _kill(target, name, hold)
    if output == "json":
        click.echo(to_json({**impact, "dry_run": dry_run, "killed": pids}, indent=2))
        return
    for line in told(impact):
        click.echo(line)
    if pids:
        say(f"\n{name}  KILL sent to {plural(len(pids), 'process group')}")


def _kill(target: Target, name: str, hold: bool) -> list[int]:
    answer = connect(target).post(component_path(name, "kill"), body={"signal": "KILL", "hold": hold})
    pids: list[int] = answer["pids"]
    return pids


def _configured_impact(target: Target, name: str) -> Impact:
    import msgspec

    from tekton.core.impact import impact_of
    from tekton.service.degradation import chains_of, parts_of

    config = load_config(target.on_this_machine("chaos kill --offline"))
    if name not in config.components:
        raise unknown_component(name, list(config.components))
    parts = parts_of(config.components, auto_recover=config.auto_recover, usable=lambda _: True)
    impact: Impact = msgspec.to_builtins(impact_of(name, parts, chains_of(config.fallbacks)))
    return impact


def told(impact: Impact) -> Iterator[str]:
    """What happens, line by line."""
    name = impact["component_id"]
    if not impact["usable"]:
        yield f"{name}  cannot be used now: nothing changes for those who call it"
    else:
        yield f"{name}  {'restarted by its policy' if impact['comes_back'] else 'down until somebody starts it'}"
    if impact["capabilities"]:
        yield ""
        rows = [[one["capability"], _names(one["before"]), _then(one)] for one in impact["capabilities"]]
        yield from table(_CAPABILITIES, rows)
    if impact["components"]:
        yield ""
        yield from table(_COMPONENTS, [[one["component_id"], _effect(one)] for one in impact["components"]])


def _then(one: Impact) -> str:
    text = f"{_names(one['after'])} (fallback)" if one["state"] == "fallback" else _names(one["after"])
    return f"{text}, then {', '.join(one['left'])}" if one["left"] else text


def _names(names: list[str]) -> str:
    return ", ".join(names) or "nobody"


def _effect(one: Impact) -> str:
    text = _EFFECTS[one["effect"]]
    return f"{text} (through {one['through']})" if one["through"] else text
