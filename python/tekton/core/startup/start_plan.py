"""What the start-up coordinator knows about a component: how to start it and what it needs. Plain values."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypedDict, cast

import msgspec

from tekton.core.calls import UserFunction
from tekton.core.component_lifecycle.healthcheck import Health, HealthCheck
from tekton.core.component_lifecycle.readiness import Condition as Readiness
from tekton.core.dependency import Condition, Dependency
from tekton.core.lifecycle import ENDED, ComponentRecord, ComponentRegistration, ComponentState
from tekton.core.units import component_of

StartFunction = UserFunction
"""Starts a component. Returning False, or raising, means that it failed. Plain functions run in a thread."""

COMPLETED = "completed"
"""The reason of a one-shot component that is STOPPED because its work is done."""

STOPPED = "stopped"
"""The reason of a component that is STOPPED, or was FAILED on the way there, because somebody wanted that."""

CANCELLED = "cancelled"
"""The reason of a component that is FAILED because the caller gave up its start."""

RESTARTING = "restarting"
"""The reason of a component that is STOPPED for a moment, or whose start is begun anew."""

DRAINING = "draining"
"""Why a component that is about to be stopped does not serve."""

FORCED = "started by force past "
"""How the reason of a component begins that is READY although dependencies could not be used."""

DEFAULT_STOP_TIMEOUT = 30.0


class StartResult(NamedTuple):
    """The verdict on one component."""

    success: bool
    error: str | None


class ComponentConfig(TypedDict, total=False):
    """How to start one component; all that is left out is taken from its registered handler, if it has one."""

    start_func: StartFunction
    stop_func: StartFunction | None
    dependencies: Sequence[str | Dependency]
    timeout: float | None
    stop_timeout: float
    registration: Callable[[], ComponentRegistration] | None
    supervised: bool
    admission: Sequence[Readiness]
    readiness: Sequence[Readiness]
    health: Sequence[HealthCheck]
    drain: float


@dataclass(frozen=True, slots=True)
class Handler:
    """How to start and stop one unit (`units.py`).

    `admission` must be met before the start function is called. Times are seconds. `timeout` None means the
    coordinator's default. `drain` is how long before it is stopped a unit takes no more traffic.
    """

    unit: str
    start_func: StartFunction | None = None
    stop_func: StartFunction | None = None
    dependencies: tuple[Dependency, ...] = ()
    timeout: float | None = None
    stop_timeout: float = DEFAULT_STOP_TIMEOUT
    registration: Callable[[], ComponentRegistration] | None = None
    supervised: bool = False
    admission: tuple[Readiness, ...] = ()
    readiness: tuple[Readiness, ...] = ()
    health: tuple[HealthCheck, ...] = ()
    drain: float = 0.0

    @property
    def component_id(self) -> str:
        """The component that the unit belongs to."""
        return component_of(self.unit)

    def configured(self, config: ComponentConfig) -> "Handler":
        """This handler with what *config* says. Raises TypeError for a key that does not exist."""
        changes = dict(cast("Mapping[str, object]", config))
        if unknown := changes.keys() - ComponentConfig.__annotations__.keys():
            raise TypeError(f"{self.unit}: unknown setting {', '.join(sorted(unknown))}")
        if "dependencies" in config:
            changes["dependencies"] = as_dependencies(config["dependencies"])
        if "admission" in config:
            changes["admission"] = tuple(config["admission"])
        if "readiness" in config:
            changes["readiness"] = tuple(config["readiness"])
        if "health" in config:
            changes["health"] = tuple(config["health"])
        return replace(self, **changes)  # type: ignore[arg-type]

    @property
    def needs(self) -> list[str]:
        """The ids of the dependencies."""
        return [dependency.component for dependency in self.dependencies]

    def describe(self) -> ComponentRegistration:
        """What to register when the component does not register itself."""
        if self.registration is not None:
            return self.registration()
        return ComponentRegistration(component_id=self.component_id, dependencies=tuple(self.needs))


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """Why a component is where it is.

    `phase` is what its start is doing, None when it is not being started. `waiting_for` are dependencies on their
    way, `failed_dependencies` those that are not and cannot be used, `cycle` the circle of dependencies that the
    component is part of, `dependents` what depends on it, directly or not, nearest first. `since` is wall-clock
    seconds, `last_error` what the last start failed with. `leaked` is what was abandoned of it and still runs in this
    process, such as a start function that ignores its cancellation. `health` is what its health checks say.
    `forced_past` are the dependencies that its last start was forced past, until it is stopped or started anew.
    """

    component_id: str
    state: ComponentState | None
    reason: str | None
    since: float | None
    phase: str | None
    waiting_for: tuple[str, ...]
    failed_dependencies: tuple[str, ...]
    cycle: tuple[str, ...]
    dependents: tuple[str, ...]
    last_error: str | None
    leaked: tuple[str, ...] = ()
    health: tuple[Health, ...] = ()
    forced_past: tuple[str, ...] = ()


class Standing(NamedTuple):
    """How a dependency stands; `why` is told when it has failed."""

    verdict: Literal["met", "awaited", "failed"]
    why: str = ""


def as_dependencies(given: Iterable[str | Dependency]) -> tuple[Dependency, ...]:
    """*given* with every plain id as a dependency on readiness."""
    return tuple(entry if isinstance(entry, Dependency) else Dependency(entry) for entry in given)


def is_met(condition: Condition, record: ComponentRecord) -> bool:
    """True when a component as in *record* satisfies *condition*."""
    if condition == "completed":
        return record.state is ComponentState.STOPPED and record.reason == COMPLETED
    return record.usable or (condition == "started" and record.state is ComponentState.STARTING)


def may_still_meet(condition: Condition, record: ComponentRecord) -> bool:
    """True when a component as in *record*, which does not satisfy *condition*, is on its way to that."""
    if record.state is ComponentState.STOPPING:
        return condition == "completed"
    return record.state not in ENDED


def cycle_through(needs: Callable[[str], Iterable[str]], component_id: str) -> list[str]:
    """The shortest circle of dependencies from *component_id* back to it, in edge order; empty when there is none.

    *needs* tells what a component depends on. O(what *component_id* depends on, directly or not).
    """
    came_from: dict[str, str] = {}
    queue = [component_id]
    for node in queue:
        for dependency in needs(node):
            if dependency == component_id:
                return _path(came_from, component_id, node)
            if dependency not in came_from:
                came_from[dependency] = node
                queue.append(dependency)
    return []


def _path(came_from: Mapping[str, str], first: str, last: str) -> list[str]:
    path = [last]
    while path[-1] != first:
        path.append(came_from[path[-1]])
    return path[::-1]


def describe_cycle(cycle: Sequence[str]) -> str:
    """`dependency cycle a -> b -> a`."""
    return f"dependency cycle {' -> '.join([*cycle, cycle[0]])}"
