"""What is said between a worker and the control plane: what a task is made into, and made of again."""

from contextlib import nullcontext

import msgspec
import pytest

from tekton.a2a.task import Task, TaskState, fold
from tekton.a2a.task_event import (
    AttemptFailed,
    AuthRequired,
    Budget,
    Change,
    Created,
    InputGiven,
    InputRequired,
    Leased,
    Spent,
    StepBegun,
    StepCompleted,
    TaskEvent,
)
from tekton.a2a.task_log import next_events
from tekton.a2a.task_reports import MOST_CHANGES, Assignment, Report, assignment_of, reported_in, task_of

CREATED = Created(
    "review",
    {"code": "x"},
    500.0,
    Budget(steps=7),
    "origin",
    owner="ada",
    conversation_id="c1",
    parent_id="p1",
    results={"analysis": 1},
)


def events_of(*changes: tuple[Change, int | None]) -> list[TaskEvent]:
    task: Task | None = None
    events: list[TaskEvent] = []
    for change, epoch in changes:
        task, new = next_events(task, "t1", [change], 100.0, epoch)
        events += new
    return events


EVENTS = events_of(
    (CREATED, None),
    (Leased("w", "a"), None),
    (StepBegun("pay"), 1),
    (StepCompleted("pay", 3), 1),
    (StepBegun("send"), 1),
    (Spent(2.0), 1),
    (InputRequired("ask", "Which?"), 1),
    (InputGiven("ask", "that"), None),
    (AttemptFailed("a", "agent_lost", ""), 1),
    (Leased("w", "a"), None),
    (AuthRequired("ask#2", "May I?"), 2),
)


@pytest.mark.parametrize(
    ("events", "epoch", "taken"), [(EVENTS[:10], 1, 5), (EVENTS, 2, 1), (EVENTS, 1, None), (EVENTS, 3, 0)]
)
def test_what_was_reported_under_a_lease_is_counted(events: list[TaskEvent], epoch: int, taken: int | None) -> None:
    assert reported_in(events, epoch) == taken


def test_a_worker_sees_the_task_as_it_is() -> None:
    task = fold(EVENTS)
    assignment = assignment_of(task, "a", time_left=20.0, lease=30.0, taken=None)
    told = msgspec.json.decode(msgspec.json.encode(assignment), type=Assignment)
    seen = task_of(told, 1000.0)

    assert (seen.inputs, seen.created.results, seen.steps, seen.begun) == (
        {"code": "x"},
        {"analysis": 1},
        {"pay": 3, "ask": "that"},
        {"send"},
    )
    assert (seen.state, seen.question, seen.spent) == (TaskState.AUTH_REQUIRED, task.question, 2.0)
    assert (seen.owner, seen.parent_id, seen.created.origin, seen.budget) == ("ada", "p1", "origin", Budget(steps=7))
    assert seen.deadline == 1020.0, "by the clock of the worker"
    assert seen.lease is not None
    assert (seen.epoch, seen.lease.agent_id) == (2, "a")


@pytest.mark.parametrize(
    "change",
    [
        '{"event":"created","task_type":"x","inputs":{},"deadline":1,"budget":{},"origin":"x"}',
        '{"event":"leased","worker":"me"}',
        '{"event":"input_given","step":"ask","answer":"yes"}',
        '{"event":"planned","plan":[]}',
        '{"event":"failed","code":"x","reason":"x"}',
        '{"event":"canceled"}',
        '{"event":"step_completed"}',
        '{"event":"spent","units":"many"}',
        "{}",
        "[]",
        "7",
    ],
)
def test_a_worker_cannot_say_what_is_not_for_him_to_say(change: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(f'{{"epoch":1,"worker":"w","changes":[{change}]}}', type=Report)


@pytest.mark.parametrize(("more", "taken"), [(0, True), (1, False)])
def test_a_report_has_so_many_changes_and_an_end_at_most(more: int, taken: bool) -> None:
    changes = [{"event": "spent", "units": 1}] * (MOST_CHANGES + more) + [{"event": "completed", "result": 1}]
    report = msgspec.json.encode({"epoch": 1, "worker": "w", "changes": changes})

    with nullcontext() if taken else pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(report, type=Report)
