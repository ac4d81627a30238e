"""Which capability is served by whom: by the component that should, or by what stands in for it, since when and why.

A component stops serving when its breaker opens (or it cannot be used for another reason), and serves again when the
breaker is closed: single failures in between change nothing here. This follows from the breakers alone, without a call.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from tekton.clock import Clock
from tekton.core.degradation.breaker_states import BreakerState
from tekton.core.degradation.fallbacks import Fallbacks
from tekton.core.degradation.listeners import Listeners


class CapabilityStatus(msgspec.Struct, frozen=True):
    """Who serves `capability` in place of, or as, `component`; `served_by` is None when nobody does.

    `since` is the wall-clock time at which that began, `seconds` how long ago it was on the monotonic clock.
    """

    capability: str
    component: str
    served_by: str | None
    degraded: bool
    since: float
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class ServiceChange:
    """Somebody else serves a capability now; None is nobody. `time` is in wall-clock seconds."""

    capability: str
    component: str
    previous: str | None
    served_by: str | None
    time: float
    reason: str

    @property
    def restored(self) -> bool:
        """True when it is the component itself again."""
        return self.served_by == self.component


@dataclass(slots=True)
class _Standing:
    served_by: str | None
    time: float
    at: float
    reason: str


class ServiceBoard:
    """Keeps count for all *fallbacks*; `listeners` are told of every change.

    *state_of* tells the state of a component's breaker, *usable* whether it can be called at all.
    """

    def __init__(
        self,
        fallbacks: Fallbacks,
        state_of: Callable[[str], BreakerState],
        usable: Callable[[str], bool],
        clock: Clock,
    ) -> None:
        self.listeners: Listeners[ServiceChange] = Listeners()
        self._fallbacks = fallbacks
        self._state_of = state_of
        self._usable = usable
        self._clock = clock
        self._standings: dict[tuple[str, str], _Standing] = {}
        self._lock = threading.RLock()

    def review(self, reason: str) -> None:
        """Something has changed, for *reason*: find out who serves what now. O(fallbacks)."""
        with self._lock:
            wanted = dict.fromkeys(self._fallbacks)
            for gone in self._standings.keys() - wanted.keys():
                del self._standings[gone]
            for capability, component in wanted:
                self._review(capability, component, reason)
        self.listeners.deliver()

    def status(self) -> list[CapabilityStatus]:
        """Every capability that has a fallback, in the order of their registration."""
        now = self._clock.monotonic()
        with self._lock:
            return [
                CapabilityStatus(
                    capability=capability,
                    component=component,
                    served_by=standing.served_by,
                    degraded=standing.served_by != component,
                    since=standing.time,
                    seconds=now - standing.at,
                    reason=standing.reason,
                )
                for (capability, component), standing in self._standings.items()
            ]

    def _review(self, capability: str, component: str, reason: str) -> None:
        served_by = self._server(capability, component)
        standing = self._standings.get((capability, component))
        if standing is not None and standing.served_by == served_by:
            return
        time = self._clock.time()
        previous = component if standing is None else standing.served_by
        self._standings[capability, component] = _Standing(served_by, time, self._clock.monotonic(), reason)
        if previous != served_by:
            self.listeners.put(ServiceChange(capability, component, previous, served_by, time, reason))

    def _server(self, capability: str, component: str) -> str | None:
        if self._usable(component) and self._state_of(component) is BreakerState.CLOSED:
            return component
        chain = (fallback.component for fallback in self._fallbacks.chain(capability, component))
        return next((name for name in chain if self._usable(name) and self._stands(name)), None)

    def _stands(self, component: str) -> bool:
        return self._state_of(component) in (BreakerState.CLOSED, BreakerState.HALF_OPEN)
