"""Who asks a component that is killed with SIGKILL before it answers hears of it when his time is over."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tekton.clock import SYSTEM_CLOCK
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.bus_client import BusClient
from tekton.utils.control_plane import ControlPlane
from tekton.utils.tekton_errors import NoRespondersError, ReplyTimeoutError

REPLIER = Path(__file__).with_name("replier.py")
QUESTION = Message(MessageType.REQUEST, "are you there?", MessageContext("ada"))


@asynccontextmanager
async def replier(address: ControlPlane) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, REPLIER, address.url, address.credential, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def line(process: asyncio.subprocess.Process) -> list[str]:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().split()


async def killed_when_asked(process: asyncio.subprocess.Process) -> float:
    """The deadline that the question had."""
    said, deadline = await line(process)
    assert said == "asked"
    process.kill()
    await process.wait()
    return float(deadline)


async def test_who_asks_one_that_is_killed_hears_of_it_at_his_deadline() -> None:
    async with asyncio.timeout(50), InMemoryControlPlane() as plane:
        ada, ergon = [plane.address_of(await plane.token(name, "component")) for name in ("ada", "ergon")]
        async with BusClient(ada) as bus, replier(ergon) as process, asyncio.TaskGroup() as group:
            assert await line(process) == ["listening"]
            with pytest.raises(NoRespondersError):
                await bus.request("ada.nobody", QUESTION, timeout=30.0)
            before = SYSTEM_CLOCK.time()
            killing = group.create_task(killed_when_asked(process))
            with pytest.raises(ReplyTimeoutError):
                await bus.request("ergon.requests.it", QUESTION, timeout=3.0)

            assert before <= await killing - 2.999 <= SYSTEM_CLOCK.time()
