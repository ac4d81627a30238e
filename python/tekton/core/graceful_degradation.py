"""Calls that survive the failure of the component they are made to.

    manager = GracefulDegradationManager()
    manager.register_fallback("text_generation", "rhetor", "local_llm", {"model": "llama3"})
    answer = await manager.execute_with_fallback("text_generation", "rhetor", generate_text, args=(prompt,))

A call goes to its component and, when that fails or its circuit breaker is open, to each of its fallbacks in turn. The
rules:

* The whole has one deadline, which also holds for calls that are made on the way (`deadline.time_left`). Whoever is
  asked gets an equal share of what is left (or its `call_timeout`), so that one that hangs leaves time for the next.
* Every component has a breaker, with default settings unless it was given others. A call that its caller gave up, or
  that had less than half of its share because the time of its caller was over, says nothing about the component.
* An error that is about the request (`failures.is_failure`) is the answer: it is raised as it is, and nobody else is
  asked.
* A component is tried again only if that was asked for (`register_retries`), then in one layer only, within a budget.
* What stands in for a component never calls that component or itself again for the same capability, however indirectly.

Functions that are not async run in threads. One that is still running when its call is over keeps its place among the
simultaneous calls of the component. An async function that ignores its cancellation holds up its caller.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.degradation.breaker_settings import BreakerSettings
from tekton.core.degradation.breaker_states import BreakerEvent, BreakerState, Transition
from tekton.core.degradation.bulkhead import Bulkhead
from tekton.core.degradation.circuit_breaker import CircuitBreaker
from tekton.core.degradation.execution import Attempt, Target, execute
from tekton.core.degradation.failures import IsFailure, is_failure
from tekton.core.degradation.fallbacks import Fallback, Fallbacks
from tekton.core.degradation.service_board import CapabilityStatus, ServiceBoard, ServiceChange
from tekton.utils.retries import Retries
from tekton.utils.tekton_errors import (
    BulkheadFullError,
    CallTimeoutError,
    CircuitOpenError,
    FallbackCycleError,
    NoFallbackAvailableError,
)
from tekton.utils.tekton_ids import check_id

__all__ = [
    "BreakerEvent",
    "BreakerSettings",
    "BreakerState",
    "BulkheadFullError",
    "CallTimeoutError",
    "CapabilityStatus",
    "CircuitBreaker",
    "CircuitOpenError",
    "Fallback",
    "FallbackCycleError",
    "GracefulDegradationManager",
    "NoFallbackAvailableError",
    "Retries",
    "ServiceChange",
    "Transition",
]

DEFAULT_TIMEOUT = 60.0
"""Seconds for a call and all its fallbacks, unless it has a timeout of its own."""


class GracefulDegradationManager:
    """Fallbacks, breakers and limits of the components that one program calls. Used on one event loop.

    *usable* tells at once whether a component can be called at all, where somebody knows (`review` when that has
    changed); one that cannot is passed over. *classify* says which errors count against a component.
    """

    def __init__(
        self,
        *,
        clock: Clock = SYSTEM_CLOCK,
        default_timeout: float | None = DEFAULT_TIMEOUT,
        classify: IsFailure = is_failure,
        usable: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._clock = clock
        self._default_timeout = default_timeout
        self._classify = classify
        self._usable = usable
        self._fallbacks = Fallbacks()
        self._targets: dict[str, Target] = {}
        self._board = ServiceBoard(self._fallbacks, lambda name: self.breaker(name).state, usable, clock)

    def register_fallback(
        self,
        capability: str,
        primary_component: str,
        fallback_component: str,
        fallback_parameters: Mapping[str, Any] | None = None,
        *,
        function: Callable[..., Any] | None = None,
        priority: int = 0,
    ) -> None:
        """Let *fallback_component* stand in where *primary_component* provides *capability*.

        It is called by *function* (default: the function of the call), with the *fallback_parameters* on top of the
        keyword arguments of the call. Lower priorities are tried earlier, equal ones as registered; then the fallbacks
        of fallbacks. One for the same components is replaced. Raises FallbackCycleError if it would lead back to the
        primary, InvalidIdError for names that are none.
        """
        fallback = Fallback(
            check_id(capability, "/capability", dots=True),
            check_id(primary_component, "/primary_component"),
            check_id(fallback_component, "/fallback_component"),
            dict(fallback_parameters or {}),
            function,
            priority,
        )
        self._fallbacks.add(fallback)
        self.review("registered")

    def remove_fallback(self, capability: str, primary_component: str, fallback_component: str | None = None) -> None:
        """Forget a fallback, or all of *primary_component* for *capability*."""
        self._fallbacks.remove(capability, primary_component, fallback_component)
        self.review("removed")

    def register_circuit_breaker(
        self,
        component: str,
        failure_threshold: int | None = 5,
        reset_timeout: float = 60.0,
        half_open_requests: int = 2,
        **settings: Any,
    ) -> CircuitBreaker:
        """Give *component* a breaker with these settings; further ones are those of `BreakerSettings`.

        A breaker with other settings is replaced by a closed one, one with the same is kept. Raises ValueError.
        """
        wanted = BreakerSettings(
            failure_threshold=failure_threshold,
            reset_timeout=reset_timeout,
            half_open_requests=half_open_requests,
            **settings,
        )
        target = self._target(component)
        if target.breaker.settings != wanted:
            target.breaker = self._new_breaker(component, wanted)
            self.review("registered")
        return target.breaker

    def register_limits(
        self,
        component: str,
        *,
        max_concurrent: int | None = None,
        max_waiting: int = 0,
        call_timeout: float | None = None,
    ) -> None:
        """Let *max_concurrent* calls of *component* run and *max_waiting* wait, and each take *call_timeout* seconds.

        A call that finds no place goes to the fallbacks at once. Calls that run keep to the limits before.
        """
        target = self._target(component)
        target.bulkhead = Bulkhead(component, max_concurrent, max_waiting)
        target.call_timeout = call_timeout

    def register_retries(self, component: str, retries: Retries | None = None) -> None:
        """Try failed calls of *component* again before its fallbacks. Only for what may be done twice.

        By default three times, after delays with full jitter, and for no more than a tenth of the calls beside ten.
        """
        self._target(component).retries = retries or Retries()

    def breaker(self, component: str) -> CircuitBreaker:
        """The breaker of *component*; made with default settings if it has none."""
        return self._target(component).breaker

    def fallbacks(self, capability: str, component: str) -> Sequence[Fallback]:
        """What is tried for *capability* when *component* fails, in this order."""
        return tuple(self._fallbacks.chain(capability, component))

    async def execute_with_fallback(
        self,
        capability: str,
        component: str,
        function: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> Any:
        """What *function*, async or not, returns for *component* or for the first fallback that does not fail.

        *timeout* is for all of it together, in seconds; less when the call is part of another one that has less left.
        Raises NoFallbackAvailableError with the cause for each component, and errors that are about the request as
        they are.
        """
        given = dict(kwargs or {})
        attempts = [Attempt(self._target(component), function, tuple(args), given)]
        for one in self._fallbacks.chain(capability, component):
            target = self._target(one.component)
            attempts.append(Attempt(target, one.function or function, tuple(args), {**given, **one.parameters}))
        return await execute(capability, attempts, self._default_timeout if timeout is None else timeout)

    def status(self) -> list[CapabilityStatus]:
        """Who serves each capability that has a fallback, since when and why."""
        return self._board.status()

    def add_listener(self, listener: Callable[[ServiceChange], object], *, direct: bool = False) -> Callable[[], None]:
        """Tell *listener* whenever somebody else serves a capability; returns the function that removes it.

        How it is called, and what *direct* means: `degradation.listeners`.
        """
        return self._board.listeners.add(listener, direct=direct)

    def review(self, reason: str) -> None:
        """Whether a component is usable has changed, for *reason*."""
        self._board.review(reason)

    def _target(self, component: str) -> Target:
        target = self._targets.get(component)
        if target is None:
            breaker = self._new_breaker(check_id(component, "/component"), BreakerSettings())
            target = self._targets[component] = Target(component, breaker, Bulkhead(component), self._usable)
        return target

    def _new_breaker(self, component: str, settings: BreakerSettings) -> CircuitBreaker:
        breaker = CircuitBreaker(component, settings, self._clock, classify=self._classify)
        breaker.listeners.add(self._on_transition, direct=True)
        return breaker

    def _on_transition(self, transition: Transition) -> None:
        self.review(f"{transition.breaker}: {transition.reason}")
