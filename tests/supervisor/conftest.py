"""Real processes, really supervised. The helpers are fixtures: test folders are not packages."""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tekton.supervisor import procfs
from tekton.supervisor.guard_client import ChildProcess, GuardClient

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


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listened a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
