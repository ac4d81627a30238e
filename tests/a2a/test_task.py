"""What a task is after its events, and what cannot happen to it."""

from typing import Any

import msgspec
import pytest

from tekton.a2a.task import NEXT, Lease, Task, TaskState, apply, check_lease, fold
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
    InputWithdrawn,
    Leased,
    Planned,
    PlannedTask,
    Progressed,
    Rejected,
    Spent,
    StepBegun,
    StepCompleted,
    TaskEvent,
)
from tekton.utils.tekton_errors import StaleLeaseError, TaskExistsError, TaskNotFoundError, TaskStateError

CREATED = Created("review", {"code": "x"}, 100.0, Budget(), "t")


def events(*changes: Change) -> list[TaskEvent]:
    made: list[TaskEvent] = []
    epoch = 0
    for number, change in enumerate((CREATED, *changes), 1):
        epoch += isinstance(change, Leased)
        made.append(TaskEvent("t", number, float(number), epoch, change))
    return made


def after(*changes: Change) -> Task:
    return fold(events(*changes))


LEASED = Leased("worker", "ada")
ASKED = InputRequired("ask", "sure?")
CHANGES: list[Change] = [
    LEASED,
    Planned([PlannedTask("a", "t2", "review", {})]),
    StepBegun("pay"),
    StepCompleted("parse", [1]),
    Progressed(1, 2, "half"),
    ArtifactAdded("patch", "…"),
    Spent(2.5),
    ASKED,
    AuthRequired("ask", "may I?"),
    InputGiven("ask", "yes"),
    InputWithdrawn("ask"),
    AttemptFailed("ada", "agent_failed", "it broke"),
    Completed({"fine": True}),
    Failed("task_timeout", "too late"),
    Canceled("no more"),
    Rejected("not mine"),
]


def test_the_states_are_those_of_agent2agent() -> None:
    assert [state.wire.removeprefix("TASK_STATE_").lower() for state in TaskState] == [
        str(state) for state in TaskState
    ]
    assert len(TaskState) == 8


def test_a_new_task_is_what_was_wanted() -> None:
    task = after()

    assert (task.task_type, task.inputs, task.deadline, task.parent_id) == ("review", {"code": "x"}, 100.0, None)
    assert (task.state, task.number, task.epoch, task.lease) == (TaskState.SUBMITTED, 1, 0, None)


def test_every_lease_has_the_next_epoch_and_counts_as_an_attempt_if_an_agent_has_it() -> None:
    task = after(LEASED, Leased("other", "bob"), Leased("other"))

    assert (task.epoch, task.lease, task.attempts) == (3, Lease(3, "other", ""), 2)


def test_steps_are_kept_and_begin_the_counting_of_attempts_anew() -> None:
    task = after(LEASED, StepBegun("pay"), StepCompleted("parse", 1))

    assert (task.steps, task.attempts, task.unknown_step) == ({"parse": 1}, 0, "pay")


