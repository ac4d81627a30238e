"""The verb task run: have something done, follow it, and print what came of it."""

from pathlib import Path
from typing import Any

import click

from tekton.cli.client import connect
from tekton.cli.content import list_of, object_of
from tekton.cli.options import Target, some_time, target_options
from tekton.cli.problems import INTERRUPTED
from tekton.cli.render import clean, print_value, say, to_json
from tekton.cli.task_follow import Follower
from tekton.cli.task_ids import short
from tekton.cli.tool_arguments import parsed
from tekton.utils.tekton_errors import (
    NoAgentAvailableError,
    TaskCanceledError,
    TaskError,
    TaskFailedError,
    TaskRejectedError,
    TaskTimeoutError,
)

Json = dict[str, Any]

STRATEGIES = ("first", "last", "all", "merge", "vote")
_FILE = click.Path(dir_okay=False, allow_dash=True, path_type=Path)

_its_time = some_time(31_536_000.0)
_raw = click.option("-r", "--raw", is_flag=True, help="A text as it is, without quotes.")
_quiet = click.option("-q", "--quiet", is_flag=True, help="Nothing about how far it is.")
_output = click.option(
    "-o",
    "--output",
    type=click.Choice(["result", "json"]),
    default="result",
    show_default=True,
    help="The result as JSON; json: the whole task.",
)


@click.command()
@click.argument("task_type", metavar="TASK_TYPE")
@click.argument("words", metavar="[NAME=VALUE]...", nargs=-1)
@click.option("--inputs", "file", type=_FILE, metavar="FILE", help="The inputs as a JSON object; - is stdin.")
@click.option("--parts", type=_FILE, metavar="FILE", help="The parts that do it, as a JSON list; - is stdin.")
@click.option(
    "--timeout", callback=_its_time, metavar="TIME", help="The time that it has, as in 90s. Default: an hour."
)
@click.option("--strategy", metavar="STRATEGY", help=f"What several results are together: {', '.join(STRATEGIES)}.")
@click.option("--conversation", metavar="CONVERSATION", help="The conversation to which it belongs.")
@click.option("--wait/--no-wait", default=True, help="Follow it, or print its id at once.")
@_raw
@_quiet
@_output
@target_options
def run(
    *,
    task_type: str,
    words: tuple[str, ...],
    file: Path | None,
    parts: Path | None,
    timeout: float | None,
    strategy: str | None,
    conversation: str | None,
    wait: bool,
    raw: bool,
    quiet: bool,
    output: str,
    target: Target,
) -> int:
    """Have something done, and print the result.

    Inputs are JSON, or else texts: `count=3` is a number. What happens is said on stderr; what is asked is asked on the
    terminal. Ctrl-C leaves the task alone. A task that was not done is an error.
    """
    wanted = {
        "task_type": task_type,
        "inputs": {**object_of(file, "the inputs of a task are"), **parsed(words, {})},
        "subtasks": list_of(parts, "the parts of a task are") or None,
        "timeout": timeout,
        "strategy": strategy,
        "conversation_id": conversation,
    }
    client = connect(target)
    try:
        task = client.post("/api/tasks", body={name: value for name, value in wanted.items() if value is not None})
    except NoAgentAvailableError as error:
        if error.nearest is None:
            error.hint = nobody(error.wanted, error.unusable)
        raise
    if not wait:
        click.echo(to_json(task, indent=2) if output == "json" else task["task_id"])
        return 0
    if not quiet:
        say(f"task {short(task['task_id'])} is {clean(task['task_type'])}")
    return follow(Follower(client, task["task_id"], quiet=quiet), raw=raw, output=output)


def follow(follower: Follower, *, raw: bool, output: str) -> int:
    """Follow a task until it is over, and print what came of it. Raises what stands in the place of a result."""
    try:
        view = follower.follow()
    except (KeyboardInterrupt, click.Abort):
        name = short(follower.task_id)
        say(f"\ntask {name} goes on; tekton task watch {name} follows it, tekton task cancel {name} calls it off")
        return INTERRUPTED
    if output == "json":
        click.echo(to_json(view, indent=2))
    if view["state"] != "completed":
        raise outcome(view)
    if output != "json":
        print_value(view["result"], raw=raw)
    return 0


def outcome(view: Json) -> TaskError:
    """The error that stands for a task that is over, and was not done."""
    task_id, state = view["task_id"], view["state"]
    code, reason = view["failure"]["code"], view["failure"]["reason"]
    error: TaskError
    if state == "canceled":
        error = TaskCanceledError(task_id, reason)
    elif state == "rejected":
        error = TaskRejectedError(task_id, reason)
    elif code == "task_timeout":
        error = TaskTimeoutError(task_id)
    else:
        error = TaskFailedError(task_id, code, reason)
    again = f"tekton task show {short(task_id)} has all of it, tekton task retry {short(task_id)} tries again"
    error.hint = nobody(view["task_type"], ()) if code == "no_agent_available" else again
    return error


def nobody(task_type: str, unusable: "list[str] | tuple[str, ...]") -> str:
    """What to do when no agent can do a type of task."""
    if unusable:
        return f"{', '.join(unusable)} could, and cannot be used now: tekton agent show {unusable[0]}"
    return (
        f"tekton agent ls shows who can do what; tekton task types set {task_type} CAPABILITY has agents do it that "
        "have that capability"
    )
