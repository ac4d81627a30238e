"""Tests of tekton.supervisor.admission: what must be free on the machine, and what is."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tekton.supervisor.admission import Resources, read_resources, unmet
from tekton.utils.config_schema import ConstraintSpec

GIB = 1024**3
PLENTY = Resources(cpu_percent=10, memory_percent=20, memory_free=50, disk_free=500, gpu_memory_free=70)


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize("name", ConstraintSpec.__struct_fields__)
def test_every_constraint_of_the_configuration_has_a_rule(name: str) -> None:
    impossible = 1e9 if name.endswith("_min") else 0.0

    assert unmet({name: impossible}, PLENTY)[0].startswith(f"{name}: ")


def test_what_holds_is_not_mentioned() -> None:
    assert unmet({}, Resources()) == []
    assert unmet({"memory_free_min": 50, "cpu_percent_max": 10}, PLENTY) == []


def test_what_does_not_hold_says_what_there_is_and_what_is_wanted() -> None:
    found = Resources(cpu_percent=97.4, memory_percent=91, memory_free=2, disk_free=0.04, gpu_memory_free=1.5)
    constraints = {
        "cpu_percent_max": 80.0,
        "memory_percent_max": 90.0,
        "memory_free_min": 4.0,
        "disk_free_min": 10.0,
        "gpu_mem_free_min": 2.0,
    }

    assert unmet(constraints, found) == [
        "cpu_percent_max: CPU at 97 %, 80 % allowed",
        "memory_percent_max: memory at 91 %, 90 % allowed",
        "memory_free_min: 2.0 GiB free of 4.0 wanted",
        "disk_free_min: 0.0 GiB free of 10.0 wanted",
        "gpu_mem_free_min: 1.5 GiB free of 2.0 wanted",
    ]


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    assert read_resources(()) == Resources()

    found = read_resources({"memory_free_min", "disk_free_min"}, str(tmp_path))

    assert found.memory_free is not None
    assert found.disk_free is not None
    assert found.memory_free > 0
    assert found.disk_free > 0
    assert (found.cpu_percent, found.gpu_memory_free, found.gpu_problem) == (None, None, None)


def test_cpu_usage_is_a_percentage_of_the_machine() -> None:
    found = read_resources({"cpu_percent_max"})

    assert found.cpu_percent is not None
    assert 0 <= found.cpu_percent <= 100


def test_a_folder_that_is_not_there_yet_lies_on_the_disk_of_the_one_above(tmp_path: Path) -> None:
    missing = read_resources({"disk_free_min"}, str(tmp_path / "not" / "yet"))

    assert missing.disk_free == pytest.approx(read_resources({"disk_free_min"}, str(tmp_path)).disk_free, abs=1)


class TestControlGroups:
    def test_the_tightest_limit_on_the_way_up_counts(self, tmp_path: Path) -> None:
        write(tmp_path / "proc/self/cgroup", "0::/work/web\n")
        outer, inner = tmp_path / "sys/fs/cgroup/work", tmp_path / "sys/fs/cgroup/work/web"
        write(outer / "memory.max", "4194304\n")
        write(outer / "memory.current", "3145728\n")
        write(outer / "memory.stat", "anon 2097152\ninactive_file 1048576\n")
        write(inner / "memory.max", "max\n")

        found = read_resources({"memory_free_min", "memory_percent_max"}, root=tmp_path)

        assert found.memory_free == 2 * 1024**2 / GIB
        assert found.memory_percent == 50

    def test_those_of_the_first_version_are_read_too(self, tmp_path: Path) -> None:
        write(tmp_path / "proc/self/cgroup", "4:memory:/web\n0::/\n")
        group = tmp_path / "sys/fs/cgroup/memory/web"
        write(group / "memory.limit_in_bytes", "1048576\n")
        write(group / "memory.usage_in_bytes", "1048576\n")
        write(group / "memory.stat", "total_inactive_file 262144\n")

        assert read_resources({"memory_free_min"}, root=tmp_path).memory_free == 262144 / GIB

    @pytest.mark.parametrize("limit", ["max", "9223372036854771712", "nonsense"])
    def test_without_a_limit_the_machine_counts(self, tmp_path: Path, limit: str) -> None:
        write(tmp_path / "proc/self/cgroup", "4:memory:/web\n0::/web\n")
        write(tmp_path / "sys/fs/cgroup/web/memory.max", limit)
        write(tmp_path / "sys/fs/cgroup/memory/web/memory.limit_in_bytes", limit)

        found = read_resources({"memory_free_min"}, root=tmp_path).memory_free

        assert found is not None
        assert 0 < found <= psutil.virtual_memory().total / GIB

    def test_in_a_container_the_limit_stands_at_the_top(self, tmp_path: Path) -> None:
        write(tmp_path / "proc/self/cgroup", "0::/docker/0123\n")
        write(tmp_path / "sys/fs/cgroup/memory.max", "1024")
        write(tmp_path / "sys/fs/cgroup/memory.current", "2048")
        write(tmp_path / "sys/fs/cgroup/memory.stat", "")

        assert read_resources({"memory_free_min"}, root=tmp_path).memory_free == 0


class TestGpus:
    def nvml(self, *free: int, error: str | None = None) -> Any:
        """A driver with that much free memory on each GPU."""

        class NVMLError(Exception):
            pass

        def start() -> None:
            if error:
                raise NVMLError(error)

        return SimpleNamespace(
            NVMLError=NVMLError,
            nvmlInit=start,
            nvmlShutdown=lambda: None,
            nvmlDeviceGetCount=lambda: len(free),
            nvmlDeviceGetHandleByIndex=lambda index: free[index],
            nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(free=handle),
        )

    def test_the_one_with_the_most_free_memory_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", self.nvml(GIB, 3 * GIB, 2 * GIB))

        assert read_resources({"gpu_mem_free_min"}).gpu_memory_free == 3

    def test_no_driver_is_no_memory_and_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", self.nvml(error="Driver Not Loaded"))

        found = unmet({"gpu_mem_free_min": 2}, read_resources({"gpu_mem_free_min"}))

        assert found == ["gpu_mem_free_min: 0.0 GiB free of 2.0 wanted (Driver Not Loaded)"]

    def test_nor_does_a_machine_without_any_have_some(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", self.nvml())

        assert read_resources({"gpu_mem_free_min"}).gpu_problem == "there is no GPU"

    def test_without_the_library_that_is_the_reason(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", None)

        assert read_resources({"gpu_mem_free_min"}).gpu_problem == "pynvml is not installed"
