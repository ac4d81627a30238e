"""Components: their registration, their life, and what they depend on."""

from collections.abc import Sequence

from tekton.utils.tekton_errors.base import TektonError

__all__ = [
    "ComponentConfiguredError",
    "ComponentError",
    "ComponentExistsError",
    "ComponentNotFoundError",
    "CursorExpiredError",
    "DependencyError",
    "IllegalTransitionError",
    "InvalidIdError",
    "InvalidRegistrationError",
    "RegistryError",
    "StaleInstanceError",
    "StartTimeoutError",
    "TooManyHeartbeatsError",
]


class ComponentError(TektonError):
    """A component failed to start, or failed while it was asked to do something."""

    code = "component_failed"

    def __init__(self, component_id: str, reason: str) -> None:
        self.component_id = component_id
        self.reason = reason
        super().__init__(f"{component_id}: {reason}")


class StartTimeoutError(ComponentError):
    """A component did not become usable within its start timeout (seconds)."""

    code = "start_timeout"

    def __init__(self, component_id: str, timeout: float, waiting_for: str = "readiness") -> None:
        self.timeout = timeout
        self.waiting_for = waiting_for
        super().__init__(component_id, f"not ready after {timeout:g} s (waiting for {waiting_for})")


class DependencyError(TektonError):
    """A component cannot start because of what it depends on.

    `failed_dependencies` names them; `cycle` is one concrete cycle in edge order when that is the cause.
    """

    code = "dependency_failed"

    def __init__(
        self, component_id: str, failed_dependencies: Sequence[str], reason: str = "", cycle: Sequence[str] = ()
    ) -> None:
        self.component_id = component_id
        self.failed_dependencies = list(failed_dependencies)
        self.cycle = list(cycle)
        self.reason = reason or f"{', '.join(self.failed_dependencies)} not usable"
        super().__init__(f"{component_id} cannot start: {self.reason}")


class RegistryError(TektonError):
    """Base of what the component registry refuses."""

    code = "registry"


class InvalidRegistrationError(RegistryError):
    """A registration has a field that cannot be accepted. `field` is a JSON pointer."""

    code = "invalid_registration"

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(f"{field.lstrip('/').replace('/', '.')}: {problem}")


class InvalidIdError(InvalidRegistrationError):
    """An id that does not follow the naming rule; `nearest` is the closest one that does, if there is one."""

    code = "invalid_id"

    def __init__(self, field: str, value: str, nearest: str | None) -> None:
        self.value = value
        self.nearest = nearest
        if nearest:
            self.hint = f"use {nearest!r}"
        super().__init__(field, f"{value!r} is not a valid id (lower-case letters, digits, '-' and '_')")


class ComponentNotFoundError(RegistryError):
    """No such component (or no such instance of it)."""

    code = "component_not_found"

    def __init__(self, component_id: str, nearest: str | None = None) -> None:
        self.component_id = component_id
        self.nearest = nearest
        if nearest:
            self.hint = f"did you mean {nearest!r}?"
        super().__init__(f"no component {component_id!r}")


class ComponentExistsError(RegistryError):
    """Another live instance holds the component id, and no more instances are allowed."""

    code = "component_exists"
    hint = "stop the other instance, or register with a larger max_instances"

    def __init__(self, component_id: str, instance_uuid: str) -> None:
        self.component_id = component_id
        self.instance_uuid = instance_uuid
        super().__init__(f"{component_id} already has a live instance {instance_uuid}")


class ComponentConfiguredError(RegistryError):
    """The component is part of the configuration; it cannot be put in or taken out beside that."""

    code = "component_configured"
    hint = "change components.json, then tekton reload"

    def __init__(self, component_id: str) -> None:
        self.component_id = component_id
        super().__init__(f"{component_id} is part of the configuration")


class StaleInstanceError(RegistryError):
    """The caller speaks for an instance that has been replaced or was never registered."""

    code = "stale_instance"
    hint = "register again to obtain a new instance"

    def __init__(self, component_id: str, instance_uuid: str) -> None:
        self.component_id = component_id
        self.instance_uuid = instance_uuid
        super().__init__(f"{instance_uuid} is not an instance of {component_id}")


class TooManyHeartbeatsError(RegistryError):
    """An instance sends heartbeats far faster than it is asked to. This one did not count; those before it do."""

    code = "too_many_heartbeats"
    hint = "send the next heartbeat when the reply to the last one says so"

    def __init__(self, component_id: str, limit: int, interval: float) -> None:
        self.component_id = component_id
        self.limit = limit
        self.interval = interval
        super().__init__(f"{component_id} sends more than {limit} heartbeats in {interval:g} s")


class IllegalTransitionError(RegistryError):
    """A state change that the lifecycle table does not contain. Nothing was changed."""

    code = "illegal_transition"

    def __init__(self, component_id: str, current: str, requested: str, legal: Sequence[str]) -> None:
        self.component_id = component_id
        self.current = current
        self.requested = requested
        self.legal = list(legal)
        self.hint = f"legal from {current}: {', '.join(self.legal) or 'nothing'}"
        super().__init__(f"{component_id}: {current} -> {requested} is not a legal transition")


class CursorExpiredError(RegistryError):
    """A list cursor or watch position that is no longer known; start again without it."""

    code = "cursor_expired"
    hint = "start again without it"
