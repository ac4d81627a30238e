"""The verb agent: who can be asked to do something."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from tekton.cli.client import Client, connect
from tekton.cli.components import each
from tekton.cli.content import object_of_text, secret_of
from tekton.cli.options import Target, output_options, target_options
from tekton.cli.pages import items
from tekton.cli.render import Column, clean, harmless, print_items, say, table, to_json
from tekton.cli.template import Template

Json = dict[str, Any]

HEALTHS = ("usable", "impaired", "unusable")
LOCALITIES = ("local", "remote", "nowhere")

_COLUMNS = (
    Column("AGENT"),
    Column("HEALTH"),
    Column("WHERE", spare=2),
    Column("VERSION", spare=3),
    Column("CAPABILITIES"),
    Column("DESCRIPTION", spare=1),
)
_FIELDS = (
    "agent_id",
    "health",
    "version",
    "capabilities",
    "tags",
    "locality",
    "component_id",
    "url",
    "description",
    "metadata",
)
_FILE = click.Path(dir_okay=False, allow_dash=True, path_type=Path)
_COLOURS = {"usable": "green", "impaired": "yellow", "unusable": "red"}


@click.group()
@target_options
@click.pass_context
def agent(context: click.Context, target: Target) -> None:
    """Show who can be asked to do something, and register others.

    Agents of components are there while these run. Others are registered with the URL at which they speak
    Agent2Agent.
    """
    context.obj = target


@agent.command("ls")
@click.option("--capability", metavar="CAPABILITY", help="Only agents with this capability.")
@click.option("--tag", metavar="TAG", help="Only agents with this tag.")
@click.option("--version", metavar="RANGE", help="Only agents of such a version, as in '>=1.2, <2'.")
@click.option("--locality", type=click.Choice(LOCALITIES), help="Only agents that are there.")
@click.option("--health", type=click.Choice(HEALTHS), help="Only agents that are so.")
@click.option("--query", metavar="TEXT", help="Only agents with this in their id or description.")
@output_options("table", "json", "jsonl", "name", fields=lambda: _FIELDS)
@target_options
def list_(
    *,
    capability: str | None,
    tag: str | None,
    version: str | None,
    locality: str | None,
    health: str | None,
    query: str | None,
    output: str | Template,
    target: Target,
) -> None:
    """List the agents."""
    wanted = {
        "capability": capability,
        "tag": tag,
        "version": version,
        "locality": locality,
        "health": health,
        "query": query,
    }
    found = list(items(connect(target), "/api/agents", wanted))
    if output != "table":
        print_items(output, {"items": found}, "items", name="agent_id")
        return
    for line in table(_COLUMNS, [_row(one) for one in found]):
        click.echo(line)


@agent.command()
@click.argument("agent_id", metavar="AGENT")
@output_options("text", "json")
@target_options
def show(agent_id: str, output: str, target: Target) -> None:
    """Show one agent, with all that is known of it."""
    found = connect(target).get(_path(agent_id))
    if output == "json":
        click.echo(to_json(found, indent=2))
        return
    for line in _described(found):
        click.echo(line)


@agent.command()
@click.argument("agent_id", metavar="AGENT")
@click.argument("endpoint", metavar="[URL]", required=False)
@click.option("--capability", "capabilities", metavar="CAPABILITY", multiple=True, help="What it can do (repeatable).")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="A word that describes it (repeatable).")
@click.option("--description", metavar="TEXT", help="What it is.")
@click.option("--version", "version", metavar="VERSION", help="Its version, as in 1.4.0.")
@click.option("--metadata", metavar="JSON", help="What else is to be known of it: an object.")
@click.option("--credential", type=_FILE, metavar="FILE", help="What lets us in there: a token or a key; - is stdin.")
@click.option("--header", metavar="NAME", help="The header for it. Default: Authorization, as a bearer token.")
@target_options
def register(
    *,
    agent_id: str,
    endpoint: str | None,
    capabilities: tuple[str, ...],
    tags: tuple[str, ...],
    description: str | None,
    version: str | None,
    metadata: str | None,
    credential: Path | None,
    header: str | None,
    target: Target,
) -> None:
    """Register an agent that is elsewhere, or register it anew.

    URL is where it speaks Agent2Agent. What is not said comes from the card that it has there. A credential is kept,
    and never shown again; an agent that is registered anew at the same host keeps it.
    """
    if header is not None and credential is None:
        raise click.UsageError("--header is for a --credential")
    if endpoint is None and not capabilities:
        raise click.UsageError("nothing is known of the agent: say its URL, or --capability")
    told = {
        "url": endpoint,
        "capabilities": list(capabilities) or None,
        "tags": list(tags) or None,
        "description": description,
        "version": version,
        "metadata": None if metadata is None else object_of_text("--metadata", metadata),
        "credential": None if credential is None else _credential(secret_of(credential), header),
    }
    found = connect(target).put(_path(agent_id), body={name: one for name, one in told.items() if one is not None})
    say(f"{agent_id}  registered: {', '.join(found['capabilities']) or 'without capabilities'}")


@agent.command()
@click.argument("agent_ids", metavar="AGENT...", nargs=-1, required=True)
@target_options
def rm(agent_ids: tuple[str, ...], target: Target) -> int:
    """Forget agents that were registered.

    Those of a component go with it.
    """
    client = connect(target)
    return each(agent_ids, lambda agent_id: _forget(client, agent_id))


def _credential(secret: str, header: str | None) -> Json:
    return {"secret": secret} if header is None else {"secret": secret, "header": header}


def _forget(client: Client, agent_id: str) -> None:
    client.delete(_path(agent_id))
    say(f"{agent_id}  forgotten")


def _path(agent_id: str) -> str:
    return f"/api/agents/{quote(agent_id, safe='', errors='surrogateescape')}"


def _row(one: Json) -> list[str]:
    return [
        one["agent_id"],
        _paint(one["health"]),
        clean(_place(one)),
        clean(one["version"]),
        ",".join(one["capabilities"]) or "-",
        clean(one["description"] or ""),
    ]


def _paint(health: str) -> str:
    return click.style(health, fg=_COLOURS[health]) if health in _COLOURS else health


def _place(one: Json) -> str:
    """The component or the URL at which it is."""
    return one["component_id"] or one["url"] or ("here" if one["locality"] == "local" else "-")


def _described(one: Json) -> Iterator[str]:
    yield f"{one['agent_id']} {clean(one['version'])}  {_paint(one['health'])}"
    if one["description"]:
        yield harmless(one["description"])
    yield _reached(one)
    if one.get("reason"):
        yield clean(one["reason"])
    for title in ("capabilities", "tags"):
        if one[title]:
            yield f"{title}: {', '.join(map(clean, one[title]))}"
    if one["metadata"]:
        yield ""
        yield "metadata"
        yield from (f"  {harmless(line)}" for line in to_json(one["metadata"], indent=2).splitlines())


def _reached(one: Json) -> str:
    if one["component_id"]:
        why = "" if one["health"] == "usable" else f"; tekton why {one['component_id']} says why it is {one['health']}"
        return f"part of the component {one['component_id']}{why}"
    if one["url"]:
        return f"at {clean(one['url'])}"
    return "in the control plane itself" if one["locality"] == "local" else "there is no way to it yet"
