"""One start of one component, from waiting for its dependencies to READY, or to a failure that leaves nothing behind.

A job runs in a task of its own and never raises: its result is None or the error. What users wrote (start functions,
readiness checks) runs in yet another task, so that code which ignores cancellation can be abandoned.

The steps: wait until the dependencies are met; register, unless the component has a live instance already; walk to
STARTING; wait for the conditions of admission; with a place among the simultaneous starts, and the dependencies still
met, call the start function and wait for the readiness conditions (`start_work.py`); READY. A start ends early when its
instance is FAILED meanwhile by whoever noticed, and well when it has COMPLETED meanwhile.

A *forced* start does not wait for dependencies, but notes which ones it has passed over. All else is as in any other.
"""

import asyncio
import logging
from collections.abc import Container, Iterator
from contextlib import suppress
from typing import Any, Protocol

from tekton.core.calls import UserCalls, describe
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.readiness import NotReadyError
from tekton.core.lifecycle import ENDED, ComponentRecord, ComponentRegistration, ComponentState
from tekton.core.startup.places import Places, lent
from tekton.core.startup.signals import Signals, Watch
from tekton.core.startup.start_plan import CANCELLED, FORCED, STOPPED, Handler, is_met
from tekton.core.startup.start_work import StartWork, Wait
from tekton.core.startup.stopper import Stopper
from tekton.core.tracing.tracer import Tracer, span
from tekton.core.units import Units
from tekton.utils.tekton_errors import (
    ComponentError,
    ComponentExistsError,
    IllegalTransitionError,
    RegistryError,
    StartTimeoutError,
    TektonError,
)

_NEXT = {
    ComponentState.REGISTERING: ComponentState.INITIALIZING,
    ComponentState.INITIALIZING: ComponentState.STARTING,
}

_logger = logging.getLogger("tekton.startup")


class Surroundings(Protocol):
    """What a job sees of the coordinator."""

    registry: ComponentRegistry
    units: Units
    signals: Signals
    calls: UserCalls
    stopper: Stopper
    places: Places
    tracer: Tracer

    def awaited(self, handler: Handler, among: Container[str] | None = None) -> list[str]:
        """The dependencies that are on their way; raises DependencyError when one has failed."""
        ...

    def unmet(self, handler: Handler) -> list[str]:
        """The dependencies that are not met, on their way or not."""
        ...

    def coming_up(self, component_id: str) -> bool:
        """True while jobs are starting the component, or a replica of it."""
        ...

    async def make_way(self, handler: Handler, *, restart: bool) -> None:
        """Let a stop in progress end; stop what still runs of the component (*restart*: even if it is usable)."""
        ...


