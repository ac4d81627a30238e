"""A circuit breaker for each component that is called: the hook of `calls`, and what the control plane says of it.

A component has one breaker for all of its instances; a single bad one is left alone by the balancer before that. What
counts against a component is an instance that cannot be reached, does not answer in time, or answers 500 or more. The
breaker closes when calls succeed again, and at once when there is a new instance: what failed is gone with the old one.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.degradation.breaker_settings import BreakerSettings
from tekton.core.degradation.breaker_states import BreakerState, Transition
from tekton.core.degradation.circuit_breaker import CircuitBreaker
from tekton.core.degradation.permits import Permit
from tekton.core.lifecycle import ComponentRecord

__all__ = ["DEFAULTS", "Breakers"]

DEFAULTS = BreakerSettings(failure_rate=0.5, minimum_calls=20, reset_timeout=30.0)
"""Those of a component for which nothing is configured; the same as in components.json."""

_TRYING = (BreakerState.OPEN, BreakerState.HALF_OPEN)

_logger = logging.getLogger("tekton.calls")


class Breakers:
    """A `CallHook`. *settings* are those of components that have their own; None: the component has no breaker.

    *listener* is told of every transition, and must return at once.
    """

    def __init__(
        self,
        settings: Mapping[str, BreakerSettings | None] | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        listener: Callable[[Transition], object] | None = None,
    ) -> None:
        self._settings = dict(settings or {})
        self._clock = clock
        self._listener = listener
        self._breakers: dict[str, CircuitBreaker] = {}
        self._called: dict[str, set[str]] = {}
        self._permits: dict[asyncio.Task[Any] | None, Permit] = {}

    def adopt(self, settings: Mapping[str, BreakerSettings | None]) -> None:
        """From now on these settings hold. A breaker whose settings have changed begins anew."""
        changed = {
            name
            for name in self._settings.keys() | settings.keys()
            if self._settings.get(name, DEFAULTS) != settings.get(name, DEFAULTS)
        }
        self._settings = dict(settings)
        for name in changed:
            self._forget(name)

    def breaker(self, component_id: str) -> CircuitBreaker | None:
        """The breaker of a component; None when it is to have none."""
        breaker = self._breakers.get(component_id)
        if breaker is None and (settings := self._settings.get(component_id, DEFAULTS)) is not None:
            breaker = self._breakers[component_id] = CircuitBreaker(component_id, settings, self._clock)
            breaker.listeners.add(self._tell, direct=True)
        return breaker

    def before(self, instance: ComponentRecord) -> None:
        """Raises CircuitOpenError."""
        breaker = self.breaker(instance.component_id)
        if breaker is not None:
            # An attempt is made by one task from its beginning to its end, and a task makes one at a time.
            self._permits[asyncio.current_task()] = breaker.acquire()
            self._called.setdefault(instance.component_id, set()).add(instance.instance_uuid)

    def after(self, instance: ComponentRecord, error: BaseException | None) -> None:
        """See `CallHook`."""
        del instance
        permit = self._permits.pop(asyncio.current_task(), None)
        if permit is None:
            return
        if error is None:
            permit.succeeded()
        elif isinstance(error, Exception):
            permit.failed(error)
        else:
            permit.cancelled()

    def observed(self, record: ComponentRecord, *, gone: bool = False) -> None:
        """An instance is there, has changed, or has *gone*: *record* is how it stands, or did."""
        called = self._called.get(record.component_id)
        if called is None:
            return
        breaker = self._breakers.get(record.component_id)
        if gone or not record.usable:
            called.discard(record.instance_uuid)
            if gone and not called:
                self._forget(record.component_id)
        elif breaker is not None and record.discoverable and breaker.state in _TRYING:
            if record.instance_uuid in called:
                breaker.probed(True)
            else:
                breaker.reset()

    def _forget(self, component_id: str) -> None:
        self._breakers.pop(component_id, None)
        self._called.pop(component_id, None)

    def _tell(self, transition: Transition) -> None:
        level = logging.INFO if transition.state is BreakerState.CLOSED else logging.WARNING
        told = (transition.breaker, transition.state.value.replace("_", " "), transition.reason)
        _logger.log(level, "calls to %s: circuit %s (%s)", *told, extra={"component": transition.breaker})
        if self._listener is not None:
            self._listener(transition)
