"""Health checks: whether a component that is up still does its work.

A check is asked again and again for as long as its component is usable. One bad answer says little, so a verdict
turns only after several answers of the same kind in a row. What follows is an observation, never more:

* a check whose effect is `degrade` makes a READY component DEGRADED: usable, but not the first choice;
* one whose effect is `withdraw` takes its traffic away (`ComponentRecord.serving`), and leaves its state alone;
* one whose effect is `fail` makes it FAILED. Whether it is then restarted, Recovery decides;
* when all checks are healthy again, a component that was degraded by them is READY, and one whose traffic they took
  away is given it back. What somebody else has done is left alone.

A check that does not return is not asked a second time beside itself: that counts as one bad answer each time.
"""

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from tekton.background import BackgroundGroup
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.calls import UserCalls, UserFunction, call
from tekton.core.component_lifecycle.readiness import finding_of
from tekton.core.component_lifecycle.registry import ComponentRegistry
from tekton.core.lifecycle import Change, ComponentRecord, ComponentState
from tekton.core.units import Units
from tekton.utils.tekton_errors import StorageError

UNHEALTHY: Final = "unhealthy: "
"""How the reason of a component begins that health checks have degraded."""

Role = Literal["check", "startup", "ready", "liveness"]

_HISTORY: Final = 1000
"""So many changes are looked through for who took traffic away."""

_logger = logging.getLogger("tekton.health")


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A named question, asked every *interval* seconds; *timeout* seconds are given for the answer.

    Healthy is an answer that is true; unhealthy one that is not, an error, or none in time. The verdict turns to
    unhealthy after *failures* such answers in a row, back after *successes* good ones. Plain functions run in a
    thread. *role* tells what the check is for, and begins the reasons of what it causes.
    """

    name: str
    check: UserFunction
    interval: float = 5.0
    timeout: float = 2.0
    failures: int = 3
    successes: int = 1
    effect: Literal["degrade", "withdraw", "fail"] = "degrade"
    role: Role = "check"

    def __post_init__(self) -> None:
        if not (0 < self.interval < math.inf and 0 < self.timeout < math.inf):
            raise ValueError("interval and timeout are positive numbers of seconds")
        if self.failures < 1 or self.successes < 1:
            raise ValueError("failures and successes are at least 1")
        if self.effect not in ("degrade", "withdraw", "fail"):
            raise ValueError("effect is 'degrade', 'withdraw' or 'fail'")


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What a check says of a component.

    `healthy` is the verdict, `reason` what is behind an unhealthy one. `finding` is what the last answer found, even
    if it has not turned the verdict; `age` is how many seconds ago that was, None before the first one, and `latency`
    how many seconds it took. `failing` bad answers have come in a row; `failures` of them turn the verdict.
    """

    name: str
    healthy: bool
    reason: str | None
    finding: str | None
    age: float | None
    role: Role = "check"
    latency: float | None = None
    failing: int = 0
    failures: int = 1


class CheckCourse:
    """The answers of one check so far, as a verdict with hysteresis. Who asks holds `turn`."""

    __slots__ = ("_answered_at", "_finding", "_latency", "_reason", "_row", "check", "turn")

    def __init__(self, check: HealthCheck) -> None:
        self.check = check
        self.turn = asyncio.Lock()
        self._reason: str | None = None
        self._finding: str | None = None
        self._row = 0
        self._answered_at: float | None = None
        self._latency: float | None = None

    @property
    def reason(self) -> str | None:
        """Why the verdict is unhealthy; None when it is healthy."""
        return self._reason

    def note(self, finding: str | None, now: float, *, latency: float | None = None, strict: bool = False) -> None:
        """An answer: None when it was good. *strict*: one bad answer is enough."""
        self._answered_at = now
        self._latency = latency
        self._row = self._row + 1 if (finding is None) is (self._finding is None) else 1
        self._finding = finding
        if finding is None:
            if self._row >= self.check.successes:
                self._reason = None
        elif strict or self._reason is not None or self._row >= self.check.failures:
            self._reason = finding

    def health(self, now: float) -> Health:
        """As a value."""
        age = None if self._answered_at is None else now - self._answered_at
        return Health(
            name=self.check.name,
            healthy=self._reason is None,
            reason=self._reason,
            finding=self._finding,
            age=age,
            role=self.check.role,
            latency=self._latency,
            failing=0 if self._finding is None else self._row,
            failures=self.check.failures,
        )


