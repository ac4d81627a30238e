"""Token buckets, beside a plain model of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tekton.gateway.rates import TokenBuckets


def test_a_burst_is_taken_at_once_and_not_one_more() -> None:
    buckets = TokenBuckets(rate=10, burst=3)

    assert [buckets.take("ada", 100.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert buckets.take("ada", 100.0) == pytest.approx(0.1)


def test_a_token_comes_back_when_it_was_said_to() -> None:
    buckets = TokenBuckets(rate=10, burst=3)
    for _ in range(3):
        buckets.take("ada", 100.0)

    wait = buckets.take("ada", 100.0)

    assert buckets.take("ada", 100.0 + wait / 2) > 0
    assert buckets.take("ada", 100.0 + wait) == 0.0
    assert buckets.take("ada", 100.0 + wait) > 0


def test_a_refusal_takes_nothing() -> None:
    buckets = TokenBuckets(rate=1, burst=1)
    buckets.take("ada", 0.0)

    waits = {buckets.take("ada", 0.5) for _ in range(100)}

    assert waits == {0.5}


def test_who_waits_long_has_no_more_than_a_burst() -> None:
    buckets = TokenBuckets(rate=10, burst=3)
    buckets.take("ada", 0.0)

    assert [buckets.take("ada", 1e9) > 0 for _ in range(4)] == [False, False, False, True]


def test_names_have_buckets_of_their_own() -> None:
    buckets = TokenBuckets(rate=1, burst=1)

    assert buckets.take("ada", 0.0) == 0.0
    assert buckets.take("bob", 0.0) == 0.0
    assert buckets.take("ada", 0.0) > 0


def test_looking_at_a_bucket_takes_nothing() -> None:
    buckets = TokenBuckets(rate=1, burst=1)

    assert [buckets.wait("ada", 0.0) for _ in range(5)] == [0.0] * 5
    buckets.take("ada", 0.0)
    assert [buckets.wait("ada", 0.0) for _ in range(5)] == [1.0] * 5


def test_ten_thousand_names_are_not_remembered() -> None:
    buckets = TokenBuckets(rate=1, burst=5, remembered=1000)

    for number in range(10_000):
        buckets.take(f"10.0.{number // 256}.{number % 256}", 0.0)

    assert len(buckets) <= 1000


def test_who_asks_all_the_time_is_remembered_among_many_others() -> None:
    buckets = TokenBuckets(rate=1, burst=5, remembered=1000)

    taken = 0
    for number in range(10_000):
        buckets.take(f"stranger {number}", 0.0)
        if number % 100 == 0:
            taken += not buckets.take("ada", 0.0)

    assert taken == 5


@given(
    st.integers(1, 20),
    st.integers(1, 10),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40)), max_size=200),
)
def test_it_gives_what_a_bucket_that_is_filled_drop_by_drop_gives(
    rate: int, burst: int, steps: list[tuple[str, int]]
) -> None:
    """Time goes in steps of a sixty-fourth of what a token takes, so that no rounding decides."""
    buckets = TokenBuckets(rate, burst)
    level, last, ticks = {"a": 64 * burst, "b": 64 * burst}, {"a": 0, "b": 0}, 0
    for name, pause in steps:
        ticks += pause
        level[name] = min(64 * burst, level[name] + ticks - last[name])
        last[name] = ticks
        expected = level[name] >= 64
        level[name] -= 64 * expected

        assert (buckets.take(name, ticks / 64 / rate) == 0.0) == expected
