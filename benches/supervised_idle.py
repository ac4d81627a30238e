"""What supervision costs while nothing happens: 100 idle processes under a real control plane.

    python benches/supervised_idle.py [--seconds 5]

CPU of the control plane and of its guard over several windows, after `tekton up`. The processes send no heartbeats and
have no probes; a second system, where each of them is probed every second, stands beside it without a gate.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from _http import cpu_seconds
from _measure import gate, parser, section, verdict

COMPONENTS = 100
COMMAND = ["sleep", "1000"]
WINDOWS = 3
GATE = 0.5


def tekton(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from tekton.cli import command; command()", *arguments]


def measure(seconds: float, **settings: Any) -> list[float]:
    """Percent of a core, window by window, with components that have these *settings*."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        components = {f"idle-{number}": {"command": COMMAND, **settings} for number in range(COMPONENTS)}
        (directory / "components.json").write_text(json.dumps({"components": components}))
        where = {"port": 0, "data_dir": str(directory / "data")}
        (directory / "tekton.json").write_text(json.dumps({"tekton": where}))
        subprocess.run(tekton("up", "--detach", "--quiet"), cwd=directory, check=True)
        try:
            processes = supervisors(directory / "data")
            time.sleep(2)  # what is left of the start
            return [percent(processes, seconds) for _ in range(WINDOWS)]
        finally:
            subprocess.run(tekton("down"), cwd=directory, stderr=subprocess.DEVNULL, check=True)


def supervisors(data_dir: Path) -> list[int]:
    """The processes of Tekton itself: the control plane, its guard, and what the guard keeps beside itself."""
    control = json.loads((data_dir / "run" / "control.json").read_text())["pid"]
    guard = psutil.Process(control).parent()
    assert guard is not None
    family = [guard, *guard.children(recursive=True)]
    return [each.pid for each in family if each.cmdline()[:1] != COMMAND[:1]]


def percent(processes: list[int], seconds: float) -> float:
    used, began = sum(map(cpu_seconds, processes)), time.perf_counter()
    time.sleep(seconds)
    return (sum(map(cpu_seconds, processes)) - used) / (time.perf_counter() - began) * 100


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--seconds", type=float, default=5.0, help="of one window")
    seconds = arguments.parse_args().seconds
    section(f"{COMPONENTS} idle processes, nobody asks")
    idle = measure(seconds)
    spread = (min(idle), max(idle))
    gate("CPU", statistics.median(idle), GATE, unit="% of a core", better="lower", spread=spread)
    probed = measure(seconds, ready={"exec": ["true"], "interval": 1.0})
    spread = (min(probed), max(probed))
    gate("CPU, probed by a command", statistics.median(probed), unit="% of a core", better="lower", spread=spread)
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
