"""When a circuit breaker opens, and how it is tried whether it may close again."""

import math

import msgspec


class BreakerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of one circuit breaker. Times are seconds, rates are shares from 0 (excluded) to 1.

    A closed breaker opens when one of these holds; None turns a condition off:

    * `failure_threshold` calls in a row have failed;
    * at least `failure_rate` of the calls in a window have failed;
    * at least `slow_call_rate` of the calls in a window took `slow_call_seconds` or longer, failed or not.

    The windows are the last `window_calls` calls and the calls of the last `window_seconds` (in steps of a tenth of
    that); either may be None. A window that has seen fewer than `minimum_calls` says nothing.

    An open breaker lets calls through again after `reset_timeout`: `half_open_requests` of them as probes, and never
    more at once. When that many have succeeded it closes, when one fails it opens. A probe that has no result after
    `probe_timeout` has failed.
    """

    failure_threshold: int | None = 5
    failure_rate: float | None = None
    slow_call_seconds: float | None = None
    slow_call_rate: float = 0.5
    window_calls: int | None = 100
    window_seconds: float | None = None
    minimum_calls: int = 10
    reset_timeout: float = 60.0
    half_open_requests: int = 2
    probe_timeout: float = 30.0

    def __post_init__(self) -> None:
        for name in ("failure_threshold", "window_calls", "minimum_calls", "half_open_requests"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise ValueError(f"{name} is at least 1")
        for name in ("slow_call_seconds", "window_seconds", "reset_timeout", "probe_timeout"):
            seconds = getattr(self, name)
            if seconds is not None and not 0 < seconds < math.inf:
                raise ValueError(f"{name} is a number of seconds above 0")
        for name in ("failure_rate", "slow_call_rate"):
            rate = getattr(self, name)
            if rate is not None and not 0 < rate <= 1:
                raise ValueError(f"{name} is above 0 and at most 1")
        self._check_windows()

    @property
    def windowed(self) -> bool:
        """True when a window of calls is looked at."""
        return self.failure_rate is not None or self.slow_call_seconds is not None

    def _check_windows(self) -> None:
        if not self.windowed:
            return
        if self.window_calls is None and self.window_seconds is None:
            raise ValueError("a rate needs window_calls or window_seconds")
        if self.window_seconds is None and self.window_calls is not None and self.window_calls < self.minimum_calls:
            raise ValueError("window_calls is at least minimum_calls")
