"""Recovery: who is started again after a failure, when, and when no more.

This module alone decides on automatic restarts; whoever finds a failure (an exit, a lease, a probe, a failed start)
only reports FAILED. The rules:

* What somebody stopped or cancelled is never restarted, nor what failed while it was being stopped.
* A restart waits for a random time between the shortest backoff and a ceiling that doubles with each failure (full
  jitter), up to the longest backoff. At most `max_concurrent` restarts run at once; those that the machine has no room
  for do not count.
* After `max` restarts without `reset_after` seconds of being usable between them, Recovery gives up and says so.
  When somebody else brings the component up, it begins anew.
* While a component flaps (`flapping`), time in which it is usable does not count, and each restart waits for the
  longest backoff.
* What the store refused to start is started when there is room again, after the same waits; while the disk is full
  nothing is tried, and so nothing is used up.
* What did not start because of a dependency is started when that dependency is usable; that is no restart and is
  not counted. Nor is a restart that the policy for a lost dependency asks for (`dependents`).
* Who is held (`hold`) is not restarted until somebody has brought it up.

While the storm guard holds expiry back, nobody is FAILED, and so nobody is restarted. Replicas of a component
(`units.py`) fail, wait and are given up one by one; where a method takes a `component_id`, that is the name of a unit.
"""

import asyncio
import logging
import math
import random
from collections import Counter
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import msgspec

from tekton.background import BackgroundGroup
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import USABLE, Change, ComponentState
from tekton.core.startup.places import Places, hold
from tekton.core.startup.start_plan import CANCELLED, COMPLETED, RESTARTING, STOPPED
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator
from tekton.core.units import component_of
from tekton.utils.tekton_errors import ComponentError, DependencyError, StorageError, TektonError

_WANTED = frozenset({STOPPED, CANCELLED, RESTARTING})
_MOST_DOUBLINGS = 32
_LEAST_PATIENCE = 1.0

Cause = Literal["failure", "start", "end", "store", "dependency"]
"""Why something is restarted: it failed while it was usable, its start failed, it ended by itself, the store had
refused its start, a dependency is there again."""

_logger = logging.getLogger("tekton.recovery")


class RestartPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a component is restarted.

    `no`: never. `on-failure`: when it is FAILED. `always`: also when it ended by itself (STOPPED, `completed` or
    `exit…`). Times are seconds; `backoff` is the shortest and the longest wait.
    """

    policy: Literal["no", "on-failure", "always"] = "on-failure"
    max: int = 5
    reset_after: float = 60.0
    backoff: tuple[float, float] = (1.0, 60.0)

    def __post_init__(self) -> None:
        shortest, longest = self.backoff
        if not 0 <= shortest <= longest < math.inf:
            raise ValueError("backoff is two numbers of seconds, the shorter one first")
        if self.max < 0 or self.reset_after < 0:
            raise ValueError("max and reset_after are not negative")

    def delay(self, attempt: int, rng: random.Random) -> float:
        """Seconds to wait before restart number *attempt* (from 1)."""
        shortest, longest = self.backoff
        ceiling = min(longest, (shortest or 1.0) * 2 ** min(attempt, _MOST_DOUBLINGS))
        return rng.uniform(shortest, ceiling)


class RestartStatus(msgspec.Struct, frozen=True):
    """`attempt` restarts of `max` are used up; the next one is due at `next_at` (monotonic seconds, None: none is).

    `held`: there is none until somebody has brought it up.
    """

    attempt: int
    max: int
    next_at: float | None
    gave_up: bool
    held: bool = False


@dataclass(slots=True)
class _Course:
    """What Recovery remembers of one component."""

    policy: RestartPolicy
    attempt: int = 0
    restarts: int = 0
    failures: int = 0
    usable_since: float | None = None
    next_at: float | None = None
    gave_up: bool = False
    held: bool = False
    refused: bool = False
    cause: Cause = "failure"
    timer: "asyncio.Task[None] | None" = None

    def begin_anew(self) -> None:
        self.attempt = 0
        self.gave_up = False

    def call_off(self) -> None:
        """Forget the restart that is due, unless it is under way."""
        timer, self.timer, self.next_at = self.timer, None, None
        if timer is not None:
            timer.cancel()


class Recovery:
    """Restarts what fails, if the coordinator knows how to start it.

    *default* is the policy of those without one; *flapping* are the ids of the components that flap.
    """

    def __init__(
        self,
        registry: ComponentRegistry,
        coordinator: EnhancedStartUpCoordinator,
        *,
        rng: random.Random,
        clock: Clock = SYSTEM_CLOCK,
        max_concurrent: int = 4,
        flapping: Container[str] = frozenset(),
        default: RestartPolicy = RestartPolicy(),  # noqa: B008 - it is frozen
    ) -> None:
        self.restarted = 0
        """Restarts that were tried, all told."""
        self.given_up = 0
        """How often a component was given up."""
        self.causes: dict[str, Counter[Cause]] = {}
        """By component, the restarts that were tried, and those of usable instances whose dependencies are back."""
        self._registry = registry
        self._coordinator = coordinator
        self._units = coordinator.units
        self._rng = rng
        self._clock = clock
        self._places = Places(max_concurrent)
        self._default = default
        self._flapping = flapping
        self._courses: dict[str, _Course] = {}
        self._group = BackgroundGroup("recovery")
        self._unlisten: list[Callable[[], None]] = []

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Begin to listen for failures; what failed before is left alone. Starting twice does nothing."""
        if not self._unlisten:
            self._unlisten = [
                self._registry.feed.add_listener(self._on_change),
                self._coordinator.add_failure_listener(self._on_refused),
            ]

    async def stop(self) -> None:
        """Restart nothing any more; a restart under way is cancelled. Stopping twice does nothing."""
        for unlisten in self._unlisten:
            unlisten()
        self._unlisten = []
        for course in self._courses.values():
            course.call_off()
        await self._group.stop()

    def set_policy(self, component_id: str, policy: RestartPolicy) -> None:
        """Use *policy* for the component from its next failure on."""
        self._course(component_id).policy = policy

    def forget(self, component_id: str) -> None:
        """The component is not there any more: nothing is remembered of it, and no restart is due."""
        self.causes.pop(component_id, None)
        course = self._courses.pop(component_id, None)
        if course is not None:
            course.call_off()

    def hold(self, component_id: str, *, held: bool = True) -> None:
        """Do not restart the component, or (*held* False) do so again, until it is usable the next time.

        Whoever wants it back starts it.
        """
        self._course(component_id).held = held

    def status(self, component_id: str) -> RestartStatus:
        """How far the restarts of a component have gone."""
        course = self._courses.get(component_id) or _Course(self._default)
        attempt = 0 if self._is_healthy(component_id, course) else course.attempt
        return RestartStatus(attempt, course.policy.max, course.next_at, course.gave_up, course.held)

    def restarts(self, component_id: str) -> int:
        """How often the component was restarted since `start`, all told."""
        course = self._courses.get(component_id)
        return 0 if course is None else course.restarts

    def courses(self) -> Iterator[tuple[str, RestartStatus]]:
        """How far the restarts of every unit have gone that Recovery knows."""
        return ((unit, self.status(unit)) for unit in list(self._courses))

    def renew(self, component_id: str, instance_uuid: str) -> None:
        """Restart a usable instance soon, for no failure of its own. Does nothing while we are stopped."""
        if self._unlisten:
            self._group.spawn(self._renew(component_id, instance_uuid), f"renewal of {component_id}")

    def _on_change(self, change: Change) -> None:
        component_id = self._units.unit_of(change.component_id, change.instance_uuid)
        if change.kind == "deregistered":
            if self._units.find(component_id) is None:
                self._call_off(component_id)
        elif change.record.usable:
            if change.previous not in USABLE and component_id in self._courses:
                self._courses[component_id].held = False
            self._on_usable(component_id, change.component_id)
        elif change.state is ComponentState.FAILED:
            if change.previous is ComponentState.STOPPING or change.reason in _WANTED:
                self._call_off(component_id)
            else:
                self._on_failure(component_id, "failure" if change.previous in USABLE else "start")
        elif change.state is ComponentState.STOPPED and change.reason != RESTARTING:
            self._on_end(component_id, change.reason)

    def _on_usable(self, component_id: str, dependency: str) -> None:
        course = self._courses.get(component_id)
        if course is not None:
            course.call_off()
            if course.gave_up:
                course.begin_anew()
            if course.usable_since is None:
                course.usable_since = self._clock.monotonic()
        for blocked in self._coordinator.blocked_by(dependency):
            self._unblock(blocked)

    def _on_end(self, component_id: str, reason: str | None) -> None:
        by_itself = reason is not None and (reason == COMPLETED or reason.startswith("exit"))
        course = self._courses.get(component_id)
        policy = self._default if course is None else course.policy
        if by_itself and policy.policy == "always":
            self._on_failure(component_id, "end")
        else:
            self._call_off(component_id)

    def _on_failure(self, component_id: str, cause: Cause) -> None:
        if not self._coordinator.has_handler(component_id):
            return
        course = self._course(component_id)
        course.refused = cause == "store"
        course.cause = cause
        course.failures += 1
        course.call_off()
        if self._is_healthy(component_id, course):
            course.begin_anew()
        course.usable_since = None
        if course.policy.policy == "no" or course.held or self._is_usable(component_id):
            return
        if course.attempt >= course.policy.max:
            self._give_up(component_id, course)
            return
        course.attempt += 1
        delay = course.policy.delay(course.attempt, self._rng)
        self._schedule(component_id, course, course.policy.backoff[1] if self._flaps(component_id) else delay)

    def _on_refused(self, component_id: str, error: TektonError) -> None:
        """A start has failed. If that was the store's doing there may be no instance that could be FAILED."""
        if not isinstance(error, StorageError) or not self._coordinator.has_handler(component_id):
            return
        course = self._course(component_id)
        if course.timer is None and not course.gave_up:
            self._on_failure(component_id, "store")

    def _unblock(self, component_id: str) -> None:
        course = self._course(component_id)
        if course.policy.policy != "no" and course.timer is None and self._coordinator.has_handler(component_id):
            self._schedule(component_id, course, 0.0, counts=False)

    def _give_up(self, component_id: str, course: _Course) -> None:
        course.gave_up = True
        self.given_up += 1
        _logger.error(
            "gave up on %s after %d restarts", component_id, course.attempt, extra={"component": component_id}
        )

    def _schedule(self, component_id: str, course: _Course, delay: float, *, counts: bool = True) -> None:
        course.next_at = self._clock.monotonic() + delay
        course.timer = self._group.spawn(self._restart(component_id, course, delay, counts), component_id)
        _logger.info(
            "restarting %s in %.1f s", component_id, delay, extra={"component": component_id, "attempt": course.attempt}
        )

    async def _restart(self, component_id: str, course: _Course, delay: float, counts: bool) -> None:
        await asyncio.sleep(delay)
        while self._registry.storage_full:
            delay = max(course.policy.delay(course.attempt, self._rng), _LEAST_PATIENCE)
            course.next_at = self._clock.monotonic() + delay
            await asyncio.sleep(delay)
        async with self._places.take() as place:
            hold(place)
            # From here on it is not called off any more: what it starts is real.
            course.timer = course.next_at = None
            if self._is_usable(component_id) or self._coordinator.in_flight(component_id):
                return
            if (course.refused or not counts) and self._coordinator.last_error(component_id) is None:
                # Somebody has stopped it; where there is no instance, that is no change.
                return
            failures = course.failures
            course.restarts += counts
            self.restarted += 1
            self._count(component_id, course.cause if counts else "dependency")
            try:
                await self._coordinator.restart_component(component_id)
            except DependencyError as error:
                _logger.info("%s waits: %s", component_id, error, extra={"component": component_id})
            except TektonError as error:
                if isinstance(error, ComponentError) and error.reason in _WANTED:
                    return
                # Most failures have been heard, as FAILED or from the coordinator.
                if course.failures == failures and self._courses.get(component_id) is course:
                    _logger.warning("restart failed: %s", error, extra={"component": component_id})
                    self._on_failure(component_id, "start")

    async def _renew(self, component_id: str, instance_uuid: str) -> None:
        unit = self._units.unit_of(component_id, instance_uuid)
        async with self._places.take() as place:
            hold(place)
            record = self._registry.instance(component_id, instance_uuid)
            if record is None or not record.usable or self._coordinator.in_flight(unit):
                return
            _logger.info("restarting %s, whose dependencies are back", unit, extra={"component": component_id})
            self._count(unit, "dependency")
            try:
                await self._coordinator.restart_component(unit)
            except TektonError as error:
                # If it has failed, that was heard.
                _logger.warning("%s was not restarted: %s", unit, error, extra={"component": component_id})

    def _call_off(self, component_id: str) -> None:
        course = self._courses.get(component_id)
        if course is not None:
            course.call_off()
            course.begin_anew()
            course.usable_since = None

    def _is_usable(self, component_id: str) -> bool:
        """True when the component, perhaps another instance of it, can be used."""
        record = self._units.find(component_id)
        return record is not None and record.usable

    def _count(self, unit: str, cause: Cause) -> None:
        self.causes.setdefault(component_of(unit), Counter())[cause] += 1

    def _is_healthy(self, component_id: str, course: _Course) -> bool:
        since = course.usable_since
        long_enough = since is not None and self._clock.monotonic() - since >= course.policy.reset_after
        return long_enough and not self._flaps(component_id)

    def _flaps(self, component_id: str) -> bool:
        return component_of(component_id) in self._flapping

    def _course(self, component_id: str) -> _Course:
        course = self._courses.get(component_id)
        if course is None:
            course = self._courses[component_id] = _Course(self._default)
        return course
