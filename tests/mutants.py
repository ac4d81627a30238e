"""Mutation tests: would the suite notice if the code were wrong? `make mutants`.

mutmut changes the code in small ways, one at a time; a mutant is killed when a test fails. Each group below is measured
by its own tests. Lines that only log are left out, and so is what runs when a module is imported, which a mutant that
is switched on later cannot reach. The Rust kernels are measured by `cargo mutants`.

    python tests/mutants.py [--sample N] [--jobs N] [GROUP ...]

A sample is the same one every time. Survivors are listed; `mutmut show NAME` in the printed directory shows one.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
WORKPLACE = ROOT / "target" / "mutants"

STORE = "core/component_lifecycle"


class Group(NamedTuple):
    """What is mutated, and which tests have to notice. Paths below python/tekton, and below tests."""

    sources: list[str]
    tests: list[str]


GROUPS = {
    "lifecycle": Group(["core/lifecycle.py"], ["core/test_lifecycle.py"]),
    "lease": Group(
        [
            "core/leases/lease_clock.py",
            "core/leases/storm_guard.py",
            "core/leases/pulse.py",
            "core/leases/clock_jumps.py",
            "core/heartbeat_monitor.py",
        ],
        [
            "core/leases/test_lease_clock.py",
            "core/leases/test_storm_guard.py",
            "core/leases/test_pulse.py",
            "core/leases/test_clock_jumps.py",
            "core/test_heartbeat_monitor.py",
        ],
    ),
    "resolver": Group(
        ["core/dependency.py", "core/startup/dependency_view.py"],
        ["core/test_dependency.py", "core/startup/test_dependency_view.py"],
    ),
    "coordinator": Group(
        [
            "core/startup_coordinator.py",
            *(f"core/startup/{name}.py" for name in ("start_job", "start_work", "start_plan", "stopper", "operations")),
            *(f"core/startup/{name}.py" for name in ("places", "deadlocks", "signals", "failures")),
        ],
        [
            "core/test_startup_coordinator.py",
            *(
                f"core/startup/test_{name}.py"
                for name in ("start_job", "start_work", "stopper", "operations", "places")
            ),
            *(f"core/startup/test_{name}.py" for name in ("deadlocks", "dependency_view", "signals", "failures")),
        ],
    ),
    "disk": Group(
        [f"{STORE}/{name}.py" for name in ("sqlite_store", "database", "store", "witness", "log_keeper")],
        [
            *(f"{STORE}/test_{name}.py" for name in ("sqlite_store", "sqlite_store_faults", "database", "store")),
            *(f"{STORE}/test_{name}.py" for name in ("witness", "log_keeper", "backup")),
        ],
    ),
    "breaker": Group(
        [f"core/degradation/{name}.py" for name in ("circuit_breaker", "permits", "windows", "failures", "bulkhead")],
        [
            *(f"core/degradation/test_{name}.py" for name in ("circuit_breaker", "breaker_model", "windows")),
            *(f"core/degradation/test_{name}.py" for name in ("failures", "bulkhead", "listeners")),
        ],
    ),
    "fallback": Group(
        [
            "core/graceful_degradation.py",
            *(f"core/degradation/{name}.py" for name in ("execution", "fallbacks", "retrying", "service_board")),
        ],
        [
            "core/test_graceful_degradation.py",
            *(f"core/degradation/test_{name}.py" for name in ("fallbacks", "retrying", "deadline")),
        ],
    ),
    "commit": Group(
        [f"{STORE}/{name}.py" for name in ("commit", "ledger", "refusals", "view", "pending", "registry")],
        [
            *(f"{STORE}/test_{name}.py" for name in ("commit", "ledger", "registry", "registry_answers", "view")),
            *(f"{STORE}/test_{name}.py" for name in ("pending", "log_keeper")),
            "core/startup/test_start_work.py",
        ],
    ),
}

KILLED = frozenset({1, 3, 24, 36, 37, 152, 255, -9, -11, -24})
"""Exit codes of mutmut's workers: a failed test, a crash, or no end in sight."""

CONFIGURATION = """
[tool.mutmut]
source_paths = ["src"]
only_mutate = {sources}
do_not_mutate_patterns = ['_logger\\.', 'state.(index|bit|mask) = ', 'enumerate.STATES.']
pytest_add_cli_args_test_selection = {tests}
pytest_add_cli_args = ["-p", "no:cacheprovider", "-o", "timeout=0", "-o", "pythonpath=src"]
timeout_multiplier = 3.0
also_copy = ["Cargo.toml", "README.md", "docs", "examples", "config"]
"""


def main() -> int:
    options = _parse()
    scores = [_measure(name, GROUPS[name], options.sample, options.jobs) for name in options.groups or GROUPS]
    killed, judged = (sum(column) for column in zip(*scores))
    print(f"\n{'all':<12} {killed:>5} of {judged:>5} killed: {killed / judged:.1%}")
    return 0


def _measure(name: str, group: Group, sample: int, jobs: int) -> tuple[int, int]:
    place = _lay_out(name, group)
    _mutmut(place, jobs, "no mutant has this name")
    mutants = sorted(_verdicts(place))
    chosen = random.Random(0).sample(mutants, min(sample or len(mutants), len(mutants)))
    _mutmut(place, jobs, *chosen)
    verdicts = {mutant: code for mutant, code in _verdicts(place).items() if code is not None}
    survivors = sorted(mutant for mutant, code in verdicts.items() if code not in KILLED)
    print("\n".join(f"  survived: {mutant}" for mutant in survivors))
    killed = len(verdicts) - len(survivors)
    print(
        f"{name:<12} {killed:>5} of {len(verdicts):>5} killed: {killed / max(1, len(verdicts)):.1%}   ({place})",
        flush=True,
    )
    return killed, len(verdicts)


def _lay_out(name: str, group: Group) -> Path:
    """A copy of the project in which mutmut finds the sources where it looks for them."""
    place = WORKPLACE / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    leave_out = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(ROOT / "python", place / "src", ignore=leave_out)
    for folder in ("tests", "docs", "examples", "config"):
        shutil.copytree(ROOT / folder, place / folder, ignore=leave_out)
    for file in ("README.md", "Cargo.toml"):
        shutil.copy(ROOT / file, place / file)
    sources = json.dumps([f"src/tekton/{source}" for source in group.sources])
    tests = json.dumps([f"tests/{test}" for test in group.tests if (ROOT / "tests" / test).exists()])
    settings = (ROOT / "pyproject.toml").read_text() + CONFIGURATION.format(sources=sources, tests=tests)
    (place / "pyproject.toml").write_text(settings)
    return place


def _mutmut(place: Path, jobs: int, *names: str) -> None:
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(jobs), *names]
    environment = {**os.environ, "PYTHONPATH": str(place / "mutants" / "src")}
    with (place / "mutmut.log").open("a") as log:
        subprocess.run(command, cwd=place, env=environment, stdout=log, stderr=log, check=False)


def _verdicts(place: Path) -> dict[str, int | None]:
    """Mutant -> exit code of its test run, None of those that were not run."""
    verdicts: dict[str, int | None] = {}
    for file in place.glob("mutants/src/tekton/**/*.meta"):
        verdicts |= json.loads(file.read_text())["exit_code_by_key"]
    return verdicts


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("groups", nargs="*", choices=[[], *GROUPS], metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--sample", type=int, default=0, help="mutants of each group (default: all)")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
