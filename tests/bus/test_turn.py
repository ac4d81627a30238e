"""Publishers give way to those who read."""

import asyncio

from tekton.bus.envelope import Envelope
from tekton.bus.turn import MOST, MOST_SIZE, Turn, parts
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType


def envelope(size: int) -> Envelope:
    message = Message(MessageType.EVENT, "x" * size, MessageContext("a"))
    return Envelope("a", message)


async def test_there_is_room_for_so_many_messages_and_bytes_until_the_next_turn_begins() -> None:
    turn = Turn()
    assert turn.has_room(MOST - 1, 0)
    assert not turn.has_room(2, 0)
    assert turn.has_room(1, MOST_SIZE)
    assert not turn.has_room(1, 0)

    await turn.wait(1, 2 * MOST_SIZE)
    assert not turn.has_room(1, 1)


async def test_who_has_to_wait_comes_in_order_and_who_reads_comes_between() -> None:
    turn, order = Turn(), list[str]()
    assert turn.has_room(MOST, 0)

    async def publish(name: str, messages: int) -> None:
        if not turn.has_room(messages, 0):
            await turn.wait(messages, 0)
        order.append(name)
        asyncio.get_running_loop().call_soon(order.append, f"read {name}")

    async with asyncio.TaskGroup() as group:
        for name, messages in (("a", MOST - 1), ("b", 1), ("c", 2), ("d", 1)):
            group.create_task(publish(name, messages))

    assert order == ["a", "b", "read a", "read b", "c", "d", "read c", "read d"]


async def test_who_is_cancelled_while_he_waits_takes_no_room() -> None:
    turn = Turn()
    assert turn.has_room(MOST, 0)
    async with asyncio.TaskGroup() as group:
        cancelled = group.create_task(turn.wait(MOST, 0))
        waiting = group.create_task(turn.wait(1, 0))
        await asyncio.sleep(0)
        cancelled.cancel()

    assert waiting.done()
    assert turn.has_room(MOST - 1, 0)


def test_much_is_published_in_parts() -> None:
    small, large, huge = envelope(10), envelope(MOST_SIZE // 2), envelope(2 * MOST_SIZE)

    assert list(parts([])) == []
    assert list(parts([small, large])) == [([small, large], small.size + large.size)]
    for envelopes, expected in (
        ([small] * (2 * MOST + 1), [MOST, MOST, 1]),
        ([large, large, small, large], [1, 2, 1]),
        ([huge, small, huge, huge], [1, 1, 1, 1]),
    ):
        found = list(parts(envelopes))
        assert [len(part) for part, _ in found] == expected
        assert [size for _, size in found] == [sum(one.size for one in part) for part, _ in found]


async def test_who_does_not_wait_himself_comes_in_order_too() -> None:
    turn, order = Turn(), list[str]()
    assert turn.has_room(MOST, 0)
    for name, messages in (("a", MOST - 1), ("b", 1), ("c", 1)):
        turn.reserve(messages, 0).add_done_callback(lambda _, name=name: order.append(name))  # type: ignore[misc]

    await turn.wait(MOST, 0)

    assert order == ["a", "b", "c"]
    assert not turn.has_room(1, 0)
