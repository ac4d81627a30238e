"""The verb task: listing, showing, answering, and ending tasks."""

import json
from pathlib import Path
from typing import Any

import pytest
from load_script import load_script

tasks = load_script(Path(__file__).with_name("task_double.py"))
TASK, PART = tasks.TASK, tasks.PART
OTHER = "01a2177f-e312-7a8f-aab1-668ff955721a"


@pytest.fixture
def listed(plane: Any) -> Any:
    """Two tasks, of which the first waits for an answer."""
    waiting = tasks.view("input_required", question=tasks.question("Which\x1b[31m branch?"))
    plane.answers["GET /api/tasks"] = (200, {"items": [waiting, tasks.view(task_id=OTHER)], "cursor": None})
    plane.answers[f"GET /api/tasks/{TASK}"] = (200, waiting)
    return plane


@pytest.mark.usefixtures("listed")
def test_tasks_are_listed_by_the_end_of_their_ids_with_what_is_to_be_known(tekton: Any) -> None:
    heading, first, second = tekton("task", "ls").stdout.splitlines()

    assert heading.split() == ["TASK", "TYPE", "STATE", "AGE", "AGENT", "NOTE"]
    assert first.split()[:3] == ["08d591ba", "code_review", "input_required"]
    assert first.endswith("asks: Which [31m branch?")
    assert second.split()[0] == "f955721a"


def test_what_is_wanted_is_asked_for(tekton: Any, listed: Any) -> None:
    result = tekton("task", "ls", "--state", "failed", "--state", "canceled", "--type", "x", "--all", "-o", "name")

    assert result.stdout.split() == [TASK, OTHER]
    assert listed.requests == [("GET", "/api/tasks?state=failed%2Ccanceled&type=x&all=true&limit=20")]


def test_no_more_are_listed_than_are_wanted(tekton: Any, plane: Any) -> None:
    plane.answer = lambda *_: (200, {"items": [tasks.view()], "cursor": TASK})

    assert tekton("task", "ls", "-n", "2", "-o", "jsonl").stdout.count("\n") == 2
    assert plane.requests[1] == ("GET", f"/api/tasks?limit=1&cursor={TASK}")


@pytest.mark.parametrize("given", ["08d591ba", TASK, "8D591BA"])
def test_a_task_is_found_by_its_id_or_the_end_of_it(tekton: Any, listed: Any, given: str) -> None:
    assert json.loads(tekton("task", "show", given, "-o", "json").stdout)["task_id"] == TASK


@pytest.mark.parametrize(
    ("given", "exit_code", "words"), [("01a2", 2, "2 tasks begin or end with 01a2"), ("nobody", 5, "no task 'nobody'")]
)
@pytest.mark.usefixtures("listed")
def test_what_is_not_the_id_of_one_task_is_refused(tekton: Any, given: str, exit_code: int, words: str) -> None:
    result = tekton("task", "show", given)

    assert (result.exit_code, words in result.stderr) == (exit_code, True)


def test_a_task_is_shown_with_all_that_is_known_of_it(tekton: Any, plane: Any) -> None:
    part = tasks.view("failed", task_id=PART, failure={"code": "task_failed", "reason": "no tests"}, parent_id=TASK)
    plane.answers[f"GET /api/tasks/{TASK}"] = (
        200,
        tasks.view(
            steps=["count", "judge"],
            attempts=2,
            inputs={"code": "x"},
            failures=[{"agent_id": "old", "code": "agent_lost", "reason": "nothing was heard of it"}],
            progress={"done": 1.0, "total": 4.0, "text": "counted"},
            parts=[tasks.part("failed"), tasks.part("submitted", name="merge", task_id=OTHER, dependencies=["check"])],
        ),
    )
    plane.answers["GET /api/tasks"] = (200, {"items": [part], "cursor": None})

    lines = tekton("task", "show", TASK).stdout.splitlines()

    assert lines[0] == f"{TASK}  code_review  working"
    assert "reviewer works on it, attempt 2" in lines
    assert "25% (1 of 4) counted" in lines
    assert "steps done: count, judge" in lines
    assert "old has not done it (agent_lost): nothing was heard of it" in lines
    assert lines[lines.index("parts") :][:4] == [
        "parts",
        "  check  09732416  failed",
        "    no tests",
        "  merge  f955721a  submitted  after check",
    ]
    assert lines[-4:] == ["inputs", "  {", '    "code": "x"', "  }"]


