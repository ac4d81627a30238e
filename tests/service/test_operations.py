"""What is done to components because somebody asked for it."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tekton.core.audit.query import AuditQuery
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.service.lineup import LineUp
from tekton.service.operations import Operation, Operations
from tekton.supervisor.supervisor import Supervisor
from tekton.utils.config_components import ComponentSpec
from tekton.utils.tekton_errors import ComponentError


class Supervising:
    """Does what it is told to `hermes`, once `free` is set; raises `error` then, if there is one."""

    def __init__(self) -> None:
        self.specs = {"hermes": ComponentSpec(name="hermes", command=["true"], cwd="/")}
        self.replicas = self
        self.told: list[tuple[Any, ...]] = []
        self.begun, self.free = asyncio.Event(), asyncio.Event()
        self.error: ComponentError | None = None

    async def start(self, component_id: str, *, force: bool) -> None:
        await self._do("start", component_id, force)

    async def stop(self, component_id: str) -> None:
        await self._do("stop", component_id)

    async def restart(self, component_id: str, *, force: bool) -> None:
        await self._do("restart", component_id, force)

    async def roll(self, component_id: str, *, force: bool) -> None:
        await self._do("roll", component_id, force)

    async def replace(self, spec: ComponentSpec) -> None:
        await self._do("replace", spec.name, spec.replicas)

    async def _do(self, *told: Any) -> None:
        self.begun.set()
        await self.free.wait()
        self.told.append(told)
        if self.error is not None:
            raise self.error


class World:
    def __init__(self, registry: ComponentRegistry) -> None:
        self.registry = registry
        self.supervising = Supervising()
        self.scaled: dict[str, int] = {}
        lineup = cast(LineUp, SimpleNamespace(scaled=self.scaled))
        self.operations = Operations(lineup, registry.audit, cast(Supervisor, self.supervising))

    async def entered(self) -> list[tuple[str, str]]:
        await self.registry.flush()
        entries = (await self.registry.audit.page(AuditQuery())).entries
        return [(entry.action, entry.outcome) for entry in reversed(entries)]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with ComponentRegistry() as registry:
        made = World(registry)
        yield made
        await made.operations.stop()


@pytest.mark.parametrize(
    ("operation", "told"),
    [
        ("start", ("start", "hermes", True)),
        ("stop", ("stop", "hermes")),
        ("restart", ("restart", "hermes", True)),
        ("roll", ("roll", "hermes", True)),
    ],
)
async def test_an_operation_is_entered_before_it_begins_and_when_it_is_done(
    world: World, operation: Operation, told: tuple[Any, ...]
) -> None:
    task = await world.operations.operate(operation, "hermes", force=True)

    assert await world.entered() == [(f"component.{operation}", "intent")]
    world.supervising.free.set()
    assert await task is None
    assert world.supervising.told == [told]
    assert await world.entered() == [(f"component.{operation}", "intent"), (f"component.{operation}", "done")]


async def test_what_an_operation_fails_with_is_its_result(world: World) -> None:
    world.supervising.free.set()
    world.supervising.error = ComponentError("hermes", "is broken")

    task = await world.operations.operate("start", "hermes")

    assert await task is world.supervising.error
    assert [outcome for _, outcome in await world.entered()] == ["intent", "failed"]


async def test_another_number_of_replicas_holds_until_the_specification_is_changed(world: World) -> None:
    world.supervising.free.set()

    assert await (await world.operations.scale("hermes", 3)) is None

    assert world.supervising.told == [("replace", "hermes", 3)]
    assert world.scaled == {"hermes": 3}


async def test_what_is_under_way_ends_with_the_system(world: World) -> None:
    task = await world.operations.operate("stop", "hermes")
    async with asyncio.timeout(5):
        await world.supervising.begun.wait()

    await world.operations.stop()

    assert task.cancelled()
    assert world.supervising.told == []
