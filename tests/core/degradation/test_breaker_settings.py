"""Tests of tekton.core.degradation.breaker_settings: what is no setting is refused."""

import math
from typing import Any

import pytest

from tekton.core.degradation.breaker_settings import BreakerSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("failure_threshold", 0),
        ("window_calls", 0),
        ("minimum_calls", -1),
        ("half_open_requests", 0),
        ("reset_timeout", 0.0),
        ("reset_timeout", math.inf),
        ("probe_timeout", math.nan),
        ("slow_call_seconds", -1.0),
        ("window_seconds", 0.0),
        ("failure_rate", 0.0),
        ("failure_rate", 1.5),
        ("slow_call_rate", math.nan),
    ],
)
def test_a_number_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        BreakerSettings(**{name: value})


def test_a_rate_needs_a_window() -> None:
    with pytest.raises(ValueError, match="window_calls or window_seconds"):
        BreakerSettings(failure_rate=0.5, window_calls=None)


def test_a_window_that_can_never_say_anything_is_refused() -> None:
    with pytest.raises(ValueError, match="at least minimum_calls"):
        BreakerSettings(failure_rate=0.5, window_calls=5, minimum_calls=10)
