"""The last start of the whole system, for those who ask what it took.

A recorder listens to the registry from `begin` until `finish`: what happens to a component later, such as a restart,
is no part of the start. The critical path is the chain of components that each waited for the one before, up to the
one that was ready last: nothing else would have made the start shorter.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.dependency import Condition, Dependency
from tekton.core.lifecycle import Change, ComponentState
from tekton.core.startup.start_plan import COMPLETED


class StartRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The start of one component. Times are wall-clock seconds, null for what has not happened.

    `queued_at` is when its start was asked for, `started_at` when all that it waited for was there, `launched_at` when
    its process ran, `ready_at` when it could be used, or a one-shot was done. `waited` are the dependencies that it
    waited for, in the order in which they came, `blocked_by` the last of them, or the one that kept it from being
    started. Of one that was there already all times but the first are null.
    """

    component_id: str
    waited: Sequence[str]
    queued_at: float
    started_at: float | None
    launched_at: float | None
    ready_at: float | None
    state: ComponentState
    blocked_by: str | None


class StartupReport(msgspec.Struct, frozen=True, kw_only=True):
    """A whole start: `duration` in seconds until the last component was ready, `done` when nothing more is coming."""

    components: Sequence[StartRecord]
    critical_path: Sequence[str]
    duration: float
    began_at: float | None
    done: bool


class _Course:
    """What has been seen of one component; `reached` is when each condition was met."""

    __slots__ = ("launched_at", "needs", "reached", "started_at", "state")

    def __init__(self, needs: tuple[Dependency, ...], state: ComponentState) -> None:
        self.needs = needs
        self.state = state
        self.started_at: float | None = None
        self.launched_at: float | None = None
        self.reached: dict[Condition, float] = {}

    @property
    def ready_at(self) -> float | None:
        return self.reached.get("completed", self.reached.get("ready"))


class StartRecorder:
    """Records the starts of *registry*. *launched* tells since when the process of a component runs."""

    def __init__(
        self,
        registry: ComponentRegistry,
        *,
        clock: Clock = SYSTEM_CLOCK,
        launched: Callable[[str], float | None] = lambda _: None,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._launched = launched
        self._courses: dict[str, _Course] = {}
        self._began_at: float | None = None
        self._unlisten: Callable[[], None] | None = None

    def begin(self, needs: Mapping[str, Iterable[Dependency]]) -> None:
        """The components of *needs*, with what each depends on, are about to be started; forgets an earlier start."""
        self.finish()
        self._began_at = self._clock.time()
        self._courses = {name: _Course(tuple(found), self._state(name)) for name, found in needs.items()}
        self._unlisten = self._registry.feed.add_listener(self._on_change)

    def finish(self) -> None:
        """Nothing more is coming."""
        if self._unlisten is not None:
            self._unlisten()
            self._unlisten = None

    def report(self) -> StartupReport:
        """The last start, or how far it has come. O(components and their dependencies)."""
        began = self._began_at or 0.0
        path = self._critical_path()
        ends = [course.ready_at for course in self._courses.values() if course.ready_at is not None]
        return StartupReport(
            components=[self._record(name, course, began) for name, course in self._courses.items()],
            critical_path=path,
            duration=max(max(ends) - began, 0.0) if ends else 0.0,
            began_at=self._began_at,
            done=self._unlisten is None,
        )

    def _on_change(self, change: Change) -> None:
        course = self._courses.get(change.component_id)
        if course is None or change.kind not in ("state", "registered"):
            return
        course.state = change.state
        if change.state in (ComponentState.REGISTERING, ComponentState.INITIALIZING) and course.started_at is None:
            course.started_at = change.at
        elif change.state is ComponentState.STARTING:
            course.reached.setdefault("started", change.at)
        elif change.record.usable:
            if course.ready_at is None:
                course.launched_at = self._launched(change.component_id)
            course.reached.setdefault("ready", change.at)
        elif change.state is ComponentState.STOPPED and change.reason == COMPLETED:
            course.reached.setdefault("completed", change.at)

    def _record(self, name: str, course: _Course, began: float) -> StartRecord:
        waited = self._waited(course, began)
        return StartRecord(
            component_id=name,
            waited=waited,
            queued_at=began,
            started_at=course.started_at,
            launched_at=course.launched_at,
            ready_at=course.ready_at,
            state=course.state,
            blocked_by=self._culprit(course) if course.started_at is None else next(reversed(waited), None),
        )

    def _waited(self, course: _Course, began: float) -> list[str]:
        """The dependencies that came after the beginning, in the order in which they came."""
        if course.started_at is None:
            return []
        came = [(self._met_at(need), need.component) for need in course.needs]
        return [name for at, name in sorted((at, name) for at, name in came if at is not None) if at > began]

    def _met_at(self, need: Dependency) -> float | None:
        other = self._courses.get(need.component)
        return None if other is None else other.reached.get(need.condition)

    def _culprit(self, course: _Course) -> str | None:
        """Of a component that was not started: the first dependency that is not there."""
        if course.state in (ComponentState.READY, ComponentState.DEGRADED):
            return None
        missing = (need.component for need in course.needs if not self._is_there(need))
        return next(missing, None)

    def _is_there(self, need: Dependency) -> bool:
        record = self._registry.find(need.component)
        return self._met_at(need) is not None or (record is not None and record.usable)

    def _critical_path(self) -> list[str]:
        ends = {name: course.ready_at for name, course in self._courses.items() if course.ready_at is not None}
        if not ends:
            return []
        began = self._began_at or 0.0
        path = [max(ends, key=lambda name: ends[name])]
        while waited := self._waited(self._courses[path[-1]], began):
            if waited[-1] in path:
                break
            path.append(waited[-1])
        return path[::-1]

    def _state(self, name: str) -> ComponentState:
        record = self._registry.find(name)
        return ComponentState.UNKNOWN if record is None else record.state
