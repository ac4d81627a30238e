"""What has come to one who consumes, and nobody has begun with."""

import asyncio

from tekton.bus.envelope import Envelope
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message
from tekton.testing import virtual_time
from tekton.testing.clock import current_clock
from tekton.utils.bus_unread import Unread

MESSAGE = Message("event", None, MessageContext("ann"))


def envelopes(*sequences: int) -> list[Envelope]:
    return [Envelope("orders.new", MESSAGE, None, sequence) for sequence in sequences]


class Reader:
    """One who is given back to; *ack_wait* is that of the consumer."""

    def __init__(self, ack_wait: float = 30.0) -> None:
        self.back: list[tuple[float, list[int]]] = []
        self.unread = Unread(self.take_back)
        self.unread.ack_wait = ack_wait
        self.begun = current_clock().monotonic()

    def take_back(self, envelopes: list[Envelope]) -> None:
        now = current_clock().monotonic() - self.begun
        self.back.append((round(now, 3), [envelope.sequence for envelope in envelopes]))


@virtual_time
async def test_when_the_oldest_has_waited_for_too_long_all_are_given_back() -> None:
    reader = Reader()
    reader.unread.put(envelopes(1, 2))
    await asyncio.sleep(0.6)
    reader.unread.put(envelopes(3))

    await asyncio.sleep(10)

    assert reader.back == [(1.0, [1, 2, 3])]
    assert len(reader.unread) == 0


@virtual_time
async def test_what_is_taken_in_time_is_not_given_back() -> None:
    reader = Reader()
    reader.unread.put(envelopes(1))
    await asyncio.sleep(0.6)
    reader.unread.put(envelopes(2, 3))
    taken = reader.unread.take(1)
    await asyncio.sleep(0.6)

    assert [one.sequence for one in taken] == [1]
    assert reader.back == []
    await asyncio.sleep(10)
    assert reader.back == [(1.6, [2, 3])]


@virtual_time
async def test_nothing_waits_for_a_third_of_a_short_ack_wait() -> None:
    reader = Reader(ack_wait=0.3)
    reader.unread.put(envelopes(1))

    await asyncio.sleep(10)

    assert reader.back == [(0.1, [1])]


@virtual_time
async def test_it_is_noticed_where_the_event_loop_stood_still() -> None:
    reader = Reader()
    reader.unread.put(envelopes(1, 2))

    reader.unread.look()
    current_clock().advance(5)
    reader.unread.look()

    assert reader.back == [(5.0, [1, 2])]


@virtual_time
async def test_what_is_forgotten_is_not_given_back() -> None:
    reader = Reader()
    reader.unread.put(envelopes(1))

    reader.unread.close()
    await asyncio.sleep(10)
    reader.unread.put(envelopes(2))
    await asyncio.sleep(10)

    assert reader.back == [(11.0, [2])]
