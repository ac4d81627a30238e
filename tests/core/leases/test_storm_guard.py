"""Tests of tekton.core.leases.storm_guard: what happens when many leases run out together."""

import logging

import pytest

from tekton.core.leases.storm_guard import RELEASE_INTERVAL, Key, StormGuard


def keys(count: int, first: int = 0) -> list[Key]:
    return [(f"c{number}", "instance") for number in range(first, first + count)]


def test_a_few_leases_expire() -> None:
    guard = StormGuard()

    assert guard.rule(keys(9), leases=9, silent=False, now=0) == (keys(9), [])
    assert not list(guard.suspects)


def test_many_leases_expire_when_they_are_a_small_share() -> None:
    guard = StormGuard()

    assert guard.rule(keys(29), leases=100, silent=False, now=0).expired == keys(29)


def test_a_storm_is_suspected_and_gets_another_lease(caplog: pytest.LogCaptureFixture) -> None:
    guard = StormGuard()

    with caplog.at_level(logging.WARNING):
        assert guard.rule(keys(30), leases=100, silent=False, now=0) == ([], keys(30))

    assert list(guard.suspects) == keys(30)
    assert "30 of 100" in caplog.text


def test_silence_of_everybody_is_a_storm_even_if_leases_run_out_one_by_one() -> None:
    guard = StormGuard()

    assert guard.rule(keys(1), leases=10, silent=True, now=0) == ([], keys(1))
    assert guard.rule(keys(1), leases=9, silent=True, now=0) == (keys(1), [])


def test_a_sign_of_life_ends_the_suspicion() -> None:
    guard = StormGuard()
    guard.rule(keys(10), leases=10, silent=False, now=0)

    assert not guard.clear(keys(1)[0])

    assert list(guard.suspects) == keys(9, first=1)


def test_suspects_that_stay_silent_expire_one_by_one_while_the_storm_lasts() -> None:
    guard = StormGuard()
    guard.rule(keys(40), leases=40, silent=False, now=0)

    assert guard.rule(keys(40), leases=40, silent=False, now=30).expired == keys(1)
    assert guard.rule([], leases=39, silent=False, now=30 + RELEASE_INTERVAL - 0.1).expired == []
    assert guard.rule([], leases=39, silent=False, now=30 + RELEASE_INTERVAL).expired == keys(1, first=1)


def test_the_rest_expires_at_once_when_it_is_no_storm_any_more() -> None:
    guard = StormGuard()
    guard.rule(keys(40), leases=100, silent=False, now=0)
    for key in keys(11):
        guard.clear(key)

    assert guard.rule(keys(29, first=11), leases=100, silent=False, now=30).expired == keys(29, first=11)
    assert not list(guard.suspects)


def test_a_sign_of_life_after_the_second_lease_tells_that_a_new_one_is_needed() -> None:
    guard = StormGuard()
    guard.rule(keys(40), leases=40, silent=False, now=0)
    guard.rule(keys(40), leases=40, silent=False, now=30)

    assert guard.clear(keys(40)[-1])
    assert not guard.clear(keys(40)[-1])


def test_others_expire_normally_during_a_storm() -> None:
    guard = StormGuard()
    guard.rule(keys(40), leases=100, silent=False, now=0)

    assert guard.rule(keys(2, first=50), leases=100, silent=False, now=1) == (keys(2, first=50), [])


def test_a_storm_is_at_least_ten_and_at_least_three_tenths() -> None:
    assert StormGuard().rule(keys(9), leases=20, silent=False, now=0).expired == keys(9)
    assert StormGuard().rule(keys(10), leases=33, silent=False, now=0).renewed == keys(10)
    assert StormGuard().rule(keys(10), leases=34, silent=False, now=0).expired == keys(10)


def test_silence_in_which_nothing_runs_out_is_no_storm() -> None:
    guard = StormGuard()

    assert guard.rule([], leases=100, silent=True, now=0) == ([], [])
    assert not list(guard.suspects)


def test_a_storm_is_logged_once_with_the_first_twenty(caplog: pytest.LogCaptureFixture) -> None:
    guard = StormGuard()

    guard.rule(keys(25), leases=50, silent=False, now=0)
    guard.rule(keys(20, first=25), leases=50, silent=False, now=1)

    (record,) = caplog.records
    assert record.getMessage() == (
        "25 of 50 heartbeat leases ran out together: suspecting ourselves, nothing is expired or restarted"
    )
    assert record.__dict__["suspects"] == [f"c{number}" for number in range(20)]
    assert list(guard.suspects) == keys(45)


def test_a_second_storm_renews_the_new_ones_and_releases_the_old_ones_that_lapsed() -> None:
    guard = StormGuard()
    guard.rule(keys(20), leases=60, silent=False, now=0)

    assert guard.rule([*keys(20), *keys(20, first=20)], leases=60, silent=False, now=30) == (
        keys(1),
        keys(20, first=20),
    )


def test_those_released_and_those_that_run_out_normally_expire_together() -> None:
    guard = StormGuard()
    guard.rule(keys(40), leases=100, silent=False, now=0)

    assert guard.rule([*keys(40), *keys(2, first=50)], leases=100, silent=False, now=30) == (
        [*keys(1), *keys(2, first=50)],
        [],
    )


def test_a_released_suspect_is_no_suspect_any_more() -> None:
    guard = StormGuard()
    guard.rule(keys(40), leases=40, silent=False, now=0)

    guard.rule(keys(40), leases=40, silent=False, now=30)

    assert list(guard.suspects) == keys(39, first=1)
    assert not guard.clear(keys(1)[0])


def test_the_time_between_two_releases_counts_from_the_last_one() -> None:
    guard = StormGuard()
    guard.rule(keys(40), leases=40, silent=False, now=0)

    released = [
        now for now in range(30, 71) if guard.rule(keys(40) if now == 30 else [], 40, silent=False, now=now).expired
    ]

    assert released == [30, 40, 50, 60, 70]
