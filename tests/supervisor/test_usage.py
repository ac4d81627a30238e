"""What processes use: whose it is, since when, and how often one looks."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import Container

import pytest

from tekton.supervisor import usage
from tekton.supervisor.usage import FRESH, Look, ProcessUsage, Sample, TreeMeter, Usage, look_around
from tekton.testing import ManualClock

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def sample(pid: int, parent: int = 1, *, session: int = 0, started: int = 0, ticks: int = 0, pages: int = 0) -> Sample:
    return Sample(pid, parent, session or pid, started, ticks, pages)


class Machine:
    """A machine whose processes are set by the test, and that counts how often one looks."""

    def __init__(self, *samples: Sample) -> None:
        self.uptime = 1000.0
        self.samples = samples
        self.looks = 0

    def look(self) -> Look:
        self.looks += 1
        return Look(self.uptime, {one.pid: one for one in self.samples})


def measuring(machine: Machine, *roots: int) -> tuple[Usage, ManualClock]:
    clock = ManualClock()
    return Usage(lambda: roots, clock=clock, look=machine.look), clock


async def test_a_process_counts_with_all_that_it_has_started() -> None:
    machine = Machine(
        sample(10, pages=1),
        sample(11, 10, session=10, pages=2),
        sample(12, 11, session=12, pages=4),  # a session of its own, but below it
        sample(13, 1, session=10, pages=8),  # its parent has ended, but the session is the same
        sample(14, 1, session=14, pages=16),  # neither
        sample(20, pages=32),
    )
    usage, _ = measuring(machine, 10, 20)
    await usage.refresh()

    found = usage.of(10), usage.of(20)
    assert [one.memory for one in found if one is not None] == [15 * PAGE, 32 * PAGE]


async def test_what_is_below_two_counts_for_the_nearer_one() -> None:
    machine = Machine(sample(10, pages=1), sample(20, 10, pages=2), sample(21, 20, session=20, pages=4))
    usage, _ = measuring(machine, 10, 20)
    await usage.refresh()

    assert usage.of(10) == ProcessUsage(0.0, PAGE)
    assert usage.of(20) == ProcessUsage(0.0, 6 * PAGE)


def test_strangers_are_looked_at_now_and_then_only(monkeypatch: pytest.MonkeyPatch) -> None:
    everybody = {pid: sample(pid, 1 if pid < 20 else 10, pages=1) for pid in (10, 11, 20)}
    left_out: list[set[int]] = []

    def look(without: Container[int]) -> Look:
        left_out.append({pid for pid in everybody if pid in without})
        return Look(1000.0, {pid: one for pid, one in everybody.items() if pid not in without})

    monkeypatch.setattr(usage, "look_around", look)
    meter = TreeMeter(thorough=3)

    found = [meter.measure({10}) for _ in range(4)]
    # What was a stranger's pid may be asked about at any time.
    found.append(meter.measure({10, 11}))

    assert left_out == [set(), {11}, {11}, set(), set()]
    assert [sorted(trees[10].pids) for trees in found] == [[10, 20]] * 5
    assert list(found[-1][11].pids) == [11]


async def test_cpu_is_a_share_of_one_core_since_the_look_before() -> None:
    machine = Machine(sample(10, started=0, ticks=100), sample(11, 10, ticks=100))
    usage, clock = measuring(machine, 10)
    await usage.refresh()
    machine.uptime += 10.0
    machine.samples = (sample(10, started=0, ticks=100 + 3 * TICKS), sample(11, 10, ticks=100 + 12 * TICKS))
    clock.advance(FRESH)
    await usage.refresh()

    assert usage.of(10) == ProcessUsage(1.5, 0)


async def test_the_first_look_counts_from_the_start_of_the_process() -> None:
    usage, _ = measuring(Machine(sample(10, started=990 * TICKS, ticks=5 * TICKS)), 10)
    await usage.refresh()

    assert usage.of(10) == ProcessUsage(0.5, 0)


async def test_another_process_with_the_same_pid_begins_anew() -> None:
    machine = Machine(sample(10, started=0, ticks=500 * TICKS))
    usage, clock = measuring(machine, 10)
    await usage.refresh()
    machine.samples = (sample(10, started=1000 * TICKS, ticks=TICKS),)
    machine.uptime += 10.0
    clock.advance(FRESH)
    await usage.refresh()

    assert usage.of(10) == ProcessUsage(0.1, 0)


async def test_a_child_that_nobody_reaps_makes_no_negative_usage() -> None:
    machine = Machine(sample(10, ticks=1), sample(11, 10, ticks=1000))
    usage, clock = measuring(machine, 10)
    await usage.refresh()
    machine.samples = (sample(10, ticks=2),)
    clock.advance(FRESH)
    await usage.refresh()

    assert usage.of(10) == ProcessUsage(0.0, 0)


async def test_one_look_serves_all_who_ask_within_a_moment() -> None:
    machine = Machine(sample(10))
    usage, clock = measuring(machine, 10)
    await asyncio.gather(*(usage.refresh() for _ in range(20)))
    clock.advance(FRESH / 2)
    await usage.refresh()
    assert machine.looks == 1

    clock.advance(FRESH / 2)
    await usage.refresh()
    assert machine.looks == 2


async def test_without_processes_nobody_looks() -> None:
    machine = Machine()
    usage, _ = measuring(machine)
    await usage.refresh()

    assert machine.looks == 0
    assert usage.of(10) is None
    assert usage.of(None) is None


async def test_what_has_ended_is_known_no_more() -> None:
    machine = Machine(sample(10))
    usage, clock = measuring(machine, 10)
    await usage.refresh()
    machine.samples = ()
    clock.advance(FRESH)
    await usage.refresh()

    assert usage.of(10) is None


async def test_processes_that_are_their_own_ancestors_end_the_search() -> None:
    # /proc is no snapshot: with pids used again, a chain of parents may come back to where it began.
    usage, _ = measuring(Machine(sample(10), sample(11, 12), sample(12, 11)), 10)
    await usage.refresh()

    assert usage.of(10) == ProcessUsage(0.0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
async def test_real_processes_are_seen_with_their_children() -> None:
    script = (
        "import subprocess; x = b'x' * 30_000_000; subprocess.Popen(['sleep', '60']); print(1, flush=True); input()"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-S", "-c", script), stdin=PIPE, stdout=PIPE, start_new_session=True
    )
    assert process.stdout is not None
    await process.stdout.readline()
    trees = usage._trees(look_around().samples, frozenset({process.pid}))
    measured = Usage(lambda: [process.pid])
    await measured.refresh()
    os.killpg(process.pid, signal.SIGKILL)
    await process.communicate()

    found = measured.of(process.pid)
    assert [one.parent for one in trees[process.pid]] == [os.getpid(), process.pid]
    assert found is not None
    assert found.memory >= 30_000_000
