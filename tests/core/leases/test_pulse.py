"""Tests of tekton.core.leases.pulse: floods, overtaken heartbeats, metrics that cannot be."""

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tekton.core.leases.pulse import BEATS_PER_INTERVAL, MAX_METRICS, Pulse, check_metrics
from tekton.utils.tekton_errors import InvalidRegistrationError, TooManyHeartbeatsError

INTERVAL = 10.0


def admitted(pulse: Pulse, now: float, sequence: int | None = None) -> bool:
    try:
        return pulse.admit("hermes", now, INTERVAL, sequence)
    except TooManyHeartbeatsError:
        return False


def test_a_hundred_heartbeats_per_interval_are_taken_at_once_and_more_are_refused() -> None:
    pulse = Pulse()

    taken = sum(admitted(pulse, 0.0) for _ in range(10_000))

    assert BEATS_PER_INTERVAL <= taken <= BEATS_PER_INTERVAL + 1


def test_a_refusal_names_the_limit() -> None:
    pulse = Pulse()
    while admitted(pulse, 0.0):
        pass

    with pytest.raises(TooManyHeartbeatsError) as caught:
        pulse.admit("hermes", 0.0, INTERVAL, None)

    assert (caught.value.component_id, caught.value.limit, caught.value.interval) == ("hermes", 100, INTERVAL)


def test_a_flood_does_not_silence_its_sender() -> None:
    pulse = Pulse()

    taken = [millisecond for millisecond in range(60_000) if admitted(pulse, millisecond / 1000)]

    # A thousand a second are sent, ten a second are taken: no gap is longer than a tenth of a second or so.
    assert max(after - before for before, after in itertools.pairwise(taken)) <= 101
    assert len(taken) == pytest.approx(BEATS_PER_INTERVAL * 7, abs=2)


@settings(deadline=None)
@given(st.lists(st.floats(min_value=0.1, max_value=100), max_size=300))
def test_who_beats_no_faster_than_it_may_is_never_refused(gaps: list[float]) -> None:
    pulse = Pulse()
    now = 0.0
    for gap in gaps:
        now += gap
        assert pulse.admit("hermes", now, INTERVAL, None)


@settings(deadline=None)
@given(st.permutations(range(60)))
def test_of_shuffled_heartbeats_those_that_were_overtaken_do_not_count(order: list[int]) -> None:
    pulse = Pulse()
    newest = -1
    for sequence in order:
        assert pulse.admit("hermes", 0.0, INTERVAL, sequence) is (sequence > newest)
        newest = max(newest, sequence)


def test_a_heartbeat_that_comes_twice_counts_once() -> None:
    pulse = Pulse()

    assert [pulse.admit("hermes", 0.0, INTERVAL, 5) for _ in range(3)] == [True, False, False]


def test_heartbeats_without_a_sequence_always_count() -> None:
    pulse = Pulse()

    assert [pulse.admit("hermes", 0.0, INTERVAL, number) for number in (5, None, 4, None, 6)] == [
        True, True, False, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, "1", None, [1.0]])
def test_a_metric_is_a_finite_number(value: object) -> None:
    with pytest.raises(InvalidRegistrationError, match="finite"):
        check_metrics({"load": value})  # type: ignore[dict-item]


def test_the_pointer_to_a_metric_is_one_of_json() -> None:
    with pytest.raises(InvalidRegistrationError) as refusal:
        check_metrics({"a/b~c": math.nan})

    assert refusal.value.field == "/metrics/a~1b~0c"


@pytest.mark.parametrize("value", [-1.0, 0.0, 1e308, -1e308, 5e-324, 2**53, True])
def test_any_finite_number_is_a_metric(value: float) -> None:
    check_metrics({"load": value})


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.floats(), max_size=80))
def test_metrics_are_taken_exactly_when_all_of_them_can_be(metrics: dict[str, float]) -> None:
    possible = len(metrics) <= MAX_METRICS and all(
        0 < len(name) <= 128 and math.isfinite(value) for name, value in metrics.items()
    )
    try:
        check_metrics(metrics)
    except InvalidRegistrationError:
        assert not possible
    else:
        assert possible


def test_ten_thousand_names_are_refused_without_looking_at_them() -> None:
    rng = random.Random(1)

    with pytest.raises(InvalidRegistrationError, match="10000 names"):
        check_metrics({f"m{number}": rng.random() for number in range(10_000)})


# At the limits.


def test_the_allowance_grows_back_by_one_heartbeat_per_hundredth_of_the_interval() -> None:
    pulse = Pulse()
    while admitted(pulse, 0.0):
        pass

    later = [admitted(pulse, 0.25), admitted(pulse, 0.25), admitted(pulse, 0.25)]

    assert later == [True, True, False]


def test_an_allowance_that_is_not_used_does_not_pile_up() -> None:
    pulse = Pulse()
    admitted(pulse, 0.0)

    assert sum(admitted(pulse, 1_000_000.0) for _ in range(1_000)) <= BEATS_PER_INTERVAL + 1


def test_the_first_number_of_a_sequence_may_be_zero() -> None:
    pulse = Pulse()

    assert [admitted(pulse, 0.0, sequence=number) for number in (0, 0, 1)] == [True, False, True]


def refusal(metrics: dict[str, float]) -> tuple[str, str]:
    with pytest.raises(InvalidRegistrationError) as caught:
        check_metrics(metrics)
    return caught.value.field, caught.value.problem


def test_64_metrics_are_taken_and_65_are_refused() -> None:
    metrics = {f"m{number}": 1.0 for number in range(64)}
    check_metrics(metrics)

    assert refusal({**metrics, "m64": 1.0}) == ("/metrics", "65 names; at most 64 are allowed")


def test_the_name_of_a_metric_has_1_to_128_characters() -> None:
    check_metrics({"m": 1.0, "n" * 128: 1.0})

    assert refusal({"": 1.0}) == ("/metrics", "a name has 1 to 128 characters")
    assert refusal({"n" * 129: 1.0}) == ("/metrics", "a name has 1 to 128 characters")


def test_a_metric_that_is_no_number_is_named() -> None:
    assert refusal({"fine": 1.0, "load": math.nan}) == ("/metrics/load", "must be a finite number")
