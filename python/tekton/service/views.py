"""What the API shows of a component beyond its record."""

import msgspec

from tekton.core.lifecycle import ComponentRecord, ComponentState


class ComponentView(ComponentRecord, frozen=True, kw_only=True):
    """A component as people want to see it.

    `pid`, `port`, `log` and `restarts` are those of a supervised process; `uptime` is in seconds since it became
    ready; `note` is the one thing to know about its state (what it waits for, why it failed, when it is retried).
    A configured component that has not been registered yet is shown as `unknown` with generation 0.
    """

    pid: int | None = None
    port: int | None = None
    restarts: int = 0
    uptime: float | None = None
    note: str | None = None
    log: str | None = None


def unregistered(component_id: str, dependencies: tuple[str, ...], capabilities: tuple[str, ...]) -> ComponentRecord:
    """The record of a component that is configured but has never been started."""
    return ComponentRecord(
        component_id=component_id,
        instance_uuid="",
        component_name=component_id,
        component_type="service",
        version="",
        capabilities=capabilities,
        dependencies=dependencies,
        endpoint=None,
        metadata={},
        max_instances=1,
        supervised=True,
        state=ComponentState.UNKNOWN,
        reason=None,
        generation=0,
        revision=0,
        registered_at=0.0,
        changed_at=0.0,
    )


def show(record: ComponentRecord, **extra: object) -> ComponentView:
    """*record* with what else is known about the component."""
    return ComponentView(**msgspec.structs.asdict(record), **extra)  # type: ignore[arg-type]
