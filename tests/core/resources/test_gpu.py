"""Tests of tekton.core.resources.gpu: GPUs by a made-up NVML, and what it comes up with."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tekton.core.resources.gpu import Gpus, NoGpuError
from tekton.core.resources.sample import GIB

UNINITIALIZED, NOT_SUPPORTED, DRIVER_NOT_LOADED, LOST, UNKNOWN = 1, 3, 9, 15, 999


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        self.value = value
        super().__init__(f"NVML error {value}")


class Nvml:
    """The library of a machine with GPUs. Each of `fails` is `question: (number of the GPU or None, error)`."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0
    memory_v2 = 2
    reserved = GIB // 2
    """What the driver keeps for itself of each GPU."""

    def __init__(self, *free: float, **fails: tuple[int | None, int]) -> None:
        self.free = free
        self.fails = fails
        self.users = 0
        self.starts = 0

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            raise AttributeError(name)
        return getattr(self, name.removeprefix("nvml").removeprefix("DeviceGet").lower())

    def _ask(self, question: str, gpu: int | None = None) -> None:
        if question != "Init" and not self.users:
            raise NVMLError(UNINITIALIZED)
        who, error = self.fails.get(question, (0, 0))
        if error and who in (None, gpu):
            raise NVMLError(error)

    def init(self) -> None:
        self._ask("Init")
        self.users += 1
        self.starts += 1

    def shutdown(self) -> None:
        self.users -= 1

    def count(self) -> int:
        self._ask("Count")
        return len(self.free)

    def handlebyindex(self, index: int) -> int:
        self._ask("Handle", index)
        return index

    def memoryinfo(self, gpu: int, version: int = 1) -> Any:
        self._ask("Memory", gpu)
        self._ask(f"Memory{version}", gpu)
        free = int(self.free[gpu] * GIB)
        return SimpleNamespace(total=8 * GIB, free=free, used=8 * GIB - free - (self.reserved if version == 2 else 0))

    def utilizationrates(self, gpu: int) -> Any:
        self._ask("Utilization", gpu)
        return SimpleNamespace(gpu=45, memory=10)

    def name(self, gpu: int) -> str | bytes:
        self._ask("Name", gpu)
        return b"Old GPU" if gpu else "New GPU"

    def powerusage(self, gpu: int) -> int:
        self._ask("Power", gpu)
        return 71_500

    def temperature(self, gpu: int, kind: int) -> int:
        assert kind == self.NVML_TEMPERATURE_GPU
        self._ask("Temperature", gpu)
        return 40

    def computerunningprocesses(self, gpu: int) -> Sequence[Any]:
        self._ask("Processes", gpu)
        return [
            SimpleNamespace(pid=10, usedGpuMemory=GIB),
            SimpleNamespace(pid=11, usedGpuMemory=None),
            SimpleNamespace(pid=12, usedGpuMemory=(1 << 64) - 1),
        ]

    def graphicsrunningprocesses(self, gpu: int) -> Sequence[Any]:
        self._ask("Processes", gpu)
        return [SimpleNamespace(pid=10, usedGpuMemory=GIB), SimpleNamespace(pid=13, usedGpuMemory=GIB // 2)]


def test_every_gpu_is_told_with_what_it_does() -> None:
    first, second = Gpus(lambda: Nvml(3.0, 7.5)).read()

    assert (first.id, first.name, first.util, first.temperature, first.power) == (0, "New GPU", 45.0, 40, 71.5)
    assert (first.mem_used, first.mem_free, first.mem_total, first.mem_percent) == (4.5, 3.0, 8.0, 62.5)
    assert first.processes == {10: 1.0, 13: 0.5}
    assert (second.id, second.name, second.mem_free) == (1, "Old GPU", 7.5)


@pytest.mark.parametrize("error", [NOT_SUPPORTED, 13, 25])
def test_an_old_driver_counts_what_it_keeps_for_itself_as_used(error: int) -> None:
    (gpu,) = Gpus(lambda: Nvml(3.0, Memory2=(0, error))).read()

    assert (gpu.mem_used, gpu.mem_free) == (5.0, 3.0)


@pytest.mark.parametrize("error", [DRIVER_NOT_LOADED, 12, 13])
def test_without_a_driver_there_is_no_gpu(error: int) -> None:
    with pytest.raises(NoGpuError, match=f"NVML error {error}"):
        Gpus(lambda: Nvml(3.0, Init=(None, error))).read()


def test_nor_is_there_one_on_a_machine_without_any() -> None:
    with pytest.raises(NoGpuError, match="there is no GPU"):
        Gpus(Nvml).read()


def test_without_the_library_that_is_the_reason() -> None:
    def load() -> Any:
        raise ModuleNotFoundError("No module named 'pynvml'")

    with pytest.raises(NoGpuError, match="nvidia-ml-py is not installed"):
        Gpus(load).read()


def test_the_library_that_is_installed_is_the_one_that_is_asked() -> None:
    pynvml = pytest.importorskip("pynvml")

    try:
        found = Gpus().read()
    except (NoGpuError, pynvml.NVMLError):
        return
    assert all(gpu.name or gpu.problem for gpu in found)


def test_what_a_gpu_does_not_tell_is_none() -> None:
    fails = dict.fromkeys(("Memory", "Utilization", "Power", "Temperature", "Processes"), (0, NOT_SUPPORTED))

    (gpu,) = Gpus(lambda: Nvml(3.0, **fails)).read()

    assert (gpu.util, gpu.mem_used, gpu.mem_percent, gpu.power, gpu.temperature) == (None,) * 5
    assert (gpu.processes, gpu.problem) == ({}, None)


@pytest.mark.parametrize("question", ["Handle", "Memory", "Processes"])
def test_one_that_has_fallen_off_the_bus_does_not_take_the_others_with_it(question: str) -> None:
    well, lost = Gpus(lambda: Nvml(3.0, 8.0, **{question: (1, LOST)})).read()

    assert (well.mem_free, well.problem) == (3.0, None)
    assert (lost.mem_free, lost.problem) == (None, "NVML error 15")


def test_when_none_answers_that_is_an_error() -> None:
    with pytest.raises(NVMLError, match="999"):
        Gpus(lambda: Nvml(3.0, Memory=(0, UNKNOWN))).read()


def test_when_somebody_else_shuts_the_library_down_it_is_initialised_again() -> None:
    nvml = Nvml(3.0)
    gpus = Gpus(lambda: nvml)
    gpus.read()
    nvml.shutdown()

    assert gpus.read()[0].mem_free == 3.0
    assert (nvml.users, nvml.starts) == (1, 2)


def test_the_library_is_initialised_once_and_shut_down_once() -> None:
    nvml = Nvml(3.0)
    gpus = Gpus(lambda: nvml)
    for _ in range(3):
        gpus.read()
    assert (nvml.users, nvml.starts) == (1, 1)

    gpus.close()
    gpus.close()

    assert nvml.users == 0
