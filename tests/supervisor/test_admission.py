"""Tests of tekton.supervisor.admission: who may start, and what is reserved for whom."""

import threading
from collections.abc import Container
from dataclasses import replace

import pytest

from tekton.core.resources.constraints import Readings
from tekton.supervisor.admission import HOLD, Admission
from tekton.testing import ManualClock


class Machine:
    """A machine that has what a test says."""

    def __init__(self) -> None:
        self.readings = Readings(
            cpu_percent=10, memory_percent=20, memory_free=10, disk_free=500, gpu_memory_free=(24.0, 16.0)
        )
        self.asked: list[tuple[Container[str], str]] = []

    def __call__(self, wanted: Container[str], cwd: str) -> Readings:
        self.asked.append((wanted, cwd))
        return self.readings

    def have(self, **readings: float) -> None:
        self.readings = replace(self.readings, **readings)  # type: ignore[arg-type]


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def admission(machine: Machine, clock: ManualClock) -> Admission:
    return Admission(machine, clock=clock)


def test_who_asks_for_what_there_is_may_start(admission: Admission, machine: Machine) -> None:
    constraints = {"memory_free_min": 4.0, "disk_free_min": 10.0}

    assert admission.admit("a", constraints, "/srv")
    assert machine.asked == [(constraints, "/srv")]


def test_who_asks_for_more_is_told_why_not(admission: Admission) -> None:
    verdict = admission.admit("a", {"memory_free_min": 12.0, "gpu_mem_free_min": 2.0})

    assert verdict.reasons == ("memory_free_min: 10.0 GiB free of 12.0 wanted",)


def test_what_was_asked_for_is_reserved_until_the_start_is_over(admission: Admission, machine: Machine) -> None:
    assert admission.admit("a", {"memory_free_min": 6.0})
    second = admission.admit("b", {"memory_free_min": 6.0})
    assert second.reasons == ("memory_free_min: 4.0 GiB free of 6.0 wanted",)
    assert admission.admit("c", {"memory_free_min": 4.0})

    admission.release("a")
    admission.release("c")
    machine.have(memory_free=7.0)

    assert admission.admit("b", {"memory_free_min": 6.0})


def test_who_was_refused_reserves_nothing(admission: Admission) -> None:
    assert not admission.admit("a", {"memory_free_min": 6.0, "disk_free_min": 1000.0})

    assert admission.admit("b", {"memory_free_min": 10.0})


def test_who_asks_again_does_not_stand_in_his_own_way(admission: Admission) -> None:
    for _ in range(3):
        assert admission.admit("a", {"memory_free_min": 6.0})


def test_a_start_that_takes_long_has_taken_what_it_needs(admission: Admission, clock: ManualClock) -> None:
    assert admission.admit("a", {"memory_free_min": 6.0})
    clock.advance(HOLD - 0.1)
    assert not admission.admit("b", {"memory_free_min": 6.0})
    clock.advance(0.1)

    assert admission.admit("b", {"memory_free_min": 6.0})


def test_gpus_are_filled_one_after_the_other(admission: Admission) -> None:
    wanted = {"gpu_mem_free_min": 10.0}

    admitted = [bool(admission.admit(name, wanted)) for name in "abcd"]

    # 24 and 16 GiB: 14, 16; then 14, 6; then 4, 6.
    assert admitted == [True, True, True, False]


def test_what_was_read_before_somebody_was_released_is_read_again(machine: Machine, clock: ManualClock) -> None:
    def read(wanted: Container[str], cwd: str) -> Readings:
        readings = machine(wanted, cwd)
        if len(machine.asked) == 2:
            # Meanwhile the first one is up, and its memory is used.
            machine.have(memory_free=4.0)
            asked.release("a")
        return readings

    asked = Admission(read, clock=clock)
    assert asked.admit("a", {"memory_free_min": 6.0})

    assert not asked.admit("b", {"memory_free_min": 6.0})
    assert len(machine.asked) == 3


def test_who_is_released_while_he_asks_reserves_nothing(machine: Machine, clock: ManualClock) -> None:
    def read(wanted: Container[str], cwd: str) -> Readings:
        # The start is cancelled; this thread goes on.
        asked.release("a")
        return machine(wanted, cwd)

    asked = Admission(read, clock=clock)
    asked.admit("a", {"memory_free_min": 6.0})

    assert asked.admit("b", {"memory_free_min": 10.0})


def test_of_many_that_ask_at_the_same_moment_as_many_are_admitted_as_there_is_room_for(admission: Admission) -> None:
    together = threading.Barrier(16)
    admitted: list[str] = []

    def start(name: str) -> None:
        together.wait()
        if admission.admit(name, {"memory_free_min": 3.0}):
            admitted.append(name)

    threads = [threading.Thread(target=start, args=(str(number),)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(admitted) == 3
