"""The circuit breaker beside a naive one, which keeps every call and has timers that ring on time.

`TEKTON_BREAKER_RUNS` is the number of random scripts.
"""

import os
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from tekton.core.degradation.breaker_settings import BreakerSettings
from tekton.core.degradation.circuit_breaker import CircuitBreaker
from tekton.core.degradation.permits import Permit
from tekton.testing import ManualClock
from tekton.utils.tekton_errors import CircuitOpenError, ComponentNotFoundError

RUNS = int(os.environ.get("TEKTON_BREAKER_RUNS", "150"))


@dataclass
class Call:
    """A call that is out: in which stay of which state it began, and when."""

    stay: int
    began: float


@dataclass
class Naive:
    """What the documentation says, word for word."""

    settings: BreakerSettings
    now: float
    state: str = "closed"
    stay: int = 0
    since: float = 100.0
    ended: list[tuple[float, bool, bool]] = field(default_factory=list)
    probes: list[Call] = field(default_factory=list)
    proven: int = 0
    successes: int = 0
    failures: int = 0
    rejections: int = 0
    moves: int = 0

    def move(self, state: str) -> None:
        self.moves += 1
        self.enter(state)

    def enter(self, state: str) -> None:
        self.state, self.since = state, self.now
        self.stay += 1
        self.ended, self.probes, self.proven = [], [], 0

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        if self.probes and (deadline := min(one.began for one in self.probes) + self.settings.probe_timeout) <= until:
            self.now = deadline
            self.failures += 1
            self.move("open")
        self.now = until

    def acquire(self) -> Call | None:
        due = self.state == "open" and self.now >= self.since + self.settings.reset_timeout
        if due:
            self.move("half_open")
        call = Call(self.stay, self.now)
        if self.state == "half_open" and len(self.probes) + self.proven < self.settings.half_open_requests:
            self.probes.append(call)
            return call
        if self.state == "closed":
            return call
        self.rejections += 1
        return None

    def end(self, call: Call, result: str) -> None:
        if call.stay != self.stay:
            return
        self.failures += result == "failed"
        self.successes += result in ("succeeded", "refused")
        limit = self.settings.slow_call_seconds
        slow = limit is not None and self.now - call.began >= limit
        if self.state == "half_open":
            self.probes.remove(call)
            if result != "cancelled":
                self.weigh(good=result != "failed" and not slow)
        elif result != "cancelled":
            self.ended.append((self.now, result == "failed", slow))
            if self.must_open():
                self.move("open")

    def weigh(self, *, good: bool) -> None:
        self.proven += good
        if not good:
            self.move("open")
        elif self.proven >= self.settings.half_open_requests:
            self.move("closed")

    def must_open(self) -> bool:
        threshold = self.settings.failure_threshold
        last = [failed for _, failed, _ in self.ended[-threshold:]] if threshold else []
        if threshold and len(last) == threshold and all(last):
            return True
        return any(self.is_bad(window) for window in self.windows())

    def windows(self) -> list[list[tuple[float, bool, bool]]]:
        calls, seconds = self.settings.window_calls, self.settings.window_seconds
        found = [self.ended[-calls:]] if calls else []
        if seconds:
            tenth = seconds / 10
            oldest = int(self.now / tenth) - 10
            found.append([one for one in self.ended if int(one[0] / tenth) > oldest])
        return found

    def is_bad(self, window: list[tuple[float, bool, bool]]) -> bool:
        if len(window) < self.settings.minimum_calls:
            return False
        failures, slow = (sum(one[place] for one in window) / len(window) for place in (1, 2))
        rate = self.settings.failure_rate
        return (rate is not None and failures >= rate) or (
            self.settings.slow_call_seconds is not None and slow >= self.settings.slow_call_rate
        )

    def in_a_row(self) -> int:
        row = 0
        while row < len(self.ended) and self.ended[-1 - row][1]:
            row += 1
        return row

    def retry_after(self) -> float | None:
        if self.state == "open":
            return max(0.0, self.since + self.settings.reset_timeout - self.now)
        return 1.0 if self.state == "half_open" else None

    def probed(self, healthy: bool) -> None:
        if self.state == "open" and healthy and self.now >= self.since + self.settings.reset_timeout:
            self.move("half_open")
        if self.state == "half_open":
            self.weigh(good=healthy)


