"""A whole system in memory, in virtual time: components are functions, and hours pass in milliseconds.

    @virtual_time
    async def test_it_comes_back() -> None:
        async with InMemorySystem() as system:

            @system.component(needs=["hermes"], capabilities=["greet"])
            async def greeter(name: str) -> str:
                return f"Hello, {name}."

            system.add("hermes")
            await system.up()
            assert await system.call("greeter", "Ada") == "Hello, Ada."

            await system.faults.kill("greeter")
            await system.until("greeter", "ready")

Registry, leases, start-up and recovery are the real ones (`core`): what happens here happens in the same order to
processes. There is no network; `tekton.testing.control_plane` is for components that speak HTTP.
"""

import asyncio
from collections.abc import Callable
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from tekton.background import BackgroundGroup
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ENDED, ComponentRecord, ComponentState, check_id
from tekton.core.recovery import RestartStatus
from tekton.core.startup_coordinator import ComponentConfig, StartResult
from tekton.testing.clock import ManualClock
from tekton.testing.fault_injection import Faults
from tekton.testing.memory_component import MemoryComponent, Serve, Settings
from tekton.testing.simulated_core import SimulatedCore
from tekton.testing.transitions import Transition, Transitions
from tekton.utils.tekton_errors import ComponentNotFoundError, NoUsableInstanceError

_ServeT = TypeVar("_ServeT", bound=Serve)

PATIENCE = 3600.0
"""Virtual seconds for which `until` waits."""


