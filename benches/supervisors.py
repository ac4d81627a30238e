"""Fifty processes under Tekton, supervisord, circus and honcho: start, a death, stop.

    python benches/supervisors.py [--rounds N]

Each supervisor is started in the foreground, in turns, with the same 50 commands: a shell that says over a named pipe
that it runs, and becomes `sleep`. Wall times, seen from outside and for all in the same way:

* all running: from the fork of the supervisor, its own start included, to the last process that says so; and the part
  of it that comes after the first process, which leaves out how long an interpreter takes to start.
* death to restarted: from a `kill -9` to the successor that says so (median of several). Each supervisor is told to
  restart at once; honcho restarts nothing, and ends.
* stop: from SIGTERM to the exit of the supervisor. Whether something is left running is checked.

`subprocess.Popen` in a row stands beside them. When a supervisor itself would say that all run is something else:
supervisord waits for a second, Tekton for a quarter.
"""

import json
import os
import random
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from _measure import gate, parser, section, skip, verdict

PROCESSES = 50
DEATHS = 5
AHEAD = 2.0
PATIENCE = 30.0
PEERS = ("supervisord", "circus", "honcho")
MODULES = {"supervisord": "supervisor", "circus": "circus", "honcho": "honcho"}


class Setup(NamedTuple):
    """A supervisor: the command that starts it in the directory of its configuration."""

    command: list[str]
    restarts: bool = True


def script(directory: Path) -> Path:
    """What each process runs, with its name as argument."""
    path = directory / "run.sh"
    path.write_text(f'#!/bin/sh\necho "$1 $$" > {directory}/pipe\nexec sleep 1000\n')
    path.chmod(0o755)
    return path


def names() -> list[str]:
    return [f"idle-{number}" for number in range(PROCESSES)]


def tekton(directory: Path) -> Setup:
    run = str(script(directory))
    components = {
        name: {"command": [run, name], "restart": {"backoff": [0.001, 0.001], "max": 1000}} for name in names()
    }
    (directory / "components.json").write_text(json.dumps({"components": components}))
    settings = {"port": 0, "data_dir": str(directory / "data")}
    (directory / "tekton.json").write_text(json.dumps({"tekton": settings}))
    return Setup([sys.executable, "-c", "from tekton.cli import command; command()", "up"])


def supervisord(directory: Path) -> Setup:
    run = script(directory)
    text = f"[supervisord]\nnodaemon=true\nlogfile={directory}/log\npidfile={directory}/pid\n"
    for name in names():
        text += f"[program:{name}]\ncommand={run} {name}\nautorestart=true\nstdout_logfile=NONE\nstderr_logfile=NONE\n"
    (directory / "supervisord.conf").write_text(text)
    return Setup([sys.executable, "-m", "supervisor.supervisord", "-c", "supervisord.conf"])


def circus(directory: Path) -> Setup:
    run = script(directory)
    text = f"[circus]\nendpoint=ipc://{directory}/e\npubsub_endpoint=ipc://{directory}/p\nstats_endpoint=ipc://{directory}/s\n"
    for name in names():
        text += f"[watcher:{name}]\ncmd={run} {name}\nmax_retry=-1\n"
    (directory / "circus.ini").write_text(text)
    return Setup([sys.executable, "-m", "circus.circusd", "circus.ini"])


def honcho(directory: Path) -> Setup:
    run = script(directory)
    (directory / "Procfile").write_text("".join(f"{name}: exec {run} {name}\n" for name in names()))
    return Setup([sys.executable, "-m", "honcho", "start"], restarts=False)


SUPERVISORS: dict[str, Callable[[Path], Setup]] = {
    "tekton": tekton,
    "supervisord": supervisord,
    "circus": circus,
    "honcho": honcho,
}


