"""The Rust kernel beside Rust libraries: what Criterion measures in `rust/kernel/benches`, with its gates.

    python benches/kernel.py [--no-run]

Runs `cargo bench` (a minute or two, and a build) and reads the medians from `target/criterion`; `--no-run` reads those
of the last run. Skipped where there is no cargo. Wall time of one thread; the spread is Criterion's confidence interval
of the median, for the sides apart.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from _measure import duration, gate, parser, section, skip, verdict

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "rust" / "kernel" / "benches"
FOUND = ROOT / "target" / "criterion"
OURS = "tekton"

GATES = {
    ("heartbeat with its share of ticks", "tokio Sleep::reset"): 20.0,
    ("heartbeat with its share of ticks", "tokio DelayQueue::reset_at"): 40.0,
}
LEAST_SIZE = 100_000
"""The gates are for so many leases and more."""


class Benchmark(msgspec.Struct):
    """`benchmark.json` of Criterion: *function_id* is the contender, *value_str* the size."""

    group_id: str
    function_id: str | None = None
    value_str: str | None = None


class Interval(msgspec.Struct):
    """Nanoseconds."""

    lower_bound: float
    upper_bound: float


class Estimate(msgspec.Struct):
    """Nanoseconds."""

    point_estimate: float
    confidence_interval: Interval


class Estimates(msgspec.Struct):
    """`estimates.json` of Criterion; there is more in it."""

    median: Estimate


class Measured(NamedTuple):
    """One contender at one size."""

    benchmark: Benchmark
    median: Estimate

    @property
    def size(self) -> int:
        value = self.benchmark.value_str or ""
        return int(value) if value.isdecimal() else 0


def read(directory: Path) -> Iterator[Measured]:
    """What the last run found, in the order of groups and sizes."""
    found = [
        Measured(
            msgspec.json.decode(path.read_bytes(), type=Benchmark),
            msgspec.json.decode(path.with_name("estimates.json").read_bytes(), type=Estimates).median,
        )
        for path in directory.glob("**/new/benchmark.json")
    ]
    yield from sorted(found, key=lambda each: (each.benchmark.group_id, each.size))


def report(measured: list[Measured]) -> None:
    for group in dict.fromkeys((each.benchmark.group_id, each.size) for each in measured):
        contenders = {
            each.benchmark.function_id or "": each.median
            for each in measured
            if (each.benchmark.group_id, each.size) == group
        }
        section(f"{group[0]}, {group[1]:,}" if group[1] else group[0])
        for ours in [name for name in contenders if name.startswith(OURS)]:
            compare(group, ours, contenders)


def compare(group: tuple[str, int], ours: str, contenders: dict[str, Estimate]) -> None:
    mine = contenders[ours]
    peers = {name: estimate for name, estimate in contenders.items() if not name.startswith(OURS)}
    for name, peer in peers.items():
        least = GATES.get((group[0], name)) if group[1] >= LEAST_SIZE else None
        theirs, its = peer.confidence_interval, mine.confidence_interval
        gate(
            ours,
            peer.point_estimate / mine.point_estimate,
            least,
            against=name,
            spread=(theirs.lower_bound / its.upper_bound, theirs.upper_bound / its.lower_bound),
            detail=f"{duration(peer.point_estimate / 1e9)} / {duration(mine.point_estimate / 1e9)}",
        )
    if not peers:
        gate(ours, mine.point_estimate, unit="ns", better="lower")


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--no-run", action="store_true", help="read what the last run has left")
    options = arguments.parse_args()
    if not options.no_run:
        cargo = shutil.which("cargo")
        if cargo is None:
            return skip("there is no cargo")
        # What was found in an earlier run of other benches says nothing.
        shutil.rmtree(FOUND, ignore_errors=True)
        benches = [argument for path in sorted(SOURCES.glob("*.rs")) for argument in ("--bench", path.stem)]
        command = [cargo, "bench", "--package", "tekton-kernel", "--target-dir", str(FOUND.parent), *benches]
        subprocess.run(command, cwd=ROOT, check=True)
    report(list(read(FOUND)))
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
