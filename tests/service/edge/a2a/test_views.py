"""Tasks and events as the protocol has them; what is told event by event adds up to what the task is."""

import json
from typing import Any

import pytest
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import ParseDict

from tekton.a2a.task import AGENT_LOST, Task, TaskState, apply, fold
from tekton.a2a.task_event import (
    ArtifactAdded,
    AttemptFailed,
    AuthRequired,
    Budget,
    Canceled,
    Change,
    Completed,
    Created,
    Failed,
    InputGiven,
    InputRequired,
    Leased,
    Progressed,
    Rejected,
    StepBegun,
    StepCompleted,
    TaskEvent,
)
from tekton.service.edge.a2a.views import STATES, Follower, task_view
from tekton.service.edge.a2a.wire import encode

CREATED = Created("echo", {}, 9e9, Budget(), "t", owner="ada", conversation_id="c")
LIFE: list[Change] = [
    Leased("w", "agent"),
    StepBegun("a"),
    StepCompleted("a", 1),
    Progressed(1, 3, "a third"),
    Progressed(2),
    ArtifactAdded("draft", "one"),
    ArtifactAdded("result", {"a": 1}),
    InputRequired("ask", "Who?", {"type": "string"}),
    InputGiven("ask", "me"),
    AuthRequired("ask#2", "May I?"),
    AttemptFailed("agent", "agent_failed", "secret reason"),
    Leased("w", "other"),
]


def events(*changes: Change) -> list[TaskEvent]:
    return [TaskEvent("t", number, 1.5 + number, 1, change) for number, change in enumerate((CREATED, *changes), 1)]


def told(*changes: Change) -> tuple[Task, list[dict[str, Any]]]:
    """The task after *changes*, and what was told of them."""
    first, *rest = events(*changes)
    task = fold([first])
    follower = Follower(task)
    updates = [json.loads(encode(update)) for event in rest for update in follower.follow(event)]
    for event in rest:
        task = apply(task, event)
    assert follower.state is task.state
    return task, updates


def test_what_is_told_of_a_life() -> None:
    _, updates = told(*LIFE, Completed("done"))

    parsed = [ParseDict(one, pb.StreamResponse()) for one in updates]
    states = [
        one.status_update.status.state if one.HasField("status_update") else one.artifact_update.artifact.artifact_id
        for one in parsed
    ]
    assert states == [
        pb.TASK_STATE_WORKING,
        pb.TASK_STATE_WORKING,
        pb.TASK_STATE_WORKING,
        "draft",
        "result",
        pb.TASK_STATE_INPUT_REQUIRED,
        pb.TASK_STATE_WORKING,
        pb.TASK_STATE_AUTH_REQUIRED,
        pb.TASK_STATE_WORKING,
        "result.final",
        pb.TASK_STATE_COMPLETED,
    ]
    assert {(one.status_update or one.artifact_update).task_id for one in parsed} <= {"t", ""}
    assert "secret reason" not in json.dumps(updates)
    assert updates[1]["statusUpdate"]["metadata"] == {"progress": {"done": 1, "total": 3}}
    assert updates[1]["statusUpdate"]["status"]["timestamp"] == "1970-01-01T00:00:06.500Z"
    assert updates[5]["statusUpdate"]["status"]["message"]["parts"] == [
        {"text": "Who?", "mediaType": "text/plain"},
        {"data": {"schema": {"type": "string"}}, "mediaType": "application/json"},
    ]


def test_nothing_is_told_of_an_agent_that_is_lost_while_its_question_waits() -> None:
    asked = (Leased("w", "agent"), InputRequired("ask", "Who?"))
    task, updates = told(*asked, AttemptFailed("agent", AGENT_LOST, "gone"), Leased("w", "agent", goes_on=True))

    assert task.state is TaskState.INPUT_REQUIRED
    assert updates == told(*asked)[1]


@pytest.mark.parametrize("place", range(1, len(LIFE) + 2))
def test_who_comes_later_is_told_the_rest(place: int) -> None:
    every = events(*LIFE, Completed("done"))
    whole = Follower(fold(every[:1]))
    updates = [whole.follow(event) for event in every[1:]]

    late = Follower(fold(every[:place]))

    assert [late.follow(event) for event in every[place:]] == updates[place - 1 :]


def test_the_whole_task_has_what_was_told() -> None:
    task, _ = told(*LIFE, Completed("done"))

    view = ParseDict(json.loads(encode(task_view(task))), pb.Task())

    assert (view.id, view.context_id, view.status.state) == ("t", "c", pb.TASK_STATE_COMPLETED)
    assert [(one.artifact_id, len(one.parts)) for one in view.artifacts] == [
        ("draft", 1),
        ("result", 1),
        ("result.final", 1),
    ]
    assert not encode(task_view(task, artifacts=False)).count(b"artifacts")


@pytest.mark.parametrize(
    ("change", "state"),
    [(Failed("x", "why"), "FAILED"), (Canceled("why"), "CANCELED"), (Rejected("why"), "REJECTED")],
    ids=["failed", "canceled", "rejected"],
)
def test_an_end_says_why(change: Change, state: str) -> None:
    task, updates = told(Leased("w", "agent"), change)

    status = updates[-1]["statusUpdate"]["status"]
    assert status["state"] == f"TASK_STATE_{state}"
    assert status["message"]["parts"][0]["text"] == "why"
    assert json.loads(encode(task_view(task)))["status"]["message"] == status["message"]


def test_a_question_is_the_message_of_the_status_under_the_same_id() -> None:
    task, updates = told(Leased("w", "agent"), InputRequired("ask", "Who?"))

    assert json.loads(encode(task_view(task)))["status"]["message"] == updates[-1]["statusUpdate"]["status"]["message"]


def test_nothing_is_no_result() -> None:
    task, updates = told(Leased("w", "agent"), Completed(None))

    assert [*updates[-1]] == ["statusUpdate"]
    assert task_view(task).artifacts == []


def test_every_state_has_a_name_in_the_protocol() -> None:
    assert {STATES[state].value for state in TaskState} == {*pb.TaskState.keys()} - {"TASK_STATE_UNSPECIFIED"}