class StartJob:
    """See the module. `target` is READY or DEGRADED.

    *patient*: the timeout does not run while dependencies are being started by other jobs, which have timeouts of
    their own. *alone*: dependencies are not looked at. `callers` are those who wait for it: components whose start
    functions do, and None for each other one. `passed_over` are the dependencies that it was forced past.
    """

    def __init__(
        self,
        around: Surroundings,
        handler: Handler,
        timeout: float,
        *,
        target: ComponentState = ComponentState.READY,
        patient: bool = False,
        alone: bool = False,
        restart: bool = False,
        after: "asyncio.Task[TektonError | None] | None" = None,
    ) -> None:
        self.handler = handler
        self.unit = handler.unit
        self.component_id = handler.component_id
        self.closing = False
        self.callers: list[str | None] = []
        self.passed_over: dict[str, None] = {}
        self._around = around
        self._registry = around.registry
        self._timeout = timeout
        self._target = target
        self._patient = patient
        self._alone = alone
        self._forced = False
        self._restart = restart
        self._after = after
        self._phase = "dependencies"
        self._awaited_names: dict[str, None] = {}
        self._touched = not restart
        self._instance: str | None = None
        self._work: StartWork | None = None
        self._call: asyncio.Task[str | None] | None = None
        self._cancelled_because: TektonError = ComponentError(self.unit, CANCELLED)
        self.task: asyncio.Task[TektonError | None]

    def cancel(self, reason: str = CANCELLED) -> None:
        """End the start, unless it is about to end; then the component is FAILED for *reason*."""
        self.break_off(ComponentError(self.unit, reason))

    def break_off(self, error: TektonError) -> None:
        """End the start with *error*, unless it is about to end."""
        if not self.closing:
            self.closing = True
            self._cancelled_because = error
            self.task.cancel()

    def force(self) -> None:
        """Go on without those dependencies that are not met; if it waits for them, at once."""
        if self._work is None or not self._work.begun:
            self._forced = True
            self._awaited()
            self._around.signals.notify(self.unit)

    @property
    def phase(self) -> str:
        """What the start is doing."""
        names = dict.fromkeys(name for wait in self._waits() for name in wait.names)
        return f"{self._phase}, which waits for {', '.join(names)}" if names else self._phase

    def waits_for(self) -> list[str]:
        """The components without which the start does not go on, as far as it has noticed: some may be there now."""
        return [*self._awaited_names, *(name for wait in self._waits() if wait.blocks for name in wait.names)]

    def still_waits_for(self, name: str) -> bool:
        """True when the start cannot go on at this moment, for want of *name*."""
        if any(wait.blocks and name in wait.names for wait in self._waits()):
            return True
        try:
            return name in self._awaited_names and name in self._awaited()
        except TektonError:
            return False

    @property
    def error(self) -> TektonError | None:
        """What a job that has ended failed with; None when it succeeded."""
        return self._cancelled_because if self.task.cancelled() else self.task.result()

    async def run(self) -> TektonError | None:
        """Start the component. The result is None on success, else why not."""
        with self._around.tracer.begin_here(f"start {self.unit}") as made:
            error = await self._run()
            made.put({"tekton.component": self.component_id, "tekton.forced": self._forced})
            if error is not None:
                made.fail(str(error))
            return error

    async def _run(self) -> TektonError | None:
        deadline = asyncio.timeout(self._timeout)
        try:
            async with deadline:
                await self._start(deadline)
            return None
        except (Exception, asyncio.CancelledError) as cause:
            error = self._translate(cause, timed_out=deadline.expired())
        self.closing = True
        await self._give_up(error)
        return error

    def _translate(self, cause: BaseException, *, timed_out: bool) -> TektonError:
        if timed_out and isinstance(cause, TimeoutError):
            return StartTimeoutError(self.unit, self._timeout, self.phase)
        if isinstance(cause, asyncio.CancelledError):
            return self._cancelled_because
        if isinstance(cause, RegistryError):
            return ComponentError(self.unit, str(cause))
        if isinstance(cause, TektonError):
            return cause
        _logger.error("the start of %s failed unexpectedly", self.unit, exc_info=cause)
        return ComponentError(self.unit, describe(cause))

    async def _start(self, deadline: asyncio.Timeout) -> None:
        if self._after is not None:
            await asyncio.wait({self._after})
        if self._restart and self._is_usable():
            # What runs is not stopped for a start that would fail.
            await self._dependencies(deadline)
        self._touched = True
        await self._around.make_way(self.handler, restart=self._restart)
        if self._is_usable():
            return
        if self.handler.start_func is None:
            raise ComponentError(self.unit, "no start function is known")
        await self._dependencies(deadline)
        if self._is_usable():
            return
        record = await self._register()
        await self._walk(record.state)
        await self._admission()
        while not await self._work_in_place(deadline):
            await self._dependencies(deadline)
        await self._finish()

    async def _dependencies(self, deadline: asyncio.Timeout) -> None:
        """Wait until the dependencies are met. Raises DependencyError as soon as one cannot be."""
        self._phase = "dependencies"
        # It is told of itself when it is forced.
        with self._around.signals.watch([*self.handler.needs, self.unit]) as watch:
            self._awaited_names = dict.fromkeys(self._awaited())
            try:
                if self._awaited_names:
                    with span("wait for dependencies", names=", ".join(self._awaited_names)):
                        await self._all_met(watch, deadline)
            finally:
                self._awaited_names = {}
        if self._patient:
            self._pause(deadline, False)

    async def _all_met(self, watch: Watch, deadline: asyncio.Timeout) -> None:
        while self._awaited_names and not self._forced:
            self._phase = ", ".join(self._awaited_names)
            if self._patient:
                self._pause(deadline, any(self._around.coming_up(name) for name in self._awaited_names))
            await watch.changed()
            # Only what has changed is looked at: a component may have hundreds of dependencies.
            for name in (changed := watch.take()):
                self._awaited_names.pop(name, None)
            self._awaited_names |= dict.fromkeys(self._awaited(changed))

    def _awaited(self, among: Container[str] | None = None) -> list[str]:
        if self._alone:
            return []
        if self._forced:
            self.passed_over |= dict.fromkeys(self._around.unmet(self.handler))
            return []
        return self._around.awaited(self.handler, among)

    def _pause(self, deadline: asyncio.Timeout, paused: bool) -> None:
        """Stop the timeout, or let it begin anew if it was stopped."""
        if paused:
            deadline.reschedule(None)
        elif deadline.when() is None:
            deadline.reschedule(asyncio.get_running_loop().time() + self._timeout)

    async def _register(self) -> ComponentRecord:
        self._phase = "registration"
        live = self._live()
        if live is None:
            live = await self._register_new()
        self._instance = live.instance_uuid
        return live

    async def _register_new(self) -> ComponentRecord:
        registration = self._describe()
        # Known before the answer, so that a start cancelled meanwhile still finds what it has registered.
        self._instance = registration.instance_uuid
        self._around.units.claim(self.unit, registration.instance_uuid)
        try:
            return (
                await self._registry.register(registration, supervised=self.handler.supervised, replaces=self._is_ours)
            ).record
        except ComponentExistsError:
            live = self._live()
            if live is None:
                raise
            return live

    def _is_ours(self, record: ComponentRecord) -> bool:
        return self._around.units.unit_of(record.component_id, record.instance_uuid) == self.unit

    def _describe(self) -> ComponentRegistration:
        try:
            registration = self.handler.describe()
        except BaseException as error:
            raise ComponentError(self.unit, f"cannot be registered: {describe(error)}") from error
        if registration.component_id != self.component_id:
            raise ComponentError(self.unit, f"its registration is that of {registration.component_id}")
        return registration

    async def _walk(self, state: ComponentState) -> None:
        """Go to STARTING, whoever else takes some of the steps."""
        self._phase = "registration"
        assert self._instance is not None
        while (step := _NEXT.get(state)) is not None:
            try:
                state = (await self._registry.set_state(self.component_id, self._instance, step)).state
            except IllegalTransitionError as refusal:
                state = ComponentState(refusal.current)

    async def _admission(self) -> None:
        """Wait until everything else is there that the start needs. Holds nobody up."""
        if not self.handler.admission:
            return
        with span("admission"):
            async with lent():
                await self._admit()

    async def _admit(self) -> None:
        for condition in self.handler.admission:
            self._phase = condition.name
            try:
                await condition.wait(self._note_unmet)
            except NotReadyError as error:
                raise ComponentError(self.unit, str(error)) from error

    def _note_unmet(self, name: str, finding: str | None) -> None:
        self._phase = finding or name

    async def _work_in_place(self, deadline: asyncio.Timeout) -> bool:
        """Do the user's part of the start; False when a dependency was lost while waiting for a place."""
        self._phase = "a place among the simultaneous starts"
        if self._patient:
            self._pause(deadline, True)
        async with self._around.places.take() as place:
            if self._awaited():
                return False
            self._pause(deadline, False)
            # Its task begins a moment later, in which a dependency may go.
            work = self._work = StartWork(self.handler, place, self._enter, self._may_begin)
            self._around.stopper.owe(self.unit)
            self._call = self._around.calls.spawn(work.run(), "start function", self.unit)
            await self._while_alive(self._call, work)
            if not work.begun:
                self._around.stopper.settle(self.unit)
            return work.begun or self._has_completed()

    def _may_begin(self) -> bool:
        try:
            return not self._awaited()
        except TektonError:
            return False

    async def _while_alive(self, running: "asyncio.Task[str | None]", work: StartWork) -> None:
        with self._around.signals.watch([self.unit]) as watch:
            while not running.done():
                if self._has_completed():
                    await self._around.calls.end(running)
                    return
                self._check_alive()
                either: set[asyncio.Future[Any]] = {running, watch.changed()}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                watch.take()
        failure = "the start function was cancelled" if running.cancelled() else running.result()
        if self._has_completed():
            return
        if failure is not None:
            if not work.returned:
                self._around.stopper.settle(self.unit)
            raise ComponentError(self.unit, failure)
        self._check_alive()

    def _check_alive(self) -> None:
        """Raise when no instance is live any more."""
        if self._live() is None:
            record = self._around.units.find(self.unit)
            why = "deregistered" if record is None else f"{record.state.value}: {record.reason or 'no reason given'}"
            raise ComponentError(self.unit, f"{why} while starting")

    async def _finish(self) -> None:
        self._phase = "registration"
        live = self._live()
        if live is None or live.state is self._target:
            return
        key = (live.component_id, live.instance_uuid)
        if self._target is ComponentState.DEGRADED:
            await self._registry.set_state(*key, self._target, "started in degraded mode")
            return
        if self.passed_over:
            # Whoever else makes it ready at this moment has no reason to tell.
            with suppress(IllegalTransitionError):
                await self._registry.set_state(*key, self._target, f"{FORCED}{', '.join(self.passed_over)}")
        await self._registry.make_ready(*key)

    async def _give_up(self, error: TektonError) -> None:
        """Leave nothing behind: FAILED, the start function ended or abandoned, the stop function called if owed."""
        reason = getattr(error, "reason", None) or str(error)
        if self._instance is not None:
            self._registry.observe(self.component_id, self._instance, ComponentState.FAILED, reason)
        if self._call is not None:
            await self._around.calls.end(self._call)
        if reason != STOPPED and self._touched:
            await self._around.stopper.clean_up(self.handler)

    def _has_completed(self) -> bool:
        """True when what we started was a one-shot that has done its work already."""
        assert self._instance is not None
        record = self._registry.instance(self.component_id, self._instance)
        return record is not None and is_met("completed", record)

    def _waits(self) -> Iterator[Wait]:
        return iter(()) if self._work is None or self.closing else self._work.waits()

    def _enter(self, phase: str) -> None:
        self._phase = phase

    def _is_usable(self) -> bool:
        record = self._around.units.find(self.unit)
        return record is not None and record.usable

    def _live(self) -> ComponentRecord | None:
        """The live instance: the one we drive, or else the best."""
        records = [r for r in self._around.units.instances(self.unit) if r.state not in ENDED]
        ours = (record for record in records if record.instance_uuid == self._instance)
        return next(ours, next(iter(records), None))
