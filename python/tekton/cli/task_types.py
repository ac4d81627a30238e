"""The verb task types: what a type of task asks for."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from tekton.cli.client import connect
from tekton.cli.content import list_of, object_of
from tekton.cli.options import Target, output_options, some_time, target_options
from tekton.cli.render import Column, print_items, say, table

Json = dict[str, Any]

_PATH = "/api/task-types"
_COLUMNS = (Column("TASK_TYPE"), Column("CAPABILITIES"), Column("PARTS"), Column("ATTEMPT"), Column("RESULT"))
_FILE = click.Path(dir_okay=False, allow_dash=True, path_type=Path)


@click.group()
@target_options
@click.pass_context
def types(context: click.Context, target: Target) -> None:
    """Show and declare what a type of task asks for.

    An agent that has a capability of the very name of a type can do it. Where there is none, the capabilities count
    that are declared here: any of them, and who has more of them comes first. A type may be done in parts, instead. It
    may have a schema that its results must fit, and a time after which an agent that has not done it is given up.
    """
    context.obj = target


@types.command("ls")
@output_options("table", "json", "jsonl", "name")
@target_options
def list_(output: str, target: Target) -> None:
    """List the types that were declared."""
    found = connect(target).get(_PATH)
    if output != "table":
        print_items(output, found, "items", name="task_type")
        return
    for line in table(_COLUMNS, [_row(one) for one in found["items"]]):
        click.echo(line)


@types.command("set")
@click.argument("task_type", metavar="TASK_TYPE")
@click.argument("capabilities", metavar="[CAPABILITY]...", nargs=-1)
@click.option("--parts", type=_FILE, metavar="FILE", help="The parts that do it, as a JSON list; - is stdin.")
@click.option("--result-schema", type=_FILE, metavar="FILE", help="The JSON schema that results must fit; - is stdin.")
@click.option(
    "--attempt-timeout",
    callback=some_time(31_536_000.0),
    metavar="TIME",
    help="The time after which the next agent is asked, as in 90s.",
)
@target_options
def set_(
    *,
    task_type: str,
    capabilities: tuple[str, ...],
    parts: Path | None,
    result_schema: Path | None,
    attempt_timeout: float | None,
    target: Target,
) -> None:
    """Declare what a type asks for, in the place of what was declared before."""
    wanted = {
        "capabilities": list(capabilities),
        "subtasks": list_of(parts, "the parts of a task are") or None,
        "result_schema": None if result_schema is None else object_of(result_schema, "a JSON schema is"),
        "attempt_timeout": attempt_timeout,
    }
    connect(target).put(_path(task_type), body={name: value for name, value in wanted.items() if value is not None})
    say(f"{task_type}  declared")


@types.command()
@click.argument("task_type", metavar="TASK_TYPE")
@target_options
def rm(task_type: str, target: Target) -> None:
    """Declare nothing of a type any more."""
    connect(target).delete(_path(task_type))
    say(f"{task_type}  removed")


def _row(declared: Json) -> list[str]:
    within = declared["attempt_timeout"]
    return [
        declared["task_type"],
        ",".join(declared["capabilities"]),
        ",".join(part["name"] for part in declared["subtasks"]),
        "" if within is None else f"{within:g}s",
        "checked" if declared["result_schema"] is not None else "",
    ]


def _path(task_type: str) -> str:
    return f"{_PATH}/{quote(task_type, safe='', errors='surrogateescape')}"