class _Patient:
    """One instance that is being asked."""

    def __init__(self, unit: str, record: ComponentRecord, checks: Sequence[HealthCheck]) -> None:
        self.unit = unit
        self.component_id = record.component_id
        self.instance_uuid = record.instance_uuid
        self.courses = [CheckCourse(check) for check in checks]
        self.withdrawn: bool | None = False if record.serving else None
        """Whether checks have taken its traffic away. None: somebody did, before we began to ask."""
        self.tasks: list[asyncio.Task[None]] = []


class HealthMonitor:
    """Asks the checks that *checks* has for a component, as long as it is usable; nobody is asked before `start`.

    Of a component with several instances, the best is asked; of one with replicas (`units.py`), the best of each. Where
    a method takes a `component_id`, that is the name of a unit.
    """

    def __init__(
        self,
        registry: ComponentRegistry,
        checks: Callable[[str], Sequence[HealthCheck]],
        calls: UserCalls,
        *,
        units: Units,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.failures: dict[str, Counter[Role]] = {}
        """By component, how many answers were bad, or did not come."""
        self._registry = registry
        self._units = units
        self._checks = checks
        self._calls = calls
        self._clock = clock
        self._patients: dict[str, _Patient] = {}
        self._group = BackgroundGroup("health")
        self._unlisten: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin to listen for components that come up. Starting twice does nothing."""
        if self._unlisten is None:
            self._unlisten = self._registry.feed.add_listener(self._on_change)

    async def stop(self) -> None:
        """Ask no more. States stay as they are."""
        if self._unlisten is not None:
            self._unlisten()
            self._unlisten = None
        self._patients.clear()
        await self._group.stop()

    def consider(self, component_id: str) -> None:
        """Begin, go on or end to ask a component, as its state and its checks want it."""
        record = self._units.find(component_id)
        patient = self._patients.get(component_id)
        if record is None or not record.usable:
            self._dismiss(component_id)
        elif patient is None or patient.instance_uuid != record.instance_uuid:
            self._dismiss(component_id)
            self._admit(component_id, record)

    def replace_checks(self, component_id: str) -> None:
        """The checks of a component are others now: ask those, if it is usable."""
        self._dismiss(component_id)
        if self._unlisten is not None:
            self.consider(component_id)

    def forget(self, component_id: str) -> None:
        """The component is not there any more."""
        self.replace_checks(component_id)
        self.failures.pop(component_id, None)

    def health(self, component_id: str) -> list[Health]:
        """What the checks of a usable component say; nothing for others."""
        patient = self._patients.get(component_id)
        now = self._clock.monotonic()
        return [course.health(now) for course in patient.courses] if patient else []

    async def ask(self, component_id: str, *, strict: bool = False) -> list[Health]:
        """Ask all checks of a usable component now, and return what they say; *strict*: one bad answer is enough."""
        self.consider(component_id)
        patient = self._patients.get(component_id)
        if patient is not None:
            async with asyncio.TaskGroup() as group:
                for course in patient.courses:
                    group.create_task(self._ask(patient, course, strict=strict))
        return self.health(component_id)

    def leave_traffic(self, component_id: str) -> None:
        """Somebody else decides on its traffic now: what checks have taken away, they do not give back."""
        patient = self._patients.get(component_id)
        if patient is not None:
            patient.withdrawn = False

    # Inside.

    def _on_change(self, change: Change) -> None:
        self.consider(self._units.unit_of(change.component_id, change.instance_uuid))

    def _admit(self, unit: str, record: ComponentRecord) -> None:
        checks = self._checks(unit)
        if checks:
            patient = self._patients[unit] = _Patient(unit, record, checks)
            patient.tasks = [
                self._group.spawn(self._attend(patient, course), f"{course.check.name} of {unit}")
                for course in patient.courses
            ]

    def _dismiss(self, component_id: str) -> None:
        patient = self._patients.pop(component_id, None)
        if patient is not None:
            for task in patient.tasks:
                task.cancel()

    async def _attend(self, patient: _Patient, course: CheckCourse) -> None:
        while True:
            await asyncio.sleep(course.check.interval)
            await self._ask(patient, course)

    async def _ask(self, patient: _Patient, course: CheckCourse, *, strict: bool = False) -> None:
        async with course.turn:
            began = self._clock.monotonic()
            finding = await self._find(patient.unit, course.check)
        if patient.withdrawn is None:
            patient.withdrawn = await self._has_withdrawn(patient)
        # A late answer of an earlier instance says nothing about this one.
        if self._patients.get(patient.unit) is patient:
            now = self._clock.monotonic()
            if finding is not None:
                self.failures.setdefault(patient.component_id, Counter())[course.check.role] += 1
            # To restart somebody for one answer would be rash, whoever asks.
            once = strict and course.check.role != "liveness"
            course.note(finding, now, latency=now - began, strict=once)
            self._judge(patient)

    async def _has_withdrawn(self, patient: _Patient) -> bool | None:
        """Whether it was checks, perhaps those of an earlier control plane, that took its traffic away."""
        try:
            history = await self._registry.get_history(patient.component_id, _HISTORY)
        except StorageError:
            return None
        mine = (entry for entry in history if entry.instance_uuid == patient.instance_uuid)
        last = next((entry for entry in mine if entry.kind == "serving"), None)
        leads = tuple(_lead(course.check) for course in patient.courses if course.check.effect == "withdraw")
        return last is not None and (last.reason or "").startswith(leads)

    async def _find(self, component_id: str, check: HealthCheck) -> str | None:
        what = f"health check {check.name}"
        if what in self._calls.leaked(component_id):
            return "an earlier check has not returned"
        task = self._calls.spawn(call(check.check), what, component_id)
        try:
            await asyncio.wait({task}, timeout=check.timeout)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not task.done():
            await self._calls.end(task)
            return f"no answer within {check.timeout:g} s"
        return "the check was cancelled" if task.cancelled() else finding_of(task.result(), "the check says no")

    def _judge(self, patient: _Patient) -> None:
        record = self._registry.instance(patient.component_id, patient.instance_uuid)
        if record is None or not record.usable:
            return
        bad = [course for course in patient.courses if course.reason is not None]
        fatal = next((course for course in bad if course.check.effect == "fail"), None)
        if fatal is not None:
            self._observe(record, ComponentState.FAILED, _reason(fatal))
            return
        self._judge_traffic(patient, record, [course for course in bad if course.check.effect == "withdraw"])
        worse = next((course for course in bad if course.check.effect == "degrade"), None)
        if worse is not None and record.state is ComponentState.READY:
            self._observe(record, ComponentState.DEGRADED, _reason(worse))
        elif worse is None and record.state is ComponentState.DEGRADED and (record.reason or "").startswith(UNHEALTHY):
            self._observe(record, ComponentState.READY, "healthy again")

    def _judge_traffic(self, patient: _Patient, record: ComponentRecord, bad: Sequence[CheckCourse]) -> None:
        key = (record.component_id, record.instance_uuid)
        if bad and record.serving:
            patient.withdrawn = self._registry.observe_serving(*key, False, _reason(bad[0]))
        elif patient.withdrawn and not bad:
            patient.withdrawn = False
            self._registry.observe_serving(*key, True, "healthy again")

    def _observe(self, record: ComponentRecord, state: ComponentState, reason: str) -> None:
        _logger.info("%s is %s: %s", record.component_id, state.value, reason, extra={"component": record.component_id})
        self._registry.observe(record.component_id, record.instance_uuid, state, reason)


def _lead(check: HealthCheck) -> str:
    return UNHEALTHY if check.role == "check" else f"{check.role}: "


def _reason(course: CheckCourse) -> str:
    check, reason = course.check, course.reason or ""
    lead = _lead(check)
    return f"{lead}{reason}" if reason.startswith(check.name) else f"{lead}{check.name}: {reason}"
