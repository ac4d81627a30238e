"""The verb task answer: what a task waits for."""

import sys
from typing import Any

import click

from tekton.cli.client import Client, connect
from tekton.cli.options import Target, target_options
from tekton.cli.problems import AdvisedUsageError
from tekton.cli.render import say
from tekton.cli.task_ids import short, task_path, whole_id
from tekton.cli.tool_arguments import value_of
from tekton.utils.tekton_errors import TaskStateError

Json = dict[str, Any]


@click.command()
@click.argument("task_id", metavar="TASK")
@click.argument("value", metavar="VALUE|-")
@target_options
def answer(task_id: str, value: str, target: Target) -> None:
    """Answer what a task asks, or one of its parts: the question of a part is one of the whole, too.

    VALUE is read as the question wants it: JSON, or else a text; - is stdin. It stands in the events of the task, so it
    must not be a secret.
    """
    client = connect(target)
    asking = _asking(client, whole_id(client, task_id))
    text = sys.stdin.read() if value == "-" else value
    try:
        content = value_of("answer", text, asking["question"]["schema"] or {})
    except click.UsageError as error:
        raise AdvisedUsageError(error.message, f"tekton task show {short(asking['task_id'])}") from None
    client.post(task_path(asking["task_id"], "answer"), body={"answer": content})
    say(f"{short(asking['task_id'])}  answered")


def _asking(client: Client, task_id: str) -> Json:
    """The task, if it asks something. Raises TaskStateError."""
    view: Json = client.get(task_path(task_id))
    if view["question"] is None:
        raise TaskStateError(view["task_id"], view["state"], "answer")
    return view