@pytest.mark.parametrize(
    ("state", "words"), [("completed", "reviewer has done it"), ("canceled", "reviewer was the last to work on it")]
)
def test_one_that_is_over_says_who_has_worked_on_it(tekton: Any, plane: Any, state: str, words: str) -> None:
    failure = {"code": "task_canceled", "reason": ""} if state == "canceled" else None
    plane.answers[f"GET /api/tasks/{TASK}"] = (200, tasks.view(state, agent_id="reviewer", failure=failure))

    lines = tekton("task", "show", TASK).stdout.splitlines()

    assert lines[2] == words
    assert lines[3:] == (["task_canceled"] if failure else [])


class TestAnswer:
    def accept(self, plane: Any, task_id: str = TASK) -> None:
        plane.answers[f"POST /api/tasks/{task_id}/answer"] = (200, tasks.view())

    @pytest.mark.parametrize(
        ("schema", "given", "answer"),
        [
            (None, "main", "main"),
            (None, '{"a": 1}', {"a": 1}),
            ({"type": "string"}, "3", "3"),
            ({"type": "integer"}, "3", 3),
        ],
        ids=["text", "JSON", "as text", "as number"],
    )
    def test_an_answer_is_read_as_the_question_wants_it(
        self, tekton: Any, plane: Any, schema: Any, given: str, answer: Any
    ) -> None:
        asking = tasks.view("input_required", question=tasks.question(schema=schema))
        plane.answers[f"GET /api/tasks/{TASK}"] = (200, asking)
        self.accept(plane)

        result = tekton("task", "answer", TASK, given)

        assert (result.exit_code, result.stderr) == (0, "08d591ba  answered\n")
        assert plane.bodies == [{"answer": answer}]

    def test_what_does_not_fit_leads_to_what_is_asked(self, tekton: Any, plane: Any) -> None:
        asking = tasks.view("input_required", question=tasks.question(schema={"type": "integer"}))
        plane.answers[f"GET /api/tasks/{TASK}"] = (200, asking)

        result = tekton("task", "answer", TASK, "many")

        assert (result.exit_code, plane.bodies) == (2, [])
        assert result.stderr.endswith("help: tekton task show 08d591ba\n")

    def test_what_a_part_asks_is_answered_by_the_whole(self, tekton: Any, plane: Any) -> None:
        asking = tasks.view(
            "input_required", question=tasks.question(step="check/ask"), parts=[tasks.part("input_required")]
        )
        plane.answers[f"GET /api/tasks/{TASK}"] = (200, asking)
        self.accept(plane)

        assert tekton("task", "answer", TASK, "-", input="main").stderr == "08d591ba  answered\n"
        assert plane.bodies == [{"answer": "main"}]

    def test_where_nothing_is_asked_nothing_is_answered(self, tekton: Any, plane: Any) -> None:
        plane.answers[f"GET /api/tasks/{TASK}"] = (200, tasks.view("completed"))

        result = tekton("task", "answer", TASK, "main")

        assert (result.exit_code, plane.bodies) == (6, [])
        assert "is completed: to answer it is not possible" in result.stderr


def test_tasks_are_called_off_and_forgotten_each_by_itself(tekton: Any, plane: Any, double: Any) -> None:
    plane.answers[f"POST /api/tasks/{TASK}/cancel"] = (200, tasks.view("canceled"))
    plane.answers[f"DELETE /api/tasks/{TASK}"] = (200, tasks.view("canceled"))
    plane.answers[f"DELETE /api/tasks/{OTHER}"] = double.problem(
        409, "task_state", "it is open", task_id=OTHER, state="working", change="delete"
    )

    canceled = tekton("task", "cancel", TASK, "--reason", "not needed")
    forgotten = tekton("task", "rm", OTHER, TASK)

    assert (canceled.exit_code, canceled.stderr, plane.bodies) == (
        0,
        "08d591ba  canceled\n",
        [{"reason": "not needed"}],
    )
    assert forgotten.exit_code == 6
    assert forgotten.stderr.endswith("08d591ba  forgotten\n")


