"""Acknowledged durable registrations over HTTP, against a control plane with its data on the disk.

    python benches/register_http.py [--clients 64] [--registrations 6400] [--directory DIR]

A control plane process of its own; clients with one keep-alive connection each, every request a new component, the
next when the one before is acknowledged. The clients share the machine with it. Measured alone and, in turns, beside
heartbeats that keep its event loop busy. CPU is that of the control plane, all threads.
"""

import argparse
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import uvloop

from _http import ControlPlane, beside, control_plane, cpu_seconds, request, send
from _measure import gate, parser, section, verdict

ROUNDS = 5
BEATERS = 4
COMPONENTS = 2000
BODY = (
    '{{"component_id":"{}","component_name":"A component","version":"1.2.0","capabilities":["text_generation"],'
    '"dependencies":["hermes","engram"],"endpoint":"http://127.0.0.1:8003","metadata":{{"model":"small"}}}}'
)


class Round(NamedTuple):
    """One round: acknowledged registrations per second, milliseconds of CPU for a thousand, and of waiting."""

    rate: float
    cpu_us: float
    middle_ms: float
    slowest_ms: float


def registrations(port: int, prefix: str, number: int) -> Iterator[bytes]:
    for one in range(number):
        yield request(port, "POST", "/api/components", BODY.format(f"{prefix}-{one}").encode())


async def register(plane: ControlPlane, prefix: str, options: argparse.Namespace) -> Round:
    each = options.registrations // options.clients
    streams = [iter(list(registrations(plane.port, f"{prefix}-{n}", each))) for n in range(options.clients)]
    cpu, began = cpu_seconds(plane.pid), time.perf_counter()
    clients = await send(plane.port, streams)
    seconds, cpu = time.perf_counter() - began, cpu_seconds(plane.pid) - cpu
    waits = sorted(wait for client in clients for wait in client.times)
    return Round(
        len(waits) / seconds, cpu / len(waits) * 1e6, waits[len(waits) // 2] * 1e3, waits[len(waits) * 99 // 100] * 1e3
    )


async def beating(plane: ControlPlane) -> list[Iterator[bytes]]:
    """Heartbeats for each of the clients beside, of many components in turn and without end."""
    instances = {f"beater-{number}": uuid.uuid4() for number in range(COMPONENTS)}
    new = [
        request(plane.port, "POST", "/api/components", b'{"component_id":"%b","instance_uuid":"%b"}' % each)
        for each in ((name.encode(), str(instance).encode()) for name, instance in instances.items())
    ]
    await send(plane.port, [iter(new[start::16]) for start in range(16)])
    beats = [
        request(plane.port, "POST", f"/api/components/{name}/heartbeat", f'{{"instance_uuid":"{instance}"}}'.encode())
        for name, instance in instances.items()
    ]
    return [cycle(beats[start::BEATERS]) for start in range(BEATERS)]


async def measure(plane: ControlPlane, options: argparse.Namespace) -> dict[str, list[Round]]:
    await register(plane, "warm", options)
    beats = await beating(plane)
    rounds: dict[str, list[Round]] = {"alone": [], "beside": []}
    for number in range(ROUNDS):
        rounds["alone"].append(await register(plane, f"a{number}", options))
        async with beside(plane.port, beats):
            rounds["beside"].append(await register(plane, f"b{number}", options))
    return rounds


def report(title: str, rounds: list[Round], least: float | None) -> None:
    section(title)
    rates = [one.rate for one in rounds]
    gate("registrations", statistics.median(rates), least, unit="/s", spread=(min(rates), max(rates)))
    for what, values, unit in (
        ("CPU of the control plane each", [one.cpu_us for one in rounds], "us"),
        ("acknowledged after, median", [one.middle_ms for one in rounds], "ms"),
        ("acknowledged after, 99 of 100", [one.slowest_ms for one in rounds], "ms"),
    ):
        gate(what, statistics.median(values), unit=unit, better="lower", spread=(min(values), max(values)))


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--clients", type=int, default=64)
    arguments.add_argument("--registrations", type=int, default=6400, help="per round")
    arguments.add_argument("--directory", default=".", help="where to keep the data; its file system counts")
    options = arguments.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=options.directory) as directory,
        control_plane(Path(directory).resolve() / "data") as plane,
    ):
        rounds = uvloop.run(measure(plane, options))
    report(f"durable registrations over HTTP, {options.clients} clients", rounds["alone"], 4000)
    report(f"the same, beside {BEATERS} clients that send heartbeats without pause", rounds["beside"], None)
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
