"""The states of a circuit breaker, what moves it, and the table of all that can happen.

After Resilience4j (forced open; a cap on probes) and sony/gobreaker (generations).
"""

from dataclasses import dataclass
from enum import Enum

import msgspec


class BreakerState(Enum):
    """CLOSED: calls go through. OPEN: none do. HALF_OPEN: a few do, as probes. FORCED_OPEN: none do until `reset`."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"


class BreakerEvent(Enum):
    """What moves a breaker from one state to another."""

    FAILING = "failing"
    """Too many calls in a row, or too large a share of a window, have failed or were slow."""
    WAITED = "waited"
    """`reset_timeout` is over, and somebody calls, or the component is reported healthy."""
    RECOVERED = "recovered"
    """`half_open_requests` probes have succeeded."""
    PROBE_FAILED = "probe_failed"
    """A probe has failed or was slow, or the component is reported unhealthy."""
    PROBE_TIMED_OUT = "probe_timed_out"
    """A probe had no result within `probe_timeout`."""
    TRIPPED = "tripped"
    """By hand: `trip()`."""
    RESET = "reset"
    """By hand: `reset()`."""


TRANSITIONS: dict[tuple[BreakerState, BreakerEvent], BreakerState] = {
    (BreakerState.CLOSED, BreakerEvent.FAILING): BreakerState.OPEN,
    (BreakerState.CLOSED, BreakerEvent.TRIPPED): BreakerState.FORCED_OPEN,
    (BreakerState.OPEN, BreakerEvent.WAITED): BreakerState.HALF_OPEN,
    (BreakerState.OPEN, BreakerEvent.TRIPPED): BreakerState.FORCED_OPEN,
    (BreakerState.OPEN, BreakerEvent.RESET): BreakerState.CLOSED,
    (BreakerState.HALF_OPEN, BreakerEvent.RECOVERED): BreakerState.CLOSED,
    (BreakerState.HALF_OPEN, BreakerEvent.PROBE_FAILED): BreakerState.OPEN,
    (BreakerState.HALF_OPEN, BreakerEvent.PROBE_TIMED_OUT): BreakerState.OPEN,
    (BreakerState.HALF_OPEN, BreakerEvent.TRIPPED): BreakerState.FORCED_OPEN,
    (BreakerState.HALF_OPEN, BreakerEvent.RESET): BreakerState.CLOSED,
    (BreakerState.FORCED_OPEN, BreakerEvent.RESET): BreakerState.CLOSED,
}
"""Everything that can happen. What is not here changes nothing."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One breaker has changed its state; `number` counts its transitions from 1.

    `at` is on the monotonic clock: for a probe that timed out, the moment of its deadline, however late that was
    noticed. `time` is the wall-clock time at which it was noticed. `reason` is for people.
    """

    breaker: str
    number: int
    previous: BreakerState
    state: BreakerState
    event: BreakerEvent
    at: float
    time: float
    reason: str


class BreakerStatus(msgspec.Struct, frozen=True):
    """How a breaker stands: for how many `seconds`, and for which `reason`.

    `retry_after` is that of the CircuitOpenError which a call would get; None when it is closed. `failures_in_a_row` is
    what a closed breaker counts; the other counts are of all calls, `rejections` of those that were kept away.
    """

    state: str
    seconds: float
    reason: str
    failures_in_a_row: int
    probes: int
    retry_after: float | None
    successes: int
    failures: int
    rejections: int
    transitions: int
