"""Following a task until it is over: what happens to it in lines, and what it asks, answered on the terminal.

Events come from the stream of the task, which is taken up again where it was when the connection ends. What its parts
ask is in it, too; what else happens to these is in logs of their own: while there are any, they are looked at once a
second.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import click

from tekton.cli.client import Client
from tekton.cli.confirm import ask, somebody_is_there
from tekton.cli.problems import NotInTimeError
from tekton.cli.render import harmless, say
from tekton.cli.task_ids import short, task_path
from tekton.cli.task_view import OVER, WAITING, happening, question_lines
from tekton.cli.tool_arguments import value_of
from tekton.cli.watch import reconnecting
from tekton.clock import SYSTEM_CLOCK
from tekton.utils.tekton_errors import TaskConflictError, TaskNotFoundError, TaskStateError

Json = dict[str, Any]

LOOK_EVERY = 1.0
"""Seconds between two looks at the parts of a task."""
_SAID_EVERY = 0.5
"""Seconds between two lines about how far a task is."""


def events(client: Client, task_id: str) -> Iterator[Json | None]:
    """All events of a task, from the first to the last; None where a look at its parts is due."""
    position, planned = 0, False

    def resumed() -> Iterator[Json | None]:
        nonlocal position, planned
        deadline = SYSTEM_CLOCK.monotonic() + LOOK_EVERY if planned else None
        last = str(position) if position else None
        try:
            for event in client.stream(task_path(task_id, "events"), last_event_id=last, deadline=deadline):
                if not event.id.isdigit():
                    continue
                told = json.loads(event.data)
                position = told["number"]
                yield told
                if told.get("plan") and not planned:
                    planned = True
                    return
        except NotInTimeError:
            yield None

    for told in reconnecting(resumed):
        yield told
        if told is not None and told["event"] in OVER:
            return


class Follower:
    """Tells of a task on stderr. What it asks is asked on the terminal, if there is one."""

    def __init__(self, client: Client, task_id: str, *, quiet: bool = False) -> None:
        self._client = client
        self.task_id = task_id
        self._quiet = quiet
        self._asks = somebody_is_there() and sys.stderr.isatty()
        self._said_at = float("-inf")
        self._told: set[tuple[str, str]] = set()
        self._parts: dict[str, str] = {}

    def follow(self) -> Json:
        """Tell of all that happens, until the task is over; returns it as it is then."""
        for event in events(self._client, self.task_id):
            if event is None:
                self._look(self._view(self.task_id))
            elif event["event"] in WAITING:
                self._question(self._view(self.task_id))
            else:
                self._tell(event)
        return self._view(self.task_id)

    def _view(self, task_id: str) -> Json:
        view: Json = self._client.get(task_path(task_id))
        return view

    def _tell(self, event: Json) -> None:
        if event["event"] == "progressed":
            if SYSTEM_CLOCK.monotonic() - self._said_at < _SAID_EVERY:
                return
            self._said_at = SYSTEM_CLOCK.monotonic()
        line = happening(event)
        if line is not None:
            self._say(line)

    def _say(self, line: str) -> None:
        if not self._quiet:
            say(line)

    def _look(self, view: Json, path: str = "") -> None:
        """Tell which parts have become what."""
        for part in view["parts"]:
            name, task_id, state = f"{path}{part['name']}", part["task_id"], part["state"]
            before, self._parts[task_id] = self._parts.get(task_id, "submitted"), state
            if state not in (before, *WAITING):
                self._say(f"{name}: {state}")
            if state in WAITING or state == "working":
                self._look_into(task_id, f"{name}/")

    def _look_into(self, task_id: str, path: str) -> None:
        try:
            view = self._view(task_id)
        except TaskNotFoundError:
            return  # planned, and not begun
        self._look(view, path)

    def _question(self, view: Json) -> None:
        question = view["question"]
        if question is None or (view["task_id"], question["step"]) in self._told:
            return
        self._told.add((view["task_id"], question["step"]))
        if self._asks:
            self._ask(view)
        else:
            for line in question_lines(view):
                say(line)

    def _ask(self, view: Json) -> None:
        """Ask on the terminal what a task asks, until it has an answer, from there or from elsewhere."""
        question, schema = view["question"], view["question"]["schema"] or {}
        say(f"{'to be allowed' if question['kind'] == 'auth' else 'question'}: {harmless(question['question'])}")
        if isinstance(choices := schema.get("enum"), list):
            say(f"one of {', '.join(map(str, choices))}")

        def still() -> bool:
            now = self._view(view["task_id"])["question"]
            return now is not None and bool(now["step"] == question["step"])

        while (text := ask(f"answer for {short(view['task_id'])}: ", still)) is not None:
            try:
                answer = value_of("answer", text, schema)
                self._client.post(task_path(view["task_id"], "answer"), body={"answer": answer})
            except click.UsageError as error:
                say(error.message)
                continue
            except (TaskStateError, TaskConflictError) as error:
                say(f"too late: {error}")
            return
        say("it is answered, or over")
