"""The circuit breaker of one component: it keeps calls away while they fail, and finds out when they do not any more.

    permit = breaker.acquire()          # raises CircuitOpenError
    try:
        answer = await ask()
    except Exception as error:
        permit.failed(error)
        raise
    except BaseException:
        permit.cancelled()
        raise
    permit.succeeded()

`call` does exactly this. The rules:

* Every permit is answered once. A result counts only in the state in which the call began (its *generation*): what ends
  after a transition changes nothing.
* In HALF_OPEN at most `half_open_requests` permits are out or have succeeded, whatever the number of callers. One that
  is cancelled makes room for another. One without a result at its deadline has failed, at that moment, even if nobody
  looked until later.
* Nothing here waits or has a timer: HALF_OPEN is entered by the first call after `reset_timeout`, or by a good report
  of the component's health (`probed`), so that a breaker without traffic closes too.
* Only the monotonic clock measures.

Safe to use from several threads. A call through a closed breaker takes no lock and makes no object, unless a window is
kept: then it has a permit of its own, which knows when it began, and its result takes the lock.
"""

import logging
import threading
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.calls import describe
from tekton.core.degradation.breaker_settings import BreakerSettings
from tekton.core.degradation.breaker_states import TRANSITIONS, BreakerEvent, BreakerState, BreakerStatus, Transition
from tekton.core.degradation.failures import IsFailure, is_failure
from tekton.core.degradation.listeners import Listeners
from tekton.core.degradation.permits import Permit, Probe, SharedPermit, WindowPermit
from tekton.core.degradation.windows import windows_of
from tekton.utils.tekton_errors import CircuitOpenError

_P = ParamSpec("_P")
_T = TypeVar("_T")

_logger = logging.getLogger("tekton.degradation")

_SOON = 1.0
"""What is told to those who come while probes are out: about when there is a result."""


