"""What the API shows of a component beyond its record."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from tekton.core.lifecycle import ComponentRecord, ComponentState
from tekton.supervisor.usage import ProcessUsage

HealthMark = Literal["ok", "warn", "fail"]

NOT_SERVING = "takes no traffic"


class ComponentView(ComponentRecord, frozen=True, kw_only=True):
    """A component as people want to see it.

    `pid`, `port`, `log` and `restarts` are those of a supervised process; `uptime` is in seconds since it became
    ready; `note` is the one thing to know about its state (what it waits for, why it failed, when it is retried).
    `health` is `ok` or `warn` for what can be used, `fail` for what has failed, and null on the way. `cpu` (a fraction
    of one core) and `memory` (bytes) are what the process and all that it started use, null where that is not known;
    of a component with several replicas, the sum. `ready_replicas` of its `replicas` can be used.
    `groups` are those that `@group` names on the command line. In `forget_in` seconds this instance is forgotten; null:
    it is not going to be. `tools` and `agents` are left out: who looks at all components again and again does not want
    them.
    A configured component that has not been registered yet is shown as `unknown` with generation 0.
    """

    pid: int | None = None
    port: int | None = None
    restarts: int = 0
    uptime: float | None = None
    note: str | None = None
    log: str | None = None
    health: HealthMark | None = None
    cpu: float | None = None
    memory: int | None = None
    replicas: int = 1
    ready_replicas: int = 0
    groups: tuple[str, ...] = ()
    forget_in: float | None = None


class InstanceView(ComponentRecord, frozen=True, kw_only=True):
    """One instance, with what is known about its process: null for one that Tekton does not run.

    `replica` is its number among the replicas of the component, from 0; `restarts` is how often that replica was
    restarted without anybody asking for it.
    """

    pid: int | None = None
    port: int | None = None
    replica: int | None = None
    restarts: int | None = None
    cpu: float | None = None
    memory: int | None = None


def health_mark(record: ComponentRecord, doubt: str | None) -> HealthMark | None:
    """The health of a component in one word; *doubt* is what speaks against one that is READY."""
    if record.state is ComponentState.FAILED:
        return "fail"
    if not record.usable:
        return None
    return "ok" if record.state is ComponentState.READY and record.serving and doubt is None else "warn"


def total(usages: Iterable[ProcessUsage | None]) -> tuple[float | None, int | None]:
    """CPU and memory of several processes together; None when nothing is known of any."""
    known = [usage for usage in usages if usage is not None]
    if len(known) == 1:
        return known[0]
    return (sum(usage.cpu for usage in known), sum(usage.memory for usage in known)) if known else (None, None)


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
    return ComponentView(**_without_offers(record), **extra)  # type: ignore[arg-type]


def show_instance(record: ComponentRecord, **extra: object) -> InstanceView:
    """*record* with what is known about its process."""
    return InstanceView(**_without_offers(record), **extra)  # type: ignore[arg-type]


def _without_offers(record: ComponentRecord) -> dict[str, object]:
    return {**msgspec.structs.asdict(record), "tools": msgspec.UNSET, "agents": msgspec.UNSET}
