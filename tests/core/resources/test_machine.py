"""Tests of tekton.core.resources.machine: CPU, memory, disks, network of this machine and of made-up ones."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tekton.clock import SYSTEM_CLOCK
from tekton.core.resources.machine import CpuMeter, DiskMeter, NetworkMeter, RateMeter, disk, memory
from tekton.core.resources.sample import GIB, Rates
from tekton.testing import ManualClock


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


class Times:
    """What psutil tells of a core."""

    def __init__(self, **seconds: float) -> None:
        self._seconds = {"user": 0.0, "system": 0.0, "idle": 0.0, "iowait": 0.0, "guest": 0.0, **seconds}

    def _asdict(self) -> dict[str, float]:
        return self._seconds


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> list[Times]:
    """The times that psutil tells; change them."""
    told: list[Times] = [Times(), Times()]
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: list(told) if percpu else [])
    return told


class TestCpu:
    def test_this_machine_has_cores_that_are_busy_for_some_part(self) -> None:
        usage = CpuMeter(SYSTEM_CLOCK).read()

        assert len(usage.cores) == psutil.cpu_count()
        assert all(0 <= core <= 1 for core in usage.cores)
        assert 0 <= usage.percent <= 100
        assert 0 < usage.available <= len(usage.cores)

    def test_usage_is_that_between_two_readings(self, cores: list[Times], tmp_path: Path) -> None:
        clock = ManualClock()
        meter = CpuMeter(clock, tmp_path)
        meter.read()
        clock.advance(10)
        # Guests run in the time of their users, and waiting for a disk is idleness.
        cores[:] = [Times(user=3, guest=2, idle=6, iowait=1), Times(system=1, idle=9)]

        usage = meter.read()

        assert usage.cores == pytest.approx((0.3, 0.1))
        assert usage.percent == pytest.approx(20)

    def test_soon_after_a_reading_that_one_is_told_again(self, cores: list[Times], tmp_path: Path) -> None:
        clock = ManualClock()
        meter = CpuMeter(clock, tmp_path)
        meter.read()
        clock.advance(1)
        cores[0] = Times(user=1)
        first = meter.read()
        clock.advance(0.01)
        cores[0] = Times(user=1, idle=0.01)

        assert meter.read() is first

    def test_counters_that_go_back_are_no_usage(self, cores: list[Times], tmp_path: Path) -> None:
        clock = ManualClock()
        cores[0] = Times(user=100, idle=100)
        meter = CpuMeter(clock, tmp_path)
        meter.read()
        clock.advance(1)
        cores[0] = Times(user=99, idle=100.5)

        assert meter.read().cores == (0.0, 0.0)

    def test_of_a_limit_the_used_part_counts_when_it_is_more(self, cores: list[Times], tmp_path: Path) -> None:
        write(tmp_path / "proc/self/cgroup", "0::/\n")
        write(tmp_path / "sys/fs/cgroup/cpu.max", "50000 100000")
        write(tmp_path / "sys/fs/cgroup/cpu.stat", "usage_usec 1000000")
        clock = ManualClock()
        meter = CpuMeter(clock, tmp_path)
        meter.read()
        clock.advance(10)
        cores[:] = [Times(user=5, idle=5), Times(idle=10)]
        write(tmp_path / "sys/fs/cgroup/cpu.stat", "usage_usec 5000000")

        usage = meter.read()

        assert usage.cores == (0.5, 0.0)
        assert usage.percent == pytest.approx(80)
        assert usage.available == 0.5


class TestMemory:
    def test_this_machine_has_some(self) -> None:
        found = memory()

        assert 0 < found.free <= found.total <= psutil.virtual_memory().total / GIB
        assert found.percent == pytest.approx(100 * found.used / found.total)

    def test_the_tightest_limit_takes_the_place_of_the_machine(self, tmp_path: Path) -> None:
        write(tmp_path / "proc/self/cgroup", "0::/web\n")
        write(tmp_path / "sys/fs/cgroup/web/memory.max", str(8 * 1024**2))
        write(tmp_path / "sys/fs/cgroup/web/memory.current", str(6 * 1024**2))
        write(tmp_path / "sys/fs/cgroup/web/memory.stat", "inactive_file 0")

        found = memory(tmp_path)

        assert (found.total * GIB, found.free * GIB, found.percent) == (8 * 1024**2, 2 * 1024**2, 75)
        assert found.limited

    def test_a_limit_beyond_the_machine_says_nothing(self, tmp_path: Path) -> None:
        write(tmp_path / "proc/self/cgroup", "0::/web\n")
        write(tmp_path / "sys/fs/cgroup/web/memory.max", str(1 << 59))
        write(tmp_path / "sys/fs/cgroup/web/memory.current", "0")
        write(tmp_path / "sys/fs/cgroup/web/memory.stat", "")

        assert not memory(tmp_path).limited


class TestDisks:
    def test_a_folder_that_is_not_there_yet_lies_on_the_disk_of_the_one_above(self, tmp_path: Path) -> None:
        missing, there = disk(str(tmp_path / "not" / "yet")), disk(str(tmp_path))

        assert missing.total == there.total
        assert missing.path == str(tmp_path / "not" / "yet")
        assert 0 <= there.percent <= 100
        assert 0 < there.free < there.total

    def test_the_first_reading_of_the_traffic_is_none(self) -> None:
        assert DiskMeter(SYSTEM_CLOCK).read() == Rates(0, 0)


class TestRates:
    def test_they_are_bytes_a_second_since_the_last_reading(self) -> None:
        clock = ManualClock()
        meter = RateMeter(clock)
        meter.rates({"eth0": (100, 10)})
        clock.advance(2)

        assert meter.rates({"eth0": (300, 10), "eth1": (5, 5)}) == {"eth0": Rates(100, 0)}

    def test_a_counter_that_was_set_back_says_nothing_once(self) -> None:
        clock = ManualClock()
        meter = RateMeter(clock)
        meter.rates({"eth0": (100, 10)})
        clock.advance(1)
        assert meter.rates({"eth0": (50, 20)}) == {}
        clock.advance(1)

        assert meter.rates({"eth0": (60, 20)}) == {"eth0": Rates(10, 0)}

    def test_loopback_is_no_traffic(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def told(pernic: bool) -> Any:
            return {name: SimpleNamespace(bytes_recv=7, bytes_sent=9) for name in ("lo", "lo0", "eth0", "lovely")}

        monkeypatch.setattr(psutil, "net_io_counters", told)

        found = NetworkMeter(ManualClock()).read()

        assert (found.received, found.sent, found.rates) == (14, 18, Rates(0, 0))
