"""Which instance gets the next call."""

import random
from collections import Counter

import msgspec
import pytest

from tekton.core.lifecycle import ComponentRecord, ComponentState
from tekton.utils.balancing import Balancer


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def balancer(time: Time) -> Balancer:
    return Balancer(random.Random(1), time)


def instances(count: int, state: ComponentState = ComponentState.READY) -> list[ComponentRecord]:
    record = {
        "component_id": "engram",
        "component_name": "",
        "component_type": "service",
        "version": "1",
        "capabilities": [],
        "dependencies": [],
        "endpoint": "http://localhost:1",
        "metadata": {},
        "max_instances": 100,
        "supervised": False,
        "reason": None,
        "generation": 1,
        "revision": 1,
        "registered_at": 0.0,
        "changed_at": 0.0,
        "state": state.value,
    }
    return [
        msgspec.convert({**record, "instance_uuid": f"{state.value}-{number}"}, ComponentRecord)
        for number in range(count)
    ]


def chosen(balancer: Balancer, among: list[ComponentRecord]) -> set[str]:
    """Which of them are chosen, if one is asked often enough."""
    return {record.instance_uuid for _ in range(20) if (record := balancer.choose(among)) is not None}


def test_of_two_the_one_with_fewer_calls_in_progress_is_chosen(balancer: Balancer) -> None:
    busy, idle = instances(2)
    balancer.begin(busy)

    assert chosen(balancer, [busy, idle]) == {idle.instance_uuid}


def test_equal_ones_share_the_calls(balancer: Balancer) -> None:
    four = instances(4)

    counts = Counter(record.instance_uuid for _ in range(400) if (record := balancer.choose(four)) is not None)

    assert min(counts.values()) > 60


def test_two_choices_keep_the_longest_queue_short(balancer: Balancer) -> None:
    many = instances(100)

    for _ in range(1000):
        record = balancer.choose(many)
        assert record is not None
        balancer.begin(record)

    # At random the longest of 100 queues with 10 calls on average has about 20.
    assert max(balancer.in_flight(record) for record in many) <= 13


def test_ready_ones_are_preferred_to_degraded_ones(balancer: Balancer) -> None:
    degraded, ready = instances(3, ComponentState.DEGRADED), instances(1)
    for _ in range(10):
        balancer.begin(ready[0])

    assert balancer.choose([*degraded, *ready]) == ready[0]
    assert balancer.choose(degraded) in degraded


def test_one_that_failed_is_left_alone_for_longer_each_time(balancer: Balancer, time: Time) -> None:
    failing, other = instances(2)

    for seconds in (1, 2, 4, 8, 16, 30, 30):
        balancer.begin(failing)
        balancer.end(failing, failed=True)
        assert chosen(balancer, [failing, other]) == {other.instance_uuid}
        time.now += seconds - 0.1
        assert chosen(balancer, [failing, other]) == {other.instance_uuid}
        time.now += 0.2
        assert len(chosen(balancer, [failing, other])) == 2


def test_a_success_forgives_what_was_before(balancer: Balancer, time: Time) -> None:
    failing, other = instances(2)
    for failed in (True, True, False):
        balancer.begin(failing)
        balancer.end(failing, failed=failed)

    assert len(chosen(balancer, [failing, other])) == 2


def test_a_failed_one_is_called_when_there_is_no_other(balancer: Balancer) -> None:
    failing, degraded = instances(1)[0], instances(1, ComponentState.DEGRADED)[0]
    balancer.begin(failing)
    balancer.end(failing, failed=True)

    assert balancer.choose([failing]) == failing
    assert balancer.choose([failing, degraded]) == degraded


def test_those_that_were_tried_are_not_chosen_again(balancer: Balancer) -> None:
    first, second = instances(2)

    assert balancer.choose([first, second], {first.instance_uuid}) == second
    assert balancer.choose([first], {first.instance_uuid}) is None
    assert balancer.choose([]) is None


def test_what_is_gone_is_forgotten(balancer: Balancer) -> None:
    gone, working, here = instances(3)
    for record in (gone, here):
        balancer.begin(record)
        balancer.end(record, failed=True)
    balancer.begin(working)

    balancer.keep_only({here.instance_uuid})
    balancer.forget(working.instance_uuid)
    balancer.forget(gone.instance_uuid)

    assert set(balancer._memories) == {working.instance_uuid, here.instance_uuid}
    balancer.forget(here.instance_uuid)
    assert set(balancer._memories) == {working.instance_uuid}


def fail(balancer: Balancer, record: ComponentRecord) -> None:
    balancer.begin(record)
    balancer.end(record, failed=True)


@pytest.mark.parametrize(("count", "left_alone"), [(2, 1), (10, 1), (30, 3)])
def test_at_most_a_tenth_is_left_alone_but_one_always_may_be(balancer: Balancer, count: int, left_alone: int) -> None:
    several = instances(count)
    for record in several:
        fail(balancer, record)

    called = {one.instance_uuid for _ in range(50 * count) if (one := balancer.choose(several)) is not None}

    assert len(called) == count - left_alone


def test_of_those_that_fail_the_one_that_is_to_be_left_alone_the_longest_is(balancer: Balancer) -> None:
    first, second, third = instances(3)
    for record in (first, second, second, third):
        fail(balancer, record)

    assert chosen(balancer, [first, second, third]) == {first.instance_uuid, third.instance_uuid}


def test_who_comes_back_gets_one_call_at_a_time_until_one_succeeds(balancer: Balancer, time: Time) -> None:
    bad, good = instances(2)
    fail(balancer, bad)
    time.now += 1.0

    welcome = chosen(balancer, [bad, good])
    balancer.begin(bad)
    on_trial = chosen(balancer, [bad, good])
    balancer.end(bad, failed=False)

    assert (len(welcome), on_trial, len(chosen(balancer, [bad, good]))) == (2, {good.instance_uuid}, 2)
