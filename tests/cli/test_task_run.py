"""The verb task run: what is asked for, what is told meanwhile, and how it ends."""

import json
from pathlib import Path
from typing import Any

import pytest
from load_script import load_script

from tekton.testing import ManualClock

tasks = load_script(Path(__file__).with_name("task_double.py"))
TASK, PART = tasks.TASK, tasks.PART


@pytest.fixture
def created(plane: Any) -> Any:
    """A task that is created, and completed."""
    plane.answers["POST /api/tasks"] = (201, tasks.view("submitted"))
    ends(plane, "completed", result={"verdict": "fine"})
    return plane


def ends(plane: Any, state: str, *happened: Any, **fields: Any) -> None:
    """From now on a task is over as soon as one looks; before that, these events happen."""
    plane.streams[f"GET /api/tasks/{TASK}/events"] = tasks.events("created", *happened, state)
    plane.answers[f"GET /api/tasks/{TASK}"] = (200, tasks.view(state, **fields))


def test_the_result_is_printed_and_nothing_else(tekton: Any, created: Any) -> None:
    result = tekton(
        "task", "run", "code_review", "code=def f(): ...", "depth=3", "--timeout", "90s", "--strategy", "vote"
    )

    assert json.loads(result.stdout) == {"verdict": "fine"}
    assert result.stderr == "task 08d591ba is code_review\n"
    assert created.bodies == [
        {
            "task_type": "code_review",
            "inputs": {"code": "def f(): ...", "depth": 3},
            "timeout": 90.0,
            "strategy": "vote",
        }
    ]


def test_inputs_come_from_a_file_and_words_win(tekton: Any, created: Any) -> None:
    tekton("task", "run", "code_review", "--inputs", "-", "code=x", input='{"code": "y", "language": "python"}')

    assert created.bodies[0]["inputs"] == {"code": "x", "language": "python"}


def test_parts_come_from_a_file(tekton: Any, created: Any) -> None:
    part = {"name": "check", "task_type": "code_review", "inputs": {"code": "x"}}

    tekton("task", "run", "feature", "--parts", "-", input=json.dumps([part]))

    assert created.bodies[0]["subtasks"] == [part]
    assert tekton("task", "run", "feature", "--parts", "-", input="{}").exit_code == 2


def test_without_waiting_the_id_is_printed(tekton: Any, created: Any) -> None:
    result = tekton("task", "run", "code_review", "--no-wait")

    assert (result.stdout, result.stderr) == (f"{TASK}\n", "")
    assert len(created.requests) == 1


def test_a_text_can_be_printed_as_it_is_and_the_task_as_a_whole(tekton: Any, created: Any) -> None:
    ends(created, "completed", result="two\nlines")

    assert tekton("task", "run", "code_review", "-r").stdout == "two\nlines\n"
    assert json.loads(tekton("task", "run", "code_review", "-o", "json").stdout)["task_id"] == TASK


