"""Admission: whether the machine has what a component wants to be free before it starts.

    verdict = admission.admit(instance_uuid, spec.constraints, spec.cwd)     # false: verdict.reasons say why
    admission.release(instance_uuid)                                         # it has what it needs now, or never will

The rules are those of `core.resources.constraints`, the readings those of the resource monitor. A start waits until
it is admitted, within its timeout.

Memory, that of GPUs too, is taken some time after a start is admitted. So what was asked to be free stays reserved,
until the start is over or HOLD seconds have passed: of two that would find the same room at the same moment, the second
one waits. On which GPU a start will settle is not known; it is taken to be the one with the most free memory.
"""

import threading
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.resources.constraints import Readings, Verdict, check

HOLD: Final = 30.0
"""Seconds after which a start that is still under way has taken what it needs."""

Read = Callable[[Container[str], str], Readings]
"""`(constraints, cwd)`: what those constraints are about; see `ResourceMonitor.readings`. Blocks."""


class _Reservation(NamedTuple):
    """In GiB."""

    memory: float
    gpu_memory: float
    until: float


class Admission:
    """See the module. For any thread: `admit` blocks for as long as *read* does."""

    def __init__(self, read: Read, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._read = read
        self._clock = clock
        self._reserved: dict[str, _Reservation] = {}
        self._asking: dict[str, object] = {}
        self._turn = threading.Lock()
        self._releases = 0

    def admit(self, holder: str, constraints: Mapping[str, float], cwd: str = ".") -> Verdict:
        """Whether *holder* may start now. What it asks for is reserved if it may, unless it is released meanwhile."""
        asked = self._asking[holder] = object()
        while True:
            releases = self._releases
            # Not while others wait for us: it may take its time.
            readings = self._read(constraints, cwd)
            with self._turn:
                if releases == self._releases:
                    return self._judge(holder, constraints, readings, asked)
            # Who was released meanwhile may have taken what we have read to be free.

    def release(self, holder: str) -> None:
        """Reserve nothing for *holder* any more."""
        with self._turn:
            # A start that was cancelled leaves its thread behind, which is still reading.
            self._asking.pop(holder, None)
            if self._reserved.pop(holder, None) is not None:
                self._releases += 1

    def _judge(self, holder: str, constraints: Mapping[str, float], readings: Readings, asked: object) -> Verdict:
        now = self._clock.monotonic()
        self._reserved = {name: one for name, one in self._reserved.items() if one.until > now and name != holder}
        verdict = check(constraints, _without(readings, list(self._reserved.values())))
        if self._asking.get(holder) is asked:
            del self._asking[holder]
            wanted = constraints.get("memory_free_min", 0.0), constraints.get("gpu_mem_free_min", 0.0)
            if verdict and any(wanted):
                self._reserved[holder] = _Reservation(*wanted, now + HOLD)
        return verdict


def _without(readings: Readings, reserved: Sequence[_Reservation]) -> Readings:
    """*readings* less what is reserved."""
    memory, gpus = readings.memory_free, sorted(readings.gpu_memory_free)
    if memory is not None:
        memory -= sum(one.memory for one in reserved)
    for one in reserved:
        if gpus:
            gpus.append(gpus.pop() - one.gpu_memory)
            gpus.sort()
    return replace(readings, memory_free=memory, gpu_memory_free=gpus) if reserved else readings
