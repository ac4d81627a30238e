"""Finding and calling other components: what a look-up costs, how old the answer can be, what a call adds.

    python benches/discovery.py [--components 1000] [--changes 300]

A control plane in a process of its own, with a thousand registered components; this process has a `Discovery`.
Look-ups are compared with a bare dict and with asking the control plane over HTTP, in turns. A change is stale from the
moment in which the control plane has acknowledged it until the picture here has it; the time from the request on has
the commit in it. A call through the discovery is compared with one through aiohttp to the same server, which is in this
process, too.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from _http import control_plane
from _measure import gate, parser, section, verdict
from tekton.component import Component, Request
from tekton.utils.component_client import ControlPlane, Discovery, find_component
from tekton.utils.tekton_http import HttpClient

ROUNDS = 9
PAUSE = 0.02


async def microseconds(call: Callable[[], Awaitable[object]], number: int, *, local: bool = False) -> float:
    """What one of *number* calls in a row takes; of one that asks nobody (*local*), what CPU time of this thread."""
    now = time.thread_time if local else time.perf_counter
    began = now()
    for _ in range(number):
        await call()
    return (now() - began) / number * 1e6


async def register(client: HttpClient, component_id: str, endpoint: str = "http://127.0.0.1:9") -> str:
    """Register a component and make it READY; its instance."""
    description = {"component_id": component_id, "capabilities": ["bench"], "endpoint": endpoint}
    answer = await client.request("POST", "/api/components", description)
    instance: str = answer["component"]["instance_uuid"]
    await client.request("POST", f"/api/components/{component_id}/ready", {"instance_uuid": instance})
    return instance


async def look_ups(discovery: Discovery, plane: ControlPlane, client: HttpClient) -> None:
    """From the picture, from a dict, and by asking."""
    known = dict(discovery._table.clients)

    async def in_a_dict() -> object:
        return known.get("component-500")

    async def in_the_picture() -> object:
        return discovery.find("component-500")

    async def the_function() -> object:
        return await find_component("component-500")

    async def by_asking() -> object:
        return await client.request("GET", "/api/components/component-500/instances")

    async def asking_anew() -> object:
        return await find_component("component-500", control_plane=plane)

    contenders: tuple[tuple[Any, int], ...] = (
        (in_a_dict, 20_000),
        (in_the_picture, 20_000),
        (the_function, 20_000),
        (by_asking, 100),
        (asking_anew, 20),
    )
    rounds: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for call, number in contenders:
            took = await microseconds(call, number, local=number > 1000)
            rounds.setdefault(call.__name__, []).append(took)
    seen = {name: statistics.median(times) for name, times in rounds.items()}
    section("a look-up, 1,000 components")
    times = rounds["the_function"]
    gate("`find_component`", seen["the_function"], 2, unit="us", better="lower", spread=(min(times), max(times)))
    gate("`Discovery.find`", seen["in_the_picture"], 2, unit="us", better="lower")
    gate("a dict", seen["in_a_dict"], unit="us", better="lower")
    gate("`find_component`", seen["by_asking"] / seen["the_function"], against="asking on an open connection")
    gate("`find_component`", seen["asking_anew"] / seen["the_function"], against="`find_component` without a picture")


async def staleness(discovery: Discovery, client: HttpClient, changes: int) -> None:
    """How long a change is known to the control plane and not here."""
    instance = await register(client, "changing")
    acknowledged, requested = [], []
    for turn in range(changes):
        await asyncio.sleep(PAUSE)
        state = ("degraded", "ready")[turn % 2]
        began = time.perf_counter()
        change = {"instance_uuid": instance, "state": state}
        record = await client.request("PUT", "/api/components/changing/state", change)
        answered = time.perf_counter()
        while discovery.revision < record["revision"]:  # noqa: ASYNC110
            await asyncio.sleep(0)
        heard = time.perf_counter()
        acknowledged.append((heard - answered) * 1e3)
        requested.append((heard - began) * 1e3)
    section("a change, until the picture has it")
    p99 = statistics.quantiles(acknowledged, n=100)[98]
    gate(
        "from the acknowledgment, p99", p99, 20, unit="ms", better="lower", detail=f"at most {max(acknowledged):.3g} ms"
    )
    gate("from the acknowledgment, middle", statistics.median(acknowledged), unit="ms", better="lower")
    gate("from the request, middle", statistics.median(requested), unit="ms", better="lower")


async def calls(discovery: Discovery, client: HttpClient) -> None:
    """What balancing and retries add to a call."""
    app = Component("called", port=0, register=False)

    @app.get("/api/x")
    async def x(_: Request) -> dict[str, int]:
        return {"x": 1}

    async with app, aiohttp.ClientSession() as session:
        await register(client, "called", str(app.endpoint))
        while (called := discovery.find("called")) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

        async def balanced() -> object:
            return await called.call_api("/api/x")

        async def bare() -> object:
            async with session.get(f"{app.endpoint}/api/x") as answer:
                return await answer.json()

        ratios = [await microseconds(bare, 200) / await microseconds(balanced, 200) for _ in range(ROUNDS)]
    section("a call to one instance")
    gate("`call_api`", statistics.median(ratios), against="bare aiohttp", spread=(min(ratios), max(ratios)))


async def measure(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as directory, control_plane(Path(directory) / "data") as process:
        plane = ControlPlane(f"http://127.0.0.1:{process.port}", process.data_dir / "run" / "control.sock")
        async with plane.client(30) as client:
            for number in range(options.components):
                await register(client, f"component-{number}")
            async with Discovery(plane) as discovery:
                await look_ups(discovery, plane, client)
                await staleness(discovery, client, options.changes)
                await calls(discovery, client)


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--components", type=int, default=1000)
    arguments.add_argument("--changes", type=int, default=300)
    with asyncio.Runner(loop_factory=uvloop.Loop) as runner:
        runner.run(measure(arguments.parse_args()))
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