class Pipe:
    """Where processes say that they run."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._file = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._rest = b""
        self.pids: dict[str, int] = {}

    def close(self) -> None:
        os.close(self._file)

    def hear(self, count: int) -> float:
        """Wait for *count* processes; the time at which the last one was heard."""
        end = time.monotonic() + PATIENCE
        while count > 0:
            if not select.select([self._file], [], [], end - time.monotonic())[0]:
                raise TimeoutError(f"{count} processes do not run after {PATIENCE:g} s")
            *lines, self._rest = (self._rest + os.read(self._file, 65536)).split(b"\n")
            for line in lines:
                name, pid = line.decode().split()
                self.pids[name] = int(pid)
            count -= len(lines)
        return time.perf_counter()


class Times(NamedTuple):
    """Seconds."""

    running: float
    spawned: float
    restarted: float | None
    stopped: float


def measure(name: str) -> Times:
    with tempfile.TemporaryDirectory() as path, heard(Path(path)) as pipe:
        directory = Path(path)
        setup = SUPERVISORS[name](directory)
        begun = time.perf_counter()
        with (directory / "output").open("w") as output:
            process = subprocess.Popen(
                setup.command, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        try:
            first = pipe.hear(1)
            last = pipe.hear(PROCESSES - len(pipe.pids))
            time.sleep(2)  # each of them says by now that all run
            restarted = statistics.median(deaths(pipe)) if setup.restarts else None
            told = time.perf_counter()
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
            stopped = time.perf_counter() - told
        except (TimeoutError, subprocess.TimeoutExpired) as error:
            raise RuntimeError(f"{name}: {error}\n{(directory / 'output').read_text()[-2000:]}") from error
        finally:
            left = end(process, pipe)
        if left:
            raise RuntimeError(f"{name} has left {left} processes running")
    return Times(last - begun, last - first, restarted, stopped)


@contextmanager
def heard(directory: Path) -> Iterator[Pipe]:
    pipe = Pipe(directory / "pipe")
    try:
        yield pipe
    finally:
        pipe.close()


def deaths(pipe: Pipe) -> Iterator[float]:
    """Seconds from each of a few kills to the successor."""
    for name in names()[:DEATHS]:
        begun = time.perf_counter()
        os.kill(pipe.pids[name], signal.SIGKILL)
        yield pipe.hear(1) - begun
        time.sleep(0.3)


def end(process: "subprocess.Popen[bytes]", pipe: Pipe) -> int:
    """Kill what is left, and return how many processes that were."""
    with suppress(ProcessLookupError):
        process.kill()
    process.wait()
    left = 0
    for pid in pipe.pids.values():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            left += 1
    return left


def in_a_row() -> float:
    """Seconds to start the same processes with nothing around them."""
    with tempfile.TemporaryDirectory() as path, heard(Path(path)) as pipe:
        run = script(Path(path))
        begun = time.perf_counter()
        processes = [subprocess.Popen([str(run), name]) for name in names()]
        taken = pipe.hear(PROCESSES) - begun
        for process in processes:
            process.kill()
            process.wait()
    return taken


def report(seen: dict[str, list[Times]]) -> None:
    titles = {
        "running": "all running",
        "spawned": "all running, from the first one on",
        "restarted": "death to restarted",
        "stopped": "stop",
    }
    for field, title in titles.items():
        section(f"{PROCESSES} processes: {title}")
        ours = [getattr(times, field) for times in seen["tekton"]]
        gate("tekton", statistics.median(ours), unit="s", better="lower", spread=(min(ours), max(ours)))
        for peer in PEERS:
            theirs = [getattr(times, field) for times in seen[peer]]
            if None in theirs:
                continue
            ratios = [their / our for their, our in zip(theirs, ours)]
            detail = f"{statistics.median(theirs):.3g} s / {statistics.median(ours):.3g} s"
            spread = (min(ratios), max(ratios))
            gate("tekton", statistics.median(ratios), AHEAD, against=peer, spread=spread, detail=detail)


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    rounds = arguments.parse_args().rounds
    if missing := [peer for peer in PEERS if find_spec(MODULES[peer]) is None]:
        return skip(f"{', '.join(missing)} not installed")
    seen: dict[str, list[Times]] = {name: [] for name in SUPERVISORS}
    alone: list[float] = []
    order = list(SUPERVISORS)
    for _ in range(rounds):
        random.Random(len(alone)).shuffle(order)
        for name in order:
            seen[name].append(measure(name))
        alone.append(in_a_row())
    report(seen)
    gate("subprocess.Popen in a row", statistics.median(alone), unit="s", better="lower")
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
