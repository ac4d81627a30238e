"""What the log of a pattern holds, and for how long."""

from tekton.bus.bus import Limits, Policy
from tekton.bus.channel import LEAVERS, STEP, Channel
from tekton.bus.cursor import Cursor, Tally, leave, make_cursor
from tekton.bus.envelope import Envelope
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType

PATIENT = Limits(10_000, 1 << 30)


class Counted(Channel):
    """Counts how many cursors were looked at to find what nobody needs any more."""

    __slots__ = ("looked_at",)

    def __init__(self) -> None:
        super().__init__("a", lambda _: None)
        self.looked_at = 0

    def _trim(self) -> None:
        self.looked_at += len(self.cursors)
        super()._trim()


def say(log: Channel, count: int) -> None:
    envelopes = [Envelope("a", Message(MessageType.EVENT, None, MessageContext("ann"))) for _ in range(count)]
    log.extend(envelopes, Envelope.measure(envelopes))


def listeners(log: Channel, count: int, limits: Limits = PATIENT) -> list[Cursor]:
    return [make_cursor(log, limits, Tally()) for _ in range(count)]


def test_when_the_last_one_who_is_behind_has_left_nothing_is_held() -> None:
    log = Counted()
    reading, slow = listeners(log, 1000), listeners(log, 3)
    say(log, 50)
    for cursor in reading:
        cursor.take()

    for cursor in slow:
        assert len(log.entries) == 50
        leave(cursor)
    assert (log.entries, log.held) == ([], 0)


def test_what_only_those_needed_who_have_left_is_not_held_for_long() -> None:
    log = Counted()
    reading, slow = listeners(log, 100), listeners(log, 100 // LEAVERS + 1)
    say(log, 50)
    for cursor in reading:
        cursor.take_some(49)

    for cursor in slow:
        assert len(log.entries) == 50
        leave(cursor)
    assert len(log.entries) == 1


def test_a_look_drops_what_those_have_needed_who_have_left() -> None:
    log = Counted()
    reading, [slow] = listeners(log, 100), listeners(log, 1)
    say(log, 50)
    for cursor in reading:
        cursor.take_some(49)
    leave(slow)
    assert len(log.entries) == 50

    say(log, STEP)
    assert len(log.entries) == STEP + 1


def test_many_who_leave_without_having_read_are_no_work_for_each_other() -> None:
    log = Counted()
    many = listeners(log, 2000)
    say(log, 1)

    for cursor in many:
        leave(cursor)
    assert log.looked_at <= 2 * LEAVERS * len(many)


def test_many_who_are_cut_together_are_no_work_for_each_other() -> None:
    log = Counted()
    cut = listeners(log, 2000, Limits(STEP // 2))
    [patient] = listeners(log, 1)

    say(log, STEP + 1)
    assert list(log.cursors) == [patient]
    assert all(cursor.members == 0 for cursor in cut)
    assert log.looked_at <= 2 * LEAVERS * len(cut)


def test_what_one_has_begun_with_is_passed_over_before_what_has_come_since() -> None:
    log, tally = Counted(), Tally()
    early = [Envelope("a", Message(MessageType.EVENT, number, MessageContext("ann"))) for number in range(5)]
    cursor = make_cursor(log, Limits(messages=3, policy=Policy.DROP_OLDEST), tally, early)
    say(log, 3)
    assert cursor.waiting == 8

    say(log, 1)
    assert len(cursor.take()) == 3
    assert (cursor.gap, tally.lost, list(cursor.aside)) == (6, 6, [])
