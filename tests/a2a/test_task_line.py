"""Tasks that were taken up are begun a few at a time, whatever those do that were begun before."""

import asyncio

from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.task import Task
from tekton.a2a.task_event import Budget, Created
from tekton.a2a.task_line import AT_ONCE, TURN, TaskLine
from tekton.a2a.task_log import MemoryTaskLog
from tekton.a2a.task_manager import TaskManager
from tekton.testing import virtual_time
from tekton.testing.clock import current_clock


def task(task_id: str, seconds: float) -> Task:
    now = current_clock().time()
    return Task(task_id, Created("review", {}, now + seconds, Budget(), task_id), now, now)


class Drivers:
    """Begins tasks, each of which is over when it is told to be."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.over: dict[str, asyncio.Event] = {}
        self.line = TaskLine(self.begin, current_clock())

    def begin(self, task_id: str) -> "asyncio.Task[None]":
        self.begun.append(task_id)
        return asyncio.ensure_future(self._drive(self.over.setdefault(task_id, asyncio.Event())))

    async def _drive(self, over: asyncio.Event) -> None:
        await over.wait()


@virtual_time
async def test_one_that_is_over_gives_its_place_to_the_one_whose_deadline_is_first() -> None:
    drivers = Drivers()
    drivers.line.add([task(f"t{number}", 1000 - number) for number in range(AT_ONCE + 2)])
    assert drivers.begun == [f"t{number}" for number in range(AT_ONCE + 1, 1, -1)]
    assert ("t0" in drivers.line, "t9" in drivers.line, len(drivers.line)) == (True, False, 2)

    drivers.over["t9"].set()
    await asyncio.sleep(TURN / 2)

    assert drivers.begun[AT_ONCE:] == ["t1"]
    drivers.line.close()


@virtual_time
async def test_those_that_take_long_hold_nobody_up() -> None:
    drivers = Drivers()
    drivers.line.add([task(f"t{number:04}", 1000 + number) for number in range(3 * AT_ONCE)])

    await asyncio.sleep(TURN - 0.1)
    assert len(drivers.begun) == AT_ONCE
    await asyncio.sleep(TURN)
    assert len(drivers.begun) == 2 * AT_ONCE
    await asyncio.sleep(TURN)
    assert (len(drivers.begun), len(drivers.line)) == (3 * AT_ONCE, 0)
    assert drivers.begun == sorted(drivers.begun)


@virtual_time
async def test_one_whose_deadline_comes_while_it_waits_has_its_turn_then() -> None:
    drivers = Drivers()
    drivers.line.add([task(f"t{number}", 0.5) for number in range(AT_ONCE)])
    drivers.line.add([task("soon", TURN / 2), task("late", 100)])

    await asyncio.sleep(TURN / 2 - 0.1)
    assert "soon" not in drivers.begun
    await asyncio.sleep(0.2)
    assert drivers.begun[AT_ONCE:] == ["soon"]
    drivers.line.close()


@virtual_time
async def test_many_that_are_too_late_leave_others_their_turns() -> None:
    drivers = Drivers()
    drivers.line.add([task(f"t{number:04}", 0.0) for number in range(AT_ONCE + 1000)])

    at_once: list[int] = []
    async with asyncio.timeout(10):
        while drivers.line:
            before = len(drivers.begun)
            await asyncio.sleep(0)
            at_once.append(len(drivers.begun) - before)

    assert max(at_once) < 100
    drivers.line.close()


@virtual_time
async def test_a_line_that_is_closed_begins_nothing_any_more() -> None:
    drivers = Drivers()
    drivers.line.add([task(f"t{number}", 100) for number in range(AT_ONCE + 1)])

    drivers.line.close()
    drivers.over["t3"].set()
    await asyncio.sleep(200)

    assert len(drivers.begun) == AT_ONCE


@virtual_time
async def test_agents_that_hang_are_asked_by_few_tasks_at_a_time_and_by_all_in_the_end() -> None:
    log = MemoryTaskLog()
    for number in range(2 * AT_ONCE + 1):
        one = task(f"t{number:04}", 10_000)
        log.append(one.task_id, [one.created], one.created_at)
    asked: list[float] = []

    async def hang() -> None:
        asked.append(asyncio.get_running_loop().time())
        await asyncio.sleep(5000)

    agents = AgentRegistry()
    agents.register_agent("ada", ["review"], handler=hang)
    async with TaskManager(agents, log=log, clock=current_clock()) as manager:
        assert len(manager.resume()) == 2 * AT_ONCE + 1
        assert manager.resume() == []
        await asyncio.sleep(TURN / 2)
        assert len(asked) == AT_ONCE
        await asyncio.sleep(3 * TURN)
        assert len(asked) == 2 * AT_ONCE + 1


@virtual_time
async def test_of_those_that_wait_one_is_begun_at_once_for_whoever_executes_it_and_none_that_is_over() -> None:
    log = MemoryTaskLog()
    for number in range(AT_ONCE + 2):
        one = task(f"t{number:04}", 1000 + number)
        log.append(one.task_id, [one.created], one.created_at)
    done: list[str] = []

    async def work() -> None:
        await asyncio.sleep(TURN / 2)
        done.append("one")

    agents = AgentRegistry()
    agents.register_agent("ada", ["review"], handler=work)
    async with TaskManager(agents, log=log, clock=current_clock()) as manager:
        manager.resume()
        last, canceled = (f"t{AT_ONCE + 1:04}", f"t{AT_ONCE:04}")
        manager.cancel_task(canceled)

        await manager.execute_task(last)
        await asyncio.sleep(TURN)

        assert len(done) == AT_ONCE + 1
        assert manager.tasks(open_only=True) == []
