"""The verb task: what is to be done by agents, and how far it is.

A task may be named by the end of its id, as tables show it, or by the beginning.
"""

import sys
from typing import Any

import click

from tekton.cli.client import Client, connect
from tekton.cli.components import each
from tekton.cli.options import Target, output_options, target_options
from tekton.cli.pages import items
from tekton.cli.render import print_items, say, to_json
from tekton.cli.task_answer import answer
from tekton.cli.task_ids import short, task_path, whole_id
from tekton.cli.task_run import run
from tekton.cli.task_types import types
from tekton.cli.task_view import FIELDS, STATES, described, lines
from tekton.cli.task_watch import watch
from tekton.cli.template import Template

Json = dict[str, Any]


@click.group()
@target_options
@click.pass_context
def task(context: click.Context, target: Target) -> None:
    """Have agents do something, and see how far it is.

    A task goes on whether or not somebody waits for it, and after a restart, too. It is named by its id, or by the end
    of that, which `tekton task ls` shows.
    """
    context.obj = target


@task.command("ls")
@click.option("--state", "states", type=click.Choice(("open", *STATES)), multiple=True, help="Only those in it.")
@click.option("--type", "task_type", metavar="TASK_TYPE", help="Only those of this type.")
@click.option("--conversation", metavar="CONVERSATION", help="Only those that belong to this conversation.")
@click.option("--all", "everybodys", is_flag=True, help="Those of others, too.")
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@output_options("table", "json", "jsonl", "name", fields=lambda: FIELDS)
@target_options
def list_(
    *,
    states: tuple[str, ...],
    task_type: str | None,
    conversation: str | None,
    everybodys: bool,
    limit: int,
    output: str | Template,
    target: Target,
) -> None:
    """List the tasks, the newest first.

    Parts of a task are not listed; `tekton task show` shows them.
    """
    wanted = {
        "state": ",".join(states) or None,
        "type": task_type,
        "conversation": conversation,
        "all": "true" if everybodys else None,
    }
    found = list(items(connect(target), "/api/tasks", wanted, most=limit))
    if output != "table":
        print_items(output, {"items": found}, "items", name="task_id")
        return
    for line in lines(found):
        click.echo(line)


@task.command()
@click.argument("task_id", metavar="TASK")
@output_options("text", "json")
@target_options
def show(task_id: str, output: str, target: Target) -> None:
    """Show one task, with its parts, what it asks, and what came of it."""
    client = connect(target)
    view = client.get(task_path(whole_id(client, task_id)))
    if output == "json":
        click.echo(to_json(view, indent=2))
        return
    for line in described(client, view):
        click.echo(line)


@task.command()
@click.argument("task_ids", metavar="TASK...", nargs=-1, required=True)
@click.option("--reason", metavar="TEXT", help="Why, for whoever looks at it later.")
@target_options
def cancel(task_ids: tuple[str, ...], reason: str | None, target: Target) -> int:
    """Call tasks off, with their parts.

    What their agents say from now on is ignored.
    """
    client = connect(target)
    body = {} if reason is None else {"reason": reason}

    def act(given: str) -> None:
        task_id = whole_id(client, given)
        client.post(task_path(task_id, "cancel"), body=body)
        say(f"{short(task_id)}  canceled")

    return each(task_ids, act)


@task.command()
@click.argument("task_id", metavar="TASK")
@target_options
def retry(task_id: str, target: Target) -> None:
    """Try again what was not done, as a new task.

    What was completed of it is not done again. Printed is the id of the new task.
    """
    client = connect(target)
    former = whole_id(client, task_id)
    again = client.post(task_path(former, "retry"))
    if sys.stderr.isatty():
        say(f"tekton task watch {short(again['task_id'])} follows it")
    click.echo(again["task_id"])


@task.command()
@click.argument("task_ids", metavar="TASK...", nargs=-1, required=True)
@target_options
def rm(task_ids: tuple[str, ...], target: Target) -> int:
    """Forget tasks that are over, with their parts."""
    client = connect(target)
    return each(task_ids, lambda given: _forget(client, whole_id(client, given)))


def _forget(client: Client, task_id: str) -> None:
    client.delete(task_path(task_id))
    say(f"{short(task_id)}  forgotten")


for _verb in (run, watch, answer, types):
    task.add_command(_verb)
