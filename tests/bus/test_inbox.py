"""Where answers come."""

import asyncio

from tekton._native import covers, is_valid_pattern, is_valid_subject
from tekton.bus.envelope import Envelope
from tekton.bus.inbox import Inbox
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType

ANSWER = Message(MessageType.RESPONSE, "yes", MessageContext("engram"))


async def test_each_request_has_a_subject_of_its_own_that_nobody_can_guess() -> None:
    inbox, other = Inbox("engram"), Inbox("engram")
    with inbox.ask() as one, inbox.ask() as two:
        assert one.reply != two.reply
        assert is_valid_subject(one.reply)
        assert is_valid_pattern(inbox.pattern)
        assert covers(inbox.pattern, one.reply)
        assert covers("_inbox.engram.>", inbox.pattern)
        assert not covers(other.pattern, one.reply)
        assert len(one.reply.split(".")[2]) * 4 >= 128


async def test_the_first_answer_counts() -> None:
    inbox = Inbox("engram")
    with inbox.ask() as question:
        assert inbox.receive(Envelope(question.reply, ANSWER))
        assert not inbox.receive(Envelope(question.reply, ANSWER))
        assert await question.answer is ANSWER


async def test_an_answer_that_comes_too_late_goes_nowhere() -> None:
    inbox = Inbox("engram")
    with inbox.ask() as question:
        assert len(inbox) == 1

    assert len(inbox) == 0
    assert not inbox.receive(Envelope(question.reply, ANSWER))


async def test_an_answer_to_one_who_was_cancelled_goes_nowhere() -> None:
    inbox = Inbox("engram")
    with inbox.ask() as question:
        question.answer.cancel()
        assert not inbox.receive(Envelope(question.reply, ANSWER))
        await asyncio.sleep(0)