def test_what_tries_again_has_an_id_of_its_own(tekton: Any, plane: Any) -> None:
    plane.answers[f"POST /api/tasks/{TASK}/retry"] = (201, tasks.view(task_id=OTHER, retry_of=TASK))

    assert tekton("task", "retry", TASK).stdout == f"{OTHER}\n"


def test_types_are_listed_declared_and_removed(tekton: Any, plane: Any) -> None:
    declared = {
        "task_type": "code_audit",
        "capabilities": ["code_review", "security"],
        "subtasks": [tasks.part("submitted"), tasks.part("submitted", name="merge")],
        "result_schema": {"required": ["verdict"]},
        "attempt_timeout": 90.0,
    }
    plane.answers["GET /api/task-types"] = (200, {"items": [declared], "cursor": None})
    plane.answers["PUT /api/task-types/code_audit"] = (201, declared)
    plane.answers["DELETE /api/task-types/code_audit"] = (200, declared)

    listed = tekton("task", "types", "ls").stdout.splitlines()
    assert listed[1].split() == ["code_audit", "code_review,security", "check,merge", "90s", "checked"]
    assert tekton("task", "types", "set", "code_audit", "code_review", "security").exit_code == 0
    assert tekton("task", "types", "rm", "code_audit").exit_code == 0
    assert plane.bodies == [{"capabilities": ["code_review", "security"]}]


def test_parts_a_schema_and_a_time_are_declared_of_a_type(tekton: Any, plane: Any, tmp_path: Path) -> None:
    plane.answers["PUT /api/task-types/code_audit"] = (201, {})
    part = {"name": "check", "task_type": "code_review"}
    (tmp_path / "parts.json").write_text(json.dumps([part]))
    options = ("--parts", str(tmp_path / "parts.json"), "--result-schema", "-", "--attempt-timeout", "90s")

    result = tekton("task", "types", "set", "code_audit", *options, input='{"required": ["verdict"]}')

    assert (result.exit_code, result.stderr) == (0, "code_audit  declared\n")
    assert plane.bodies == [
        {
            "capabilities": [],
            "subtasks": [part],
            "result_schema": {"required": ["verdict"]},
            "attempt_timeout": 90.0,
        }
    ]
    assert tekton("task", "types", "set", "code_audit", "--attempt-timeout", "0s").exit_code == 2


class TestWatch:
    def test_those_that_change_are_appended(self, plane: Any, background: Any) -> None:
        looks = iter(
            [
                [tasks.view(number=3)],
                [tasks.view("completed", number=4, changed_at=tasks.AT + 9), tasks.view(task_id=OTHER)],
            ]
        )
        newest: list[Any] = []

        def answer(*_: Any) -> Any:
            newest[:] = next(looks, newest)
            return 200, {"items": newest, "cursor": None}

        plane.answer = answer

        run = background("task", "watch", "-o", "jsonl")

        changed = [json.loads(run.line()) for _ in range(3)]
        assert [(one["task_id"], one["state"]) for one in changed] == [
            (TASK, "working"),
            (OTHER, "working"),
            (TASK, "completed"),
        ]
        assert run.interrupt() == 130

    def test_the_events_of_one_are_printed_for_programs(self, tekton: Any, plane: Any) -> None:
        told = tasks.events("created", ("step_completed", {"step": "a"}), "completed")
        plane.streams[f"GET /api/tasks/{TASK}/events"] = told
        plane.answers[f"GET /api/tasks/{TASK}"] = (200, tasks.view("completed"))

        result = tekton("task", "watch", TASK, "-o", "jsonl")

        assert [json.loads(line) for line in result.stdout.splitlines()] == [data for _, data in told]

    def test_all_of_them_have_no_end(self, tekton: Any) -> None:
        assert tekton("task", "watch", "-o", "json").exit_code == 2
