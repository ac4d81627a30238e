"""The start-up coordinator: starts and stops components, in the order that their dependencies ask for.

Rules:

* A component starts the moment its own dependencies are met; there are no waves. Failure of one holds up nobody who
  does not need it, directly or not.
* A dependency that is unknown, or has ended and is not being started, fails its dependents at once. One that is on
  its way is waited for. `start_component` starts nothing but the component named; `start_components` everything
  that was asked for.
* Per component there is one start at a time: concurrent calls share it and its result.
* Whoever cancels the last call that waits for a start cancels the start: FAILED `cancelled`, and the stop function
  runs. What is up already stays up.
* Every start ends, whatever the start function does: by its timeout, plus the grace of a call that was cancelled and
  the time that the stop function takes. What ignores its cancellation is abandoned, and `explain` tells of it.
* A start function may start other components, or wait for them in the registry. Starts that then wait for one another
  are found within a second, and all of them fail.
* A restart does not stop what runs before its dependencies can be used.
* A start that is forced passes over the dependencies that cannot be used, whether they are unknown, have ended, are on
  their way, or go round in circles; nothing else is passed over. Its next start, an automatic restart included, goes by
  the rules again.
* A component with replicas is several units (`units.py`), each of which is started and stopped by itself. Where a
  method takes a `component_id` that is the name of a unit: for `worker` it does what it says to replica 0. `units`
  knows which others there are.

In `startup/`: one start is in `start_job.py`, one stop in `stopper.py`, which of them go on in `operations.py`;
dependencies are judged in `dependency_view.py`, and what is known about a component is in `start_plan.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import chain
from types import TracebackType
from typing import Self

from tekton import _native
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.healthcheck import Health, HealthCheck, Role
from tekton.core.component_lifecycle.readiness import Condition, ReadinessCondition
from tekton.core.dependency import Dependency
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.core.startup.operations import Operations
from tekton.core.startup.start_job import StartJob
from tekton.core.startup.start_plan import (
    DEFAULT_STOP_TIMEOUT,
    ComponentConfig,
    Handler,
    StartFunction,
    StartResult,
    Why,
)
from tekton.core.startup.start_tally import StartTally
from tekton.core.tracing.tracer import NO_TRACER, Tracer
from tekton.utils.tekton_errors import ComponentNotFoundError, TektonError

__all__ = [
    "ComponentConfig",
    "Dependency",
    "EnhancedStartUpCoordinator",
    "Health",
    "HealthCheck",
    "ReadinessCondition",
    "StartFunction",
    "StartResult",
    "Why",
]

_SUCCESS = StartResult(True, None)


class EnhancedStartUpCoordinator:
    """Starts and stops the components of *registry*.

    *max_concurrent* limits how many components start at once (None: no limit); those that wait for dependencies do
    not count, nor those whose start function waits for other components. *default_timeout* is in seconds. With a
    *tracer*, each start is a trace, or a part of the one in which somebody asks for it.
    """

    def __init__(
        self,
        registry: ComponentRegistry,
        *,
        clock: Clock = SYSTEM_CLOCK,
        max_concurrent: int | None = None,
        default_timeout: float = 60.0,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._registry = registry
        self._handlers: dict[str, Handler] = {}
        self._operations = Operations(registry, self._handlers, clock, max_concurrent, default_timeout, tracer=tracer)
        self._view = self._operations.view
        self.units = self._operations.units
        """The units of components that are more than one."""

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def initialize(self) -> None:
        """Begin to listen to the registry; every other call does it too when it has not been done."""
        self._operations.listen()

    async def close(self) -> None:
        """Cancel the starts in progress, let stops in progress end, and stop listening. What is up stays up."""
        await self._operations.close()

    # What is known.

    async def register_component_handler(
        self,
        component_id: str,
        start_func: StartFunction,
        dependencies: Iterable[str | Dependency] = (),
        *,
        stop_func: StartFunction | None = None,
        timeout: float | None = None,
        stop_timeout: float = DEFAULT_STOP_TIMEOUT,
        registration: Callable[[], ComponentRegistration] | None = None,
        supervised: bool = False,
        admission: Sequence[Condition] = (),
        readiness: Sequence[Condition] = (),
        health: Sequence[HealthCheck] = (),
        drain: float = 0.0,
    ) -> None:
        """Remember how to start and stop a component; replaces what was known about it. Starts nothing.

        *registration* makes what is registered for it, anew for each start; without it only the id and the
        dependencies are. *supervised* as in `ComponentRecord`. It is started once all of *admission* are met (what the
        machine must have room for, say), and ready when all of *readiness* are; *health*
        is asked from then on. It serves no more *drain* seconds before it is stopped. Times are in seconds.
        """
        await self.initialize()
        self.units.add(component_id)
        self._handlers[component_id] = Handler(component_id).configured(
            ComponentConfig(
                start_func=start_func,
                stop_func=stop_func,
                dependencies=tuple(dependencies),
                timeout=timeout,
                stop_timeout=stop_timeout,
                registration=registration,
                supervised=supervised,
                admission=admission,
                readiness=readiness,
                health=health,
                drain=drain,
            )
        )
        self._operations.health.replace_checks(component_id)

    async def remove_component_handler(self, component_id: str) -> StartResult:
        """Stop a component, and forget how it is started and everything else about it; the verdict on the stop.

        From the call on nobody can start it; a start in progress is cancelled. A caller that is cancelled does not
        end the stop, but then what is left to forget is left. Its instances stay in the registry.
        """
        await self.initialize()
        handler = self._known(component_id)
        self._handlers.pop(component_id, None)
        stop = self._operations.stop(handler)
        await asyncio.wait({stop})
        if component_id not in self._handlers:
            self._operations.forget(component_id)
        return _as_result(stop.result())

    def has_handler(self, component_id: str) -> bool:
        """True when the component can be started by its id alone."""
        handler = self._handlers.get(component_id)
        return handler is not None and handler.start_func is not None

    def explain(self, component_id: str) -> Why:
        """Why the component is where it is. Raises ComponentNotFoundError when nothing is known about it."""
        self._check_known(component_id)
        operations = self._operations
        return self._view.explain(
            component_id,
            operations.phase(component_id),
            operations.calls.leaked(component_id),
            operations.health.health(component_id),
        )

    def waiting_for(self, component_id: str) -> list[str]:
        """The dependencies that the component is short of but that are on their way. Cheaper than `explain`."""
        return self._view.waiting_for(component_id)

    def last_error(self, component_id: str) -> str | None:
        """What the last start of the component failed with; None when it succeeded, there was none, or one goes on."""
        return self._view.last_error(component_id)

    def in_flight(self, component_id: str) -> bool:
        """True while the component is being started."""
        return self._operations.in_flight(component_id)

    def blocked_by(self, component_id: str) -> list[str]:
        """Components whose last start failed because *component_id* could not be used."""
        return self._operations.failures.blocked_by(component_id)

    def add_failure_listener(self, listener: Callable[[str, TektonError], None]) -> Callable[[], None]:
        """Call *listener* with the id and the error of each start that fails; returns the function that removes it.

        Most failures are changes of the registry besides (FAILED); a start that the store refused is none.
        """
        return self._operations.add_failure_listener(listener)

    @property
    def tally(self) -> StartTally:
        """How starts have ended."""
        return self._operations.tally

    @property
    def starting(self) -> int:
        """How many units are being started."""
        return self._operations.starting

    @property
    def failed_checks(self) -> Mapping[str, Mapping[Role, int]]:
        """By component, how many answers to health checks were bad, or did not come."""
        return self._operations.health.failures

    def owe_stop(self, component_id: str) -> None:
        """Something of the component, which is not usable, still runs: stop it before it is started again."""
        self._operations.stopper.owe(component_id)

    async def check_health(self, component_id: str, *, strict: bool = False) -> list[Health]:
        """Ask the health checks of a usable component now, and return what they say; none for others.

        *strict*: one bad answer is enough to call it unhealthy, for components that nobody has seen work.
        """
        await self.initialize()
        return await self._operations.health.ask(component_id, strict=strict)

    def direct_traffic(self, component_id: str, instance_uuid: str, serving: bool, reason: str) -> None:
        """Take traffic away from a usable instance, or give it back; health checks do not undo that."""
        self._operations.health.leave_traffic(self.units.unit_of(component_id, instance_uuid))
        self._registry.observe_serving(component_id, instance_uuid, serving, reason)

    # Starting.

    async def start_component(
        self,
        component_id: str,
        start_func: StartFunction | None = None,
        dependencies: Iterable[str | Dependency] | None = None,
        timeout: float | None = None,
        *,
        force: bool = False,
    ) -> StartResult:
        """Start a component and wait until it is READY; `(True, None)` at once when it is usable already.

        *start_func* and *dependencies* are remembered; what is not given is taken from the registered handler.
        *timeout* (seconds) covers everything, waiting for dependencies included. *force* passes over dependencies that
        cannot be used, also of a start in progress that waits for them; `explain` tells of it. Raises DependencyError,
        ComponentError, StartTimeoutError, and the storage errors; the component is then FAILED, or was never
        registered.
        """
        config = ComponentConfig()
        if start_func is not None:
            config["start_func"] = start_func
        if dependencies is not None:
            config["dependencies"] = tuple(dependencies)
        handler = self._remember({component_id: config})[component_id]
        return await self._start(handler, timeout, force=force)

    async def start_component_degraded(self, component_id: str, start_func: StartFunction) -> StartResult:
        """Start a component in a reduced way: it ends DEGRADED, and its dependencies are not waited for.

        The start function is used this once; readiness conditions are left out. `(True, None)` at once when the
        component is usable already. Raises as `start_component`.
        """
        config = ComponentConfig(start_func=start_func, readiness=())
        handler = self._known(component_id).configured(config)
        return await self._start(handler, target=ComponentState.DEGRADED, alone=True)

    async def restart_component(self, component_id: str, *, afresh: bool = False, force: bool = False) -> StartResult:
        """Stop a component if it is live, and start it as its handler says now.

        When a dependency cannot be used, what runs is left running and DependencyError is raised, unless *force*. Joins
        a start that is in progress, or takes its place if *afresh*, which then fails. Raises as `start_component`, and
        ComponentNotFoundError.
        """
        self._check_known(component_id)
        return await self._start(self._known(component_id), restart=True, afresh=afresh, force=force)

    async def start_components(
        self,
        component_configs: Mapping[str, ComponentConfig] | None = None,
        resolve_dependencies: bool = True,
    ) -> dict[str, StartResult]:
        """Start many components (default: all that have a handler) and give a verdict on each; raises for none.

        Those with replicas are started whole, with a verdict on each replica.
        Each starts when its own dependencies are met, which may be part of the call or running already; its timeout
        counts from then on. Without *resolve_dependencies*, they are started one after the other in the given
        order, whatever they depend on. Raises TypeError, before anything is started, for a configuration with
        unknown keys.
        """
        await self.initialize()
        handlers = self._remember(component_configs)
        if not resolve_dependencies:
            return {name: await _verdict(self._start(handler, alone=True)) for name, handler in handlers.items()}
        cycles = self._view.cycle_errors(handlers)
        results: dict[str, StartResult] = {}
        jobs: list[StartJob] = []
        for name, handler in handlers.items():
            if self._operations.is_up(name):
                results[name] = _SUCCESS
            elif name in cycles:
                self._operations.refuse(name, cycles[name])
                results[name] = _as_result(cycles[name])
            else:
                jobs.append(self._operations.start(handler, patient=True))
        await self._operations.join(jobs)
        results |= {job.unit: _as_result(job.error) for job in jobs}
        return {name: results[name] for name in handlers}

    # Stopping.

    async def stop_component(self, component_id: str) -> StartResult:
        """Stop a component; `(True, None)` at once when it does not run.

        A start in progress is cancelled. Raises ComponentError when the stop function fails; the component is then
        FAILED. Raises ComponentNotFoundError. A cancelled caller does not end the stop.
        """
        await self.initialize()
        self._check_known(component_id)
        stop = self._operations.stop(self._known(component_id))
        await asyncio.wait({stop})
        if error := stop.result():
            raise error
        return _SUCCESS

    async def stop_components(self, ids: Iterable[str] | None = None) -> dict[str, StartResult]:
        """Stop many components (default: all that have a handler) and give a verdict on each.

        Those with replicas are stopped whole, with a verdict on each replica. Their starts are cancelled first.
        A component is stopped when all of them that depend on it have been dealt with. Failure of one does not keep
        others running. Those in dependency cycles come last.
        """
        await self.initialize()
        wanted = dict.fromkeys(self._handlers if ids is None else chain.from_iterable(map(self.units.of, ids)))
        needs = self._view.graph()
        dependents: dict[str, list[str]] = {name: [] for name in wanted}
        for name in wanted:
            for unit in chain.from_iterable(map(self.units.of, needs.get(name, ()))):
                if unit in wanted:
                    dependents[unit].append(name)
        for unit in wanted:
            # Its start function might start what has been stopped already.
            self._operations.cancel_start(unit)
        results: dict[str, StartResult] = {}
        await self._stop_in_order(dependents, results)
        await self._stop_in_order({name: () for name in wanted if name not in results}, results)
        return {name: results[name] for name in wanted}

    # Inside.

    async def _start(
        self,
        handler: Handler,
        timeout: float | None = None,
        *,
        target: ComponentState = ComponentState.READY,
        alone: bool = False,
        restart: bool = False,
        afresh: bool = False,
        force: bool = False,
    ) -> StartResult:
        self._operations.listen()
        component_id = handler.unit
        if not restart and self._operations.is_up(component_id):
            return _SUCCESS
        if not (alone or force) and (cycle := self._view.cycle_error(component_id)):
            self._operations.refuse(component_id, cycle)
            raise cycle
        job = self._operations.start(
            handler, timeout, target=target, alone=alone, restart=restart, afresh=afresh, force=force
        )
        await self._operations.join([job])
        if job.error is not None:
            raise job.error
        return _SUCCESS

    async def _stop_in_order(self, waits_for: Mapping[str, Sequence[str]], results: dict[str, StartResult]) -> None:
        graph = _native.DependencyGraph(waits_for)

        async def stop(name: str) -> None:
            results[name] = await _verdict(self.stop_component(name))
            for released in graph.done(name):
                group.create_task(stop(released))

        async with asyncio.TaskGroup() as group:
            for name in graph.ready():
                group.create_task(stop(name))

    def _known(self, component_id: str) -> Handler:
        return self._handlers.get(component_id) or Handler(component_id)

    def _remember(self, configs: Mapping[str, ComponentConfig] | None) -> dict[str, Handler]:
        if configs is None:
            return dict(self._handlers)
        further = {unit: ComponentConfig() for name in configs for unit in self.units.of(name)[1:]}
        configs = {**configs, **further}
        handlers = {name: self._known(name).configured(config) for name, config in configs.items()}
        self._handlers |= {name: handler for name, handler in handlers.items() if configs[name]}
        for name, config in configs.items():
            if "health" in config:
                self._operations.health.replace_checks(name)
        return handlers

    def _check_known(self, component_id: str) -> None:
        if component_id not in self._handlers and self.units.find(component_id) is None:
            raise ComponentNotFoundError(component_id, self._registry.nearest(component_id))


async def _verdict(attempt: Awaitable[StartResult]) -> StartResult:
    try:
        return await attempt
    except TektonError as error:
        return _as_result(error)


def _as_result(error: TektonError | None) -> StartResult:
    return _SUCCESS if error is None else StartResult(False, str(error))
