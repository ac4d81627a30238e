"""Calls of others: what keeps them from arriving, and what keeps them away."""

from collections.abc import Mapping, Sequence

from tekton.utils.tekton_errors.base import TektonError

__all__ = [
    "AllInstancesFailedError",
    "BulkheadFullError",
    "CallTimeoutError",
    "CircuitOpenError",
    "DegradationError",
    "FallbackCycleError",
    "NoFallbackAvailableError",
    "NoUsableInstanceError",
    "TransportError",
]


class TransportError(TektonError):
    """The control plane or a component could not be reached, or answered something unreadable."""

    code = "unreachable"

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(f"{url}: {reason}")


class NoUsableInstanceError(TransportError):
    """The component is known, but none of its instances can be called now. `instances` says of each why not."""

    code = "no_usable_instance"

    def __init__(self, component_id: str, instances: Sequence[str]) -> None:
        self.component_id = component_id
        self.instances = list(instances)
        super().__init__(component_id, f"no instance can be called ({'; '.join(self.instances) or 'there is none'})")


class AllInstancesFailedError(TransportError):
    """A call was tried on several instances, or several times, and failed each time. `causes` says how."""

    code = "all_instances_failed"

    def __init__(self, component_id: str, causes: Sequence[str]) -> None:
        self.component_id = component_id
        self.causes = list(causes)
        super().__init__(component_id, f"every attempt failed: {'; '.join(self.causes)}")


class DegradationError(TektonError):
    """Base of what keeps a call from a component that fails, or from which there is nothing to fall back to."""

    code = "degradation"


class CircuitOpenError(DegradationError):
    """A component keeps failing, so it is not called now. Nothing was sent.

    `state` is that of its circuit breaker, `retry_after` the seconds until it is tried again; None while somebody
    holds the breaker open.
    """

    code = "circuit_open"

    def __init__(self, component_id: str, state: str = "open", retry_after: float | None = None) -> None:
        self.component_id = component_id
        self.state = state
        self.retry_after = retry_after
        again = "" if retry_after is None else f", tried again in {retry_after:.3g} s"
        super().__init__(f"{component_id}: circuit {state.replace('_', ' ')}{again}")


class BulkheadFullError(DegradationError):
    """As many calls of a component run (`limit`) and wait (`waiting`) as may. Nothing was sent."""

    code = "bulkhead_full"
    hint = "call it less often at once, or allow more calls"

    def __init__(self, component_id: str, limit: int, waiting: int = 0) -> None:
        self.component_id = component_id
        self.limit = limit
        self.waiting = waiting
        super().__init__(f"{component_id}: {limit} calls run already" + (f", {waiting} wait" if waiting else ""))


class CallTimeoutError(DegradationError):
    """A call was not over within its time, in seconds. It may have been carried out."""

    code = "call_timeout"

    def __init__(self, component_id: str, timeout: float) -> None:
        self.component_id = component_id
        self.timeout = timeout
        super().__init__(f"{component_id}: no answer within {timeout:.3g} s")


class NoFallbackAvailableError(DegradationError):
    """Neither the component that was to be called nor any of its fallbacks has done it.

    `reasons` says of each component why not, in the order in which they were tried. `causes` are the errors
    themselves; they stay in the process.
    """

    code = "no_fallback"

    def __init__(
        self, capability: str, reasons: Mapping[str, str], causes: Mapping[str, BaseException] | None = None
    ) -> None:
        self.capability = capability
        self.reasons = dict(reasons)
        self._causes = dict(causes or {})
        super().__init__(f"nothing provides {capability}: {'; '.join(self.reasons.values()) or 'nobody was tried'}")

    @property
    def causes(self) -> Mapping[str, BaseException]:
        """Component -> what it failed with; empty where the error has come over HTTP."""
        return self._causes


class FallbackCycleError(DegradationError):
    """A fallback would lead back to the component that it stands in for. It was not registered.

    `cycle` names the components, the first one again at the end.
    """

    code = "fallback_cycle"

    def __init__(self, capability: str, cycle: Sequence[str]) -> None:
        self.capability = capability
        self.cycle = list(cycle)
        super().__init__(f"fallbacks for {capability} go in a circle: {' -> '.join(self.cycle)}")