rates = st.sampled_from([0.3, 0.5, 1.0])
breaker_settings = st.builds(
    BreakerSettings,
    failure_threshold=st.sampled_from([None, 1, 2, 5]),
    failure_rate=st.none() | rates,
    slow_call_seconds=st.sampled_from([None, 1.0, 4.0]),
    slow_call_rate=rates,
    window_calls=st.sampled_from([4, 7]),
    window_seconds=st.sampled_from([None, 5.0, 20.0]),
    minimum_calls=st.sampled_from([1, 3, 4]),
    reset_timeout=st.sampled_from([3.0, 10.0]),
    half_open_requests=st.sampled_from([1, 2, 3]),
    probe_timeout=st.sampled_from([2.0, 8.0]),
)
steps = st.lists(
    st.tuples(
        st.sampled_from(["acquire", "acquire", "succeeded", "failed", "failed", "refused", "cancelled"]),
        st.integers(0, 9),
    )
    | st.tuples(st.just("advance"), st.sampled_from([0.25, 1.0, 2.0, 3.0, 10.0]))
    | st.tuples(st.sampled_from(["probed", "reset", "trip"]), st.integers(0, 1)),
    max_size=80,
)


class Pair:
    """Both, driven by the same script."""

    def __init__(self, chosen: BreakerSettings) -> None:
        self.clock = ManualClock(monotonic=100.0)
        self.breaker = CircuitBreaker("rhetor", chosen, self.clock)
        self.naive = Naive(chosen, 100.0)
        self.out: list[tuple[Permit, Call]] = []

    def acquire(self, _: float) -> None:
        call = self.naive.acquire()
        try:
            permit = self.breaker.acquire()
        except CircuitOpenError:
            assert call is None
        else:
            assert call is not None
            self.out.append((permit, call))

    def end(self, what: str, number: float) -> None:
        if not self.out:
            return
        permit, call = self.out.pop(int(number) % len(self.out))
        if what == "refused":
            permit.failed(ComponentNotFoundError("ghost"))
        else:
            getattr(permit, what)()
        self.naive.end(call, what)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.naive.advance(seconds)

    def probed(self, healthy: float) -> None:
        self.breaker.probed(bool(healthy))
        self.naive.probed(bool(healthy))

    def reset(self, _: float) -> None:
        self.breaker.reset()
        self.naive.moves += self.naive.state != "closed"
        self.naive.enter("closed")

    def trip(self, _: float) -> None:
        self.breaker.trip()
        if self.naive.state != "forced_open":
            self.naive.move("forced_open")

    def check(self) -> None:
        status, naive = self.breaker.status(), self.naive
        assert (status.state, status.transitions) == (naive.state, naive.moves)
        assert (status.successes, status.failures) == (naive.successes, naive.failures)
        assert (status.rejections, status.probes) == (naive.rejections, len(naive.probes))
        assert (status.seconds, status.retry_after) == (naive.now - naive.since, naive.retry_after())
        assert status.failures_in_a_row == (naive.in_a_row() if naive.state == "closed" else 0)


@settings(max_examples=RUNS, deadline=None)
@given(breaker_settings, steps)
def test_it_lets_through_whom_the_naive_one_lets_through(
    chosen: BreakerSettings, script: list[tuple[str, float]]
) -> None:
    pair = Pair(chosen)
    for what, number in script:
        step = getattr(pair, what, None)
        if step is None:
            pair.end(what, number)
        else:
            step(number)
        pair.check()