def test_to_fold_many_steps_copies_them_once(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[int] = []
    replace = msgspec.structs.replace

    def counted(task: Task, **fields: Any) -> Task:
        copied.extend(len(fields[name]) for name in ("steps", "artifacts") if type(fields.get(name)) is dict)
        return replace(task, **fields)

    monkeypatch.setattr(msgspec.structs, "replace", counted)
    many = [StepCompleted(f"s{number}", number) for number in range(500)]
    made = [ArtifactAdded(f"a{number}", number) for number in range(500)]

    task = after(LEASED, *many, *made)

    assert (len(task.steps), len(task.artifacts), sum(copied)) == (500, 500, 1000)


def test_a_fold_leaves_alone_what_it_was_given() -> None:
    wanted = msgspec.structs.replace(CREATED, steps={"before": 1})
    first = TaskEvent("t", 1, 1.0, 0, wanted)
    others = events(LEASED, StepCompleted("parse", [1]))[1:]

    assert (list(fold([first, *others]).steps), wanted.steps) == (["before", "parse"], {"before": 1})


def test_a_step_that_is_done_is_none_that_was_only_begun() -> None:
    begun = after(LEASED, StepBegun("pay"), StepBegun("send"), StepCompleted("pay", 1))

    assert (begun.begun, begun.unknown_step) == ({"send"}, "send")


def test_an_answer_is_the_result_of_the_step_that_asked() -> None:
    waiting, answered = after(LEASED, ASKED), after(LEASED, ASKED, InputGiven("ask", "yes"))

    assert (waiting.state, waiting.question) == (TaskState.INPUT_REQUIRED, ASKED)
    assert (answered.state, answered.question, answered.steps) == (TaskState.WORKING, None, {"ask": "yes"})


def test_a_question_that_is_withdrawn_has_no_answer() -> None:
    task = after(LEASED, ASKED, InputWithdrawn("ask"))

    assert (task.state, task.question, task.steps) == (TaskState.WORKING, None, {})


def test_a_plan_without_parts_says_that_it_was_asked_for() -> None:
    assert [(task.planned, task.plan) for task in (after(LEASED), after(LEASED, Planned([])))] == [
        (False, ()),
        (True, ()),
    ]


def test_who_takes_a_task_that_waits_does_not_end_the_waiting() -> None:
    task = after(LEASED, AuthRequired("ask", "may I?"), Leased("other", "ada"))

    assert (task.state, task.question) == (TaskState.AUTH_REQUIRED, AuthRequired("ask", "may I?"))


def test_an_attempt_that_fails_ends_its_lease_and_its_question() -> None:
    task = after(LEASED, ASKED, AttemptFailed("ada", "agent_failed", "it broke"))

    assert (task.state, task.lease, task.question) == (TaskState.WORKING, None, None)
    assert task.failures == (("agent_failed", "it broke", "ada"),)


def test_the_question_of_an_agent_that_was_lost_goes_on_waiting() -> None:
    lost = AttemptFailed("ada", "agent_lost", "nothing was heard")
    waiting, working = after(LEASED, ASKED, lost), after(LEASED, lost)

    assert (waiting.state, waiting.lease, waiting.question) == (TaskState.INPUT_REQUIRED, None, ASKED)
    assert (working.state, working.question) == (TaskState.WORKING, None)


def test_the_messages_that_have_answered_are_known_by_step_and_none_of_logs_that_do_not_name_them() -> None:
    again = InputRequired("again", "And?")
    task = after(LEASED, ASKED, InputGiven(ASKED.step, "yes", "m-1"), again, InputGiven("again", "no"))
    stored = b'{"task_id":"t","number":3,"at":1.5,"epoch":1,"change":{"event":"input_given","step":"ask","answer":1}}'

    assert task.answers == {ASKED.step: "m-1"}
    assert TaskEvent.from_json(stored).change == InputGiven("ask", 1)
    assert TaskEvent.from_json(stored).to_json() == stored


def test_a_lease_with_which_an_attempt_goes_on_counts_for_nothing() -> None:
    task = after(LEASED, Leased("other", "ada", goes_on=True))

    assert (task.epoch, task.attempts) == (2, 1)


def test_what_was_made_and_spent_is_kept() -> None:
    task = after(LEASED, Progressed(1, 2), ArtifactAdded("a", 1), ArtifactAdded("a", 2), Spent(1.0), Spent(0.5))

    assert (task.progress, task.artifacts, task.spent) == (Progressed(1, 2), {"a": 2}, 1.5)


@pytest.mark.parametrize("end", CHANGES[-4:], ids=lambda change: type(change).__name__)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: type(change).__name__)
def test_nothing_happens_to_a_task_that_is_over(end: Change, change: Change) -> None:
    task = after(LEASED, end)

    with pytest.raises(TaskStateError):
        apply(task, TaskEvent("t", task.number + 1, 9.0, 1, change))
    assert (task.state.over, task.lease) == (True, None)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: type(change).__name__)
def test_the_table_knows_every_change_in_every_state(change: Change) -> None:
    begun = {TaskState.WORKING: (LEASED,), TaskState.INPUT_REQUIRED: (LEASED, ASKED), TaskState.SUBMITTED: ()}
    for state, changes in begun.items():
        task = after(*changes)
        event = TaskEvent("t", task.number + 1, 9.0, task.epoch, change)
        if (expected := NEXT[type(change)].get(state)) is None:
            with pytest.raises(TaskStateError, match=f"task t is {state}"):
                apply(task, event)
        else:
            assert apply(task, event).state is expected


def test_a_log_begins_with_what_is_wanted_and_says_so_once() -> None:
    with pytest.raises(TaskNotFoundError):
        fold([])
    with pytest.raises(TaskNotFoundError):
        apply(None, events(LEASED)[1])
    with pytest.raises(TaskExistsError):
        after(CREATED)


def test_only_the_newest_lease_may_write_and_calling_off_needs_none() -> None:
    task = after(LEASED, Leased("other", "ada"))

    check_lease(task, Progressed(1), 2)
    check_lease(task, Canceled(), None)
    for epoch in (None, 0, 1, 3):
        with pytest.raises(StaleLeaseError):
            check_lease(task, Progressed(1), epoch)
    with pytest.raises(StaleLeaseError):
        check_lease(after(LEASED, AttemptFailed("ada", "x", "y")), Progressed(1), 1)


@pytest.mark.parametrize("change", [CREATED, *CHANGES], ids=lambda change: type(change).__name__)
def test_an_event_is_the_same_after_it_was_json(change: Change) -> None:
    event = TaskEvent("t", 3, 1.5, 2, change)

    assert TaskEvent.from_json(event.to_json()) == event
