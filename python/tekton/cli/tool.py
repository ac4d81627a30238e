"""The verb tool: what components can be asked to do, and asking them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from tekton.cli.client import Client, connect
from tekton.cli.content import object_of
from tekton.cli.options import Target, duration, output_options, target_options
from tekton.cli.pages import items
from tekton.cli.problems import AdvisedUsageError
from tekton.cli.render import Column, clean, elapsed, harmless, print_items, print_value, say, share, table, to_json
from tekton.clock import SYSTEM_CLOCK
from tekton.utils.server_sent_events import ServerSentEvent
from tekton.utils.tekton_errors import TektonError, ToolFailedError, TransportError

Json = dict[str, Any]

_COLUMNS = (Column("TOOL"), Column("ARGUMENTS", spare=1), Column("DESCRIPTION"))
_FIELDS = ("id", "component_id", "name", "description", "timeout")
_SAID_EVERY = 0.5
"""Seconds between two lines about how far a tool is."""
_FILE = click.Path(dir_okay=False, allow_dash=True, path_type=Path)


@click.group()
@target_options
@click.pass_context
def tool(context: click.Context, target: Target) -> None:
    """Show what components can be asked to do, and ask them.

    A tool is there while a component that offers it can be used. Its id is COMPONENT.TOOL; the part behind the dot is
    enough where only one component has a tool of that name.
    """
    context.obj = target


@tool.command("ls")
@click.option("--component", metavar="NAME", help="Only the tools of this component.")
@click.option("--query", metavar="TEXT", help="Only tools with this in their id or description.")
@output_options("table", "json", "jsonl", "name", fields=lambda: _FIELDS)
@target_options
def list_(component: str | None, query: str | None, output: str, target: Target) -> None:
    """List the tools that can be called.

    Arguments in brackets may be left out.
    """
    found = list(items(connect(target), "/api/tools", {"component": component, "query": query}))
    if output != "table":
        print_items(output, {"items": found}, "items", name="id")
        return
    for line in table(_COLUMNS, [[one["id"], _arguments(one), clean(one["description"])] for one in found]):
        click.echo(line)


@tool.command()
@click.argument("tool_id", metavar="TOOL")
@output_options("text", "json")
@target_options
def show(tool_id: str, output: str, target: Target) -> None:
    """Show one tool, with what it takes and returns."""
    found = _one(connect(target), tool_id)
    if output == "json":
        click.echo(to_json(found, indent=2))
        return
    for line in _described(found):
        click.echo(line)


@tool.command()
@click.argument("tool_id", metavar="TOOL")
@click.argument("words", metavar="[NAME=VALUE]...", nargs=-1)
@click.option("--json", "file", type=_FILE, metavar="FILE", help="The arguments as a JSON object; - is stdin.")
@click.option("--timeout", callback=duration, metavar="TIME", help="Give up after this time, as in 90s.")
@click.option("-r", "--raw", is_flag=True, help="A text as it is, without quotes.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing about how far it is.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["json", "jsonl"]),
    default="json",
    show_default=True,
    help="The result; jsonl: all that the tool says, too, one event a line.",
)
@target_options
def call(
    *,
    tool_id: str,
    words: tuple[str, ...],
    file: Path | None,
    timeout: float | None,
    raw: bool,
    quiet: bool,
    output: str,
    target: Target,
) -> None:
    """Call a tool.

    Values are read as the tool wants them: `count=3` is a number where it wants one. What is no plain value is given as
    JSON, a list also member by member: `tags=a tags=b`. The result is printed as JSON; how far the tool is, on stderr.
    Ctrl-C cancels the call.
    """
    client = connect(target)
    arguments = {**object_of(file, "the arguments of a tool are"), **_parsed(client, tool_id, words)}
    events = _call(client, tool_id, arguments, timeout)
    telling = _Telling(quiet=quiet)
    for event in events:
        told = json.loads(event.data)
        if event.event == "result":
            if output == "jsonl" and not (raw and isinstance(told["result"], str)):
                click.echo(to_json({"result": told["result"]}))
            else:
                print_value(told["result"], raw=raw)
            return
        if output == "jsonl":
            click.echo(to_json(told))
        else:
            telling.tell(event.event, told)
    raise TransportError(client.address, "the call has ended without a result")


class _Telling:
    """What a tool says, in lines on stderr: not more of them than can be read."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._said_at = float("-inf")

    def tell(self, kind: str, told: Json) -> None:
        """Say what is *told*, if it is for people."""
        if self._quiet:
            return
        if kind == "log":
            say(f"{told['level']}: {clean(told['text'])}")
        elif kind == "progress" and SYSTEM_CLOCK.monotonic() - self._said_at >= _SAID_EVERY:
            self._said_at = SYSTEM_CLOCK.monotonic()
            say(_how_far(told))


