"""Tests of tekton.core.series: rings of slots, compared with a plain list of all that ever came."""

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tekton.core.series import RESOLUTIONS, Resolution, Series, SeriesSet, position, resolutions_for, wall_time
from tekton.testing import ManualClock

SMALL = (Resolution(1.0, 8), Resolution(4.0, 5), Resolution(10.0, 4))

steps = st.one_of(st.floats(0, 3), st.floats(-20, 0), st.floats(0, 200))
# Halves of small whole numbers: exact as 32-bit floats, so that the model need not round.
values = st.integers(-100, 100).map(lambda number: number / 2)


class Model:
    """Every value that came, with its position."""

    def __init__(self) -> None:
        self.all: list[tuple[float, float]] = []

    def append(self, at: float, value: float) -> None:
        self.all.append((max(at, self.all[-1][0]) if self.all else at, value))

    def slot(self, step: float, number: int) -> list[float]:
        return [value for at, value in self.all if at // step == number]

    def expected(self, resolution: Resolution, number: int) -> tuple[float, float, float] | None:
        newest = self.all[-1][0] // resolution.step if self.all else -math.inf
        found = self.slot(resolution.step, number)
        if not found or number <= newest - resolution.length:
            return None
        if resolution is SMALL[0]:
            return (found[-1],) * 3
        return min(found), sum(found) / len(found), max(found)


@given(st.lists(st.tuples(steps, values), max_size=60), st.floats(-100, 100), st.floats(0, 60), st.data())
def test_every_window_shows_what_a_plain_list_of_all_values_would(
    moves: list[tuple[float, float]], start: float, length: float, data: st.DataObject
) -> None:
    series, model, at = Series(SMALL), Model(), start
    for step, value in moves:
        at += step
        series.append(at, value)
        model.append(at, value)
    newest = model.all[-1][0] if model.all else start
    until = newest + data.draw(st.floats(-60, 60))

    for resolution in SMALL:
        window = series.window(until - length, until, resolution.step)

        first = round(window.since / resolution.step)
        last = until // resolution.step
        wanted = max((until - length) // resolution.step, last - resolution.length + 1)
        assert (window.step, first, len(window.mean)) == (resolution.step, wanted, last - wanted + 1)
        for number, low, mean, high in zip(range(first, 10**9), window.low, window.mean, window.high):
            expected = model.expected(resolution, number)
            assert (low, mean, high) == ((None,) * 3 if expected is None else pytest.approx(expected, rel=1e-6))


def test_a_slot_into_which_nothing_came_is_a_gap() -> None:
    series = Series()
    series.append(100.5, 1.0)
    series.append(103.5, 4.0)

    assert series.window(99, 105).mean == (None, 1.0, None, None, 4.0, None, None)


def test_coarse_slots_tell_the_least_the_mean_and_the_most() -> None:
    series = Series()
    for at, value in ((10.0, 5.0), (13.0, 1.0), (19.9, 3.0), (20.0, 7.0)):
        series.append(at, value)

    window = series.window(10, 29, resolution=10)

    assert (window.low, window.mean, window.high) == ((1.0, 7.0), (3.0, 7.0), (5.0, 7.0))


def test_without_a_resolution_the_finest_one_that_reaches_back_answers() -> None:
    series = Series()
    series.append(1e6, 1.0)

    reaches = [series.window(1e6 - age, 1e6).step for age in (60, 3599, 3601, 21599, 21601, 172799, 1e9, math.inf)]

    assert reaches == [1, 1, 10, 10, 60, 60, 60, 60]


def test_a_window_has_no_more_slots_than_are_kept() -> None:
    series = Series(SMALL)
    series.append(1000.0, 1.0)

    assert len(series.window(-math.inf, 1000.0, 1.0).mean) == 8


def test_a_window_that_ends_before_it_begins_is_empty() -> None:
    assert Series(SMALL).window(10, 5, 1.0).mean == ()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e39, -1e39])
