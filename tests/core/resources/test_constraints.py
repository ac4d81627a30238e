"""Tests of tekton.core.resources.constraints: what must be free on the machine."""

import pytest

from tekton.core.resources.constraints import CONSTRAINTS, Readings, check
from tekton.utils.config_schema import ConstraintSpec

PLENTY = Readings(cpu_percent=10, memory_percent=20, memory_free=50, disk_free=500, gpu_memory_free=(70,))


def test_the_constraints_are_those_of_the_configuration() -> None:
    assert set(CONSTRAINTS) == set(ConstraintSpec.__struct_fields__)


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_each_can_be_missed_and_says_so(name: str) -> None:
    verdict = check({name: 1e9 if name.endswith("_min") else 0.0}, PLENTY)

    assert not verdict
    assert verdict.reasons[0].startswith(f"{name}: ")


def test_what_holds_is_not_mentioned() -> None:
    verdict = check({"memory_free_min": 50, "cpu_percent_max": 10}, PLENTY)

    assert verdict
    assert verdict.reasons == ()
    assert check({}, Readings())


def test_what_does_not_hold_says_what_there_is_and_what_is_wanted() -> None:
    found = Readings(cpu_percent=97.4, memory_percent=91, memory_free=2, disk_free=0.04, gpu_memory_free=(1.0, 1.5))
    constraints = {
        "cpu_percent_max": 80.0,
        "memory_percent_max": 90.0,
        "memory_free_min": 4.0,
        "disk_free_min": 10.0,
        "gpu_mem_free_min": 2.0,
    }

    assert check(constraints, found).reasons == (
        "cpu_percent_max: CPU at 97.4 %, 80 % allowed",
        "memory_percent_max: memory at 91.0 %, 90 % allowed",
        "memory_free_min: 2.0 GiB free of 4.0 wanted",
        "disk_free_min: 0.0 GiB free of 10.0 wanted",
        "gpu_mem_free_min: 1.5 GiB free of 2.0 wanted",
    )


def test_what_cannot_be_read_is_not_satisfied_and_says_why() -> None:
    found = Readings(problems={"gpu": "Driver Not Loaded", "cpu": "no /proc"})

    assert check({"gpu_mem_free_min": 2, "cpu_percent_max": 80}, found).reasons == (
        "gpu_mem_free_min: 0.0 GiB free of 2.0 wanted (Driver Not Loaded)",
        "cpu_percent_max: CPU is not known (no /proc), 80 % allowed",
    )


def test_a_constraint_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"no constraint 'cpu_percent'; did you mean 'cpu_percent_max'\?"):
        check({"cpu_percent": 80}, PLENTY)