class InMemorySystem:
    """See the module. It begins with `async with`, on a `VirtualTimeLoop`; times are seconds.

    Components are asked for a heartbeat every *heartbeat_interval*, and FAILED without one for *heartbeat_timeout*.
    *seed* decides about everything that is left to chance.
    """

    core: SimulatedCore
    """The parts: `registry`, `monitor`, `coordinator`, `recovery`; and what can be done to disk and process."""

    def __init__(self, *, seed: int = 0, heartbeat_interval: float = 10.0, heartbeat_timeout: float = 30.0) -> None:
        self.faults = Faults(self._component, seed=seed)
        self._rng = Random(seed)
        self._seed = seed
        self._interval = heartbeat_interval
        self._timeout = heartbeat_timeout
        self._components: dict[str, MemoryComponent] = {}
        self._work = BackgroundGroup("system")

    async def __aenter__(self) -> Self:
        self.core = SimulatedCore(seed=self._seed, interval=self._interval, timeout=self._timeout)
        self._transitions = Transitions(self.core.clock)
        self.core.add_listener(self._transitions.hear)
        await self.core.__aenter__()
        await self._know_components()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.faults.heal()
        await self._work.stop()
        if self.core.running:
            await self.core.coordinator.stop_components()
        for component in self._components.values():
            await component.end()
        await self.core.stop()

    # What there is.

    @property
    def clock(self) -> ManualClock:
        """The clock of everything in here; `suspend` and `set_wall` are for tests of just that."""
        return self.core.clock

    @property
    def registry(self) -> ComponentRegistry:
        """The registry of the present control plane."""
        return self.core.registry

    @property
    def now(self) -> float:
        """Seconds since the system began."""
        return self._transitions.now

    def component(self, component_id: str | None = None, **settings: Unpack[Settings]) -> Callable[[_ServeT], _ServeT]:
        """Make the decorated function a component, named like it unless *component_id* is given; see `add`."""

        def decorate(function: _ServeT) -> _ServeT:
            self.add(component_id or function.__name__, function, **settings)
            return function

        return decorate

    def add(self, component_id: str, function: Serve | None = None, **settings: Unpack[Settings]) -> None:
        """Add a component that answers calls with the async *function*; it is not started yet.

        It starts when its `needs` can be used, and is READY when `on_start` has returned; what that raises fails the
        start. `on_stop` is awaited when it is stopped in good order. With `heartbeats=False` nobody notices that it
        stands still, as with a process without probes. `restart` is its RestartPolicy, `start_timeout` in seconds.

        Raises InvalidIdError, and ValueError for an id that is taken.
        """
        check_id(component_id, "/component_id")
        if component_id in self._components:
            raise ValueError(f"there is a component called {component_id} already")
        self._components[component_id] = MemoryComponent(component_id, function, settings, self._rng, lambda: self.core)

    # What is done to it.

    async def up(self, *ids: str) -> dict[str, StartResult]:
        """Start these components, or all, in the order of their dependencies; a verdict on each."""
        await self._know_components()
        chosen = [self._component(name) for name in ids or self._components]
        for component in chosen:
            component.wanted = True
        return await self.core.coordinator.start_components({one.component_id: ComponentConfig() for one in chosen})

    async def start(self, component_id: str) -> None:
        """Start one component. Raises DependencyError, ComponentError, StartTimeoutError."""
        await self._know_components()
        self._component(component_id).wanted = True
        await self.core.coordinator.start_component(component_id)

    async def stop(self, component_id: str) -> None:
        """Stop one component in good order; it is not started again."""
        self._component(component_id).wanted = False
        await self.core.coordinator.stop_component(component_id)

    async def restart(self, component_id: str) -> None:
        """Stop one component, and start it. Raises as `start`."""
        self._component(component_id).wanted = True
        await self.core.coordinator.restart_component(component_id)

    async def call(self, component_id: str, /, *arguments: Any, **options: Any) -> Any:
        """Call the function of a component; returns and raises what it does.

        Raises NoUsableInstanceError when it is not up, and TransportError when it ends before it has answered.
        """
        component = self._component(component_id)
        record = self.registry.find(component_id)
        if record is None or not record.usable:
            raise NoUsableInstanceError(component_id, [] if record is None else [f"it is {record.state.value}"])
        return await component.call(arguments, options)

    async def restart_control_plane(self, *, killed: bool = True, away: float = 0.0) -> None:
        """Kill the control plane (or end it in good order), and start it again after *away* seconds.

        Components run on meanwhile. What it finds alive it adopts; the others are FAILED (`lost`) and started again.
        """
        await (self.core.kill() if killed else self.core.stop())
        await asyncio.sleep(away)
        await self.core.start()
        for component in self._components.values():
            component.known = False
        await self._know_components()
        self._adopt()

    # What one sees.

    async def until(
        self, component_id: str, state: str | ComponentState, *, timeout: float = PATIENCE
    ) -> ComponentRecord:
        """Return when the component is in *state*, or comes through it from now on.

        Raises AssertionError, with what happened instead, after *timeout* virtual seconds; ValueError for no state.
        """
        self._component(component_id)
        return await self._transitions.until(component_id, ComponentState(state), self.registry.find, timeout)

    def state(self, component_id: str) -> str | None:
        """The name of the state of a component; None when it was never started."""
        self._component(component_id)
        record = self.registry.find(component_id)
        return None if record is None else record.state.value

    def history(self, component_id: str) -> list[Transition]:
        """What happened to the component, the oldest first, over all control planes."""
        self._component(component_id)
        return self._transitions.of(component_id)

    def restarts(self, component_id: str) -> RestartStatus:
        """How many restarts are used up, when the next one is due, and whether Recovery gave up."""
        self._component(component_id)
        return self.core.recovery.status(component_id)

    # Inside.

    def _component(self, component_id: str) -> MemoryComponent:
        component = self._components.get(component_id)
        if component is None:
            raise ComponentNotFoundError(component_id)
        return component

    async def _know_components(self) -> None:
        """Tell the present control plane of the components that it does not know."""
        for component in self._components.values():
            if not component.known:
                component.known = True
                await self._know(component)

    async def _know(self, component: MemoryComponent) -> None:
        await self.core.coordinator.register_component_handler(
            component.component_id,
            component.start,
            component.needs,
            stop_func=component.stop,
            timeout=component.settings.get("start_timeout"),
            registration=component.registration,
            supervised=True,
        )
        if policy := component.settings.get("restart"):
            self.core.recovery.set_policy(component.component_id, policy)

    def _adopt(self) -> None:
        for component in self._components.values():
            record = self.registry.find(component.component_id)
            runs = component.alive and record is not None and record.usable
            if record is not None and record.state not in ENDED and not runs:
                self.registry.observe(record.component_id, record.instance_uuid, ComponentState.FAILED, "lost")
        wanted = {name: ComponentConfig() for name, component in self._components.items() if component.wanted}
        self._work.spawn(self.core.coordinator.start_components(wanted), "start after a restart")
