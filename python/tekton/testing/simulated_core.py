"""The core of a control plane in memory, on virtual time: registry, heartbeats, start-up, recovery.

What a component needs to be tested against, hours in milliseconds and the same way every time:

    @virtual_time
    async def test_it_is_restarted() -> None:
        async with SimulatedCore() as core:
            await core.coordinator.register_component_handler("rhetor", start, stop_func=stop)
            await core.coordinator.start_component("rhetor")
            ...
            await asyncio.sleep(3600)

The disk can be made full, slow or broken (`store`, `disk_delay`), the whole process be stopped (`pause`), and the
control plane be killed and started again on what it had saved (`restart`). It knows no sockets and no processes:
whoever plays the components calls `registry` and `monitor`, as the HTTP interface does.
"""

import asyncio
from collections.abc import Callable
from random import Random
from types import TracebackType
from typing import Self

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.store import MemoryStore
from tekton.core.events import Listener
from tekton.core.flapping import Flapping
from tekton.core.heartbeat_monitor import HeartbeatMonitor
from tekton.core.recovery import Recovery, RestartPolicy
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator
from tekton.testing.clock import current_clock
from tekton.testing.faults import FaultyStore, VirtualWorker


class SimulatedCore:
    """See the module.

    The parts (`registry`, `monitor`, `coordinator`, `flapping`, `recovery`) are new after each `restart`.

    *seed* decides about jitter; times are seconds. *first_lease* is the `startup_timeout` of the monitor, *policy* the
    restart policy of components without one.
    *make_registry*, *make_monitor* and *make_coordinator* are for tests that look over the shoulders of these.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        interval: float = 10.0,
        timeout: float = 30.0,
        policy: RestartPolicy | None = None,
        start_timeout: float = 60.0,
        first_lease: float | None = None,
        make_registry: Callable[..., ComponentRegistry] = ComponentRegistry,
        make_monitor: Callable[..., HeartbeatMonitor] = HeartbeatMonitor,
        make_coordinator: Callable[..., EnhancedStartUpCoordinator] = EnhancedStartUpCoordinator,
    ) -> None:
        self.rng = Random(seed)
        self.clock = current_clock()
        self.store = FaultyStore(MemoryStore())
        self.disk_delay = 0.0
        self._up = asyncio.Event()
        self._interval = interval
        self._timeout = timeout
        self._policy = policy or RestartPolicy()
        self._start_timeout = start_timeout
        self._first_lease = first_lease
        self._make_registry = make_registry
        self._make_monitor = make_monitor
        self._make_coordinator = make_coordinator
        self._listeners: list[Listener] = []
        self._unlisten: list[Callable[[], None]] = []
        self._build()

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def running(self) -> bool:
        """True while there is a control plane."""
        return self._up.is_set()

    def add_listener(self, listener: Listener) -> None:
        """Call *listener* with every change, of this incarnation of the registry and of those to come."""
        self._listeners.append(listener)
        if self.running:
            self._unlisten.append(self.registry.feed.add_listener(listener))

    async def is_running(self) -> None:
        """Wait until there is a control plane."""
        await self._up.wait()

    def pause(self, seconds: float) -> None:
        """Let time pass while nothing of this process runs: SIGSTOP, a suspended machine, a blocked loop."""
        self.clock.advance(seconds)

    async def stop(self) -> None:
        """End in good order. Stopping twice does nothing."""
        if not self.running:
            return
        self._up.clear()
        await self.registry.flush()
        await self._end()

    async def kill(self, *, applied: bool = False) -> None:
        """End at once: what is on its way to the disk gets there if *applied*, and nobody is told either way."""
        if not self.running:
            return
        self._up.clear()
        self._hear_no_more()
        self._worker.cut(applied=applied)
        self.store.stop()
        await self._end()

    async def start(self) -> None:
        """Begin again, with what the store has; handlers and policies have to be registered anew."""
        if self.running:
            raise RuntimeError("the core runs already")
        self._build()
        await self._begin()

    async def restart(self, *, killed: bool = True, applied: bool = False) -> None:
        """`kill` (or `stop`), and `start`."""
        await (self.kill(applied=applied) if killed else self.stop())
        await self.start()

    def _build(self) -> None:
        self._worker = VirtualWorker(self._delay)
        self.registry = self._make_registry(store=self.store, clock=self.clock, executor=self._worker)
        self.monitor = self._make_monitor(
            self.registry, clock=self.clock, interval=self._interval, startup_timeout=self._first_lease
        )
        self.coordinator = self._make_coordinator(self.registry, clock=self.clock, default_timeout=self._start_timeout)
        self.flapping = Flapping(self.registry, self.clock)
        self.recovery = Recovery(
            self.registry,
            self.coordinator,
            clock=self.clock,
            rng=self.rng,
            flapping=self.flapping,
            default=self._policy,
        )

    async def _begin(self) -> None:
        self._unlisten = [self.registry.feed.add_listener(listener) for listener in self._listeners]
        await self.coordinator.initialize()
        self.flapping.start()
        await self.recovery.start()
        await self.monitor.start_monitoring(self._timeout)
        self._up.set()

    async def _end(self) -> None:
        await self.recovery.stop()
        self.flapping.stop()
        await self.monitor.stop_monitoring()
        await self.coordinator.close()
        self._hear_no_more()
        await self.registry.close()

    def _hear_no_more(self) -> None:
        for unlisten in self._unlisten:
            unlisten()
        self._unlisten = []

    def _delay(self) -> float:
        return self.rng.uniform(0, self.disk_delay) if self.disk_delay else 0.0
