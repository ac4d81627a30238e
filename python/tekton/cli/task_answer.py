"""The verb task answer: what a task waits for."""

import sys
from collections.abc import Iterator
from typing import Any

import click

from tekton.cli.client import Client, connect
from tekton.cli.options import Target, target_options
from tekton.cli.problems import AdvisedUsageError
from tekton.cli.render import say
from tekton.cli.task_ids import short, task_path, whole_id
from tekton.cli.task_view import OVER, WAITING
from tekton.cli.tool_arguments import value_of
from tekton.utils.tekton_errors import TaskStateError

Json = dict[str, Any]


@click.command()
@click.argument("task_id", metavar="TASK")
@click.argument("value", metavar="VALUE|-")
@target_options
def answer(task_id: str, value: str, target: Target) -> None:
    """Answer what a task asks, or the one of its parts that asks.

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
    """The task itself if it asks something, else the only one of its parts that does. Raises TaskStateError."""
    view: Json = client.get(task_path(task_id))
    if view["question"] is not None:
        return view
    found = list(_asking_parts(client, view))
    if len(found) > 1:
        told = ", ".join(f"{short(part['task_id'])} ({part['question']['question']})" for part in found)
        raise click.UsageError(f"{len(found)} parts of the task ask something; answer one of them: {told}")
    if not found:
        raise TaskStateError(view["task_id"], view["state"], "answer")
    return found[0]


def _asking_parts(client: Client, view: Json) -> Iterator[Json]:
    if view["state"] in OVER:
        return
    for part in view["parts"]:
        if part["state"] in (*WAITING, "working"):
            below: Json = client.get(task_path(part["task_id"]))
            if below["question"] is not None:
                yield below
            yield from _asking_parts(client, below)
