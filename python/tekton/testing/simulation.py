"""A simulated system in which everything goes wrong, and a verdict on how the core takes it.

    report = simulate(seed=7, hours=24)
    assert report.violations == ()

Independent and managed components live, hang, die and come back; the disk is full, slow or broken; the process is
paused, the machine sleeps; heartbeats are lost; people start and stop things; the control plane is killed and started
again. All of it is drawn from the seed, in virtual time: a run with the same seed is the same run. `invariants.py` says
what must hold.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from tekton.background import BackgroundGroup
from tekton.clock import SYSTEM_CLOCK
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.heartbeat_monitor import HeartbeatMonitor
from tekton.core.lifecycle import ENDED, Change, ComponentRecord, ComponentState
from tekton.core.recovery import RestartPolicy
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator, StartResult
from tekton.testing.clock import VirtualTimeLoop, current_clock
from tekton.testing.feed_watchers import FeedWatchers
from tekton.testing.invariants import DurabilityInvariants, LeaseInvariants, RestartInvariants
from tekton.testing.overseers import WatchedCoordinator, WatchedMonitor, WatchedRegistry
from tekton.testing.simulated_components import Independent, Managed
from tekton.testing.simulated_core import SimulatedCore
from tekton.utils.tekton_errors import TektonError

TIMEOUT, INTERVAL = 30.0, 10.0
START_TIMEOUT = 20.0
POLICY = RestartPolicy()
RESTARTS_AT_ONCE = 4
FEW, MANY, MANAGED = 3, 14, 8
SWEEP = 5
_OVER = ENDED | {ComponentState.STOPPING}


@dataclass(frozen=True, slots=True)
class Report:
    """What a simulation has seen. `counts` are how often each thing happened, `violations` what must not."""

    seed: int
    hours: float
    seconds: float
    counts: dict[str, int]
    violations: tuple[str, ...]

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items()))
        lines = [f"seed {self.seed}: {self.hours:g} simulated hours in {self.seconds:.1f} s; {counts}"]
        return "\n  ".join([*lines, *self.violations[:20]])


def simulate(seed: int, hours: float, *, independent: int | None = None, quiet: bool = True) -> Report:
    """Run a simulation of *hours*; it ends early after a violation. About a second per hour.

    *independent* components register themselves (default: few or many, as the seed wants it; of few, the storm guard
    takes care of nobody). Not *quiet*: what the core logs is shown.
    """
    began = SYSTEM_CLOCK.monotonic()
    with _silence() if quiet else nullcontext(), asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        simulation, passed = runner.run(_run(seed, hours, independent))
    took = SYSTEM_CLOCK.monotonic() - began
    return Report(seed, passed, took, dict(simulation.counts), tuple(simulation.wrong))


@contextmanager
def _silence() -> Iterator[None]:
    logger = logging.getLogger("tekton")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


async def _run(seed: int, hours: float, independent: int | None) -> "tuple[Simulation, float]":
    simulation = Simulation(seed, independent)
    return simulation, await simulation.run(hours)


class Simulation:
    """See the module."""

    def __init__(self, seed: int, independent: int | None = None) -> None:
        self.rng = Random(seed)
        independent = self.rng.choice((FEW, MANY)) if independent is None else independent
        self.fate_rate = 4.0
        self.partitioned = False
        self.wrong: list[str] = []
        self.counts: Counter[str] = Counter()
        self.durability = DurabilityInvariants(self.wrong)
        self.clock = current_clock()
        self.leases = LeaseInvariants(self.clock, TIMEOUT, INTERVAL, self.wrong)
        self.restarts = RestartInvariants(self.clock, POLICY, RESTARTS_AT_ONCE, self.wrong)
        self.core = SimulatedCore(
            seed=seed,
            interval=INTERVAL,
            timeout=TIMEOUT,
            policy=POLICY,
            start_timeout=START_TIMEOUT,
            # Managed components are governed by their start timeout, which is shorter.
            first_lease=4 * START_TIMEOUT,
            make_registry=self._make_registry,
            make_monitor=self._make_monitor,
            make_coordinator=self._make_coordinator,
        )
        self.independent = [Independent(self, f"i{number}") for number in range(independent)]
        self.managed = self._draw_managed()
        self._orphaned: Counter[str] = Counter()
        self._partition_ended = float("-inf")
        self._lives = BackgroundGroup("simulation")
        self._watchers = FeedWatchers(self.core, self.rng)
        self._paused = 0.0
        self._restarting = False

    async def run(self, hours: float) -> float:
        """Run until *hours* have passed or something is wrong; returns the hours that have passed."""
        began = self.clock.monotonic()
        async with self.core:
            for listener in (self.leases.hear, self.restarts.hear, self.durability.hear, self._note):
                self.core.add_listener(listener)
            self._watchers.restarted()
            await self._begin()
            for component in self.independent:
                self.spawn(component.live(), component.component_id)
            self.spawn(self._watchers.watch(), "watcher")
            self.spawn(self._sweep(), "sweep")
            while self.clock.monotonic() - began < hours * 3600 and not self.wrong:
                await asyncio.sleep(self.rng.expovariate(1 / 180))
                await self._something_happens()
            await self._lives.stop()
        self.wrong += self._watchers.check()
        self.counts["deaths found"] = self.leases.found
        self.counts["restarts"] = self.restarts.total
        self.counts["acknowledged"] = self.durability.acknowledged
        return (self.clock.monotonic() - began) / 3600

    # What components ask for.

    def heard(self, key: tuple[str, str]) -> None:
        """See `World`."""
        self.leases.heard(key)

    def starting(self, component: Managed) -> None:
        """See `World`."""
        self.restarts.called(component.component_id)
        now = self.clock.time()
        for need in component.needs:
            record = self.core.registry.find(need)
            # That it has ended in this very instant could not be noticed.
            ends_now = record is not None and record.changed_at == now and record.state in _OVER
            if self.core.running and not (ends_now or (record is not None and record.usable)):
                self.wrong.append(f"{component.component_id} was started while {need} was not usable")

    def spawn(self, life: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """See `World`."""
        return self._lives.spawn(life, name)

    # What happens.

    async def _something_happens(self) -> None:
        events: list[tuple[int, Callable[[], Coroutine[Any, Any, None]]]] = [
            (4, self._pause),
            (2, self._sleep),
            (4, self._partition),
            (4, self._full_disk),
            (3, self._slow_disk),
            (2, self._broken_disk),
            (4, self._killed),
            (1, self._restarted),
            (6, self._stop_and_start),
            (4, self._start_all),
        ]
        event = self.rng.choices([event for _, event in events], [weight for weight, _ in events])[0]
        self.counts[event.__name__.strip("_").replace("_", " ")] += 1
        await event()

    async def _pause(self) -> None:
        seconds = TIMEOUT * self.rng.choice((0.1, 0.5, 1, 2, 10))
        self.leases.paused(self.clock.monotonic(), seconds)
        self._paused += seconds
        self.core.pause(seconds)

    async def _sleep(self) -> None:
        self.leases.paused(self.clock.monotonic(), 0.0)
        self.clock.suspend(self.rng.choice((5.0, 3600.0)))

    async def _partition(self) -> None:
        """No heartbeat arrives, of anybody, for less than two timeouts: the storm guard lets nobody be failed."""
        self.partitioned = True
        await asyncio.sleep(self.rng.uniform(1, 1.5 * TIMEOUT))
        self.partitioned = False
        self._partition_ended = self.clock.monotonic()

    async def _full_disk(self) -> None:
        self.core.store.full = True
        await asyncio.sleep(self.rng.choice((1, 30, 120)))
        self.core.store.full = False

    async def _slow_disk(self) -> None:
        self.core.disk_delay = self.rng.choice((0.05, 1.0))
        await asyncio.sleep(120)
        self.core.disk_delay = 0.0

    async def _broken_disk(self) -> None:
        self.core.store.fail_next = self.rng.choice(("applied", "lost"))

    async def _killed(self) -> None:
        self.core.disk_delay = self.rng.choice((0.0, 0.5))
        await asyncio.sleep(self.rng.uniform(0, 10))
        await self._restart(killed=True)

    async def _restarted(self) -> None:
        await self._restart(killed=False)

    async def _stop_and_start(self) -> None:
        component = self.rng.choice(self.managed)
        self.restarts.forgive(component.component_id)
        await self._bounded(self._stop(component), f"stop of {component.component_id}")
        await asyncio.sleep(self.rng.choice((0, 1, 60)))
        self.restarts.forgive(component.component_id)
        await self._bounded(self._start(component), f"start of {component.component_id}")

    async def _start_all(self) -> None:
        for component in self.managed:
            self.restarts.forgive(component.component_id)
        results = await self._bounded(self.core.coordinator.start_components(), "start of everything")
        if results is not None and set(results) != {component.component_id for component in self.managed}:
            self.wrong.append(f"verdicts on {sorted(results)}")

    async def _stop(self, component: Managed) -> None:
        with suppress(TektonError):
            await self.core.coordinator.stop_component(component.component_id)

    async def _start(self, component: Managed) -> None:
        with suppress(TektonError):
            await self.core.coordinator.start_component(component.component_id)

    async def _bounded(self, operation: Coroutine[Any, Any, Any], what: str) -> dict[str, StartResult] | None:
        """The result of *operation*, which must end by its timeouts. Some are cancelled."""
        cancelled = self.rng.random() < 0.2
        bound = MANAGED * (START_TIMEOUT + 10) + 60
        paused = self._paused
        try:
            async with asyncio.timeout(self.rng.uniform(0, 20) if cancelled else bound):
                return await operation  # type: ignore[no-any-return]
        except TimeoutError:
            if not cancelled and self._paused == paused:
                self.wrong.append(f"the {what} did not end within {bound:g} s")
        return None

    # The control plane ends and begins.

    async def _restart(self, *, killed: bool) -> None:
        if self._restarting:
            return
        self._restarting = True
        await (self.core.kill(applied=self.rng.random() < 0.5) if killed else self.core.stop())
        self.core.disk_delay, self.core.store.full, self.core.store.fail_next = 0.0, False, None
        await asyncio.sleep(self.rng.uniform(0.1, 60))
        await self.core.start()
        records = self.core.registry.all_instances()
        self.durability.restarted(records)
        self.leases.restarted(records)
        self.restarts.restarted()
        self._watchers.restarted()
        self._restarting = False
        await self._begin()

    async def _begin(self) -> None:
        """What the control plane does when it starts: adopt what runs, and start the rest."""
        registry, coordinator = self.core.registry, self.core.coordinator
        registry.add_failure_listener(lambda _: self._on_failure())
        registry.add_undo_listener(lambda *key: self.leases.undone(key))
        for component in self.managed:
            await coordinator.register_component_handler(
                component.component_id,
                component.start,
                component.needs,
                stop_func=component.stop,
                registration=component.registration,
                supervised=True,
            )
        for component in self.managed:
            for record in registry.instances(component.component_id):
                self._adopt(component, record)
        self.spawn(self._start_what_is_there(coordinator), "start")

    def _adopt(self, component: Managed, record: ComponentRecord) -> None:
        component.adopted = True
        if record.state in ENDED:
            return
        if not record.usable or not component.alive or component.instance != record.instance_uuid:
            component.end_process()
            self.core.registry.observe(record.component_id, record.instance_uuid, ComponentState.FAILED, "lost")

    async def _start_what_is_there(self, coordinator: EnhancedStartUpCoordinator) -> None:
        await self._bounded(coordinator.start_components(), "first start")

    def _on_failure(self) -> None:
        self.spawn(self._restart(killed=True), "restart after a failure")

    # What is looked at.

    def _note(self, change: Change) -> None:
        self.counts["changes"] += 1
        self._watchers.hear(change)
        if change.state is ComponentState.FAILED and (change.reason or "").startswith("no heartbeat"):
            self._check_dead(change)

    def _check_dead(self, change: Change) -> None:
        """Nobody who sends heartbeats is failed for silence, unless its heartbeats are lost just now."""
        component = next(one for one in (*self.independent, *self.managed) if one.component_id == change.component_id)
        lost = self.partitioned or self.clock.monotonic() <= self._partition_ended + INTERVAL
        if component.beating and component.instance == change.instance_uuid and not lost:
            self.wrong.append(f"{change.component_id} lives, and was failed: {change.reason}")

    def _check_orphans(self) -> None:
        """No process lives on when nobody means to do anything about its component any more.

        One that an earlier control plane has started may, until its component can be started again.
        """
        for component in self.managed:
            name = component.component_id
            record, status = self.core.registry.find(name), self.core.recovery.status(name)
            ended = record is None or record.state in ENDED
            cared_for = status.gave_up or status.next_at is not None or self.core.coordinator.in_flight(name)
            orphaned = component.alive and ended and not cared_for and not component.adopted
            self._orphaned[name] = self._orphaned[name] + 1 if orphaned else 0
            if self._orphaned[name] * SWEEP >= 120:
                self.wrong.append(f"{name} is {record and record.state.value}, and its process lives")

    async def _sweep(self) -> None:
        beat = 0
        while True:
            await asyncio.sleep(SWEEP)
            beat += 1
            if self.core.running:
                self.leases.sweep()
                self._check_orphans()
            if beat * SWEEP % 3600 == 0:
                self.wrong += self._watchers.check()

    # Over the shoulders of the parts.

    def _make_registry(self, **settings: Any) -> ComponentRegistry:
        return WatchedRegistry(self.durability, **settings)

    def _make_monitor(self, *arguments: Any, **settings: Any) -> HeartbeatMonitor:
        return WatchedMonitor(self.leases, *arguments, **settings)

    def _make_coordinator(self, *arguments: Any, **settings: Any) -> EnhancedStartUpCoordinator:
        return WatchedCoordinator(self.restarts, *arguments, **settings)

    def _draw_managed(self) -> list[Managed]:
        names = [f"m{number}" for number in range(MANAGED)]
        needs = [tuple(self.rng.sample(names[:place], min(place, self.rng.randrange(3)))) for place in range(MANAGED)]
        return [
            Managed(self, name, need, beats=place % 2 == 0)
            for place, (name, need) in enumerate(zip(names, needs, strict=True))
        ]