def test_what_happens_is_told_on_stderr(tekton: Any, created: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tekton.cli.task_follow.SYSTEM_CLOCK", ManualClock())
    happened = (
        ("leased", {"worker": "w", "agent_id": "old"}),
        ("attempt_failed", {"agent_id": "old", "code": "agent_lost", "reason": "nothing was\x1b heard"}),
        ("leased", {"worker": "w", "agent_id": "reviewer"}),
        ("step_completed", {"step": "count", "result": 3}),
        ("progressed", {"done": 1.0, "total": 4.0, "text": "counted"}),
        ("progressed", {"done": 2.0, "total": 4.0}),
        ("artifact_added", {"name": "report.md", "content": "..."}),
        ("spent", {"units": 2.0}),
    )
    ends(created, "completed", *happened)

    told = tekton("task", "run", "code_review").stderr.splitlines()
    quiet = tekton("task", "run", "code_review", "-q").stderr

    # The second that says how far it is comes too soon after the first.
    assert told[1:] == [
        "old works on it",
        "old has not done it: nothing was  heard",
        "reviewer works on it",
        "step count is done",
        "25% (1 of 4) counted",
        "made report.md",
    ]
    assert quiet == ""


@pytest.mark.parametrize(
    ("state", "failure", "exit_code", "words"),
    [
        ("failed", {"code": "garbage", "reason": "no JSON"}, 1, "error[task_failed]"),
        ("failed", {"code": "task_timeout", "reason": "late"}, 4, "error[task_timeout]"),
        ("canceled", {"code": "task_canceled", "reason": "not needed"}, 1, "not needed"),
        ("rejected", {"code": "task_rejected", "reason": "never"}, 1, "error[task_rejected]"),
        ("failed", {"code": "no_agent_available", "reason": "nobody"}, 1, "tekton agent ls"),
    ],
    ids=["failed", "late", "canceled", "rejected", "nobody left"],
)
def test_a_task_that_was_not_done_is_an_error(
    tekton: Any, created: Any, state: str, failure: Any, exit_code: int, words: str
) -> None:
    ends(created, state, failure=failure)

    result = tekton("task", "run", "code_review")

    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert words in result.stderr
    assert tekton("task", "watch", TASK, "-o", "jsonl").exit_code == exit_code


@pytest.mark.parametrize(
    ("unusable", "advice"),
    [
        ([], "tekton task types set code_review CAPABILITY"),
        (["reviewer"], "reviewer could, and cannot be used now: tekton agent show reviewer"),
    ],
    ids=["nobody", "unusable"],
)
def test_where_nobody_can_do_it_is_said_what_to_try(
    tekton: Any, plane: Any, double: Any, unusable: list[str], advice: str
) -> None:
    plane.answers["POST /api/tasks"] = double.problem(
        503, "no_agent_available", "no agent", wanted="code_review", unusable=unusable
    )

    result = tekton("task", "run", "code_review")

    assert result.exit_code == 1
    assert "error[no_agent_available]" in result.stderr
    assert advice in result.stderr


def test_a_task_has_some_time_or_the_command_line_is_wrong(tekton: Any) -> None:
    for text in ("0", "366d"):
        result = tekton("task", "run", "code_review", "--timeout", text)

        assert (result.exit_code, result.stdout) == (2, "")
        assert f"'{text}' is not in the range" in result.stderr


def test_a_stream_that_breaks_off_is_taken_up_where_it_was(tekton: Any, created: Any) -> None:
    told = tasks.events("created", ("step_completed", {"step": "a"}), ("step_completed", {"step": "b"}), "completed")
    resumed: list[Any] = []

    def stream(last: str | None) -> Any:
        resumed.append(last)
        return told[int(last or 0) :][:2]

    created.streams[f"GET /api/tasks/{TASK}/events"] = stream

    result = tekton("task", "run", "code_review")

    assert result.stderr.splitlines()[1:] == ["step a is done", "step b is done"]
    assert resumed == [None, "2"]


@pytest.fixture
def asking(plane: Any) -> Any:
    """A task that asks, and is completed once it has an answer."""
    plane.answers["POST /api/tasks"] = (201, tasks.view("submitted"))
    whole = plane.answer
    question = tasks.question("Which\x1b branch?", schema={"enum": ["main", "dev"]})

    def answer(method: str, path: str, query: Any) -> Any:
        if path == f"/api/tasks/{TASK}/answer":
            return 200, tasks.view()
        if path == f"/api/tasks/{TASK}":
            return 200, tasks.view("completed") if plane.bodies[1:] else tasks.view("input_required", question=question)
        return whole(method, path, query)

    plane.answer = answer
    told = tasks.events("created", "input_required", "input_given", "completed")
    plane.streams[f"GET /api/tasks/{TASK}/events"] = lambda last: (
        told[int(last or 0) :] if plane.bodies[1:] else told[:2]
    )
    return plane


def test_what_is_asked_is_asked_on_the_terminal(asking: Any, terminal: Any) -> None:
    run = terminal("task", "run", "code_review")

    run.until("answer for 08d591ba")
    run.press("main\n")

    assert run.exit_status() == 0
    assert "question: Which  branch?" in run.text
    assert "one of main, dev" in run.text
    assert asking.bodies[1] == {"answer": "main"}


def test_what_is_answered_elsewhere_is_not_waited_for(asking: Any, terminal: Any) -> None:
    run = terminal("task", "run", "code_review")

    run.until("answer for 08d591ba")
    asking.bodies.append({"answer": "from somebody else"})

    assert run.exit_status() == 0
    assert "it is answered, or over" in run.text


def test_ctrl_c_leaves_the_task_alone(asking: Any, terminal: Any) -> None:
    run = terminal("task", "run", "code_review")
    run.until("answer for 08d591ba")

    assert run.interrupt() == 130
    assert "tekton task watch 08d591ba follows it, tekton task cancel 08d591ba calls it off" in run.text
    assert len(asking.bodies) == 1


def test_where_nobody_can_be_asked_is_said_how_to_answer(asking: Any, background: Any) -> None:
    run = background("task", "run", "code_review")

    assert [run.said() for _ in range(4)] == [
        "task 08d591ba is code_review",
        "asks: Which  branch?",
        '  {"enum": ["main", "dev"]}',
        "  tekton task answer 08d591ba VALUE",
    ]
    assert run.interrupt() == 130


def test_parts_are_told_of_and_what_they_ask_is_asked_once(plane: Any, background: Any, tekton: Any) -> None:
    plane.answers["POST /api/tasks"] = (201, tasks.view("submitted"))
    plane.answers[f"GET /api/tasks/{TASK}"] = (
        200,
        tasks.view(
            "input_required",
            question=tasks.question(step="check/ask"),
            parts=[tasks.part("completed", name="first", task_id="x"), tasks.part("input_required")],
        ),
    )
    plane.answers[f"GET /api/tasks/{PART}"] = (
        200,
        tasks.view("input_required", task_id=PART, question=tasks.question()),
    )
    plan = {"plan": [{"name": "first"}, {"name": "check"}]}
    planned = tasks.events("created", ("planned", plan), "input_required")
    # Nothing more happens to the whole: it is looked at its parts.
    plane.streams[f"GET /api/tasks/{TASK}/events"] = lambda last: (
        planned[int(last or 0) :] if last != "3" else plane.silence()
    )

    run = background("task", "run", "feature")

    assert [run.said() for _ in range(5)] == [
        "task 08d591ba is code_review",
        "parts: first, check",
        "asks: Which branch?",
        "  tekton task answer 08d591ba VALUE",
        "first: completed",
    ]
    assert run.interrupt() == 130
