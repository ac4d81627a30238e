"""What messages are made to say before they are published."""

from tekton.bus.envelope import Envelope
from tekton.bus.outgoing import all_caused, patience
from tekton.core.degradation.deadline import within
from tekton.mcp.context import MessageContext
from tekton.mcp.course import in_course_of
from tekton.mcp.message import Message, MessageType
from tekton.testing import virtual_time


def say(deadline: float | None = None) -> Message:
    return Message(MessageType.EVENT, None, MessageContext("ada", deadline=deadline))


def test_several_are_caused_by_the_same_message() -> None:
    cause, envelopes = say(), [Envelope("a", say(), "b"), Envelope("c", say())]
    assert all_caused(envelopes) is envelopes
    with in_course_of(cause):
        made = all_caused(envelopes)

    assert [(one.subject, one.reply, one.message.context.parent_id) for one in made] == [
        ("a", "b", cause.message_id),
        ("c", None, cause.message_id),
    ]


@virtual_time
async def test_somebody_waits_until_the_first_of_three_is_over() -> None:
    assert patience(say(), 5.0, 1000.0) == 5.0
    assert patience(say(1003.0), 5.0, 1000.0) == 3.0
    with within(2.0):
        assert patience(say(1003.0), 5.0, 1000.0) == 2.0
        assert patience(say(1003.0), 1.0, 1000.0) == 1.0
