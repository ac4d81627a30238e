"""The verb task types: which capabilities a type of task asks for."""

from typing import Any
from urllib.parse import quote

import click

from tekton.cli.client import connect
from tekton.cli.options import Target, output_options, target_options
from tekton.cli.render import Column, print_items, say, table

Json = dict[str, Any]

_PATH = "/api/task-types"
_COLUMNS = (Column("TASK_TYPE"), Column("CAPABILITIES"))


@click.group()
@target_options
@click.pass_context
def types(context: click.Context, target: Target) -> None:
    """Show and declare which capabilities a type of task asks for.

    An agent that has a capability of the very name of a type can do it. Where there is none, what is declared here
    counts: any of the capabilities, and who has more of them comes first.
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
    for line in table(_COLUMNS, [[one["task_type"], ",".join(one["capabilities"])] for one in found["items"]]):
        click.echo(line)


@types.command("set")
@click.argument("task_type", metavar="TASK_TYPE")
@click.argument("capabilities", metavar="CAPABILITY...", nargs=-1, required=True)
@target_options
def set_(task_type: str, capabilities: tuple[str, ...], target: Target) -> None:
    """Declare what a type asks for, in the place of what was declared before."""
    connect(target).put(_path(task_type), body={"capabilities": list(capabilities)})
    say(f"{task_type}  can be done with {' or '.join(capabilities)}")


@types.command()
@click.argument("task_type", metavar="TASK_TYPE")
@target_options
def rm(task_type: str, target: Target) -> None:
    """Declare nothing of a type any more."""
    connect(target).delete(_path(task_type))
    say(f"{task_type}  removed")


def _path(task_type: str) -> str:
    return f"{_PATH}/{quote(task_type, safe='', errors='surrogateescape')}"
