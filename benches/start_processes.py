"""How long a real control plane takes to bring up 50 processes that need nothing to be ready but to run.

    python benches/start_processes.py [--rounds N]

Each round is one `tekton up --detach` on a new data directory. What counts is the time from the first registration to
the last READY, as the control plane has recorded it: spawning through the guard, the commits of four states each, and
the quarter of a second that a process without a probe must live. Forking and executing the same 50 commands in a row,
with nothing around it, stands beside it.
"""

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _measure import gate, parser, section, verdict

COMPONENTS = 50
COMMAND = ["sleep", "1000"]
GATE = 1.0


def tekton(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from tekton.cli import command; command()", *arguments]


def ask(data_dir: Path, path: str) -> Any:
    """The answer of the control plane to GET *path*, over its Unix socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(data_dir / "run" / "control.sock"))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0], head
    return json.loads(body)


def configure(directory: Path) -> None:
    components = {f"idle-{number}": {"command": COMMAND} for number in range(COMPONENTS)}
    (directory / "components.json").write_text(json.dumps({"components": components}))
    settings = {"port": 0, "data_dir": str(directory / "data")}
    (directory / "tekton.json").write_text(json.dumps({"tekton": settings}))


def bring_up() -> float:
    """Seconds from the first registration to the last READY."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        configure(directory)
        subprocess.run(tekton("up", "--detach", "--quiet"), cwd=directory, check=True)
        try:
            components = ask(directory / "data", "/api/system")["components"]
        finally:
            subprocess.run(tekton("down"), cwd=directory, stderr=subprocess.DEVNULL, check=True)
    assert {component["state"] for component in components} == {"ready"}, components
    assert len(components) == COMPONENTS
    begun = min(component["registered_at"] for component in components)
    return float(max(component["changed_at"] for component in components) - begun)


def fork_alone() -> float:
    """Seconds to start the same processes in a row."""
    begun = time.perf_counter()
    processes = [subprocess.Popen(COMMAND, stdin=subprocess.DEVNULL) for _ in range(COMPONENTS)]
    taken = time.perf_counter() - begun
    for process in processes:
        process.kill()
        process.wait()
    return taken


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=7)
    rounds = arguments.parse_args().rounds
    section(f"{COMPONENTS} processes without readiness waits, {rounds} rounds")
    ours: list[float] = []
    alone: list[float] = []
    for _ in range(rounds):
        alone.append(fork_alone())
        ours.append(bring_up())
    gate(
        "all READY, from the first registration",
        statistics.median(ours),
        GATE,
        unit="s",
        better="lower",
        spread=(min(ours), max(ours)),
    )
    gate(
        "subprocess.Popen in a row",
        statistics.median(alone),
        unit="s",
        better="lower",
        spread=(min(alone), max(alone)),
    )
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
