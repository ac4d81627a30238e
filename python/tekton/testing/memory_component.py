"""A component that is a function: what the coordinator starts and stops in an `InMemorySystem`.

Its process is a group of tasks: one that sends heartbeats, and one for each call that is being answered. A kill cancels
them all, and whoever waits for an answer learns that the connection is gone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, TypedDict

from tekton.background import BackgroundGroup
from tekton.core.dependency import Dependency
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.core.recovery import RestartPolicy
from tekton.testing.interference import Interference
from tekton.testing.simulated_components import new_instance
from tekton.testing.simulated_core import SimulatedCore
from tekton.utils.tekton_errors import ComponentError, TransportError

Serve = Callable[..., Awaitable[Any]]
Hook = Callable[[], Awaitable[object]]


class Settings(TypedDict, total=False):
    """What can be said of a component; see `InMemorySystem.add`."""

    needs: Sequence[str | Dependency]
    capabilities: Sequence[str]
    on_start: Hook
    on_stop: Hook
    heartbeats: bool
    start_timeout: float
    restart: RestartPolicy


class MemoryComponent:
    """A component and, while it runs, its process."""

    def __init__(
        self,
        component_id: str,
        serve: Serve | None,
        settings: Settings,
        rng: Random,
        core: Callable[[], SimulatedCore],
    ) -> None:
        self.component_id = component_id
        self.settings = settings
        self.interference = Interference(component_id, rng)
        self.known = self.wanted = False
        self._serve = serve
        self._instance = ""
        self._rng = rng
        self._core = core
        self._process: BackgroundGroup | None = None

    @property
    def needs(self) -> Sequence[str | Dependency]:
        """What has to be usable before it starts."""
        return self.settings.get("needs", ())

    @property
    def alive(self) -> bool:
        """True while it has a process."""
        return self._process is not None

    def registration(self) -> ComponentRegistration:
        """What the next process is registered as."""
        self._instance = new_instance(self._rng)
        return ComponentRegistration(
            component_id=self.component_id,
            instance_uuid=self._instance,
            capabilities=tuple(self.settings.get("capabilities", ())),
            dependencies=tuple(need if isinstance(need, str) else need.component for need in self.needs),
        )

    async def start(self) -> None:
        """The start function of the coordinator."""
        await self.end()
        process = self._process = BackgroundGroup(self.component_id)
        if on_start := self.settings.get("on_start"):
            await on_start()
        if self._process is not process:
            raise ComponentError(self.component_id, "it was killed while it was starting")
        if self.settings.get("heartbeats", True):
            process.spawn(self._beat(), "heartbeats")

    async def stop(self) -> None:
        """The stop function of the coordinator."""
        on_stop = self.settings.get("on_stop")
        if self.alive and not self.interference.paused and on_stop is not None:
            await on_stop()
        await self.end()

    async def end(self) -> None:
        """The process is gone, and its successor will not be paused. Nobody is told."""
        process, self._process = self._process, None
        self.interference.resume()
        if process is not None:
            await process.stop()

    async def call(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """What the function returns or raises. Raises TransportError when the process is not there, or ends."""
        name = self.component_id
        if self._serve is None:
            raise ComponentError(name, "answers no calls: it was added without a function")
        if self._process is None:
            raise TransportError(f"memory:{name}", "nothing listens there")
        answer = self._process.spawn(self._answer(self._serve, arguments, options), "call")
        try:
            await asyncio.wait({answer})
        finally:
            answer.cancel()
        if answer.cancelled():
            raise TransportError(f"memory:{name}", "the connection was closed before there was an answer")
        value, error = answer.result()
        if error is not None:
            raise error
        return value

    async def _answer(
        self, serve: Serve, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[Any, Exception | None]:
        try:
            await self.interference.pass_request()
            return await serve(*arguments, **options), None
        except Exception as error:
            return None, error

    async def kill(self, reason: str) -> None:
        """See `Faults.kill`."""
        if not self.alive:
            raise RuntimeError(f"{self.component_id} does not run")
        await self.end()
        core = self._core()
        # Without a control plane nobody sees it; the next one will.
        if core.running:
            core.registry.observe(self.component_id, self._instance, ComponentState.FAILED, reason)

    async def _beat(self) -> None:
        key = self.component_id, self._instance
        while True:
            await self.interference.moving()
            core = self._core()
            if core.running and core.registry.instance(*key) is not None:
                core.monitor.beat(*key)
            await asyncio.sleep(core.monitor.next_interval)
