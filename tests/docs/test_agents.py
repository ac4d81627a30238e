"""docs/concepts/agents.md has the states of a task, the limits and the permissions as they are in the code."""

import re
from pathlib import Path

import msgspec

from tekton.a2a.conversation import MOST_CONTEXT, MOST_PARTICIPANTS
from tekton.a2a.message import MOST_BYTES
from tekton.a2a.plan_usage import MOST_DESCENDANTS
from tekton.a2a.task import NEXT, TaskState
from tekton.a2a.task_event import Budget
from tekton.a2a.task_graph import MOST_INPUTS, MOST_PARTS
from tekton.a2a.task_manager import TIMEOUT
from tekton.a2a.task_runner import MOST_DEPTH
from tekton.a2a.task_steps import MOST_RESULT
from tekton.auth.roles import PERMISSIONS
from tekton.service.agents import MOST_REMOTE
from tekton.utils.config_rules import parse_size
from tekton.utils.config_schema import ConversationSettings, TaskSettings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "concepts" / "agents.md").read_text()


def next_of(state: TaskState) -> str:
    """The states to which a task goes on from *state*, as the table has them."""
    found = {after[state] for after in NEXT.values() if state in after} - {state}
    return ", ".join(f"`{one.value}`" for one in TaskState if one in found) or "nothing"


def test_the_table_of_states_is_the_one_in_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(TASK_\w+)` \| (.+) \|$", PAGE, re.MULTILINE)

    assert rows == [(state.value, state.wire, next_of(state)) for state in TaskState]


def test_the_limits_are_those_in_the_code() -> None:
    section = PAGE.partition("## Limits")[2].partition("\n## ")[0]
    _, *rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", section, re.MULTILINE)
    sections = (TaskSettings, ConversationSettings)
    settings = {one.name: one.default for section in sections for one in msgspec.structs.fields(section)}
    all_, of_one, talk = (
        parse_size(settings[name]) for name in ("max_open_size", "max_open_size_per_owner", "max_conversation_size")
    )
    kept_for = {None: "until they are deleted"}[settings["conversation_age"]]
    budget = Budget()

    assert [how_much for what, how_much in rows if set(what) != {"-"}] == [
        f"{MOST_INPUTS >> 20} MiB",
        f"{MOST_RESULT >> 20} MiB",
        f"{MOST_PARTS:,}",
        f"{MOST_DESCENDANTS:,}",
        f"{MOST_DEPTH}",
        f"{budget.steps:,}",
        f"{budget.attempts}",
        {3600.0: "an hour"}[TIMEOUT],
        f"{settings['max_open_tasks']:,}, of one owner {settings['max_open_tasks_per_owner']:,}",
        f"{all_ >> 30} GiB, of one owner {of_one >> 20} MiB",
        f"{settings['task_limit']:,}, for {({604_800.0: 'a week'})[settings['task_age']]}",
        f"{settings['agent_lease']:g} s, renewed while it works",
        f"{MOST_REMOTE:,}",
        f"{MOST_PARTICIPANTS}",
        f"{MOST_BYTES >> 20} MiB",
        f"{MOST_CONTEXT >> 10} KiB",
        f"{settings['max_conversations_per_owner']:,}, {kept_for}",
        f"{settings['max_messages_per_conversation']:,}, of {talk >> 20} MiB together",
    ]


def test_the_permissions_are_those_that_there_are() -> None:
    rows = re.findall(r"^\| `((?:agents|tasks|conversations):\w+)` \|", PAGE, re.MULTILINE)

    assert rows == [name for name in PERMISSIONS if name.split(":")[0] in ("agents", "tasks", "conversations")]
