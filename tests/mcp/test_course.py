"""What is said in the course of a message is caused by it."""

from typing import Any

import pytest

from tekton.mcp.context import MessageContext
from tekton.mcp.course import caused, due, fingerprint, in_course_of, undated
from tekton.mcp.message import Message, MessageType

ID = "0190b5e4-7e4d-7c3a-8f2b-3d6f1a2b3c4d"
OTHER_ID = "0190b5e4-7e4d-7c3a-8f2b-3d6f1a2b3c4e"


def say(content: Any = None, metadata: dict[str, Any] | None = None, **context: Any) -> Message:
    return Message(MessageType.EVENT, content, MessageContext("ada", **context), metadata)


def test_what_is_caused_by_nothing_is_what_it_is() -> None:
    message = say()

    assert caused(message) is message


@pytest.mark.parametrize(
    ("said", "parent", "hops"),
    [
        (say(), "cause", 3),
        (say(hops=9), "cause", 9),
        (say(parent_id=OTHER_ID), OTHER_ID, 3),
    ],
    ids=["nothing said", "further", "another parent"],
)
def test_it_has_the_message_as_its_parent_and_one_hop_more_unless_it_says_more(
    said: Message, parent: str, hops: int
) -> None:
    cause = say(hops=2)
    with in_course_of(cause):
        made = caused(said)
        assert caused(made) is made

    assert (made.context.parent_id, made.context.hops) == (cause.message_id if parent == "cause" else parent, hops)
    assert (made.message_id, made.timestamp, made.content) == (said.message_id, said.timestamp, said.content)
    assert (made.context.sender, made.context.trace_id) == (said.context.sender, said.context.trace_id)
    assert caused(said) is said


def test_an_answer_that_follows_is_as_it_is() -> None:
    cause = say(hops=2)
    answer = Message(MessageType.RESPONSE, 1, cause.follow("bob"))
    with in_course_of(cause):
        assert caused(answer) is answer


def test_what_is_passed_on_as_it_came_is_no_child_of_itself() -> None:
    cause = say(hops=2)
    with in_course_of(cause):
        passed = caused(cause)

    assert (passed.message_id, passed.context.parent_id, passed.context.hops) == (cause.message_id, None, 3)


def test_there_are_never_more_hops_than_a_message_can_state() -> None:
    with in_course_of(say(hops=255)):
        assert caused(say()).context.hops == 255


def test_of_two_deadlines_the_earlier_one_counts() -> None:
    assert due(say(), 100.0).context.deadline == 100.0
    assert due(say(deadline=200.0), 100.0).context.deadline == 100.0
    earlier = say(deadline=50.0)
    assert due(earlier, 100.0) is earlier


def test_a_deadline_can_be_taken_away() -> None:
    message = say(1)

    assert undated(message) is message
    assert undated(due(message, 100.0)) == message


def test_messages_that_say_the_same_have_the_same_fingerprint() -> None:
    first = say({"a": 1}, {"tool": "x", "b": 2}, hops=1)
    later = say({"a": 1}, {"b": 2, "tool": "x", "timeout": 5, "hears": ["events"]}, deadline=100.0)

    assert fingerprint(first) == fingerprint(later) == fingerprint(Message.from_json(later.to_json()))


def test_messages_that_say_something_else_have_another_one() -> None:
    said = [
        say(1),
        say(2),
        say("1"),
        say(),
        say(1, {"tool": "x"}),
        say(1, {"tool": "y"}),
        Message(MessageType.COMMAND, 1, MessageContext("ada")),
    ]

    assert len({fingerprint(message) for message in said}) == len(said)
