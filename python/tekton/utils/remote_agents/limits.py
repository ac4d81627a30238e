"""How long an agent that is somewhere else may take, and how often it is asked."""

from dataclasses import dataclass

from tekton.core.degradation.breaker_settings import BreakerSettings

__all__ = ["BREAKER", "CallLimits"]

BREAKER = BreakerSettings(failure_rate=0.5, minimum_calls=10, reset_timeout=15.0)
"""That of each agent."""


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Seconds. Whatever they say, the deadline of the task holds.

    *answer* is for a single answer, *stream* for a stream: it is taken up again then, and so a connection on which
    nobody is any more does not matter for longer. *patience* is how long an agent that has a task may not be heard of
    before it is given up. *poll* are the first and the longest pause between questions, and between attempts.
    *settling* is how long it may take until it is known why a call has ended.
    """

    answer: float = 30.0
    stream: float = 300.0
    patience: float = 120.0
    poll: tuple[float, float] = (0.25, 5.0)
    settling: float = 1.0
