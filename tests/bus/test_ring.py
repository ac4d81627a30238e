"""The ring: the last that was published, for who comes back."""

from collections.abc import Sequence

import pytest

from tekton.bus.envelope import Envelope
from tekton.bus.ring import Ring
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.utils.tekton_errors import CursorExpiredError

MESSAGE = Message(MessageType.EVENT, None, MessageContext("a"))


def envelopes(*sequences: int) -> list[Envelope]:
    return [Envelope("a", MESSAGE, None, sequence) for sequence in sequences]


def sequences(batch: Sequence[Envelope]) -> list[int]:
    return [envelope.sequence for envelope in batch]


def test_what_came_after_a_position_is_given_in_order() -> None:
    ring = Ring(10)
    ring.extend(envelopes(11, 12, 13), 30)
    ring.extend(envelopes(17), 10)

    assert sequences(ring.after(10, 20)) == [11, 12, 13, 17]
    assert sequences(ring.after(12, 20)) == [13, 17]
    assert sequences(ring.after(15, 20)) == [17]
    assert sequences(ring.after(20, 20)) == []
    assert (len(ring), ring.size) == (4, 40)


@pytest.mark.parametrize("position", [9, 21, -1])
def test_positions_before_the_first_and_behind_the_last_are_not_known(position: int) -> None:
    with pytest.raises(CursorExpiredError):
        Ring(10).after(position, 20)


def test_the_oldest_go_when_there_are_enough_without_them() -> None:
    ring = Ring(0, most=4)
    for first in (1, 3, 5, 7):
        ring.extend(envelopes(first, first + 1), 20)

    assert sequences(ring.after(4, 8)) == [5, 6, 7, 8]
    with pytest.raises(CursorExpiredError):
        ring.after(3, 8)
    assert (len(ring), ring.size) == (4, 40)


def test_the_oldest_go_when_they_are_too_large_together() -> None:
    ring = Ring(0, most_size=100)
    for sequence in range(1, 5):
        ring.extend(envelopes(sequence), 40)

    assert sequences(ring.after(2, 4)) == [3, 4]
    ring.extend(envelopes(5), 101)
    assert (len(ring), ring.size) == (0, 0)
    assert sequences(ring.after(5, 5)) == []
