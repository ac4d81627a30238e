"""How starts and drains have gone, counted."""

from collections import Counter
from typing import Final, Literal

from tekton.core.metrics.tally import Tally
from tekton.core.startup.start_plan import CANCELLED, RESTARTING, STOPPED
from tekton.utils.tekton_errors import ComponentError, DependencyError, StartTimeoutError, TektonError

START_SECONDS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""The bounds between which starts are counted."""

Outcome = Literal["up", "cancelled", "dependency", "timeout", "failed"]

_CALLED_OFF: Final = frozenset({STOPPED, CANCELLED, RESTARTING})


class StartTally:
    """Of all starts, also those that waited for the start of somebody else before."""

    def __init__(self) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self.seconds = Tally(START_SECONDS)
        """How long those took that ended well, waiting for dependencies included."""
        self.drained = 0
        """How often traffic was taken away from a component before it was stopped."""

    def ended(self, error: TektonError | None, seconds: float) -> None:
        """A start has ended, after so many *seconds*."""
        self.outcomes[outcome_of(error)] += 1
        if error is None:
            self.seconds.observe(seconds)


def outcome_of(error: TektonError | None) -> Outcome:
    """What a start has come to that ended with *error*."""
    if error is None:
        return "up"
    if isinstance(error, StartTimeoutError):
        return "timeout"
    if isinstance(error, DependencyError):
        return "dependency"
    called_off = isinstance(error, ComponentError) and error.reason in _CALLED_OFF
    return "cancelled" if called_off else "failed"
