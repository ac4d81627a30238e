"""Agents, tasks and conversations on the command line, against the real control plane in memory."""

import asyncio
import json
from typing import Any

import pytest

from tekton.a2a.task_steps import TaskContext


async def review(context: TaskContext, code: str = "") -> Any:
    await context.step("count", len, code)
    if code == "ask":
        return await context.ask("Which branch?", {"enum": ["main", "dev"]})
    if code == "break":
        raise RuntimeError("it is broken")
    return {"length": len(code)}


@pytest.fixture
def tekton(memory: Any, as_somebody: Any) -> Any:
    """The command line of an operator, beside an agent."""

    async def register() -> None:
        memory.plane.agents.registry.register_agent("reviewer", ["code_review"], handler=review)

    memory.do(register)
    return as_somebody("ada", "operator")


def test_a_task_is_run_and_its_result_printed(tekton: Any) -> None:
    result = tekton("task", "run", "code_review", "code=abc")

    assert (result.exit_code, json.loads(result.stdout)) == (0, {"length": 3})
    assert result.stderr.splitlines()[1:] == ["reviewer works on it", "step count is done"]


def test_one_that_fails_says_why_in_what_is_shown_of_it(tekton: Any) -> None:
    result = tekton("task", "run", "code_review", "code=break")
    (task_id,) = tekton("task", "ls", "--state", "failed", "-o", "name").stdout.split()

    assert result.exit_code == 1
    assert "reviewer has not done it: RuntimeError: it is broken" in result.stderr
    assert (
        "reviewer has not done it (agent_failed): RuntimeError: it is broken" in tekton("task", "show", task_id).stdout
    )
    assert tekton("task", "retry", task_id[-8:]).exit_code == 0


def test_a_task_that_asks_goes_on_with_the_answer(tekton: Any, memory: Any) -> None:
    task_id = tekton("task", "run", "code_review", "code=ask", "--no-wait").stdout.strip()

    async def asks() -> None:
        async with asyncio.timeout(5):
            while memory.plane.tasks.manager.get_task_status(task_id).question is None:
                await memory.plane.tasks.manager.next_change(task_id)

    memory.do(asks)
    answered = tekton("task", "answer", task_id[-8:], "main")

    assert answered.exit_code == 0
    assert tekton("task", "watch", task_id, "-r").stdout == "main\n"


def test_a_type_for_which_there_is_nobody_is_refused(tekton: Any) -> None:
    result = tekton("task", "run", "translation")

    assert result.exit_code == 1
    assert "no agent is available for translation" in result.stderr
    assert "help: tekton agent ls shows who can do what" in result.stderr
    assert tekton("task", "ls", "-o", "name").stdout == ""


def test_a_type_that_is_mistyped_leads_to_what_was_meant(tekton: Any) -> None:
    assert "help: did you mean 'code_review'?" in tekton("task", "run", "code_reviews").stderr


def test_what_belongs_to_somebody_else_is_not_there(tekton: Any, as_somebody: Any) -> None:
    task_id = tekton("task", "run", "code_review", "--no-wait").stdout.strip()
    tekton("conversation", "begin", "reviewer", "--id", "release-7")
    stranger = as_somebody("mallory", "component")

    for arguments in (
        ("task", "show", task_id),
        ("task", "show", task_id[-8:]),
        ("task", "cancel", task_id),
        ("conversation", "show", "release-7"),
    ):
        assert stranger(*arguments).exit_code in (5, 7), arguments


def test_who_manages_tasks_finds_those_of_others_by_the_end_of_their_ids(tekton: Any, as_somebody: Any) -> None:
    task_id = tekton("task", "run", "code_review", "--no-wait").stdout.strip()

    manager = as_somebody("root", "admin")
    found = manager("task", "show", task_id[-8:], "-o", "json")
    listed = manager("task", "ls", "--all", "-o", "name")

    assert json.loads(found.stdout)["owner"] == "ada"
    assert (listed.stdout.strip(), manager("task", "ls", "-o", "name").stdout) == (task_id, "")


def test_a_conversation_is_had(tekton: Any) -> None:
    assert tekton("conversation", "begin", "reviewer", "--id", "release-7").stdout == "release-7\n"
    assert tekton("conversation", "say", "release-7", "Can we go?", "--context", '{"go": true}').stdout == "1\n"

    assert "ada: Can we go?" in tekton("conversation", "summary", "release-7").stdout
    assert "> Can we go?" in tekton("conversation", "export", "release-7").stdout
    assert json.loads(tekton("conversation", "export", "release-7", "--format", "json").stdout)["context"] == {
        "go": True
    }
    assert tekton("conversation", "rm", "release-7").exit_code == 0
    assert tekton("conversation", "ls", "-o", "name").stdout == ""


def test_an_agent_that_is_elsewhere_is_registered_and_forgotten(tekton: Any) -> None:
    registered = tekton("agent", "register", "translator", "http://127.0.0.1:9200", "--capability", "translation")

    assert registered.exit_code == 0
    assert tekton("agent", "ls", "--capability", "translation", "-o", "name").stdout == "translator\n"
    assert "at http://127.0.0.1:9200" in tekton("agent", "show", "translator").stdout
    assert tekton("agent", "rm", "translator").exit_code == 0


def test_types_are_declared(tekton: Any) -> None:
    tekton("task", "types", "set", "code_audit", "code_review")

    assert tekton("task", "run", "code_audit", "code=abc").exit_code == 0
    assert tekton("task", "types", "rm", "code_audit").exit_code == 0
