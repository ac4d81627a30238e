"""How a task looks: its row in a table, all of it, and what happens to it, in lines."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import click

from tekton.cli.client import Client
from tekton.cli.pages import items
from tekton.cli.render import Column, ago, clean, date_and_time, harmless, share, short_duration, table, to_json
from tekton.cli.task_ids import short
from tekton.clock import SYSTEM_CLOCK

Json = dict[str, Any]

COLUMNS = (
    Column("TASK"),
    Column("TYPE"),
    Column("STATE"),
    Column("AGE", spare=1),
    Column("AGENT", spare=2),
    Column("NOTE"),
)
FIELDS = (
    "task_id",
    "task_type",
    "state",
    "owner",
    "conversation_id",
    "parent_id",
    "created_at",
    "changed_at",
    "deadline",
    "agent_id",
    "attempts",
    "progress",
    "question",
    "result",
    "failure",
    "retry_of",
)
STATES = ("submitted", "working", "input_required", "auth_required", "completed", "failed", "canceled", "rejected")
OVER = frozenset({"completed", "failed", "canceled", "rejected"})
OPEN = tuple(state for state in STATES if state not in OVER)
WAITING = ("input_required", "auth_required")

_COLOURS = {"completed": "green", "failed": "red", "rejected": "red", "working": "cyan"} | dict.fromkeys(
    WAITING, "yellow"
)
_STEPS_SHOWN = 20


def paint(state: str) -> str:
    """*state* in its colour, if it has one."""
    return click.style(state, fg=_COLOURS[state]) if state in _COLOURS else state


def lines(views: Iterable[Json]) -> list[str]:
    """A table of tasks."""
    return table(COLUMNS, [row(view) for view in views])


def row(view: Json) -> list[str]:
    """A task, as the table has it."""
    age = short_duration(SYSTEM_CLOCK.time() - view["created_at"])
    return [short(view["task_id"]), view["task_type"], paint(view["state"]), age, view["agent_id"] or "-", note(view)]


def note(view: Json) -> str:
    """The one thing to know of a task: what it asks, why it was not done, how far it is."""
    if view["question"] is not None:
        return f"asks: {clean(view['question']['question'])}"
    if view["failure"] is not None:
        return clean(view["failure"]["reason"])
    if view["progress"] is not None and view["state"] not in OVER:
        return how_far(view["progress"])
    done = sum(part["state"] == "completed" for part in view["parts"])
    return f"{done} of {len(view['parts'])} parts" if view["parts"] and view["state"] not in OVER else ""


def how_far(progress: Mapping[str, Any]) -> str:
    """`25% (1 of 4) compiling`, or what is known of it."""
    done, total, text = progress["done"], progress.get("total"), progress.get("text")
    number = f"{share(done / total)} ({done:g} of {total:g})" if total else f"{done:g}"
    return f"{number} {clean(text)}" if text else number


# All of it


def described(client: Client, view: Json) -> Iterator[str]:
    """All of a task, for people; its parts are asked for."""
    yield f"{view['task_id']}  {view['task_type']}  {paint(view['state'])}"
    yield from _circumstances(view)
    if view["question"] is not None:
        yield ""
        yield from question_lines(view)
    yield from _attempts(view, "")
    if view["parts"]:
        yield ""
        yield "parts"
        yield from tree(client, view)
    yield from _values("inputs", view["inputs"] or None)
    yield from _values("artifacts", view["artifacts"] or None)
    yield from _values("result", view["result"])


def _circumstances(view: Json) -> Iterator[str]:
    now = SYSTEM_CLOCK.time()
    begun = f"created {ago(now - view['created_at'])} by {clean(view['owner']) or 'nobody'}"
    if view["state"] in OVER:
        yield f"{begun}, over {ago(now - view['changed_at'])}"
    else:
        yield f"{begun}, has time until {date_and_time(view['deadline'])}"
    if view["agent_id"]:
        yield _who(view)
    if view["conversation_id"]:
        yield f"in conversation {clean(view['conversation_id'])}"
    if view["retry_of"]:
        yield f"tries again what {view['retry_of']} has not done"
    if view["progress"] is not None and view["state"] != "completed":
        yield how_far(view["progress"])
    if view["steps"]:
        yield f"steps done: {_some(view['steps'])}"
    if view["failure"] is not None:
        yield ": ".join(filter(None, (view["failure"]["code"], clean(view["failure"]["reason"]))))


def _who(view: Json) -> str:
    """Who works on it, or did so last."""
    if view["state"] in OVER:
        return f"{view['agent_id']} {'has done it' if view['state'] == 'completed' else 'was the last to work on it'}"
    again = f", attempt {view['attempts']}" if view["attempts"] > 1 else ""
    return f"{view['agent_id']} works on it{again}"


def _some(steps: list[str]) -> str:
    left_out = len(steps) - _STEPS_SHOWN
    return ", ".join(map(clean, steps[-_STEPS_SHOWN:])) + (f", and {left_out} before" if left_out > 0 else "")


def question_lines(view: Json) -> Iterator[str]:
    """What a task asks, and how to answer."""
    question = view["question"]
    yield f"{'asks to be allowed' if question['kind'] == 'auth' else 'asks'}: {harmless(question['question'])}"
    if question["schema"] is not None:
        yield f"  {clean(to_json(question['schema']))}"
    yield f"  tekton task answer {short(view['task_id'])} VALUE"


def _attempts(view: Json, margin: str) -> Iterator[str]:
    for failed in view["failures"]:
        yield f"{margin}{failed['agent_id']} has not done it ({failed['code']}): {clean(failed['reason'])}"


def _values(title: str, value: Any) -> Iterator[str]:
    if value is None:
        return
    yield ""
    yield title
    yield from (f"  {harmless(line)}" for line in to_json(value, indent=2).splitlines())


def tree(client: Client, view: Json, depth: int = 1) -> Iterator[str]:
    """The parts of a task, and theirs, in the order of the plan."""
    begun = {part["task_id"]: part for part in items(client, "/api/tasks", {"parent": view["task_id"]})}
    width = max((len(part["name"]) for part in view["parts"]), default=0)
    for planned in view["parts"]:
        part = begun.get(planned["task_id"])
        after = f"  after {', '.join(planned['dependencies'])}" if planned["dependencies"] else ""
        margin = "  " * depth
        state = paint(planned["state"] if part is None else part["state"])
        who = f"  {part['agent_id']}" if part is not None and part["agent_id"] else ""
        yield f"{margin}{planned['name']:<{width}}  {short(planned['task_id'])}  {state}{who}{after}"
        if part is None:
            continue
        if said := note(part) or (f"steps done: {_some(part['steps'])}" if part["steps"] else ""):
            yield f"{margin}  {said}"
        yield from _attempts(part, f"{margin}  ")
        if part["parts"]:
            yield from tree(client, part, depth + 1)


# What happens


def happening(event: Mapping[str, Any]) -> str | None:
    """What an event of a task says to people; None for what is not worth a line. The end is told by others."""
    told = _EVENTS.get(event["event"])
    return None if told is None else told(event)


def _leased(event: Mapping[str, Any]) -> str | None:
    return f"{event['agent_id']} works on it" if event.get("agent_id") else None


def _planned(event: Mapping[str, Any]) -> str | None:
    return f"parts: {', '.join(part['name'] for part in event['plan'])}" if event["plan"] else None


_EVENTS: Mapping[str, Callable[[Mapping[str, Any]], str | None]] = {
    "leased": _leased,
    "planned": _planned,
    "step_completed": lambda event: f"step {clean(event['step'])} is done",
    "progressed": how_far,
    "artifact_added": lambda event: f"made {clean(event['name'])}",
    "input_given": lambda _: "answered",
    "input_withdrawn": lambda _: "needs no answer any more",
    "attempt_failed": lambda event: f"{event['agent_id']} has not done it: {clean(event['reason'])}",
}
