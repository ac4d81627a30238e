"""What a start costs without processes: components in memory through `start_components`.

    python benches/start_components.py [--full]      (`--full`: 100,000 too)

Each component depends on up to three of the hundred before it, and its start function does nothing. CPU of the whole
process, registry in memory included. That a component costs the same in a large system as in a small one is a gate:
anything quadratic shows there.
"""

import asyncio
import random
import sys
import time

from _measure import gate, parser, section, verdict
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.startup_coordinator import ComponentConfig, EnhancedStartUpCoordinator

SMALL, LARGE, FULL = 1_000, 10_000, 100_000
FLAT = 2.0
PATIENCE = 3600.0  # what is measured is work, not whether a slow machine keeps to a minute


async def succeed() -> None:
    return


def configs(count: int) -> dict[str, ComponentConfig]:
    rng = random.Random(1)
    needs = [
        sorted({rng.randrange(max(0, number - 100), number) for _ in range(3)}) if number else []
        for number in range(count)
    ]
    return {
        f"c{number}": ComponentConfig(start_func=succeed, dependencies=[f"c{need}" for need in needs[number]])
        for number in range(count)
    }


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
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
