"""What a control plane costs that knows 100,000 components and that nobody asks.

    python benches/idle.py [--components 100000] [--seconds 4]

A control plane process of its own with its data on the disk; the components are registered and have no lease (for those
that have, see `heartbeats_batch.py`). CPU is that of the process and of its guard, over several windows of idling.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

from _http import ControlPlane, control_plane, cpu_seconds
from _measure import gate, parser, section, verdict
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRegistration

WINDOWS = 5
AT_ONCE = 2000


async def fill(data_dir: Path, number: int) -> None:
    """Register *number* components, a dozen capabilities and types among them."""
    async with ComponentRegistry(data_dir) as registry:
        for start in range(0, number, AT_ONCE):
            await asyncio.gather(*(registry.register(registration(n)) for n in range(start, start + AT_ONCE)))


def registration(number: int) -> ComponentRegistration:
    return ComponentRegistration(
        component_id=f"component-{number}",
        capabilities=(f"capability-{number % 12}", "text_generation"),
        dependencies=(f"component-{number // 2}",) if number else (),
        endpoint=f"http://127.0.0.1:{20_000 + number % 40_000}",
        metadata={"model": f"model-{number % 5}"},
    )


def idle_percent(plane: ControlPlane, seconds: float) -> float:
    """Percent of one core that the control plane and its guard use in the next *seconds*."""
    processes = [plane.pid, *(child.pid for child in psutil.Process(plane.pid).children(recursive=True))]
    used, began = sum(map(cpu_seconds, processes)), time.perf_counter()
    time.sleep(seconds)
    return (sum(map(cpu_seconds, processes)) - used) / (time.perf_counter() - began) * 100


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--components", type=int, default=100_000)
    arguments.add_argument("--seconds", type=float, default=4.0, help="of one window of idling")
    arguments.add_argument("--directory", default=".", help="where to keep the data; its file system counts")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        data_dir = Path(directory).resolve() / "data"
        asyncio.run(fill(data_dir, options.components))
        with control_plane(data_dir) as plane:
            idle_percent(plane, 2.0)  # what is left of the start
            seen = [idle_percent(plane, options.seconds) for _ in range(WINDOWS)]
    section(f"{options.components:,} registered components, nobody asks")
    spread = (min(seen), max(seen))
    gate("CPU", statistics.median(seen), 1, unit="% of a core", better="lower", spread=spread)
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
