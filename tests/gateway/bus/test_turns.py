"""While the registry has precedence sockets take turns, and each gets his. In virtual time."""

import asyncio

import pytest

from tekton.core.precedence import Precedence
from tekton.gateway.bus.turns import IN_A_TICK, LEAST, TICK, Turns
from tekton.testing.clock import current_clock, virtual_time


def at_once(turns: Turns, size: int) -> bool:
    """Whether who has brought so much need not wait."""
    try:
        turns.wait(size).send(None)
    except StopIteration:
        return True
    return False


class Sockets:
    """Sockets that bring frames of *size* bytes without end; who has had a turn, and when."""

    def __init__(self, turns: Turns, names: str, size: int) -> None:
        self.had: list[tuple[str, float]] = []
        self._turns = turns
        self._began = current_clock().monotonic()
        self._tasks = [asyncio.ensure_future(self._bring(name, size)) for name in names]

    async def _bring(self, name: str, size: int) -> None:
        while True:
            await self._turns.wait(size)
            self.had.append((name, current_clock().monotonic() - self._began))
            await asyncio.sleep(0)

    @property
    def order(self) -> str:
        return "".join(name for name, _ in self.had)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@virtual_time
async def test_without_precedence_nobody_waits() -> None:
    turns = Turns(Precedence(current_clock()))

    assert all(at_once(turns, 1_000_000) for _ in range(1000))


@virtual_time
async def test_while_the_registry_is_changed_all_the_time_everybody_gets_his_turn_in_order() -> None:
    precedence = Precedence(current_clock())
    precedence.begin()
    sockets = Sockets(Turns(precedence), "abcde", 100)

    await asyncio.sleep(TICK * 100.5)
    await sockets.stop()

    assert len(sockets.had) == 100 * IN_A_TICK // LEAST
    assert sockets.order == "abcde" * (len(sockets.had) // 5)


@virtual_time
async def test_large_frames_have_as_many_bytes_in_a_tick_as_small_ones() -> None:
    precedence = Precedence(current_clock())
    precedence.begin()
    sockets = Sockets(Turns(precedence), "ab", 10 * IN_A_TICK)

    await asyncio.sleep(TICK * 100.5)
    await sockets.stop()

    assert [at for _, at in sockets.had] == pytest.approx([TICK * (1 + 10 * number) for number in range(10)])


@virtual_time
async def test_when_precedence_ends_nobody_waits_for_longer_than_a_tick() -> None:
    precedence = Precedence(current_clock())
    precedence.begin()
    turns = Turns(precedence)
    waiting = [asyncio.ensure_future(turns.wait(100 * IN_A_TICK)) for _ in range(50)]
    await asyncio.sleep(TICK * 5.5)
    assert sum(one.done() for one in waiting) == 1

    precedence.end()
    await asyncio.sleep(0.005)
    ended = current_clock().monotonic()
    await asyncio.gather(*waiting)

    assert current_clock().monotonic() == ended
    assert at_once(turns, 1)


@virtual_time
async def test_when_precedence_ends_many_go_on_within_few_turns_of_the_loop() -> None:
    precedence = Precedence(current_clock())
    precedence.begin()
    turns = Turns(precedence)
    await turns.wait(1000 * IN_A_TICK)
    waiting = [asyncio.ensure_future(turns.wait(1)) for _ in range(1000)]
    precedence.end()
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)

    taken = 0
    while not all(one.done() for one in waiting):
        taken += 1
        await asyncio.sleep(0)

    assert taken < 100


@virtual_time
async def test_who_has_gone_takes_no_turn() -> None:
    precedence = Precedence(current_clock())
    precedence.begin()
    turns = Turns(precedence)
    gone, there = (asyncio.ensure_future(turns.wait(IN_A_TICK)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(TICK * 1.5)

    assert there.done()


@virtual_time
async def test_what_was_brought_too_much_is_forgotten_when_precedence_has_ended() -> None:
    precedence = Precedence(current_clock())
    precedence.begin()
    turns = Turns(precedence)
    await turns.wait(1000 * IN_A_TICK)
    precedence.end()
    await asyncio.sleep(1.0)
    assert at_once(turns, 1)

    precedence.begin()
    again = asyncio.ensure_future(turns.wait(1))
    await asyncio.sleep(TICK * 1.5)

    assert again.done()
