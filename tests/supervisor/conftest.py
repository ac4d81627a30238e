"""Real processes, really supervised. The helpers are fixtures: test folders are not packages."""

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRecord, ComponentState
from tekton.core.recovery import Recovery
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator
from tekton.supervisor import procfs
from tekton.supervisor.guard_client import ChildProcess, GuardClient
from tekton.supervisor.supervisor import ControlPlaneAddress, Supervisor
from tekton.utils.tekton_config import TektonConfig

Until = Callable[[Callable[[], object]], Awaitable[None]]


async def _until(condition: Callable[[], object]) -> None:
    # Other processes tell nobody when they change: there is nothing to wait for but the condition itself.
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def _running(pid: int) -> bool:
    process = procfs.read(pid)
    return process is not None and not process.dead


@pytest.fixture
def until() -> Until:
    """Wait until a condition holds; fail after ten seconds."""
    return _until


@pytest.fixture
def running() -> Callable[[int], bool]:
    """True while a pid is a process that is not a zombie."""
    return _running


class Guarded:
    """A private guard, and short ways to use it."""

    def __init__(self, client: GuardClient, data_dir: Path) -> None:
        self.client = client
        self.data_dir = data_dir

    def log(self, name: str = "child") -> Path:
        return self.data_dir / "logs" / f"{name}.log"

    async def run(self, *argv: str, name: str = "child", **more: object) -> ChildProcess:
        options = {"cwd": self.data_dir, "log": self.log(name), **more}
        return await self.client.spawn(name, argv, **options)  # type: ignore[arg-type]

    async def shell(self, script: str, name: str = "child", **more: object) -> ChildProcess:
        return await self.run("/bin/sh", "-c", script, name=name, **more)

    async def python(self, script: str, name: str = "child", **more: object) -> ChildProcess:
        return await self.run(sys.executable, "-S", "-c", script, name=name, **more)

    async def says(self, name: str = "child") -> str:
        """The first line of a child's output, once it is there."""
        await _until(lambda: b"\n" in self.log(name).read_bytes())
        return self.log(name).read_text().splitlines()[0]

    async def tells(self, name: str = "child") -> dict[str, int]:
        """The JSON object on that line."""
        content: dict[str, int] = json.loads(await self.says(name))
        return content


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    client = await GuardClient.launch(tmp_path)
    try:
        yield Guarded(client, tmp_path)
    finally:
        async with asyncio.timeout(15):
            await client.close()


class Plane:
    """A control plane without its port."""

    def __init__(self, registry: ComponentRegistry, config: TektonConfig, guard: GuardClient) -> None:
        self.registry = registry
        self.config = config
        self.guard = guard
        self.coordinator = EnhancedStartUpCoordinator(registry)
        self.recovery = Recovery(registry, self.coordinator, rng=random.Random(1))
        self.supervisor = Supervisor(
            config=config, registry=registry, coordinator=self.coordinator, recovery=self.recovery, guard=guard
        )

    async def start_all(self) -> dict[str, tuple[bool, str | None]]:
        results = await self.coordinator.start_components(self.supervisor.startable())
        return {name: tuple(result) for name, result in results.items()}

    def state(self, component_id: str) -> ComponentState | None:
        record = self.registry.find(component_id)
        return record.state if record else None

    async def reaches(self, component_id: str, state: ComponentState) -> ComponentRecord:
        async with asyncio.timeout(10):
            record = await self.registry.wait_until(component_id, lambda r: r is not None and r.state is state)
        assert record is not None
        return record

    def pid(self, component_id: str) -> int:
        view = self.supervisor.view(component_id)
        assert view is not None
        assert view.pid is not None
        return view.pid

    def log(self, component_id: str) -> str:
        return (self.config.data_dir / "logs" / f"{component_id}.log").read_text()


class CredentialFiles:
    """Credentials that exist once a component has been provided with one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._provided: dict[str, Path] = {}

    def provide(self, component_id: str, user: str | None) -> Path | None:
        del user
        self._provided[component_id] = self._folder / f"credential-of-{component_id}"
        return self._provided[component_id]

    def path(self, component_id: str) -> Path | None:
        return self._provided.get(component_id)


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Plane]]]:
    """Makes a control plane for these components: `await plane(web={...}, recover=True)`."""
    planes: list[Plane] = []
    data_dir = tmp_path / "data"
    guard = await GuardClient.launch(data_dir)

    async def make(*, recover: bool = False, **components: dict[str, Any]) -> Plane:
        config = load(tmp_path, components)
        made = Plane(ComponentRegistry(), config, guard)
        planes.append(made)
        address = ControlPlaneAddress("http://127.0.0.1:1", tmp_path / "socket", CredentialFiles(tmp_path))
        await made.supervisor.prepare(address)
        if recover:
            await made.recovery.start()
        return made

    yield make
    async with asyncio.timeout(30):
        for made in planes:
            await made.recovery.stop()
            await made.supervisor.stop()
            await made.coordinator.close()
            await made.registry.close()
        await guard.close()


def load(folder: Path, components: dict[str, dict[str, Any]]) -> TektonConfig:
    for entry in components.values():
        entry.setdefault("stop_timeout", 5)
    (folder / "components.json").write_text(json.dumps({"components": components}))
    return TektonConfig.load(folder / "components.json", {"data_dir": str(folder / "data")}, {"HOME": str(folder)})
