"""Tests of tekton.core.degradation.windows: what is remembered, and for how long."""

from hypothesis import given
from hypothesis import strategies as st

from tekton.core.degradation.breaker_settings import BreakerSettings
from tekton.core.degradation.windows import CallWindow, TimeWindow, windows_of

outcomes = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40)


def counts(window: CallWindow | TimeWindow) -> tuple[int, int, int]:
    return window.calls, window.failures, window.slow


@given(st.integers(1, 12), outcomes)
def test_a_window_of_calls_has_the_last_so_many(size: int, calls: list[tuple[bool, bool]]) -> None:
    window = CallWindow(size)

    for failed, slow in calls:
        window.record(0.0, failed=failed, slow=slow)

    last = calls[-size:]
    assert counts(window) == (len(last), sum(failed for failed, _ in last), sum(slow for _, slow in last))


def test_a_window_of_time_forgets_tenth_by_tenth() -> None:
    window = TimeWindow(10.0)
    for second in range(20):
        window.record(100.0 + second, failed=second < 10, slow=second % 2 == 0)

    assert counts(window) == (10, 0, 5)


def test_a_window_of_time_forgets_everything_after_a_long_pause() -> None:
    window = TimeWindow(10.0)
    window.record(100.0, failed=True, slow=True)

    window.record(1e9, failed=False, slow=False)

    assert counts(window) == (1, 0, 0)


def test_a_window_that_is_cleared_is_empty() -> None:
    for window in (CallWindow(3), TimeWindow(3.0)):
        window.record(100.0, failed=True, slow=True)
        window.clear()
        assert counts(window) == (0, 0, 0)
        window.record(100.0, failed=True, slow=False)
        assert counts(window) == (1, 1, 0)


def test_no_window_is_kept_that_no_condition_looks_at() -> None:
    assert windows_of(BreakerSettings()) == ()
    both = windows_of(BreakerSettings(failure_rate=0.5, window_seconds=10.0))
    assert [type(window) for window in both] == [CallWindow, TimeWindow]
