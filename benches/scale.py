"""A control plane with 100,000 components: registering them, memory, lists, discovery, and coming back after a kill.

    python benches/scale.py [--components 100000] [--clients 64] [--lookups 300] [--directory DIR]

A control plane in a process of its own, with its data on the disk; 64 clients with one keep-alive connection each
register every component (4,000 a second are promised) and mark it ready; nobody sends heartbeats. There are 500
capabilities, two for each component. Memory is what the process has resident (RSS) beyond what it had when it was
empty, without the record itself (its JSON). Then it is killed (SIGKILL) and started again on what it left; ready is
when it says so over HTTP. The clients share the machine with it.
"""

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import uvloop

from _http import ControlPlane, control_plane, cpu_seconds, request, send
from _measure import gate, parser, section, verdict

CAPABILITIES = 500
PAGE = 1000
BODY = (
    '{{"component_id":"{0}","instance_uuid":"{1}","component_name":"Component {2}","version":"1.2.0",'
    '"capabilities":["capability-{3}","capability-{4}"],"dependencies":["hermes","engram"],'
    '"endpoint":"http://10.0.0.1:{5}","metadata":{{"zone":"a","rack":{6}}}}}'
)


def name_of(number: int) -> str:
    return f"component-{number:06d}"


def instance_of(number: int) -> str:
    return f"7f1f7c9e-6a55-4b8a-9e5c-{number:012x}"


def registration(number: int) -> str:
    return BODY.format(
        name_of(number),
        instance_of(number),
        number,
        number % CAPABILITIES,
        number * 7 % CAPABILITIES,
        1024 + number % 60_000,
        number % 40,
    )


def registrations(port: int, numbers: range) -> Iterator[bytes]:
    for number in numbers:
        yield request(port, "POST", "/api/components", registration(number).encode())


def made_ready(port: int, numbers: range) -> Iterator[bytes]:
    for number in numbers:
        body = f'{{"instance_uuid":"{instance_of(number)}"}}'
        yield request(port, "POST", f"/api/components/{name_of(number)}/ready", body.encode())


def resident(plane: ControlPlane) -> int:
    return int(psutil.Process(plane.pid).memory_info().rss)


def decoded(answer: bytes) -> Any:
    return msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])


def percentile(times: list[float], part: float) -> float:
    """In milliseconds."""
    return sorted(times)[min(len(times) - 1, int(len(times) * part))] * 1e3


def fill(plane: ControlPlane, options: argparse.Namespace) -> None:
    """Register everything, then mark it ready."""
    shares = [range(first, options.components, options.clients) for first in range(options.clients)]
    for what, requests, limit in (("registered", registrations, 25.0), ("marked ready", made_ready, None)):
        cpu, began = cpu_seconds(plane.pid), time.perf_counter()
        clients = uvloop.run(send(plane.port, [requests(plane.port, share) for share in shares]))
        seconds, cpu = time.perf_counter() - began, cpu_seconds(plane.pid) - cpu
        waits = [wait for client in clients for wait in client.times]
        detail = f"{len(waits) / seconds:,.0f}/s, p99 {percentile(waits, 0.99):.3g} ms, CPU {cpu:.3g} s"
        gate(f"all {what}", seconds, limit, unit="s", better="lower", detail=detail)


def read(plane: ControlPlane, options: argparse.Namespace) -> int:
    """Read the whole list in pages, and look up capabilities; the bytes of a record as JSON."""
    cursor: str | None = ""
    pages: list[float] = []
    size = seen = 0
    while cursor is not None:
        (client,) = uvloop.run(
            send(plane.port, [iter([request(plane.port, "GET", f"/api/components?limit={PAGE}{cursor}")])])
        )
        page = decoded(client.last)
        pages.append(client.times[0])
        seen += len(page["items"])
        size += len(msgspec.json.encode(page["items"]))
        cursor = f"&cursor={page['cursor']}" if page["cursor"] else None
    if seen != options.components:
        raise RuntimeError(f"{seen} components were listed")
    gate(
        f"a page of {PAGE:,}, p99",
        percentile(pages, 0.99),
        unit="ms",
        better="lower",
        detail=f"all in {sum(pages):.3g} s",
    )
    paths = [f"/api/capabilities/capability-{n % CAPABILITIES}/components" for n in range(options.lookups)]
    (client,) = uvloop.run(send(plane.port, [iter([request(plane.port, "GET", path) for path in paths])]))
    found = len(decoded(client.last)["items"])
    middle = statistics.median(client.times) * 1e3
    gate(
        "a capability looked up, p99",
        percentile(client.times, 0.99),
        5.0,
        unit="ms",
        better="lower",
        detail=f"{found} components each, median {middle:.3g} ms",
    )
    return size // seen


def main() -> None:
    options_ = parser(__doc__)
    options_.add_argument("--components", type=int, default=100_000)
    options_.add_argument("--clients", type=int, default=64)
    options_.add_argument("--lookups", type=int, default=300)
    options_.add_argument("--directory", type=Path, help="where the data lies while it is measured")
    options = options_.parse_args()
    section(f"a control plane with {options.components:,} components")
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        data_dir = Path(directory) / "data"
        with control_plane(data_dir, heartbeat_timeout=3600) as plane:
            empty = resident(plane)
            fill(plane, options)
            beyond = (resident(plane) - empty) / options.components
            record = read(plane, options)
            gate(
                "memory for each beyond its record",
                beyond - record,
                1536,
                unit="B",
                better="lower",
                detail=f"record {record} B, all {resident(plane) / 2**20:,.0f} MiB",
            )
            os.kill(plane.pid, signal.SIGKILL)
            psutil.wait_procs([psutil.Process(plane.pid)], timeout=10)
        (data_dir / "run" / "control.json").unlink()
        began = time.perf_counter()
        with control_plane(data_dir, heartbeat_timeout=3600) as plane:
            uvloop.run(send(plane.port, [iter([request(plane.port, "GET", "/api/ready")])]))
            seconds, cpu = time.perf_counter() - began, cpu_seconds(plane.pid)
            gate("ready again after SIGKILL", seconds, 5.0, unit="s", better="lower", detail=f"CPU {cpu:.3g} s")
            beyond = (resident(plane) - empty) / options.components
            gate("memory for each after the start", beyond - record, 1536, unit="B", better="lower")
    sys.exit(verdict())


if __name__ == "__main__":
    main()
