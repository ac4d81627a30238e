"""What an installation takes, and how long a stranger waits for the example: `tekton up` from nothing.

    python benches/installation.py [--starts 5]

Distributions and bytes are those that `tekton-core` asks for here, without extras, compiled Python left out. A start is
`tekton up -d` of `examples/system` (eight services in three languages) with an empty data directory, until all are
ready. What is resident is the control plane's, with a component beside it and nobody asking, after ten seconds.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import psutil

from _http import control_plane
from _measure import gate, parser, section, verdict

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "system" / "components.json"


def distributions(name: str = "tekton-core") -> dict[str, metadata.Distribution]:
    """*name* and all that it asks for on this system, by canonical name."""
    found: dict[str, metadata.Distribution] = {}
    wanted = [name]
    while wanted:
        one = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if one not in found:
            found[one] = metadata.distribution(one)
            wanted += needed(found[one])
    return found


def needed(distribution: metadata.Distribution) -> Iterator[str]:
    from packaging.requirements import Requirement

    for text in distribution.requires or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement.name


def unpacked(distribution: metadata.Distribution) -> int:
    """Bytes of its files; of ours, which is installed from the sources, those of the package."""
    if distribution.name == "tekton-core":
        files = [
            path for path in (ROOT / "python" / "tekton").rglob("*") if path.suffix in (".py", ".pyi", ".so", ".toml")
        ]
        return sum(path.stat().st_size for path in files)
    located = (Path(str(file.locate())) for file in distribution.files or [])
    return sum(path.stat().st_size for path in located if path.is_file() and path.suffix != ".pyc")


def first_start() -> float:
    """Seconds of `tekton up -d` of the example, in a data directory of its own."""
    tekton = str(Path(sys.executable).with_name("tekton"))
    with tempfile.TemporaryDirectory() as data:
        environment = {**os.environ, "HOME": data, "TEKTON_DATA_DIR": f"{data}/data", "TEKTON_PORT": "0"}
        began = time.perf_counter()
        quietly([tekton, "up", "-d", "--file", str(EXAMPLE)], environment)
        took = time.perf_counter() - began
        quietly([tekton, "down"], environment)
    return took


def quietly(command: list[str], environment: dict[str, str]) -> None:
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def resident() -> float:
    """MB of a control plane that nobody asks anything."""
    with tempfile.TemporaryDirectory() as name, control_plane(Path(name) / "data") as plane:
        time.sleep(10)
        return psutil.Process(plane.pid).memory_info().rss / 1e6


def measure(options: argparse.Namespace) -> None:
    section("an installation without extras")
    found = distributions()
    gate("distributions", len(found), 25, unit="", better="lower")
    gate("unpacked", sum(map(unpacked, found.values())) / 1e6, 80, unit="MB", better="lower")
    (extension,) = (ROOT / "python" / "tekton").glob("_native*.so")
    gate("the extension", extension.stat().st_size / 1e6, 6, unit="MB", better="lower")
    section("the example system, from nothing")
    starts = [first_start() for _ in range(options.starts)]
    gate("all eight ready", statistics.median(starts), 3, unit="s", better="lower", spread=(min(starts), max(starts)))
    gate("the control plane, idle", resident(), 90, unit="MB", better="lower")


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--starts", type=int, default=5)
    measure(arguments.parse_args())
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
