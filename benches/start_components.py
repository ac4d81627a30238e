"""What a start costs without processes: components in memory through `start_components`.

    python benches/start_components.py [--full]      (`--full`: 100,000 too)

Each component depends on up to three of the hundred before it, and its start function does nothing. CPU of the whole
process, registry in memory included. That a component costs the same in a large system as in a small one is a gate:
anything quadratic shows there.

The wall time of a start is compared with the critical path: the longest sum of start functions along dependencies,
which nothing can be faster than. It is zero where they do nothing; where they sleep, others must use that time.
"""

import asyncio
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

from _measure import gate, parser, section, verdict
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.startup_coordinator import ComponentConfig, EnhancedStartUpCoordinator

SMALL, LARGE, FULL = 1_000, 10_000, 100_000
FLAT = 2.0
LONGER, EACH = 1.05, 0.002
SLEEPS = (0.0, 0.005)
ROUNDS = 5
PATIENCE = 3600.0  # what is measured is work, not whether a slow machine keeps to a minute


def sleeping(seconds: float) -> Callable[[], Awaitable[None]]:
    async def start() -> None:
        if seconds:
            await asyncio.sleep(seconds)

    return start


def graph(count: int) -> list[list[int]]:
    """What each component needs, by number."""
    rng = random.Random(1)
    return [
        sorted({rng.randrange(max(0, number - 100), number) for _ in range(3)}) if number else []
        for number in range(count)
    ]


def configs(count: int, seconds: float = 0.0) -> dict[str, ComponentConfig]:
    start = sleeping(seconds)
    return {
        f"c{number}": ComponentConfig(start_func=start, dependencies=[f"c{need}" for need in needs])
        for number, needs in enumerate(graph(count))
    }


def critical_path(count: int, seconds: float) -> float:
    """Seconds that no start can do without."""
    ends: list[float] = []
    for needs in graph(count):
        ends.append(seconds + max((ends[need] for need in needs), default=0.0))
    return max(ends)


async def start_in(count: int, seconds: float) -> float:
    """Seconds of wall time to start *count* components whose start functions take *seconds*."""
    async with (
        ComponentRegistry() as registry,
        EnhancedStartUpCoordinator(registry, default_timeout=PATIENCE) as coordinator,
    ):
        begun = time.perf_counter()
        started = await coordinator.start_components(configs(count, seconds))
        taken = time.perf_counter() - begun
    assert all(result.success for result in started.values())
    return taken


async def start_and_stop(count: int) -> tuple[float, float]:
    """Microseconds of CPU per component to start *count* of them, and to stop them."""
    wanted = configs(count)
    async with (
        ComponentRegistry() as registry,
        EnhancedStartUpCoordinator(registry, default_timeout=PATIENCE) as coordinator,
    ):
        begun = time.process_time()
        started = await coordinator.start_components(wanted)
        up = time.process_time()
        stopped = await coordinator.stop_components()
        down = time.process_time()
    assert all(result.success for result in (*started.values(), *stopped.values()))
    return (up - begun) / count * 1e6, (down - up) / count * 1e6


def main() -> int:
    full = parser(__doc__).parse_args().full
    section("components in memory, CPU per component")
    smallest = 0.0
    for count in (SMALL, LARGE, FULL)[: 3 if full else 2]:
        start, stop = asyncio.run(start_and_stop(count))
        gate(f"start, {count:,} components", start, unit="us", better="lower", detail=f"stop {stop:.0f} us")
        smallest = smallest or start
        if count > SMALL:
            gate(f"start, {count:,}", start / smallest, FLAT, against=f"{SMALL:,}", better="lower")
    section(f"a random graph of {SMALL:,} components, wall time beyond its critical path")
    for seconds in SLEEPS:
        path = critical_path(SMALL, seconds)
        seen = [asyncio.run(start_in(SMALL, seconds)) for _ in range(ROUNDS)]
        gate(
            f"start functions of {seconds * 1e3:g} ms, in all",
            statistics.median(seen) * 1e3,
            (LONGER * path + EACH * SMALL) * 1e3,
            unit="ms",
            better="lower",
            spread=(min(seen) * 1e3, max(seen) * 1e3),
            detail=f"critical path {path * 1e3:.0f} ms",
        )
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
