"""A component of seven lines, as a process: from its start until the control plane says that it is READY.

    python benches/component_start.py [--starts 15]

The control plane is a process of its own, as is each component; Python, the imports, the port, the registration and the
walk to READY are all in it. Beside it, in turns: a Python that does nothing, and one that only imports what is needed.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from _http import control_plane
from _measure import gate, parser, section, verdict
from tekton.core.lifecycle import Change
from tekton.utils.component_client import ControlPlane
from tekton.utils.tekton_websocket import WebSocketClient

GREETER = """
import tekton
app = tekton.Component("greeter", capabilities=["greet"], port=0)
@app.tool
async def greet(name: str) -> str:
    "Greet someone by name."
    return f"Hello, {name}."
app.run()
"""


async def starts(plane: ControlPlane, url: str, directory: Path, number: int) -> list[float]:
    """Seconds from the start of each process to READY."""
    program = directory / "greeter.py"
    program.write_text(GREETER)
    environment = {**os.environ, "TEKTON_URL": url, "HOME": str(directory)}
    taken: list[float] = []
    async with WebSocketClient(plane) as client:
        events = client.watch()
        await anext(events)
        for _ in range(number):
            began = time.perf_counter()
            process = subprocess.Popen(  # noqa: ASYNC220 (nothing else happens here)
                [sys.executable, str(program)], env=environment, cwd=directory, stderr=subprocess.DEVNULL
            )
            await until(events, "ready")
            taken.append(time.perf_counter() - began)
            process.terminate()
            await until(events, "stopped")
            await asyncio.to_thread(process.wait)
        await events.aclose()
    return taken


async def until(events: object, state: str) -> None:
    async for event in events:  # type: ignore[attr-defined]
        if isinstance(event, Change) and event.state.value == state:
            return


def took(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began


async def measure(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name, control_plane(Path(name) / "data") as process:
        url = f"http://127.0.0.1:{process.port}"
        taken = await starts(ControlPlane(url), url, Path(name), options.starts)
    nothing = statistics.median(took("pass") for _ in range(5))
    imports = statistics.median(took("import tekton; tekton.Component; import psutil") for _ in range(5))
    section("a component of seven lines")
    middle = statistics.median(taken) * 1e3
    gate("from exec to READY", middle, 500, unit="ms", better="lower", spread=(min(taken) * 1e3, max(taken) * 1e3))
    gate("the imports alone", imports * 1e3, unit="ms", better="lower")
    gate("a Python that does nothing", nothing * 1e3, unit="ms", better="lower")


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--starts", type=int, default=15)
    with asyncio.Runner(loop_factory=uvloop.Loop) as runner:
        runner.run(measure(arguments.parse_args()))
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
