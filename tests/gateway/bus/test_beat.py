"""In a flood, what sockets publish is stored in step."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tekton.bus.bus import StreamSettings
from tekton.gateway.bus.beat import BEAT, ENOUGH, FLOOD, LOOKED_AT, Beat
from tekton.mcp.message import Message
from tekton.testing import current_clock, virtual_time


def at_once(beat: Beat, messages: int, *, pipelined: bool = True) -> bool:
    """Whether nobody has to wait to store *messages*."""
    try:
        beat.wait(messages, pipelined=pipelined).send(None)
    except StopIteration:
        return True
    return False


async def waited(beat: Beat, messages: int) -> float:
    """Store *messages*; the seconds that had to be waited for that."""
    began = current_clock().monotonic()
    await beat.wait(messages, pipelined=True)
    return current_clock().monotonic() - began


@virtual_time
async def test_what_is_no_flood_is_stored_at_once() -> None:
    beat = Beat()
    for _ in range(10):
        assert at_once(beat, FLOOD // 2 - 1)
        await asyncio.sleep(LOOKED_AT)


@virtual_time
async def test_in_a_flood_those_who_have_more_on_its_way_wait_for_one_another() -> None:
    beat = Beat()
    assert at_once(beat, FLOOD - 1)

    first = asyncio.ensure_future(waited(beat, 1))
    await asyncio.sleep(BEAT / 2)

    assert await waited(beat, 1) == pytest.approx(BEAT / 2)
    assert await first == pytest.approx(BEAT)


@virtual_time
async def test_who_waits_for_each_receipt_is_not_held_up_by_a_flood() -> None:
    beat = Beat()
    at_once(beat, FLOOD)
    assert not at_once(beat, 1)

    assert at_once(beat, 1, pipelined=False)


@virtual_time
async def test_when_enough_messages_wait_nobody_waits_any_longer() -> None:
    beat = Beat()
    at_once(beat, FLOOD)
    others = [asyncio.ensure_future(waited(beat, 10)) for _ in range(3)]
    await asyncio.sleep(0)

    assert await waited(beat, ENOUGH - 30) == 0.0
    assert await asyncio.gather(*others) == [0.0, 0.0, 0.0]
    assert await waited(beat, 1) == pytest.approx(BEAT)


@virtual_time
async def test_a_flood_that_was_is_forgotten() -> None:
    beat = Beat()
    assert at_once(beat, 10 * ENOUGH)
    await asyncio.sleep(2 * LOOKED_AT)

    assert at_once(beat, 1)


async def test_only_who_publishes_on_without_a_receipt_waits_for_others(
    bus: Any, people: Any, message: Callable[..., Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, bool]] = []

    async def wait(_: Beat, messages: int, *, pipelined: bool) -> None:
        seen.append((messages, pipelined))

    monkeypatch.setattr(Beat, "wait", wait)
    await bus.bus.create_stream("orders", StreamSettings(("orders.>",)))
    peer = bus.connect(people.ada)
    for number in (1, 2, 3):
        peer.publish("orders.new", message("ada", number), id=number)
        await peer.get(number)
    assert seen == [(1, False)] * 3

    for number in (4, 5, 6):
        peer.publish("orders.new", message("ada", number), id=number)
    for number in (4, 5, 6):
        await peer.get(number)
    assert sum(messages for messages, _ in seen) == 6
    assert seen[-1][1]
