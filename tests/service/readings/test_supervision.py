"""What is read of starts and restarts: what happens to a component moves the metrics by that."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.healthcheck import HealthCheck
from tekton.core.lifecycle import ComponentState
from tekton.core.recovery import Recovery, RestartPolicy
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator
from tekton.service.readings.supervision import restarts, starts
from tekton.supervisor.exits import Exit
from tekton.testing.clock import current_clock, virtual_time
from tekton.testing.faults import VirtualWorker
from tekton.utils.tekton_errors import TektonError

Read = Callable[..., Any]


class World:
    """A coordinator with Recovery beside it, on virtual time."""

    def __init__(self, registry: ComponentRegistry) -> None:
        clock = current_clock()
        self.registry = registry
        self.coordinator = EnhancedStartUpCoordinator(registry, clock=clock)
        self.tasks: list[asyncio.Future[None]] = []
        self.recovery = Recovery(registry, self.coordinator, clock=clock, rng=random.Random(1))

    async def add(self, name: str, *needs: str, **settings: Any) -> None:
        await self.coordinator.register_component_handler(name, settings.pop("start", _up), needs, **settings)
        self.recovery.set_policy(name, RestartPolicy("always", 2, 60, (1, 1)))

    async def start(self, name: str = "worker") -> None:
        with suppress(TektonError):
            await self.coordinator.start_component(name)

    def fail(self, name: str = "worker", state: ComponentState = ComponentState.FAILED, reason: str = "exit 1") -> None:
        record = self.registry.find(name)
        assert record is not None
        if state is ComponentState.STOPPED:
            self.registry.observe(name, record.instance_uuid, ComponentState.STOPPING, reason)
        self.registry.observe(name, record.instance_uuid, state, reason)


async def _up() -> None:
    await asyncio.sleep(0.3)


async def _broken() -> None:
    raise RuntimeError("no")


async def _never() -> None:
    await asyncio.Event().wait()


async def comes_up(world: World) -> None:
    await world.add("worker")
    await world.start()


async def is_broken(world: World) -> None:
    await world.add("worker", start=_broken)
    await world.start()


async def takes_too_long(world: World) -> None:
    await world.add("worker", start=_never, timeout=5)
    await world.start()


async def lacks_a_dependency(world: World) -> None:
    await world.add("engine", start=_broken)
    await world.add("worker", "engine")
    await world.start("engine")
    await world.start()


async def is_called_off(world: World) -> None:
    await world.add("worker", start=_never)
    start = asyncio.ensure_future(world.start())
    await asyncio.sleep(1)
    await world.coordinator.stop_component("worker")
    await start


async def is_starting(world: World) -> None:
    await world.add("worker", start=_never)
    world.tasks.append(asyncio.ensure_future(world.start()))
    await asyncio.sleep(1)


async def is_drained(world: World) -> None:
    await world.add("worker", drain=5)
    await world.start()
    await world.coordinator.stop_component("worker")


async def says_no(world: World) -> None:
    await world.add("worker", health=[HealthCheck("mood", lambda: False, interval=1, failures=100)])
    await world.start()
    await asyncio.sleep(3.5)


async def fails(world: World) -> None:
    await comes_up(world)
    world.fail()
    await asyncio.sleep(2)


async def waits_for_its_restart(world: World) -> None:
    await comes_up(world)
    world.fail()


async def ends_by_itself(world: World) -> None:
    await comes_up(world)
    world.fail(state=ComponentState.STOPPED, reason="exit 0")
    await asyncio.sleep(2)


async def fails_to_start(world: World) -> None:
    await is_broken(world)
    await asyncio.sleep(10)


async def gets_its_dependency_back(world: World) -> None:
    await lacks_a_dependency(world)
    await world.add("engine")
    await world.start("engine")
    await asyncio.sleep(2)


TABLE: list[tuple[Callable[[World], Awaitable[None]], str, tuple[str, ...], float]] = [
    (comes_up, "tekton_starts", ("up",), 1),
    (is_broken, "tekton_starts", ("failed",), 1),
    (takes_too_long, "tekton_starts", ("timeout",), 1),
    (lacks_a_dependency, "tekton_starts", ("dependency",), 1),
    (is_called_off, "tekton_starts", ("cancelled",), 1),
    (is_starting, "tekton_starts_running", (), 1),
    (comes_up, "tekton_starts_running", (), 0),
    (is_drained, "tekton_drains", (), 1),
    (says_no, "tekton_probe_failures", ("worker", "check"), 3),
    (fails, "tekton_restarts", ("worker", "failure"), 1),
    (fails, "tekton_component_restarts_left", ("worker",), 1),
    (waits_for_its_restart, "tekton_restarts_waiting", (), 1),
    (ends_by_itself, "tekton_restarts", ("worker", "end"), 1),
    (fails_to_start, "tekton_restarts", ("worker", "start"), 2),
    (fails_to_start, "tekton_restarts_given_up", (), 1),
    (fails_to_start, "tekton_components_given_up", (), 1),
    (gets_its_dependency_back, "tekton_restarts", ("worker", "dependency"), 1),
]


@pytest.mark.parametrize(
    ("action", "name", "labels", "value"), TABLE, ids=lambda value: getattr(value, "__name__", None)
)
@virtual_time
async def test_what_happens_to_a_component_is_counted(
    read: Read,
    action: Callable[[World], Awaitable[None]],
    name: str,
    labels: tuple[str, ...],
    value: float,
) -> None:
    async with ComponentRegistry(clock=current_clock(), executor=VirtualWorker()) as registry:
        world = World(registry)
        async with world.coordinator, world.recovery:
            await action(world)

            def both() -> Any:
                yield from starts(world.coordinator)
                yield from restarts(world.recovery)

            found = read(both, name, *labels)

    assert found == value


@virtual_time
async def test_the_length_of_a_start_is_that_of_its_start_function(read: Read) -> None:
    async with ComponentRegistry(clock=current_clock(), executor=VirtualWorker()) as registry:
        world = World(registry)
        async with world.coordinator:
            await comes_up(world)

            seconds = read(partial(starts, world.coordinator), "tekton_start_duration")

    assert (seconds.count, seconds.sum) == (1, pytest.approx(0.3, abs=0.05))
    assert seconds.buckets[2] == 1


@virtual_time
async def test_what_is_forgotten_is_counted_no_more(read: Read) -> None:
    async with ComponentRegistry(clock=current_clock(), executor=VirtualWorker()) as registry:
        world = World(registry)
        async with world.coordinator, world.recovery:
            await says_no(world)
            world.fail()
            await asyncio.sleep(2)
            await world.coordinator.remove_component_handler("worker")
            world.recovery.forget("worker")

            probes = read(partial(starts, world.coordinator), "tekton_probe_failures")
            causes = read(partial(restarts, world.recovery), "tekton_restarts")

    assert (probes, causes) == ({}, {})


@pytest.mark.parametrize(
    ("exit_", "kind"),
    [(Exit(0, None), "clean"), (Exit(3, None), "error"), (Exit(None, 9), "signal"), (Exit(None, 9, 1024), "memory")],
)
def test_an_exit_is_of_one_kind(exit_: Exit, kind: str) -> None:
    assert exit_.kind == kind
