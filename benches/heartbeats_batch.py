"""What heartbeats in batches, and leases without any, cost a real control plane.

    python benches/heartbeats_batch.py [--full] [--components 10000]

Components register through the port; then all of them beat once per ten seconds, in batches (`POST /api/heartbeats`)
of a thousand, with two metrics each. Gates: at 10,000 heartbeats per second the control plane uses at most half a core;
with all leases armed and nobody beating at most one per cent of one. `--full`: 100,000 components.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import uvloop

from _http import ControlPlane, control_plane, cpu_seconds, request, send
from _measure import gate, parser, section, verdict

BATCH = 1000
PER_SECOND = 10_000
CONNECTIONS = 16
METRICS = {"cpu_percent": 12.5, "memory_mib": 512.25}

Pairs = list[tuple[str, str]]


def registrations(plane: ControlPlane, pairs: Pairs) -> Iterator[bytes]:
    for name, instance in pairs:
        who = {"instance_uuid": instance}
        yield request(plane.port, "POST", "/api/components", json.dumps({"component_id": name, **who}).encode())
        yield request(plane.port, "POST", f"/api/components/{name}/ready", json.dumps(who).encode())


def batches(plane: ControlPlane, pairs: Pairs) -> list[bytes]:
    made = []
    for start in range(0, len(pairs), BATCH):
        beats = [
            {"component_id": name, "instance_uuid": instance, "metrics": METRICS, "timestamp": 1786000000.5}
            for name, instance in pairs[start : start + BATCH]
        ]
        body = json.dumps({"heartbeats": beats}, separators=(",", ":")).encode()
        made.append(request(plane.port, "POST", "/api/heartbeats", body))
    return made


async def per_heartbeat(plane: ControlPlane, requests: list[bytes], rounds: int) -> list[float]:
    """Microseconds of CPU for each heartbeat, one figure per round; no more than each instance may send."""
    costs = []
    for _ in range(rounds):
        before = cpu_seconds(plane.pid)
        await send(plane.port, [iter(requests)])
        costs.append((cpu_seconds(plane.pid) - before) / (len(requests) * BATCH) * 1e6)
    return costs


async def share_at_pace(plane: ControlPlane, requests: list[bytes], seconds: float) -> float:
    """The share of a core in per cent that 10,000 heartbeats per second take, sent at that pace as far as possible."""
    before, began = cpu_seconds(plane.pid), time.perf_counter()
    pause = BATCH / PER_SECOND
    count = int(seconds / pause)
    for number, each in enumerate(islice(cycle(requests), count)):
        await asyncio.sleep(max(0.0, began + number * pause - time.perf_counter()))
        await send(plane.port, [iter([each])])
    return (cpu_seconds(plane.pid) - before) / (count * BATCH) * PER_SECOND * 100


async def share_idle(plane: ControlPlane, seconds: float) -> float:
    """The share of a core in per cent that armed leases take while nobody beats."""
    before, began = cpu_seconds(plane.pid), time.perf_counter()
    await asyncio.sleep(seconds)
    return (cpu_seconds(plane.pid) - before) / (time.perf_counter() - began) * 100


async def measure(plane: ControlPlane, components: int) -> None:
    pairs = [(f"c{number}", str(uuid.uuid4())) for number in range(components)]
    await send(plane.port, [registrations(plane, pairs[start::CONNECTIONS]) for start in range(CONNECTIONS)])
    requests = batches(plane, pairs)
    await send(plane.port, [iter(requests)])
    section(f"{components:,} components with a lease")
    costs = await per_heartbeat(plane, requests, 5)
    spread = (min(costs), max(costs))
    gate("CPU of a heartbeat in a batch of 1,000", statistics.median(costs), unit="us", better="lower", spread=spread)
    paced = await share_at_pace(plane, requests, 10)
    gate("CPU at 10,000 heartbeats per second", paced, 50, unit="% of a core", better="lower")
    await asyncio.sleep(2)  # whatever was still to be written is written
    gate("CPU while nobody beats", await share_idle(plane, 10), 1, unit="% of a core", better="lower")


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--components", type=int, default=10_000)
    arguments = options.parse_args()
    with (
        tempfile.TemporaryDirectory() as directory,
        control_plane(Path(directory) / "data", heartbeat_timeout=3600, heartbeat_interval=10) as plane,
    ):
        uvloop.run(measure(plane, 100_000 if arguments.full else arguments.components))
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
