"""How long the command line lets one wait, beside a Python that does nothing.

    python benches/startup.py [--rounds N]

Whole processes, from fork to exit, interleaved in shuffled order; medians of wall time. `tekton ps` asks a real
control plane with 16 idle components over its Unix socket, and `tekton up --detach` is the one start of that system,
until all are ready.
"""

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from _measure import gate, parser, section, verdict

COMPONENTS = 16
UP = 1500.0
BASE = "python -c pass"


class Contender(NamedTuple):
    """A command, and the milliseconds that it may take."""

    command: list[str]
    gate: float | None = None


def tekton(*arguments: str) -> list[str]:
    """The command line as its script starts it."""
    return [sys.executable, "-c", "from tekton.cli import command; command()", *arguments]


def contenders(data_dir: Path) -> dict[str, Contender]:
    where = ["--data-dir", str(data_dir)]
    return {
        BASE: Contender([sys.executable, "-c", "pass"]),
        "import tekton": Contender([sys.executable, "-c", "import tekton"], 120.0),
        "tekton --help": Contender(tekton("--help"), 150.0),
        "tekton ps --data-dir": Contender(tekton("ps", *where), 200.0),
        "tekton ps": Contender(tekton("ps"), 200.0),
        "tekton why": Contender(tekton("why", "idle-1")),
    }


def run(command: Sequence[str], directory: Path) -> float:
    """Wall time in milliseconds."""
    start = time.perf_counter()
    subprocess.run(command, cwd=directory, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - start) * 1e3


def measure(commands: dict[str, Contender], directory: Path, rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in commands}
    order = list(commands)
    shuffle = random.Random(0).shuffle
    for round_ in range(rounds + 1):
        shuffle(order)
        for name in order:
            taken = run(commands[name].command, directory)
            if round_:  # the first one warms the caches up
                times[name].append(taken)
    return times


def report(commands: dict[str, Contender], times: dict[str, list[float]]) -> None:
    for name, taken in times.items():
        ratio = statistics.median(mine / base for mine, base in zip(taken, times[BASE]))
        gate(
            name,
            statistics.median(taken),
            commands[name].gate,
            unit="ms",
            better="lower",
            spread=(min(taken), max(taken)),
            detail="" if name == BASE else f"{ratio:.1f} times {BASE}",
        )


def configure(directory: Path) -> None:
    idle = {f"idle-{number}": {"command": ["sleep", "1000"]} for number in range(COMPONENTS)}
    (directory / "components.json").write_text(json.dumps({"components": idle}))
    settings = {"port": 0, "data_dir": str(directory / "data")}
    (directory / "tekton.json").write_text(json.dumps({"tekton": settings}))


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=21)
    rounds = arguments.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        configure(directory)
        started = run(tekton("up", "--detach", "--quiet"), directory)
        try:
            commands = contenders(directory / "data")
            section(f"start of the command line, {rounds} rounds")
            report(commands, measure(commands, directory, rounds))
            title = f"tekton up --detach, {COMPONENTS} components"
            gate(title, started, UP, unit="ms", better="lower", detail="once, without readiness waits")
        finally:
            subprocess.run(tekton("down"), cwd=directory, stderr=subprocess.DEVNULL, check=True)
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
