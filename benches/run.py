"""Run the benches, one after another, and put what they saw into one table and into `docs/performance.md`.

    python benches/run.py [--only NAME[,NAME]] [--full]      (`make bench` runs them all)

A missed gate is shown, and is no failure. A bench that crashes is a row of its own, and makes the exit status 1.
Results are kept in `target/benches`, so that a run of some (`--only`) renews their part of the page and leaves the
rest as it is.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from _measure import MISSED, ROWS, SKIPPED, Row, line
from _page import Result, Status, update

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "target" / "benches"
PATIENCE = 1800.0
GRACE = 10.0

_STATUS: dict[int, Status] = {0: "held", MISSED: "missed", SKIPPED: "skipped"}


def scripts(directory: Path) -> list[Path]:
    """The benches in *directory*: what is neither shared by them nor this script."""
    return [path for path in sorted(directory.glob("*.py")) if path.name[0] != "_" and path.name != "run.py"]


def run(script: Path, arguments: Sequence[str] = (), patience: float = PATIENCE) -> Result:
    """Run a bench, for at most *patience* seconds. Its output goes where ours goes; what becomes of it is a result."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    with tempfile.TemporaryDirectory() as directory:
        rows = Path(directory) / "rows"
        with subprocess.Popen(
            [sys.executable, str(script), *arguments],
            env={**os.environ, ROWS: str(rows)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            alarm = threading.Timer(patience, _kill, (process,))
            alarm.start()
            try:
                last = _pass_on(process)
                status = _STATUS.get(process.wait(), "crashed")
            finally:
                alarm.cancel()
                _kill(process)
        seen = [msgspec.json.decode(text, type=Row) for text in rows.read_text().splitlines()] if rows.exists() else []
    today = datetime.now(UTC).date().isoformat()
    note = last if status in ("skipped", "crashed") else ""
    return Result(script.stem, status, seen, today, note, load)


def _pass_on(process: "subprocess.Popen[str]") -> str:
    """Print what the process prints until it ends; the last line of it."""
    assert process.stdout is not None
    last = ""
    for text in process.stdout:
        print(text, end="", flush=True)
        last = text.strip() or last
    return last


def _kill(process: "subprocess.Popen[str]") -> None:
    """Interrupt the process if it still runs, so that it can clean up; then kill what is left of its group."""
    with suppress(ProcessLookupError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
        os.killpg(process.pid, signal.SIGKILL)


def table(results: Sequence[Result]) -> str:
    """Every row of every bench that has a gate, and every bench that did not come to its end."""
    lines: list[str] = []
    for result in results:
        lines.append(f"\n{result.name}" + (f": {result.status}: {result.note}" if result.note else ""))
        group = ""
        for row in result.rows:
            if row.gate is not None:
                lines += [f" {row.section}"] if row.section != group else []
                lines.append(line(row))
                group = row.section
    gates = [row for result in results for row in result.rows if row.gate is not None]
    missed = sum(not row.holds for row in gates)
    crashed = [result.name for result in results if result.status == "crashed"]
    lines.append(f"\n{len(gates)} gates, {missed} missed" + (f"; crashed: {', '.join(crashed)}" if crashed else ""))
    return "\n".join(lines)


def keep(result: Result, directory: Path = RESULTS) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{result.name}.json").write_bytes(msgspec.json.encode(result))


def kept(directory: Path = RESULTS) -> list[Result]:
    return [msgspec.json.decode(path.read_bytes(), type=Result) for path in sorted(directory.glob("*.json"))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="the benches to run, by name")
    parser.add_argument("--full", action="store_true", help="the large sizes too")
    options = parser.parse_args()
    everything = {script.stem: script for script in scripts(HERE)}
    names = options.only.split(",") if options.only else list(everything)
    if unknown := set(names) - set(everything):
        parser.error(f"no bench is called {', '.join(sorted(unknown))}; there are {', '.join(everything)}")
    # Whoever ends this ends the bench that runs, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    results = []
    for name in names:
        print(f"\n== {name}", flush=True)
        results.append(run(everything[name], ["--full"] if options.full else []))
        keep(results[-1])
    print(table(results))
    PAGE.write_text(update(PAGE.read_text(), kept(), list(everything)))
    return any(result.status == "crashed" for result in results)


if __name__ == "__main__":
    sys.exit(main())
