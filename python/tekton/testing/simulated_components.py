"""Components as they are: slow to start, silent, dying, hanging, flapping, coming back as somebody else.

`Independent` ones register themselves and send heartbeats, as over HTTP. `Managed` ones are started and stopped by the
coordinator; their processes outlive the control plane. Both draw their fate from the seed of the simulation.
"""

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from random import Random
from typing import Any, Protocol

from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.testing.simulated_core import SimulatedCore
from tekton.utils.tekton_errors import RegistryError, StorageError

RETRY = 5.0

_REFUSALS = (RegistryError, StorageError)


class World(Protocol):
    """What components see of the simulation. Rates are per hour of a component's life."""

    core: SimulatedCore
    rng: Random
    partitioned: bool
    fate_rate: float

    def heard(self, key: tuple[str, str]) -> None:
        """A heartbeat has been accepted."""
        ...

    def starting(self, component: "Managed") -> None:
        """A start function has been called."""
        ...

    def spawn(self, life: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """Let a process live."""
        ...


def new_instance(rng: Random) -> str:
    """An instance id that the seed decides."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


async def reach(world: World) -> SimulatedCore:
    """The core, once there is one. (A partition takes heartbeats only.)"""
    await world.core.is_running()
    return world.core


class _Beating:
    """What both kinds share: an instance that sends heartbeats."""

    def __init__(self, world: World, component_id: str) -> None:
        self.world = world
        self.rng = world.rng
        self.component_id = component_id
        self.instance = ""
        self.alive = False
        self.hung = False

    @property
    def key(self) -> tuple[str, str]:
        return self.component_id, self.instance

    @property
    def beating(self) -> bool:
        """True while it sends heartbeats as it should."""
        return self.alive and not self.hung

    def beat(self) -> bool:
        """Send a heartbeat; False when the answer is that this instance is not known."""
        if self.world.partitioned or not self.world.core.running:
            return True
        try:
            known = self.world.core.monitor.beat(*self.key).known
        except RegistryError:
            return False
        if known:
            self.world.heard(self.key)
        return known

    async def beat_until(self, end: float) -> bool:
        """Send heartbeats until *end*; False as soon as this instance is not known."""
        clock = self.world.core.clock
        while (left := end - clock.monotonic()) > 0:
            if not self.beat():
                return False
            await asyncio.sleep(min(left, self.world.core.monitor.next_interval))
        return True

    def lifetime(self) -> float:
        """When fate strikes next."""
        return self.world.core.clock.monotonic() + self.rng.expovariate(self.world.fate_rate / 3600)


class Independent(_Beating):
    """A component that registers itself."""

    async def live(self) -> None:
        """Live, die and come back, until cancelled."""
        await asyncio.sleep(self.rng.uniform(0, 30))
        while True:
            self.instance = new_instance(self.rng)
            await self._register()
            self.alive = True
            while await self.beat_until(self.lifetime()):
                if not await self._fate():
                    break
            self.alive = False
            await asyncio.sleep(self.rng.choice((1, 10, 60, 300)))

    async def _register(self) -> None:
        registration = ComponentRegistration(component_id=self.component_id, instance_uuid=self.instance)
        while True:
            core = await reach(self.world)
            try:
                await core.registry.register(registration)
                await asyncio.sleep(self.rng.choice((0, 1, 20)))
                await (await reach(self.world)).registry.make_ready(*self.key)
                return
            except _REFUSALS:
                await asyncio.sleep(RETRY)

    async def _fate(self) -> bool:
        """What happens next; False when this life is over."""
        fates: list[Callable[[], Coroutine[Any, Any, bool]]] = [
            self._die_silently,
            self._die_loudly,
            self._leave,
            self._hang,
            self._hang,
            self._flap,
        ]
        return await self.rng.choice(fates)()

    async def _die_silently(self) -> bool:
        return False

    async def _die_loudly(self) -> bool:
        with suppress(*_REFUSALS):
            await (await reach(self.world)).registry.set_state(*self.key, ComponentState.FAILED, "exit 1")
        return False

    async def _leave(self) -> bool:
        with suppress(*_REFUSALS):
            await (await reach(self.world)).registry.deregister(*self.key)
        return False

    async def _hang(self) -> bool:
        self.hung = True
        await asyncio.sleep(self.rng.uniform(0, 90))
        self.hung = False
        return True

    async def _flap(self) -> bool:
        for _ in range(self.rng.randrange(1, 6)):
            for state in (ComponentState.DEGRADED, ComponentState.READY):
                with suppress(*_REFUSALS):
                    await (await reach(self.world)).registry.set_state(*self.key, state)
                if not await self.beat_until(self.world.core.clock.monotonic() + self.rng.uniform(0, 30)):
                    return False
        return True


class Managed(_Beating):
    """A component that the coordinator starts and stops. Every second one sends heartbeats."""

    def __init__(self, world: World, component_id: str, needs: tuple[str, ...], *, beats: bool) -> None:
        super().__init__(world, component_id)
        self.needs = needs
        self.beats = beats
        self.adopted = False
        self._life: asyncio.Task[None] | None = None

    def registration(self) -> ComponentRegistration:
        """A new instance."""
        self.instance = new_instance(self.rng)
        return ComponentRegistration(
            component_id=self.component_id, instance_uuid=self.instance, dependencies=self.needs
        )

    async def start(self) -> object:
        """The start function."""
        self.world.starting(self)
        self.end_process()
        await asyncio.sleep(self.rng.choice((0, 0.5, 5, 15)))
        await self._start_badly()
        self.alive, self.adopted = True, False
        self._life = self.world.spawn(self._live(), self.component_id)
        return True

    async def stop(self) -> None:
        """The stop function."""
        await asyncio.sleep(self.rng.choice((0, 0.1, 3)))
        self.end_process()

    def end_process(self) -> None:
        """The process is gone, and nobody is told."""
        life, self._life = self._life, None
        self.alive = self.hung = False
        if life is not None:
            life.cancel()

    async def _start_badly(self) -> None:
        match self.rng.randrange(12):
            case 0:
                raise RuntimeError("no luck")
            case 1:
                await asyncio.Event().wait()
            case 2:
                core = self.world.core
                core.registry.observe(*self.key, ComponentState.FAILED, "exit 1 before it was ready")
                await asyncio.Event().wait()

    async def _live(self) -> None:
        while True:
            end = self.lifetime()
            if self.beats:
                await self.beat_until(end)
            await asyncio.sleep(max(0.0, end - self.world.core.clock.monotonic()))
            if self.beats and self.rng.random() < 0.4:
                self.hung = True
                # For good, or until it is found dead and ended.
                await asyncio.sleep(self.rng.choice((20, 3600)))
                self.hung = False
            else:
                break
        self.alive, self._life = False, None
        # The guard tells of an exit as soon as there is somebody to tell.
        if self.world.core.running:
            self.world.core.registry.observe(*self.key, ComponentState.FAILED, "exit 1")
