"""docs/reference/task-events.md has the events of a task, and the codes of what goes wrong, as they are in the code."""

import json
import re
import typing
from pathlib import Path

import msgspec
from load_script import load_script

from tekton.a2a.attempt import AGENT_LOST
from tekton.a2a.task_event import Change, TaskEvent
from tekton.service.task_meter import CODES
from tekton.service.task_views import event_json

task_events_page = load_script(Path(__file__).with_name("task_events_page.py"))
PAGE = task_events_page.PAGE.read_text()


def test_the_table_is_made_from_the_events() -> None:
    assert task_events_page.with_current_table(PAGE) == PAGE, "run python tests/docs/task_events_page.py"
    assert len(re.findall(r"^\| `\w+` \| `.*$", PAGE, re.MULTILINE)) == len(typing.get_args(Change))


def test_the_example_is_an_event_as_it_is_shown() -> None:
    (block,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    shown = json.loads(block)
    change = msgspec.convert({name: shown[name] for name in ("event", "step", "result")}, Change)

    assert json.loads(event_json(TaskEvent("", shown["number"], shown["at"], shown["epoch"], change))) == shown


def test_the_codes_are_those_of_failures_that_are_no_errors() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^`|]+ \|$", PAGE, re.MULTILINE)

    assert set(rows) == CODES
    assert AGENT_LOST in rows