class CircuitBreaker:
    """The breaker of the component *name*.

    *classify* says which errors count against the component. `listeners` are told of every transition, in order.
    `successes`, `failures` and `rejections` count since the breaker was made; results that came too late are in none.
    """

    __slots__ = (
        "_classify",
        "_clock",
        "_generation",
        "_in_a_row",
        "_lock",
        "_now",
        "_probes",
        "_proven",
        "_reason",
        "_shared",
        "_since",
        "_state",
        "_transitions",
        "_windows",
        "failures",
        "listeners",
        "name",
        "rejections",
        "settings",
        "successes",
    )

    def __init__(
        self,
        name: str,
        settings: BreakerSettings | None = None,
        clock: Clock = SYSTEM_CLOCK,
        *,
        classify: IsFailure = is_failure,
    ) -> None:
        self.name = name
        self.settings = settings or BreakerSettings()
        self._classify = classify
        self.listeners: Listeners[Transition] = Listeners()
        self.successes = self.failures = self.rejections = 0
        self._clock = clock
        self._now = clock.monotonic
        self._lock = threading.Lock()
        self._windows = windows_of(self.settings)
        self._transitions = self._generation = 0
        self._state = BreakerState.CLOSED
        self._shared: SharedPermit | None = None
        self._begin(self._now(), "")

    def __repr__(self) -> str:
        return f"CircuitBreaker({self.name!r}, {self._state.value})"

    @property
    def state(self) -> BreakerState:
        """The state now. OPEN says also that nobody has called since `reset_timeout` was over."""
        if self._state is BreakerState.HALF_OPEN:
            with self._lock:
                self._settle(self._now())
            self.listeners.deliver()
        return self._state

    def acquire(self) -> Permit:
        """Permission for one call. Raises CircuitOpenError when there is none now."""
        return self._shared or self._admit()

    def check(self) -> None:
        """Raise CircuitOpenError if a call would get no permission now. Changes nothing, counts nothing."""
        if self._state is BreakerState.CLOSED:
            return
        with self._lock:
            now = self._now()
            self._settle(now)
            refusal = None if self._has_room(now) else self._refusal(now)
        self.listeners.deliver()
        if refusal is not None:
            raise refusal

    async def call(self, function: Callable[_P, Awaitable[_T]], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Await *function* with permission. Raises CircuitOpenError, and what it raises."""
        permit = self._shared or self._admit()
        try:
            answer = await function(*args, **kwargs)
        except Exception as error:
            permit.failed(error)
            raise
        except BaseException:
            permit.cancelled()
            raise
        if permit is self._shared:  # what `succeeded` does, without the cost of a call
            self._in_a_row = 0
            self.successes += 1
        else:
            permit.succeeded()
        return answer

    def call_sync(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call *function*, which is not async, with permission. Raises CircuitOpenError, and what it raises."""
        permit = self._shared or self._admit()
        try:
            answer = function(*args, **kwargs)
        except Exception as error:
            permit.failed(error)
            raise
        except BaseException:
            permit.cancelled()
            raise
        if permit is self._shared:  # what `succeeded` does, without the cost of a call
            self._in_a_row = 0
            self.successes += 1
        else:
            permit.succeeded()
        return answer

    def counts(self, error: BaseException | None) -> bool:
        """True when a call that failed with *error* counts against the component, and not for it."""
        try:
            return error is None or self._classify(error)
        except Exception:
            # Whoever has a permit is about to give it back.
            _logger.exception("the classification of errors of %s failed", self.name)
            return True

    def probed(self, healthy: bool) -> None:
        """The component's health was looked at, by somebody else.

        Once `reset_timeout` is over, a good report is as good as a probe that succeeded, and a bad one as one that
        failed. Before that, and in other states, calls alone decide.
        """
        with self._lock:
            now = self._now()
            self._settle(now)
            if healthy and self._is_due(now):
                self._move(BreakerEvent.WAITED, now, "it is healthy again")
            if self._state is BreakerState.HALF_OPEN:
                self._weigh(now, None if healthy else "its health is bad")
        self.listeners.deliver()

    def reset(self) -> None:
        """Close it by hand, and forget what has failed."""
        with self._lock:
            now = self._now()
            if not self._move(BreakerEvent.RESET, now, "reset by hand"):
                self._begin(now, "reset by hand")
        self.listeners.deliver()

    def trip(self, reason: str = "opened by hand") -> None:
        """Open it by hand. It stays open until `reset`."""
        with self._lock:
            self._move(BreakerEvent.TRIPPED, self._now(), reason)
        self.listeners.deliver()

    def status(self) -> BreakerStatus:
        """How it stands now."""
        state = self.state
        with self._lock:
            now = self._now()
            return BreakerStatus(
                state=state.value,
                seconds=max(0.0, now - self._since),
                reason=self._reason,
                failures_in_a_row=self._in_a_row,
                probes=len(self._probes),
                retry_after=None if state is BreakerState.CLOSED else self._refusal(now).retry_after,
                successes=self.successes,
                failures=self.failures,
                rejections=self.rejections,
                transitions=self._transitions,
            )

    # What follows is called with the lock held.

    def _begin(self, at: float, reason: str) -> None:
        """A new generation, in the present state."""
        self._generation += 1
        self._since = at
        self._reason = reason
        self._in_a_row = self._proven = 0
        self._probes: dict[Probe, float] = {}
        for window in self._windows:
            window.clear()
        shared = self._state is BreakerState.CLOSED and not self._windows
        self._shared = SharedPermit(self, self._generation) if shared else None

    def _move(self, event: BreakerEvent, at: float, reason: str) -> bool:
        """What the table says of *event*; False when it says nothing."""
        previous = self._state
        state = TRANSITIONS.get((previous, event))
        if state is None:
            return False
        self._state = state
        self._transitions += 1
        self._begin(at, reason)
        self.listeners.put(
            Transition(self.name, self._transitions, previous, state, event, at, self._clock.time(), reason)
        )
        return True

    def _settle(self, now: float) -> None:
        """Let the deadline of the oldest probe pass, if it has. A late look finds what a timer would have left."""
        if self._probes and (deadline := next(iter(self._probes.values()))) <= now:
            reason = f"no answer to a probe within {self.settings.probe_timeout:g} s"
            self.failures += 1
            self._move(BreakerEvent.PROBE_TIMED_OUT, deadline, reason)

    def _is_due(self, now: float) -> bool:
        return self._state is BreakerState.OPEN and now >= self._since + self.settings.reset_timeout

    def _has_room(self, now: float) -> bool:
        if self._state is BreakerState.HALF_OPEN:
            return len(self._probes) + self._proven < self.settings.half_open_requests
        return self._state is BreakerState.CLOSED or self._is_due(now)

    def _permit(self, now: float) -> Permit | None:
        self._settle(now)
        if not self._has_room(now):
            return None
        if self._state is BreakerState.CLOSED:
            return self._shared or WindowPermit(self, self._generation, now)
        self._move(BreakerEvent.WAITED, now, "it is tried again")
        probe = Probe(self, now)
        self._probes[probe] = now + self.settings.probe_timeout
        return probe

    def _refusal(self, now: float) -> CircuitOpenError:
        after: float | None = _SOON
        if self._state is BreakerState.OPEN:
            after = max(0.0, self._since + self.settings.reset_timeout - now)
        elif self._state is BreakerState.FORCED_OPEN:
            after = None
        return CircuitOpenError(self.name, self._state.value, after)

    def _weigh(self, now: float, trouble: str | None) -> None:
        """A probe has succeeded, or failed because of *trouble*."""
        if trouble is not None:
            self._move(BreakerEvent.PROBE_FAILED, now, trouble)
            return
        self._proven += 1
        if self._proven >= self.settings.half_open_requests:
            self._move(BreakerEvent.RECOVERED, now, "the probes have succeeded")

    def _trouble(self, error: BaseException | None) -> str | None:
        """Why a closed breaker has to open now, after a call that ended with *error*; None when it has not."""
        settings = self.settings
        if settings.failure_threshold is not None and self._in_a_row >= settings.failure_threshold:
            return f"{self._in_a_row} failures in a row" + (f", the last one: {describe(error)}" if error else "")
        for window in self._windows:
            if window.calls < settings.minimum_calls or not (window.failures or window.slow):
                continue
            if settings.failure_rate is not None and window.failures / window.calls >= settings.failure_rate:
                return f"{window.failures} of {window.calls} calls failed"
            if settings.slow_call_seconds is not None and window.slow / window.calls >= settings.slow_call_rate:
                return f"{window.slow} of {window.calls} calls took {settings.slow_call_seconds:g} s or longer"
        return None

    def _is_slow(self, began: float, now: float) -> bool:
        limit = self.settings.slow_call_seconds
        return limit is not None and now - began >= limit

    # Without it.

    def _admit(self) -> Permit:
        # In this order: a transition in between makes the generation an old one, whose results count for nothing.
        generation = self._generation
        if self._state is BreakerState.CLOSED and self._windows:
            return WindowPermit(self, generation, self._now())
        with self._lock:
            now = self._now()
            permit = self._permit(now)
            refusal = self._refusal(now) if permit is None else None
            self.rejections += permit is None
        self.listeners.deliver()
        if permit is None:
            raise refusal or CircuitOpenError(self.name)
        return permit

    def _end_call(self, generation: int, began: float, failed: bool, error: BaseException | None) -> None:
        """A call that began while it was closed is over."""
        with self._lock:
            if generation != self._generation:
                return
            now = self._now()
            slow = self._is_slow(began, now)
            for window in self._windows:
                window.record(now, failed=failed, slow=slow)
            if failed:
                self.failures += 1
                self._in_a_row += 1
            else:
                self.successes += 1
                self._in_a_row = 0
            trouble = self._trouble(error)
            if trouble is None:
                return
            self._move(BreakerEvent.FAILING, now, trouble)
        self.listeners.deliver()

    def _end_probe(self, probe: "Probe", began: float, failed: bool, error: BaseException | None) -> None:
        with self._lock:
            now = self._now()
            self._settle(now)
            if self._probes.pop(probe, None) is not None:
                slow = self._is_slow(began, now)
                self.failures += failed
                self.successes += not failed
                failure = f"a probe failed: {describe(error)}" if error else "a probe failed"
                self._weigh(now, failure if failed else "a probe was slow" if slow else None)
        self.listeners.deliver()

    def _cancel_probe(self, probe: "Probe") -> None:
        with self._lock:
            self._settle(self._now())
            self._probes.pop(probe, None)
        self.listeners.deliver()
