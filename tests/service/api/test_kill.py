"""Signals for processes, and what is held back of a component that is to stay down."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.gateway.request import Request
from tekton.service.api.kill import Signal, routes
from tekton.service.system import System
from tekton.utils.tekton_errors import ComponentError


class World:
    """A system that supervises `worker`, which has the processes `pids`."""

    def __init__(self, registry: ComponentRegistry) -> None:
        self.pids: list[int] = []
        self.held: list[bool] = []
        system = SimpleNamespace(
            registry=registry,
            knows=lambda _: True,
            runs=lambda _: True,
            supervisor=SimpleNamespace(signal=self._signal),
            hold=lambda _, held: self.held.append(held),
        )
        (self._route,) = routes(cast(System, system))

    async def _signal(self, *_: object) -> list[int]:
        return self.pids

    async def kill(self, signal: Signal) -> Any:
        request = SimpleNamespace(params={"component_id": "worker"}, body=signal)
        return await self._route.handler(cast(Request, request))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with ComponentRegistry() as registry:
        yield World(registry)


async def test_only_who_is_to_stay_down_is_held(world: World) -> None:
    world.pids = [4711]
    await world.kill(Signal())
    before = list(world.held)
    answer = await world.kill(Signal(hold=True))

    assert (before, world.held) == ([], [True])
    assert (answer.signal, answer.pids) == ("KILL", [4711])


async def test_who_has_no_process_is_not_held(world: World) -> None:
    with pytest.raises(ComponentError, match="no process"):
        await world.kill(Signal(hold=True))

    assert world.held == [True, False]


async def test_who_is_held_and_has_no_process_stays_held(world: World) -> None:
    with pytest.raises(ComponentError, match="no process"):
        await world.kill(Signal())

    assert world.held == []
