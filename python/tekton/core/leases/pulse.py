"""What one instance has sent, and whether its next heartbeat is taken.

* An instance may send `BEATS_PER_INTERVAL` heartbeats per interval, all at once if it likes. Those beyond are refused;
  what was taken keeps the lease, so a flood harms nobody, its sender included. (The allowance is a generic cell rate:
  one number per instance, which runs ahead of the clock by one step per heartbeat.)
* A heartbeat may carry a sequence number, which grows from one to the next. One that is not greater than the last has
  been overtaken on its way, or was sent twice: it is answered and otherwise ignored.
* Metrics are at most `MAX_METRICS` finite numbers by name. A heartbeat without any leaves those of the last one.
"""

import math
from collections.abc import Mapping

from tekton.utils.tekton_errors import InvalidRegistrationError, TooManyHeartbeatsError

BEATS_PER_INTERVAL = 100
MAX_METRICS = 64
MAX_METRIC_NAME = 128


class Pulse:
    """The heartbeats of one instance. `at`: when the last one that counted came, in monotonic seconds."""

    __slots__ = ("_ahead", "_sequence", "at", "metrics")

    def __init__(self) -> None:
        self.at = -math.inf
        self.metrics: Mapping[str, float] = {}
        self._ahead = -math.inf
        self._sequence = -1

    def admit(self, component_id: str, now: float, interval: float, sequence: int | None) -> bool:
        """True when a heartbeat at *now* counts, False when it has been overtaken by a later one.

        Raises TooManyHeartbeatsError beyond `BEATS_PER_INTERVAL` per *interval* seconds; nothing is changed then.
        """
        ahead = self._ahead
        if ahead < now:
            ahead = now
        elif ahead - now > interval:
            raise TooManyHeartbeatsError(component_id, BEATS_PER_INTERVAL, interval)
        self._ahead = ahead + interval / BEATS_PER_INTERVAL
        if sequence is not None:
            if sequence <= self._sequence:
                return False
            self._sequence = sequence
        return True


def check_metrics(metrics: Mapping[str, float]) -> None:
    """Raise InvalidRegistrationError for metrics that are not finite, badly named or too many."""
    if len(metrics) > MAX_METRICS:
        raise InvalidRegistrationError("/metrics", f"{len(metrics)} names; at most {MAX_METRICS} are allowed")
    for name, value in metrics.items():
        if not name or len(name) > MAX_METRIC_NAME:
            raise InvalidRegistrationError("/metrics", f"a name has 1 to {MAX_METRIC_NAME} characters")
        if not _is_finite(value):
            token = name.replace("~", "~0").replace("/", "~1")
            raise InvalidRegistrationError(f"/metrics/{token}", "must be a finite number")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except (TypeError, OverflowError):
        return False
