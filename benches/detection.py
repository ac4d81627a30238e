"""How long a death goes unnoticed: from `kill -9` to the FAILED event on the port, and from the last heartbeat.

    python benches/detection.py [--rounds 20] [--deaths 300]

A real system (`tekton up -d`) in a temporary directory, watched through server-sent events. Gates: a supervised death
is in the feed within 100 ms; a silent one never before its timeout, and within a tick after it.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _measure import gate, parser, section, verdict

TIMEOUT = 1.0
SLACK = 0.25
"""A tick is 50 ms here; the rest is for the way of the event to us, on a machine that is busy with both ends."""

PACE = 0.01

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


def silent(system: System, count: int) -> tuple[float, float]:
    """Many components beat once and fall silent, one after another: the soonest and the latest end, in seconds.

    The soonest from the moment at which the heartbeat was sent, the latest from its answer. One component goes on, so
    that nobody takes it for a silence of the network.
    """
    events = system.events()
    next(events)
    arrived: dict[str, float] = {}
    reader = threading.Thread(target=collect, args=(events, arrived, count))
    reader.start()
    keeper = arrive(system, f"keeper-{uuid.uuid4().hex[:8]}")
    sent: dict[str, float] = {}
    answered: dict[str, float] = {}
    while reader.is_alive():
        system.request("POST", f"/api/components/{keeper[0]}/heartbeat", keeper[1])
        if len(sent) == count:
            time.sleep(TIMEOUT / 5)
            continue
        # So slowly that never ten fall silent within a tick: many at once would be taken for a storm.
        time.sleep(PACE)
        name, who = arrive(system, f"c-{uuid.uuid4().hex[:8]}")
        sent[name] = time.monotonic()
        system.request("POST", f"/api/components/{name}/heartbeat", who)
        answered[name] = time.monotonic()
    return min(arrived[name] - sent[name] for name in sent), max(arrived[name] - answered[name] for name in sent)


def arrive(system: System, name: str) -> tuple[str, Json]:
    answer = system.request("POST", "/api/components", {"component_id": name})
    who = {"instance_uuid": answer["component"]["instance_uuid"]}
    system.request("POST", f"/api/components/{name}/ready", who)
    return name, who


def collect(events: Iterator[tuple[float, Json]], arrived: dict[str, float], count: int) -> None:
    for at, change in events:
        if change.get("state") == "failed":
            arrived.setdefault(change["component_id"], at)
            if len(arrived) == count:
                return


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=20, help="processes to kill")
    options.add_argument("--deaths", type=int, default=300, help="components that fall silent")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        system = System(Path(directory))
        try:
            deaths = [killed(system) * 1000 for _ in range(arguments.rounds)]
            soonest, latest = silent(system, arguments.deaths)
        finally:
            system.tekton("down")
    section("how long a death goes unnoticed")
    spread = (min(deaths), max(deaths))
    gate("kill -9 to FAILED in the feed", max(deaths), 100, unit="ms", better="lower", spread=spread)
    gate(f"soonest of {arguments.deaths} leases of {TIMEOUT:g} s to run out", soonest, TIMEOUT, unit="s")
    gate("latest, with the way of the event", latest, TIMEOUT + SLACK, unit="s", better="lower")
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
