"""What became of deliveries, on its way to the control plane."""

import asyncio
import json
import os
from typing import Any

import pytest

from tekton.utils.bus_settlements import Settlements


class Wire:
    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []

    def send(self, frame: bytes) -> None:
        self.frames.append(json.loads(frame))


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def settlements(wire: Wire) -> Settlements:
    made = Settlements(wire.send)
    made.number = 7
    return made


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_told_at_once_goes_in_one_frame(wire: Wire, settlements: Settlements) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        told = [group.create_task(settlements.tell(number, "ack")) for number in (1, 2, 3)]
        await settled()
        settlements.answer([1, 3], counts=True)
        settlements.answer([2], counts=False)

    assert wire.frames == [{"op": "ack", "id": 7, "sequences": [1, 2, 3]}]
    assert [each.result() for each in told] == [True, False, True]


async def test_different_things_go_in_different_frames(wire: Wire, settlements: Settlements) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(settlements.tell(1, "nack", delay=5.0, reason=None))
        group.create_task(settlements.tell(2, "nack"))
        group.create_task(settlements.tell(3, "reject", reason="no such order"))
        group.create_task(settlements.tell(4, "working"))
        group.create_task(settlements.tell(5, "nack", delay=5.0, reason="the printer is off"))
        await settled()
        settlements.answer([1, 2, 3, 4, 5], counts=True)

    assert wire.frames == [
        {"op": "nack", "id": 7, "sequences": [1], "delay": 5.0},
        {"op": "nack", "id": 7, "sequences": [2]},
        {"op": "reject", "id": 7, "sequences": [3], "reason": "no such order"},
        {"op": "working", "id": 7, "sequences": [4]},
        {"op": "nack", "id": 7, "sequences": [5], "delay": 5.0, "reason": "the printer is off"},
    ]


async def test_a_reason_with_a_lone_surrogate_is_told_and_so_is_what_others_say(
    wire: Wire, settlements: Settlements
) -> None:
    """All that was said in the same turn was forgotten, and handed out again."""
    name = os.fsdecode(b"tea-\xff")
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        told = [
            group.create_task(settlements.tell(1, "reject", reason=f"bad file {name}")),
            group.create_task(settlements.tell(2, "ack")),
        ]
        await settled()
        settlements.answer([1, 2], counts=True)
        await settled()
        settlements.give_up()

    assert wire.frames == [
        {"op": "reject", "id": 7, "sequences": [1], "reason": "bad file tea-?"},
        {"op": "ack", "id": 7, "sequences": [2]},
    ]
    assert [each.result() for each in told] == [True, True]


async def test_two_things_of_one_delivery_are_answered_in_order(wire: Wire, settlements: Settlements) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        working = group.create_task(settlements.tell(1, "working"))
        done = group.create_task(settlements.tell(1, "ack"))
        await settled()
        settlements.answer([1], counts=True)
        settlements.answer([1], counts=False)

    assert (working.result(), done.result()) == (True, False)


async def test_what_was_not_answered_is_told_again_at_once_on_a_new_connection(
    wire: Wire, settlements: Settlements
) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        told = [group.create_task(settlements.tell(number, "ack")) for number in (1, 2)]
        await settled()
        settlements.answer([1], counts=True)
        settlements.break_off()
        told.append(group.create_task(settlements.tell(3, "ack")))
        await settled()
        assert len(wire.frames) == 1
        settlements.begin(8)
        settlements.answer([2], counts=False)
        settlements.answer([3], counts=True)

    assert wire.frames[1:] == [{"op": "ack", "id": 8, "sequences": [2, 3]}]
    assert [each.result() for each in told] == [True, False, True]


async def test_an_answer_to_what_was_not_told_counts_for_nobody(settlements: Settlements) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        settlements.break_off()
        told = group.create_task(settlements.tell(1, "ack"))
        await settled()
        settlements.answer([1, 2], counts=True)
        await settled()
        assert not told.done()
        settlements.give_up()

    assert told.result() is False


async def test_one_can_wait_until_all_is_settled(settlements: Settlements) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(settlements.tell(1, "ack"))
        await settled()
        waiting = group.create_task(settlements.settled())
        await settled()
        assert not waiting.done()
        settlements.answer([1], counts=True)


async def test_an_answer_is_that_of_what_it_was_told_for_though_nobody_waits_for_it(settlements: Settlements) -> None:
    """An `ack` took the answer to a `working` that had been cancelled for its own."""
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        working = group.create_task(settlements.tell(1, "working"))
        await settled()
        working.cancel()
        await settled()
        done = group.create_task(settlements.tell(1, "ack"))
        await settled()

        settlements.answer([1], counts=True)
        await settled()
        assert not done.done()
        settlements.answer([1], counts=False)
        await settlements.settled()

    assert done.result() is False


async def test_what_nobody_waits_for_is_not_told_again(wire: Wire, settlements: Settlements) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        working = group.create_task(settlements.tell(1, "working"))
        settlements.say([2, 3], "release", less=4)
        await settled()
        working.cancel()
        await settled()
        settlements.break_off()
        await settlements.settled()
        settlements.say([4], "release")
        settlements.begin(8)
        done = group.create_task(settlements.tell(1, "ack"))
        await settled()
        settlements.answer([1, 2, 3], counts=True)

    assert wire.frames == [
        {"op": "release", "id": 7, "sequences": [2, 3], "less": 4},
        {"op": "working", "id": 7, "sequences": [1]},
        {"op": "ack", "id": 8, "sequences": [1]},
    ]
    assert done.result() is True