def _how_far(told: Json) -> str:
    done, total, text = told["done"], told.get("total"), told.get("text")
    number = f"{share(done / total)} ({done:g} of {total:g})" if total else f"{done:g}"
    return f"{number} {clean(text)}" if text else number


def _call(client: Client, tool_id: str, arguments: Json, timeout: float | None) -> Iterator[ServerSentEvent]:
    """The events of a call, the last of which is the result. Raises what the control plane refuses with."""
    from tekton.utils.http_problems import error_from_answer

    query = None if timeout is None else {"timeout": timeout}
    # A bit more than the control plane has, which knows better what to say.
    deadline = None if timeout is None else SYSTEM_CLOCK.monotonic() + timeout + 2.0
    try:
        for event in client.stream(_path(tool_id), query, body=arguments, deadline=deadline):
            if event.event == "error":
                raise error_from_answer(_status(event.data), event.data.encode())
            if event.event in ("progress", "log", "chunk", "lost", "result"):
                yield event
    except TektonError as error:
        error.hint = error.hint or _advice(error, tool_id)
        raise


def _advice(error: TektonError, tool_id: str) -> str | None:
    """The command that knows more."""
    if error.code in ("invalid", "invalid_arguments"):
        return f"tekton tool show {tool_id}"
    if isinstance(error, ToolFailedError):
        component = error.tool_id.partition(".")[0]
        return f"tekton why {component}, tekton logs {component}"
    return None


def _status(problem: str) -> int:
    return int(json.loads(problem).get("status", 500))


def _parsed(client: Client, tool_id: str, words: tuple[str, ...]) -> Json:
    if not words:
        return {}
    from tekton.cli.tool_arguments import parsed

    schema = _one(client, tool_id)["input_schema"]
    try:
        return parsed(words, schema)
    except click.UsageError as error:
        raise AdvisedUsageError(error.message, f"tekton tool show {tool_id}") from None


def _one(client: Client, tool_id: str) -> Json:
    found: Json = client.get(_path(tool_id))
    return found


def _path(tool_id: str) -> str:
    return f"/api/tools/{quote(tool_id, safe='', errors='surrogateescape')}"


def _arguments(one: Json) -> str:
    """`name [excited]`"""
    schema = one["input_schema"]
    required = schema.get("required") or []
    return " ".join(clean(name) if name in required else f"[{clean(name)}]" for name in schema.get("properties") or {})


def _described(one: Json) -> Iterator[str]:
    yield one["id"]
    if one["description"]:
        yield clean(one["description"])
    yield f"a call may take {elapsed(one['timeout'])}"
    if hints := one["annotations"]:
        yield "hints: " + ", ".join(f"{clean(name)} {clean(to_json(value))}" for name, value in hints.items())
    yield ""
    yield "takes"
    yield from _indented(one["input_schema"])
    if one["output_schema"] is not None:
        yield ""
        yield "returns"
        yield from _indented(one["output_schema"])


def _indented(schema: Json) -> Iterator[str]:
    yield from (f"  {harmless(line)}" for line in to_json(schema, indent=2).splitlines())
