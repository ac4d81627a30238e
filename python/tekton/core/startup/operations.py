"""What is being done to units (`units.py`) at this moment: at most one start and one stop of each.

A start in progress is shared by everybody who asks for one. It lives as long as somebody waits for it: the last
caller that is cancelled takes it along. Start functions may be callers too, for as long as their own starts are
wanted. A stop in progress is shared too, and is not cancelled by anybody.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence

from tekton.background import BackgroundGroup
from tekton.clock import Clock
from tekton.core import waiting
from tekton.core.calls import UserCalls
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.healthcheck import HealthCheck, HealthMonitor
from tekton.core.lifecycle import ENDED, USABLE, Change, ComponentState
from tekton.core.startup.deadlocks import DeadlockWatch
from tekton.core.startup.dependency_view import DependencyView
from tekton.core.startup.failures import StartFailures
from tekton.core.startup.places import Places
from tekton.core.startup.signals import Signals
from tekton.core.startup.start_job import StartJob
from tekton.core.startup.start_plan import RESTARTING, STOPPED, Handler
from tekton.core.startup.start_tally import StartTally
from tekton.core.startup.stopper import Stopper
from tekton.core.tracing.tracer import NO_TRACER, Tracer
from tekton.core.units import Units
from tekton.utils.tekton_errors import ComponentError, TektonError

_NEWS_TO_NOBODY = frozenset({ComponentState.REGISTERING, ComponentState.INITIALIZING})
"""States that neither meet a dependency nor rule it out, nor end anything."""

StopTask = asyncio.Task[TektonError | None]
FailureListener = Callable[[str, TektonError], None]

_logger = logging.getLogger("tekton.startup")


class Operations:
    """The starts and stops in progress, and what the last start of each component failed with.

    *handlers* is the coordinator's, and is only read. Start jobs find their surroundings here.
    """

    def __init__(
        self,
        registry: ComponentRegistry,
        handlers: Mapping[str, Handler],
        clock: Clock,
        max_concurrent: int | None,
        default_timeout: float,
        *,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self.registry = registry
        self.tracer = tracer
        self.units = Units(registry)
        self.signals = Signals()
        self.calls = UserCalls("start-up")
        self.health = HealthMonitor(registry, self._health_checks, self.calls, units=self.units, clock=clock)
        self.tally = StartTally()
        self.stopper = Stopper(registry, self.units, self.signals, self.calls, self.health, tally=self.tally)
        self.places = Places(max_concurrent)
        self.failures = StartFailures()
        self._handlers = handlers
        self._clock = clock
        self._default_timeout = default_timeout
        self._jobs: dict[str, StartJob] = {}
        self._stops: dict[str, StopTask] = {}
        self._passed_over: dict[str, Collection[str]] = {}
        self._failure_listeners: list[FailureListener] = []
        self._deadlocks = DeadlockWatch(self._jobs)
        self.view = DependencyView(
            registry,
            handlers,
            self.failures,
            self.units,
            self.in_flight,
            passed_over=self._dependencies_passed_over,
        )
        self._group = BackgroundGroup("start-up")
        self._unlisten: Callable[[], None] | None = None

    def listen(self) -> None:
        """Begin to listen to the registry. Listening twice is the same."""
        if self._unlisten is None:
            self._unlisten = self.registry.feed.add_listener(self._on_change)
            self.health.start()

    async def close(self) -> None:
        """Cancel the starts, let the stops end, and stop listening."""
        await self.health.stop()
        for job in self._jobs.values():
            job.cancel()
        await _all_done([*(job.task for job in self._jobs.values()), *self._stops.values()])
        await self.calls.close()
        self._deadlocks.end()
        if self._unlisten is not None:
            self._unlisten()
            self._unlisten = None

    # What is going on.

    def in_flight(self, unit: str) -> bool:
        """True while the unit is being started."""
        job = self._jobs.get(unit)
        return job is not None and not job.closing

    def coming_up(self, component_id: str) -> bool:
        """True while the component, or a replica of it, is being started."""
        return any(self.in_flight(unit) for unit in self.units.of(component_id))

    @property
    def starting(self) -> int:
        """How many units are being started."""
        return len(self._jobs)

    def phase(self, unit: str) -> str | None:
        """What the start of the unit is doing; None when it is not being started."""
        job = self._jobs.get(unit)
        return None if job is None else job.phase

    def is_up(self, unit: str) -> bool:
        """True when there is nothing to start."""
        return self._state(unit) in USABLE and not self.in_flight(unit)

    # Starting.

    def start(
        self,
        handler: Handler,
        timeout: float | None = None,
        *,
        target: ComponentState = ComponentState.READY,
        patient: bool = False,
        alone: bool = False,
        restart: bool = False,
        afresh: bool = False,
        force: bool = False,
    ) -> StartJob:
        """The start of the unit that is in progress, or a new one (see `StartJob`); it must be joined.

        *afresh*: a start in progress, which goes by what was known before, is broken off for the new one. *force*: it
        passes over the dependencies that are not met, whoever has begun it.
        """
        unit = handler.unit
        current = self._jobs.get(unit)
        if current is not None and not current.closing:
            if not afresh:
                if force:
                    current.force()
                return current
            current.cancel(RESTARTING)
        if timeout is None:
            timeout = self._default_timeout if handler.timeout is None else handler.timeout
        if restart:
            timeout += handler.drain
        after = current.task if current else None
        job = StartJob(
            self, handler, timeout, target=target, patient=patient, alone=alone, restart=restart, after=after
        )
        self._jobs[unit] = job
        self._passed_over.pop(unit, None)
        if force:
            job.force()
        job.task = self._group.spawn(job.run(), unit)
        self._deadlocks.begin()
        began = self._clock.monotonic()
        job.task.add_done_callback(lambda _: self._ended(job, began))
        return job

    async def join(self, jobs: Sequence[StartJob]) -> None:
        """Wait until *jobs* have ended. A cancelled caller takes along those that nobody else waits for."""
        caller = waiting.starting()
        for job in jobs:
            job.callers.append(caller)
        names = [job.unit for job in jobs if not job.task.done()]
        try:
            async with waiting.waiting_for(names, starting=True):
                await _all_done(job.task for job in jobs)
        finally:
            # Before anything is waited for: who leaves next must not take us for somebody who still waits.
            for job in jobs:
                job.callers.remove(caller)
            lonely = [job for job in jobs if not job.task.done() and not self._is_wanted(job)]
            for job in lonely:
                job.cancel()
            await _all_done(job.task for job in lonely)

    def _is_wanted(self, job: StartJob) -> bool:
        """True when somebody waits for *job*, other than starts that nobody else waits for."""
        seen: set[str | None] = set()
        chain = [job]
        for waited_for in chain:
            for caller in set(waited_for.callers) - seen:
                seen.add(caller)
                waiting_job = None if caller is None else self._jobs.get(caller)
                if waiting_job is None:
                    return True
                chain.append(waiting_job)
        return False

    def add_failure_listener(self, listener: FailureListener) -> Callable[[], None]:
        """Call *listener* with the id and the error of each start that fails; returns the remover."""
        self._failure_listeners.append(listener)
        return lambda: self._failure_listeners.remove(listener)

    def refuse(self, unit: str, error: TektonError) -> None:
        """Note that the unit cannot be started at all."""
        self.failures.note(unit, error)
        _logger.warning("start refused: %s", error, extra={"component": unit})

    def _ended(self, job: StartJob, began: float) -> None:
        unit = job.unit
        if self._jobs.get(unit) is job:
            del self._jobs[unit]
            if job.passed_over:
                self._passed_over[unit] = job.passed_over
        error, seconds = job.error, self._clock.monotonic() - began
        self.tally.ended(error, seconds)
        fields = {"component": unit, "seconds": round(seconds, 3)}
        if error is None:
            self.failures.forget(unit)
            _logger.info("%s is up", unit, extra=fields)
        else:
            wanted = isinstance(error, ComponentError) and error.reason == STOPPED
            _logger.log(logging.INFO if wanted else logging.WARNING, "start failed: %s", error, extra=fields)
            if self._state(unit) not in USABLE:
                self.failures.note(unit, error)
                for listener in self._failure_listeners:
                    listener(unit, error)
        self._notify(unit, job.component_id)

    # Stopping.

    def stop(self, handler: Handler) -> StopTask:
        """Stop the unit, its start included; the stop that is in progress, or a new one."""
        job = self._jobs.get(handler.unit)
        self.cancel_start(handler.unit)
        return self._begin_stop(handler, STOPPED, job)

    def cancel_start(self, unit: str) -> None:
        """End the start of a unit, which is about to be stopped."""
        if (job := self._jobs.get(unit)) is not None:
            job.cancel(STOPPED)

    def _begin_stop(self, handler: Handler, reason: str, job: StartJob | None = None) -> StopTask:
        unit = handler.unit
        stop = self._stops.get(unit)
        if stop is None:
            stop = self._group.spawn(self._stop(handler, reason, job), f"stop {unit}")
            self._stops[unit] = stop
            stop.add_done_callback(lambda _: self._stops.pop(unit))
        return stop

    async def _stop(self, handler: Handler, reason: str, job: StartJob | None) -> TektonError | None:
        if job is not None:
            await asyncio.wait({job.task})
        self._forget_start(handler.unit)
        return await self.stopper.stop(handler, reason)

    def forget(self, unit: str) -> None:
        """The unit, which is stopped, is not there any more."""
        self._forget_start(unit)
        self.stopper.settle(unit)
        self.health.forget(unit)

    def _forget_start(self, unit: str) -> None:
        self.failures.forget(unit)
        self._passed_over.pop(unit, None)

    # What start jobs ask for.

    def awaited(self, handler: Handler, among: Container[str] | None = None) -> list[str]:
        """The dependencies of *handler* that are on their way. Raises DependencyError when one has failed."""
        return self.view.awaited(handler, among)

    def unmet(self, handler: Handler) -> list[str]:
        """The dependencies of *handler* that are not met, on their way or not."""
        return self.view.unmet(handler)

    async def make_way(self, handler: Handler, *, restart: bool) -> None:
        """Let a stop in progress end; stop what still runs of the component (*restart*: even if it is usable).

        Raises ComponentError when a stop for a restart fails.
        """
        unit = handler.unit
        if restart and self._state(unit) not in (None, *ENDED):
            self._begin_stop(handler, RESTARTING)
        stop = self._stops.get(unit)
        if stop is not None:
            await asyncio.wait({stop})
            if restart and (error := stop.result()):
                raise error
        with self.signals.watch([unit]) as watch:
            while self._state(unit) is ComponentState.STOPPING:
                await watch.changed()
                watch.take()
        if self._state(unit) not in USABLE:
            await self.stopper.clean_up(handler)

    def _health_checks(self, unit: str) -> Sequence[HealthCheck]:
        handler = self._handlers.get(unit)
        return () if handler is None else handler.health

    def _dependencies_passed_over(self, unit: str) -> Collection[str]:
        job = self._jobs.get(unit)
        return self._passed_over.get(unit, ()) if job is None else job.passed_over

    def _state(self, unit: str) -> ComponentState | None:
        record = self.units.find(unit)
        return None if record is None else record.state

    def _on_change(self, change: Change) -> None:
        unit = self.units.unit_of(change.component_id, change.instance_uuid)
        if change.record.usable:
            self.failures.forget(unit)
        if change.state is ComponentState.STOPPED or change.kind == "deregistered":
            self._passed_over.pop(unit, None)
        if change.state not in _NEWS_TO_NOBODY or change.kind == "deregistered":
            self._notify(unit, change.component_id)

    def _notify(self, unit: str, component_id: str) -> None:
        """Tell those who wait for the unit, and those who wait for its component."""
        self.signals.notify(component_id)
        if unit != component_id:
            self.signals.notify(unit)


async def _all_done(tasks: Iterable[StopTask]) -> None:
    pending = set(tasks)
    if pending:
        await asyncio.wait(pending)
