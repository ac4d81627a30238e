"""GPUs, by NVIDIA's management library: the module `pynvml` of the package `nvidia-ml-py`.

A machine without a driver has no GPU: `read` raises NoGpuError, which says why there is none. The library counts who
initialises it and who shuts it down, for the process as a whole, so that another user of it can shut it down under us:
then it is initialised again. Calls may take seconds, or hang with a driver in trouble: they are made in a thread with a
deadline (`sensor`).
"""

import importlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from tekton.core.resources.sample import GIB, GpuUsage

_UNINITIALIZED: Final = 1
_NOT_HERE: Final = frozenset({9, 12, 13})
"""NVML_ERROR_DRIVER_NOT_LOADED, _LIBRARY_NOT_FOUND, _FUNCTION_NOT_FOUND."""
_NOT_TOLD: Final = frozenset({3, 4, 6})
"""NVML_ERROR_NOT_SUPPORTED, _NO_PERMISSION, _NOT_FOUND: this GPU, or this driver, does not tell everything."""
_NO_SUCH_VERSION: Final = frozenset({3, 13, 25})
"""NVML_ERROR_NOT_SUPPORTED, _FUNCTION_NOT_FOUND, _ARGUMENT_VERSION_MISMATCH."""
_LARGEST: Final = 1 << 62
"""Memory beyond this is NVML_VALUE_NOT_AVAILABLE."""


class NoGpuError(Exception):
    """There is no GPU that we could see; the text says why."""


class Gpus:
    """The GPUs of this machine. *load* imports the library."""

    def __init__(self, load: Callable[[], Any] = lambda: importlib.import_module("pynvml")) -> None:
        self._load = load
        self._nvml: Any = None
        self._turn = threading.Lock()

    def read(self) -> Sequence[GpuUsage]:
        """All of them. Raises NoGpuError, and NVML's own errors when the driver is in trouble."""
        with self._turn:
            self._start()
            try:
                return self._read_all()
            except self._nvml.NVMLError as error:
                if _number(error) != _UNINITIALIZED:
                    raise
            # Somebody else has shut it down.
            self._nvml = None
            self._start()
            return self._read_all()

    def close(self) -> None:
        """Shut the library down, if we have initialised it and nobody hangs in it."""
        if self._turn.acquire(blocking=False):
            try:
                nvml, self._nvml = self._nvml, None
                if nvml is not None:
                    with suppress(nvml.NVMLError):
                        nvml.nvmlShutdown()
            finally:
                self._turn.release()

    def _start(self) -> None:
        if self._nvml is not None:
            return
        try:
            nvml = self._load()
        except ImportError:
            raise NoGpuError("nvidia-ml-py is not installed") from None
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            if _number(error) in _NOT_HERE:
                raise NoGpuError(str(error)) from None
            raise
        self._nvml = nvml

    def _read_all(self) -> Sequence[GpuUsage]:
        count = self._nvml.nvmlDeviceGetCount()
        if not count:
            raise NoGpuError("there is no GPU")
        gpus: list[GpuUsage] = []
        failure: Exception | None = None
        for number in range(count):
            try:
                gpus.append(self._read_one(number))
            except self._nvml.NVMLError as error:
                if _number(error) == _UNINITIALIZED:
                    raise
                # The others may be well.
                failure = error
                gpus.append(GpuUsage(number, "", problem=str(error)))
        if failure is not None and all(gpu.problem for gpu in gpus):
            raise failure
        return gpus

    def _read_one(self, number: int) -> GpuUsage:
        nvml = self._nvml
        device = nvml.nvmlDeviceGetHandleByIndex(number)
        memory = self._ask(self._memory, device)
        usage = self._ask(nvml.nvmlDeviceGetUtilizationRates, device)
        power = self._ask(nvml.nvmlDeviceGetPowerUsage, device)
        return GpuUsage(
            number,
            _text(self._ask(nvml.nvmlDeviceGetName, device)),
            None if usage is None else float(usage.gpu),
            None if memory is None else memory.used / GIB,
            None if memory is None else memory.total / GIB,
            None if memory is None else memory.free / GIB,
            self._ask(nvml.nvmlDeviceGetTemperature, device, nvml.NVML_TEMPERATURE_GPU),
            None if power is None else power / 1000,
            self._processes(device),
        )

    def _memory(self, device: Any) -> Any:
        # The first version counts as used what the driver keeps for itself, which is in the way of nobody's count.
        try:
            return self._nvml.nvmlDeviceGetMemoryInfo(device, self._nvml.nvmlMemory_v2)
        except self._nvml.NVMLError as error:
            if _number(error) not in _NO_SUCH_VERSION:
                raise
        return self._nvml.nvmlDeviceGetMemoryInfo(device)

    def _processes(self, device: Any) -> dict[int, float]:
        # One that computes and draws is in both lists, with the same memory.
        found: dict[int, float] = {}
        for process in self._running(device):
            if process.usedGpuMemory is not None and process.usedGpuMemory < _LARGEST:
                found[process.pid] = max(found.get(process.pid, 0.0), process.usedGpuMemory / GIB)
        return found

    def _running(self, device: Any) -> Iterator[Any]:
        yield from self._ask(self._nvml.nvmlDeviceGetComputeRunningProcesses, device) or ()
        yield from self._ask(self._nvml.nvmlDeviceGetGraphicsRunningProcesses, device) or ()

    def _ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        """The answer, or None for what this GPU does not tell."""
        try:
            return question(*arguments)
        except self._nvml.NVMLError as error:
            if _number(error) not in _NOT_TOLD:
                raise
            return None


def _number(error: Exception) -> int:
    return int(getattr(error, "value", -1))


def _text(name: Any) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name or "")
