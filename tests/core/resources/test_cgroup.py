"""Tests of tekton.core.resources.cgroup: what control groups leave us."""

from pathlib import Path

import pytest

from tekton.core.resources.cgroup import CpuLimit, MemoryLimit, cpu_limits, memory_limits


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


class TestMemory:
    def test_every_limited_group_on_the_way_up_counts_and_page_cache_is_free(self, tmp_path: Path) -> None:
        write(tmp_path / "proc/self/cgroup", "0::/work/web\n")
        outer, inner = tmp_path / "sys/fs/cgroup/work", tmp_path / "sys/fs/cgroup/work/web"
        write(outer / "memory.max", "4194304\n")
        write(outer / "memory.current", "3145728\n")
        write(outer / "memory.stat", "anon 2097152\ninactive_file 1048576\n")
        write(inner / "memory.max", "max\n")

        assert list(memory_limits(tmp_path)) == [MemoryLimit(2 * 1024**2, 4 * 1024**2)]

    def test_those_of_the_first_version_are_read_too(self, tmp_path: Path) -> None:
        write(tmp_path / "proc/self/cgroup", "4:cpu,memory:/web\n0::/\n")
        group = tmp_path / "sys/fs/cgroup/memory/web"
        write(group / "memory.limit_in_bytes", "1048576\n")
        write(group / "memory.usage_in_bytes", "1048576\n")
        write(group / "memory.stat", "total_inactive_file 262144\n")

        assert list(memory_limits(tmp_path)) == [MemoryLimit(262144, 1048576)]

    @pytest.mark.parametrize("limit", ["max", "9223372036854771712", "nonsense"])
    def test_a_group_without_a_limit_does_not_count(self, tmp_path: Path, limit: str) -> None:
        write(tmp_path / "proc/self/cgroup", "4:memory:/web\n0::/web\n")
        write(tmp_path / "sys/fs/cgroup/web/memory.max", limit)
        write(tmp_path / "sys/fs/cgroup/memory/web/memory.limit_in_bytes", limit)

        assert list(memory_limits(tmp_path)) == []

    def test_in_a_container_the_limit_stands_at_the_top(self, tmp_path: Path) -> None:
        write(tmp_path / "proc/self/cgroup", "0::/docker/0123\n")
        write(tmp_path / "sys/fs/cgroup/memory.max", "1024")
        write(tmp_path / "sys/fs/cgroup/memory.current", "2048")
        write(tmp_path / "sys/fs/cgroup/memory.stat", "")

        assert list(memory_limits(tmp_path)) == [MemoryLimit(0, 1024)]


class TestCpu:
    def test_a_quota_is_a_number_of_cores(self, tmp_path: Path) -> None:
        write(tmp_path / "proc/self/cgroup", "0::/work/web\n")
        write(tmp_path / "sys/fs/cgroup/work/cpu.max", "150000 100000\n")
        write(tmp_path / "sys/fs/cgroup/work/cpu.stat", "usage_usec 2500000\nuser_usec 1\n")
        write(tmp_path / "sys/fs/cgroup/work/web/cpu.max", "max 100000\n")

        assert list(cpu_limits(tmp_path)) == [CpuLimit(str(tmp_path / "sys/fs/cgroup/work"), 1.5, 2.5)]

    def test_that_of_the_first_version_is_read_too(self, tmp_path: Path) -> None:
        write(tmp_path / "proc/self/cgroup", "4:cpu,cpuacct:/web\n")
        group = tmp_path / "sys/fs/cgroup/cpu/web"
        write(group / "cpu.cfs_quota_us", "50000\n")
        write(group / "cpu.cfs_period_us", "100000\n")
        write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
        write(tmp_path / "sys/fs/cgroup/cpuacct/web/cpuacct.usage", "7000000000\n")

        assert list(cpu_limits(tmp_path)) == [CpuLimit(str(group), 0.5, 7.0)]


def test_without_control_groups_there_are_no_limits(tmp_path: Path) -> None:
    assert not list(memory_limits(tmp_path))
    assert not list(cpu_limits(tmp_path))
