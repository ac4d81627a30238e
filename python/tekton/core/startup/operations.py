"""What is being done to components at this moment: at most one start and one stop of each.

A start in progress is shared by everybody who asks for one. It lives as long as somebody waits for it: the last
caller that is cancelled takes it along. Start functions may be callers too, for as long as their own starts are
wanted. A stop in progress is shared too, and is not cancelled by anybody.
"""

import asyncio
import logging
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

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
from tekton.core.startup.stopper import Stopper
from tekton.utils.tekton_errors import TektonError

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
    ) -> None:
        self.registry = registry
        self.signals = Signals()
        self.calls = UserCalls("start-up")
        self.stopper = Stopper(registry, self.calls)
        self.places = Places(max_concurrent)
        self.failures = StartFailures()
        self.health = HealthMonitor(registry, self._health_checks, self.calls, clock=clock)
        self._handlers = handlers
        self._clock = clock
        self._default_timeout = default_timeout
        self._jobs: dict[str, StartJob] = {}
        self._stops: dict[str, StopTask] = {}
        self._failure_listeners: list[FailureListener] = []
        self._deadlocks = DeadlockWatch(self._jobs)
        self.view = DependencyView(registry, handlers, self.failures, self.in_flight)
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

    def in_flight(self, component_id: str) -> bool:
        """True while the component is being started."""
        job = self._jobs.get(component_id)
        return job is not None and not job.closing

    def phase(self, component_id: str) -> str | None:
        """What the start of the component is doing; None when it is not being started."""
        job = self._jobs.get(component_id)
        return None if job is None else job.phase

    def is_up(self, component_id: str) -> bool:
        """True when there is nothing to start."""
        return self._state(component_id) in USABLE and not self.in_flight(component_id)

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
    ) -> StartJob:
        """The start of the component that is in progress, or a new one (see `StartJob`); it must be joined."""
        component_id = handler.component_id
        current = self._jobs.get(component_id)
        if current is not None and not current.closing:
            return current
        if timeout is None:
            timeout = self._default_timeout if handler.timeout is None else handler.timeout
        after = current.task if current else None
        job = StartJob(
            self, handler, timeout, target=target, patient=patient, alone=alone, restart=restart, after=after
        )
        self._jobs[component_id] = job
        job.task = self._group.spawn(job.run(), component_id)
        self._deadlocks.begin()
        began = self._clock.monotonic()
        job.task.add_done_callback(lambda _: self._ended(job, began))
        return job

    async def join(self, jobs: Sequence[StartJob]) -> None:
        """Wait until *jobs* have ended. A cancelled caller takes along those that nobody else waits for."""
        caller = waiting.starting()
        for job in jobs:
            job.callers.append(caller)
        names = [job.component_id for job in jobs if not job.task.done()]
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

    def refuse(self, component_id: str, error: TektonError) -> None:
        """Note that the component cannot be started at all."""
        self.failures.note(component_id, error)
        _logger.warning("start refused: %s", error, extra={"component": component_id})

    def _ended(self, job: StartJob, began: float) -> None:
        component_id = job.component_id
        if self._jobs.get(component_id) is job:
            del self._jobs[component_id]
        error = job.error
        fields = {"component": component_id, "seconds": round(self._clock.monotonic() - began, 3)}
        if error is None:
            self.failures.forget(component_id)
            _logger.info("%s is up", component_id, extra=fields)
        else:
            _logger.warning("start failed: %s", error, extra=fields)
            if self._state(component_id) not in USABLE:
                self.failures.note(component_id, error)
                for listener in self._failure_listeners:
                    listener(component_id, error)
        self.signals.notify(component_id)

    # Stopping.

    def stop(self, component_id: str) -> StopTask:
        """Stop the component, its start included; the stop that is in progress, or a new one."""
        job = self._jobs.get(component_id)
        if job is not None:
            job.cancel(STOPPED)
        return self._begin_stop(component_id, STOPPED, job)

    def _begin_stop(self, component_id: str, reason: str, job: StartJob | None = None) -> StopTask:
        stop = self._stops.get(component_id)
        if stop is None:
            stop = self._group.spawn(self._stop(component_id, reason, job), f"stop {component_id}")
            self._stops[component_id] = stop
            stop.add_done_callback(lambda _: self._stops.pop(component_id))
        return stop

    async def _stop(self, component_id: str, reason: str, job: StartJob | None) -> TektonError | None:
        if job is not None:
            await asyncio.wait({job.task})
        self.failures.forget(component_id)
        return await self.stopper.stop(self._handlers.get(component_id) or Handler(component_id), reason)

    # What start jobs ask for.

    def awaited(self, handler: Handler, among: Container[str] | None = None) -> list[str]:
        """The dependencies of *handler* that are on their way. Raises DependencyError when one has failed."""
        return self.view.awaited(handler, among)

    async def make_way(self, handler: Handler, *, restart: bool) -> None:
        """Let a stop in progress end; stop what still runs of the component (*restart*: even if it is usable).

        Raises ComponentError when a stop for a restart fails.
        """
        component_id = handler.component_id
        if restart and self._state(component_id) not in (None, *ENDED):
            self._begin_stop(component_id, RESTARTING)
        stop = self._stops.get(component_id)
        if stop is not None:
            await asyncio.wait({stop})
            if restart and (error := stop.result()):
                raise error
        with self.signals.watch([component_id]) as watch:
            while self._state(component_id) is ComponentState.STOPPING:
                await watch.changed()
                watch.take()
        if self._state(component_id) not in USABLE:
            await self.stopper.clean_up(handler)

    def _health_checks(self, component_id: str) -> Sequence[HealthCheck]:
        handler = self._handlers.get(component_id)
        return () if handler is None else handler.health

    def _state(self, component_id: str) -> ComponentState | None:
        record = self.registry.find(component_id)
        return None if record is None else record.state

    def _on_change(self, change: Change) -> None:
        if change.record.usable:
            self.failures.forget(change.component_id)
        if change.state not in _NEWS_TO_NOBODY or change.kind == "deregistered":
            self.signals.notify(change.component_id)


async def _all_done(tasks: Iterable[StopTask]) -> None:
    pending = set(tasks)
    if pending:
        await asyncio.wait(pending)
