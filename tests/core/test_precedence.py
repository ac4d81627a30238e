"""The registry goes first, and others go slowly meanwhile; but they go."""

import pytest

from tekton.core.precedence import LONGEST_REST, MOMENT, RESTS, Precedence, Rests
from tekton.testing import ManualClock


def commit(rests: Rests, clock: ManualClock, seconds: float) -> None:
    """Let a commit take so long."""
    rests.begin()
    clock.advance(seconds)
    rests.end()


def test_precedence_is_taken_while_a_change_is_made_durable_and_a_moment_after() -> None:
    clock = ManualClock()
    precedence = Precedence(clock)
    taken = [precedence.taken]

    precedence.begin()
    taken.append(precedence.taken)
    clock.advance(60.0)
    taken.append(precedence.taken)
    precedence.end()
    taken.append(precedence.taken)
    clock.advance(MOMENT * 1.01)
    taken.append(precedence.taken)

    assert taken == [False, True, True, True, False]


def test_precedence_is_taken_until_the_last_of_several_changes_is_durable() -> None:
    clock = ManualClock()
    precedence = Precedence(clock)
    precedence.begin()
    precedence.begin()
    precedence.end()
    clock.advance(MOMENT * 2)

    assert precedence.taken


def test_without_precedence_nobody_rests() -> None:
    clock = ManualClock()
    rests = Rests(Precedence(clock), clock)

    commit(rests, clock, 1.0)

    assert rests.left == 0.0


def test_a_rest_is_some_times_as_long_as_the_commit_before_it() -> None:
    clock = ManualClock()
    precedence = Precedence(clock)
    rests = Rests(precedence, clock)
    precedence.begin()

    commit(rests, clock, 0.0005)
    assert rests.left == pytest.approx(0.0005 * RESTS)
    clock.advance(0.001)
    assert rests.left == pytest.approx(0.0005 * RESTS - 0.001)
    clock.advance(0.002)
    assert rests.left == 0.0


def test_no_rest_is_longer_than_the_longest() -> None:
    clock = ManualClock()
    precedence = Precedence(clock)
    rests = Rests(precedence, clock)
    precedence.begin()

    commit(rests, clock, 30.0)

    assert rests.left == pytest.approx(LONGEST_REST)


def test_the_first_commit_waits_for_nothing() -> None:
    clock = ManualClock()
    precedence = Precedence(clock)
    precedence.begin()

    assert Rests(precedence, clock).left == 0.0
