"""What was published, and has no receipt yet."""

import asyncio
from collections.abc import Awaitable

import pytest

from tekton.bus.bus import Receipt
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message
from tekton.testing import ManualClock, virtual_time
from tekton.testing.clock import current_clock
from tekton.utils import bus_outbox
from tekton.utils.bus_outbox import Outbox, Parcel
from tekton.utils.tekton_errors import (
    BusBusyError,
    MessageExpiredError,
    PublishUnknownError,
    TransportError,
)


class Wire:
    """A connection that can be away."""

    def __init__(self) -> None:
        self.there = True
        self.sent: list[int] = []
        self.taken_back: list[int] = []

    def take_back(self, parcel: Parcel) -> None:
        self.taken_back.append(parcel.number)

    def send(self, parcel: Parcel) -> bool:
        if self.there:
            self.sent.append(parcel.number)
        return self.there


def parcel(number: int, *, deadline: float | None = None, size: int = 10) -> Parcel:
    message = Message("event", number, MessageContext("engram", deadline=deadline))
    return Parcel(number, b"x" * size, (message,))


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def outbox(wire: Wire) -> Outbox:
    return Outbox(wire.send, wire.take_back, "ws://there", ManualClock())


def begin(group: asyncio.TaskGroup, posting: Awaitable[list[Receipt]]) -> "asyncio.Task[list[Receipt]]":
    async def post() -> list[Receipt]:
        return await posting

    return group.create_task(post())


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_receipt_is_that_of_its_parcel(wire: Wire, outbox: Outbox) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        posting = begin(group, outbox.post([parcel(1), parcel(2)], 30))
        await settled()
        outbox.answer(2, [Receipt(8), Receipt(9)])
        outbox.answer(1, [Receipt(7)])

    assert posting.result() == [Receipt(7), Receipt(8), Receipt(9)]
    assert (wire.sent, wire.taken_back) == ([1, 2], [])
    await settled()
    assert len(outbox) == 0


async def test_what_has_no_receipt_is_sent_again_in_order_on_a_new_connection(wire: Wire, outbox: Outbox) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for number in (1, 2, 3):
            begin(group, outbox.post([parcel(number)], 30))
        await settled()
        outbox.answer(2, [Receipt(1)])
        await settled()
        wire.there = False
        outbox.send_again()
        wire.there = True
        outbox.send_again()
        outbox.answer(1, [Receipt(1)])
        outbox.answer(3, [Receipt(1)])

    assert wire.sent == [1, 2, 3, 1, 3]


async def test_a_refusal_is_raised(outbox: Outbox) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        posting = group.create_task(refused(outbox))
        await settled()
        assert outbox.fail(1, BusBusyError(5))
        assert not outbox.fail(99, BusBusyError(5))

    assert posting.result() == "the message waited 5 s for the disk, and was not stored"


async def refused(outbox: Outbox) -> str:
    with pytest.raises(BusBusyError) as caught:
        await outbox.post([parcel(1), parcel(2)], 30)
    return str(caught.value)


@virtual_time
async def test_without_a_receipt_nobody_knows_whether_it_was_published(wire: Wire) -> None:
    outbox = Outbox(wire.send, wire.take_back, "ws://there", current_clock())
    sent = parcel(1)

    with pytest.raises(PublishUnknownError) as caught:
        await outbox.post([sent], 30)

    assert (caught.value.message_id, caught.value.waited) == (sent.messages[0].message_id, 30)
    await settled()
    assert len(outbox) == 0
    assert wire.taken_back == [1]


@virtual_time
async def test_what_was_never_sent_was_not_published(wire: Wire) -> None:
    wire.there = False
    outbox = Outbox(wire.send, wire.take_back, "ws://there", current_clock())

    with pytest.raises(TransportError, match="nothing was published"):
        await outbox.post([parcel(1)], 30)


@virtual_time
async def test_what_was_not_sent_before_its_deadline_is_too_late(wire: Wire) -> None:
    wire.there = False
    clock = current_clock()
    outbox = Outbox(wire.send, wire.take_back, "ws://there", clock)

    before = clock.monotonic()
    with pytest.raises(MessageExpiredError):
        await outbox.post([parcel(1, deadline=clock.time() + 5)], 30)

    assert clock.monotonic() - before == pytest.approx(5)


async def test_when_the_client_is_closed_the_error_says_what_is_known(wire: Wire, outbox: Outbox) -> None:
    async def post(number: int) -> type[Exception]:
        with pytest.raises((TransportError, PublishUnknownError)) as caught:
            await outbox.post([parcel(number)], 30)
        return type(caught.value)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        sent = group.create_task(post(1))
        await settled()
        wire.there = False
        waiting = group.create_task(post(2))
        await settled()
        outbox.give_up(TransportError("ws://there", "the client was closed"))

    assert (sent.result(), waiting.result()) == (PublishUnknownError, TransportError)


async def test_whoever_publishes_waits_while_too_much_is_unanswered(
    monkeypatch: pytest.MonkeyPatch, wire: Wire
) -> None:
    monkeypatch.setattr(bus_outbox, "MOST_UNANSWERED", 2)
    outbox = Outbox(wire.send, wire.take_back, "ws://there", ManualClock())

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        posting = begin(group, outbox.post([parcel(number) for number in (1, 2, 3, 4, 5)], 30))
        await settled()
        assert wire.sent == [1, 2]
        for number in (1, 2, 3, 4, 5):
            outbox.answer(number, [Receipt(number)])
            await settled()

    assert wire.sent == [1, 2, 3, 4, 5]
    assert [receipt.sequence for receipt in posting.result()] == [1, 2, 3, 4, 5]


async def test_who_is_cancelled_leaves_nothing_behind(outbox: Outbox) -> None:
    posting = asyncio.ensure_future(outbox.post([parcel(1), parcel(2)], 30))
    await settled()

    posting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await posting

    await settled()
    assert len(outbox) == 0


async def test_when_it_is_closed_who_waits_for_room_hears_of_it_too(
    monkeypatch: pytest.MonkeyPatch, wire: Wire
) -> None:
    monkeypatch.setattr(bus_outbox, "MOST_UNANSWERED", 1)
    outbox = Outbox(wire.send, wire.take_back, "ws://there", ManualClock())

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        posting = [group.create_task(closed(outbox, number)) for number in (1, 2, 3)]
        await settled()
        outbox.close(TransportError("ws://there", "the client was closed"))

    assert [task.result() for task in posting] == [PublishUnknownError, TransportError, TransportError]
    assert wire.sent == [1]


async def closed(outbox: Outbox, number: int) -> type[Exception]:
    with pytest.raises((TransportError, PublishUnknownError)) as caught:
        await outbox.post([parcel(number)], 30)
    return caught.type
