"""What waits for one reader, and what becomes of the rest."""

import asyncio

import pytest

from tekton.bus.bus import Limits, Policy
from tekton.bus.envelope import Envelope
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message
from tekton.utils.bus_mailbox import UNKNOWN, Mailbox

CONTEXT = MessageContext("engram")


def envelope(number: int, subject: str = "a") -> Envelope:
    return Envelope(subject, Message("event", number, CONTEXT), sequence=number)


def filled(mailbox: Mailbox, count: int, size: int = 1) -> list[bool]:
    return [mailbox.put(envelope(number), size) for number in range(1, count + 1)]


def read(mailbox: Mailbox) -> list[tuple[int, int]]:
    """The gap before each message that waits, and its number."""
    found = []
    while len(mailbox):
        gap, one = mailbox.take()
        found.append((gap, one.sequence))
    return found


def test_messages_come_out_in_the_order_in_which_they_came() -> None:
    mailbox = Mailbox(Limits())

    assert filled(mailbox, 3) == [True] * 3
    assert read(mailbox) == [(0, 1), (0, 2), (0, 3)]


def test_who_does_not_keep_up_is_cut() -> None:
    mailbox = Mailbox(Limits(2, policy=Policy.DISCONNECT))

    assert filled(mailbox, 3) == [True, True, False]
    assert read(mailbox) == [(0, 1), (0, 2)]


def test_or_misses_the_oldest_and_knows_how_many() -> None:
    mailbox = Mailbox(Limits(2, policy=Policy.DROP_OLDEST))
    filled(mailbox, 5)

    assert read(mailbox) == [(3, 4), (0, 5)]


def test_or_gets_the_newest_of_each_subject() -> None:
    mailbox = Mailbox(Limits(policy=Policy.CONFLATE))
    for number, subject in enumerate(["a", "b", "a", "a"], 1):
        mailbox.put(envelope(number, subject), 1)

    assert read(mailbox) == [(0, 2), (0, 4)]
    assert mailbox.passed == 0


def test_what_was_missed_before_one_that_is_conflated_is_missed_before_the_newest() -> None:
    mailbox = Mailbox(Limits(size=10, policy=Policy.CONFLATE))
    mailbox.skip(3)
    for number in (4, 5, 6):
        mailbox.put(envelope(number), 8)

    assert read(mailbox) == [(3, 6)]
    assert mailbox.passed == 3


def test_conflated_subjects_are_bounded_as_well() -> None:
    mailbox = Mailbox(Limits(2, policy=Policy.CONFLATE))
    for number, subject in enumerate(["a", "b", "c"], 1):
        mailbox.put(envelope(number, subject), 1)

    assert read(mailbox) == [(1, 2), (0, 3)]


def test_bytes_count_as_well() -> None:
    mailbox = Mailbox(Limits(size=10, policy=Policy.DROP_OLDEST))
    filled(mailbox, 3, size=4)

    assert read(mailbox) == [(1, 2), (0, 3)]


def test_one_message_may_be_as_large_as_it_likes() -> None:
    mailbox = Mailbox(Limits(size=10, policy=Policy.DROP_OLDEST))

    assert mailbox.put(envelope(1), 100)
    assert mailbox.put(envelope(2), 100)
    assert read(mailbox) == [(1, 2)]


def test_a_gap_stands_before_the_message_that_follows_it() -> None:
    mailbox = Mailbox(Limits())
    mailbox.put(envelope(1), 1)
    mailbox.skip(3)
    mailbox.skip(2)
    mailbox.put(envelope(7), 1)
    mailbox.skip(UNKNOWN)
    mailbox.skip(2)
    mailbox.put(envelope(20), 1)

    assert read(mailbox) == [(0, 1), (5, 7), (UNKNOWN, 20)]


def test_a_batch_ends_before_a_gap() -> None:
    mailbox = Mailbox(Limits())
    filled(mailbox, 2)
    mailbox.skip(1)
    mailbox.put(envelope(4), 1)

    batches = [mailbox.take_all(), mailbox.take_all()]

    assert [(gap, [one.sequence for one in batch]) for gap, batch in batches] == [(0, [1, 2]), (1, [4])]


def test_what_is_dropped_from_behind_a_gap_makes_it_larger() -> None:
    mailbox = Mailbox(Limits(1, policy=Policy.DROP_OLDEST))
    mailbox.skip(2)
    filled(mailbox, 2)

    assert read(mailbox) == [(3, 2)]


def test_it_knows_when_it_is_full_and_when_there_is_room_again() -> None:
    mailbox = Mailbox(Limits(4))
    for number in range(5):
        mailbox.add(envelope(number), 1)

    states = []
    while len(mailbox):
        states.append((mailbox.full, mailbox.half_empty))
        mailbox.take()

    assert states == [(True, False), (True, False), (False, False), (False, True), (False, True)]


async def test_a_reader_waits_for_the_next_message() -> None:
    mailbox = Mailbox(Limits())

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(mailbox.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        mailbox.put(envelope(1), 1)

    assert waiting.result() is True


async def test_when_it_is_closed_by_its_reader_nothing_more_comes() -> None:
    mailbox = Mailbox(Limits())
    filled(mailbox, 2)

    mailbox.close()
    mailbox.put(envelope(3), 1)

    assert await mailbox.wait() is False


async def test_or_what_waits_is_kept_and_then_it_has_ended() -> None:
    mailbox = Mailbox(Limits())
    filled(mailbox, 2)

    mailbox.close(keep=True)
    mailbox.put(envelope(3), 1)

    assert await mailbox.wait() is True
    assert read(mailbox) == [(0, 1), (0, 2)]
    assert await mailbox.wait() is False


async def test_an_error_comes_behind_what_waits() -> None:
    mailbox = Mailbox(Limits())
    filled(mailbox, 1)

    mailbox.close(ValueError("it has ended"))

    assert await mailbox.wait() is True
    assert read(mailbox) == [(0, 1)]
    with pytest.raises(ValueError, match="it has ended"):
        await mailbox.wait()


def test_what_is_missing_is_counted_before_the_next_message_comes() -> None:
    box = Mailbox(Limits(messages=2, policy=Policy.DROP_OLDEST))

    counts = [box.passed]
    box.skip(3)
    counts.append(box.passed)
    box.skip(UNKNOWN)
    counts.append(box.passed)
    for number in range(3):
        box.put(envelope(number), 10)
    counts.append(box.passed)

    assert counts == [0, 3, 4, 5]
