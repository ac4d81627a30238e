"""How long a death goes unnoticed: from `kill -9` to the FAILED event on the port, and from the last heartbeat.

    python benches/detection.py [--rounds 20]

A real system (`tekton up -d`) in a temporary directory, watched through server-sent events. Gates: a supervised death
is in the feed within 100 ms; a silent one within its timeout plus one tick, and never before the timeout.
"""

import argparse
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TIMEOUT = 1.0
TICK = 0.05
Json = dict[str, Any]


class System:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        sleeper = {"command": ["sleep", "1000"], "restart": {"policy": "no"}}
        (directory / "components.json").write_text(json.dumps({"components": {"victim": sleeper}}))
        settings = {
            "port": 0,
            "data_dir": str(directory / "data"),
            "components": {"heartbeat_timeout": TIMEOUT, "heartbeat_interval": 0.3},
        }
        (directory / "tekton.json").write_text(json.dumps({"tekton": settings}))
        self.tekton("up", "-d")
        control = json.loads((directory / "data" / "run" / "control.json").read_text())
        self.port = int(control["url"].rpartition(":")[2])

    def tekton(self, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "tekton", *arguments], cwd=self.directory, check=True, capture_output=True
        )

    def request(self, method: str, path: str, body: Json | None = None) -> Json:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"content-type": "application/json"} if body is not None else {}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer: Json = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def events(self) -> Iterator[tuple[float, Json]]:
        """Changes with the time at which they arrived; the first item is the snapshot, empty."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", "/events/components")
        response = connection.getresponse()
        name = ""
        while line := response.readline():
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                yield time.monotonic(), json.loads(value) if name == "change" else {}


def failed(events: Iterator[tuple[float, Json]], component_id: str) -> float:
    for arrived, change in events:
        if (change.get("component_id"), change.get("state")) == (component_id, "failed"):
            return arrived
    raise RuntimeError("the stream ended")


def killed(system: System) -> float:
    events = system.events()
    next(events)
    pid = system.request("GET", "/api/components/victim")["pid"]
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    delay = failed(events, "victim") - began
    system.tekton("start", "victim")
    return delay


def silent(system: System) -> float:
    name = f"c-{uuid.uuid4().hex[:8]}"
    events = system.events()
    next(events)
    answer = system.request("POST", "/api/components", {"component_id": name})
    who = {"instance_uuid": answer["component"]["instance_uuid"]}
    system.request("POST", f"/api/components/{name}/ready", who)
    began = time.monotonic()
    system.request("POST", f"/api/components/{name}/heartbeat", who)
    return failed(events, name) - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as directory:
        system = System(Path(directory))
        try:
            deaths = [killed(system) * 1000 for _ in range(rounds)]
            silences = [silent(system) for _ in range(max(3, rounds // 2))]
        finally:
            system.tekton("down")
    print(
        f"kill -9 to FAILED in the feed   median {statistics.median(deaths):6.1f} ms   max {max(deaths):6.1f} ms   "
        "gate <= 100 ms"
    )
    print(
        f"last heartbeat to FAILED        min {min(silences):.3f} s   max {max(silences):.3f} s   "
        f"gate {TIMEOUT:g} s to {TIMEOUT + TICK:g} s and the way of the event"
    )


if __name__ == "__main__":
    main()