def test_what_is_not_finite_is_left_out(value: float) -> None:
    series = Series(SMALL)
    series.append(5.0, 2.0)
    series.append(6.0, value)

    assert series.window(5, 6, 1.0).mean == (2.0, None)


def test_memory_is_what_the_slots_take_from_the_first_value_to_the_last() -> None:
    series = Series()
    before = series.size_bytes
    for number in range(5000):
        series.append(number * 40.0, float(number))

    assert series.size_bytes == before < 100 * 1024


def test_the_wall_clock_may_step_either_way() -> None:
    clock, series = ManualClock(), Series()
    start = position(clock)
    for wall in (None, 1e9, 2e9):
        if wall is not None:
            clock.set_wall(wall)
        series.append(position(clock), clock.time())
        clock.advance(1)

    window = series.window(start, position(clock) - 1)

    assert window.mean == (1_700_000_000.0, 1e9, 2e9)
    assert wall_time(clock, window.since) == clock.time() - 3


def test_a_suspended_machine_leaves_a_gap() -> None:
    clock, series = ManualClock(), Series()
    series.append(position(clock), 1.0)
    clock.suspend(3.0)
    series.append(position(clock), 2.0)

    assert series.window(position(clock) - 3, position(clock)).mean == (1.0, None, None, 2.0)


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (1.0, RESOLUTIONS),
        (10.0, (Resolution(10.0, 3600), RESOLUTIONS[2])),
        (0.5, (Resolution(0.5, 3600), *RESOLUTIONS)),
        (300.0, (Resolution(300.0, 3600),)),
    ],
)
def test_the_finest_resolution_is_the_interval_of_the_values(interval: float, expected: tuple[Resolution, ...]) -> None:
    assert resolutions_for(interval) == expected


@pytest.mark.parametrize("wrong", [(), (Resolution(10.0, 5), Resolution(1.0, 5)), (Resolution(0.0, 5),)])
def test_resolutions_go_from_fine_to_coarse(wrong: tuple[Resolution, ...]) -> None:
    with pytest.raises(ValueError, match="from the finest"):
        Series(wrong)


class TestSets:
    def test_windows_of_several_series_begin_at_the_same_slot(self) -> None:
        some = SeriesSet(SMALL)
        some.append(10.0, {"cpu": 1.0, "memory": 2.0})
        some.append(11.0, {"cpu": 3.0})

        windows = some.window(["cpu", "memory", "missing"], 10, 11)

        assert {name: (window.since, window.mean) for name, window in windows.items()} == {
            "cpu": (10.0, (1.0, 3.0)),
            "memory": (10.0, (2.0, None)),
        }

    def test_when_it_is_full_the_one_silent_longest_makes_room(self) -> None:
        some = SeriesSet(SMALL, limit=2)
        some.append(1.0, {"old": 1.0})
        some.append(2.0, {"young": 1.0})
        some.append(3.0, {"new": 1.0})

        assert sorted(some.names()) == ["new", "young"]

    def test_none_that_is_being_written_makes_room(self) -> None:
        some = SeriesSet(SMALL, limit=2)
        for at in range(5):
            some.append(float(at), {f"series{number}": 1.0 for number in range(4)})

        assert sorted(some.names()) == ["series0", "series1"]
        assert some.refused == 10
        assert some.size_bytes == 2 * Series(SMALL).size_bytes

    def test_readers_in_other_threads_never_see_a_slot_half_written(self) -> None:
        some, wrong = SeriesSet(SMALL), []
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                for window in some.window(["a"], 0, 2000, 10.0).values():
                    wrong.extend(
                        trio
                        for trio in zip(window.low, window.mean, window.high)
                        if None in trio and trio != (None, None, None)
                    )

        reader = threading.Thread(target=read)
        reader.start()
        for at in range(2000):
            some.append(float(at), {"a": float(at)})
        done.set()
        reader.join()

        assert wrong == []
