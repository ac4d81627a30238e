"""Heartbeats under stress: restarts, herds, storms, floods, nonsense and a full disk, with real processes.

TEKTON_HEARTBEATERS and TEKTON_HERD set how many components there are.
"""

import http.client
import json
import math
import os
import random
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tekton.core.heartbeat_monitor import SUSPECTED

HEARTBEATERS = int(os.environ.get("TEKTON_HEARTBEATERS", "400"))
HERD = int(os.environ.get("TEKTON_HERD", "400"))
FUZZ = int(os.environ.get("TEKTON_FUZZ", "300"))
QUICK = {"heartbeat_timeout": 2.0, "heartbeat_interval": 0.5}
SLEEP = {"command": ["sleep", "1000"]}


def log_of(tekton: Any) -> str:
    return str((tekton.data_dir / "logs" / "tekton.log").read_text())


def kill_and_wait(tekton: Any, eventually: Any) -> None:
    killed = tekton.control_pid
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: tekton.answers() and tekton.control_pid != killed, "the control plane is back")


def register(tekton: Any, name: str, **said: Any) -> dict[str, str]:
    """A component that registers itself and is ready."""
    who = {"instance_uuid": str(uuid.uuid4())}
    assert tekton.request("POST", "/api/components", {"component_id": name, **who, **said})[0] == 201
    assert tekton.request("POST", f"/api/components/{name}/ready", who)[0] == 200
    return who


@pytest.mark.timeout(300)
def test_after_a_restart_of_the_control_plane_everybody_has_a_full_lease(
    tekton: Any, failed: Any, gather: Callable[..., Any], eventually: Any
) -> None:
    tekton.configure({"worker": SLEEP}, **QUICK)
    tekton.up()
    crowd = gather(HEARTBEATERS)

    kill_and_wait(tekton, eventually)
    beats = crowd.ask("report")["beats"]
    eventually(lambda: crowd.ask("report")["beats"] >= beats + 2 * HEARTBEATERS, "everybody beats again")
    assert (failed(tekton), crowd.ask("report")["unknown"]) == (set(), 0)

    dead = set(crowd.ask("silence 5"))
    eventually(lambda: failed(tekton) == dead, "those who died after it are found, and nobody else")


@pytest.mark.timeout(300)
def test_a_herd_that_comes_back_at_once_is_served(tekton: Any, gather: Callable[..., Any], eventually: Any) -> None:
    """Each has a connection of its own. They come all at once, and again when the control plane has been killed."""
    tekton.configure({"worker": SLEEP}, heartbeat_timeout=30.0, heartbeat_interval=10.0)
    tekton.up()
    crowd = gather(HERD, interval=10.0, connections=HERD)
    assert len([name for name in everything(tekton) if name != "worker"]) == HERD

    kill_and_wait(tekton, eventually)

    back = crowd.ask("rush")
    print(f"{HERD} at once: all are back after {back['slowest']:.2f} s, half of them after {back['median']:.2f} s")
    assert crowd.ask("report")["unknown"] == 0
    states = everything(tekton)
    assert {states[name] for name in states if name != "worker"} == {"ready"}


def everything(tekton: Any) -> dict[str, str]:
    """Every component's state, through the list with its cursor."""
    found: dict[str, str] = {}
    cursor = ""
    while True:
        page = tekton.get(f"/api/components?limit=1000{cursor}")
        found |= {item["component_id"]: item["state"] for item in page["items"]}
        if page["cursor"] is None:
            return found
        cursor = f"&cursor={page['cursor']}"


BEATING = """
import json, os, time, urllib.request

def post(path, **body):
    request = urllib.request.Request(
        os.environ["TEKTON_URL"] + "/api/components/" + os.environ["TEKTON_COMPONENT_ID"] + path,
        json.dumps({"instance_uuid": os.environ["TEKTON_INSTANCE_UUID"], **body}).encode(),
        {
            "content-type": "application/json",
            "authorization": "Bearer " + open(os.environ["TEKTON_CREDENTIAL_FILE"]).read(),
        },
    )
    return json.load(urllib.request.urlopen(request))

# A supervised component has a lease from its first heartbeat on: whoever sees it ready may rely on one.
post("/heartbeat")
post("/ready")
while True:
    post("/heartbeat")
    time.sleep(0.2)
"""


def test_when_everybody_falls_silent_at_once_nobody_is_restarted(tekton: Any, eventually: Any) -> None:
    names = [f"b{number}" for number in range(10)]
    beating = {
        "command": ["python", "-c", BEATING],
        "ready": {"heartbeat": True},
        "restart": {"policy": "always", "backoff": [0.01, 0.02]},
    }
    # Silent is who was not heard for two thirds of the timeout: on a busy machine the last beats lie apart.
    tekton.configure(dict.fromkeys(names, beating), heartbeat_timeout=5.0, heartbeat_interval=0.5)
    tekton.up()
    before = [tekton.until(name) for name in names]

    for component in before:
        os.kill(component["pid"], signal.SIGSTOP)
    eventually(lambda: "suspecting ourselves" in log_of(tekton), "the storm is noticed")
    eventually(lambda: {tekton.component(name)["note"] for name in names} == {SUSPECTED}, "everybody is suspected")
    for component in before:
        os.kill(component["pid"], signal.SIGCONT)

    for component in before:
        after = tekton.until(component["component_id"])
        assert (after["pid"], after["instance_uuid"]) == (component["pid"], component["instance_uuid"])
        history = tekton.get(f"/api/components/{component['component_id']}/history")["items"]
        assert "failed" not in {entry["state"] for entry in history}


def test_a_flood_from_one_component_is_refused_and_does_not_hurt_the_others(
    tekton: Any, failed: Any, gather: Callable[..., Any], eventually: Any
) -> None:
    # 25 heartbeats a second are taken, and more than that must be sent, on a busy machine too.
    tekton.configure({"worker": SLEEP}, heartbeat_timeout=12.0, heartbeat_interval=4.0)
    tekton.up()
    crowd = gather(100)
    flooder = register(tekton, "flooder")
    connection = http.client.HTTPConnection("127.0.0.1", tekton.port, timeout=20)

    answers = []
    for sequence in range(1500):
        body = json.dumps({**flooder, "metrics": {"sequence": sequence}})
        connection.request("POST", "/api/components/flooder/heartbeat", body, {"content-type": "application/json"})
        response = connection.getresponse()
        answers.append((response.status, response.headers.get("retry-after"), json.loads(response.read())))
    connection.close()

    refused = [answer for answer in answers if answer[0] == 429]
    assert {status for status, _, _ in answers} == {200, 429}
    assert len(refused) > 500
    assert {(retry, problem["code"]) for _, retry, problem in refused} == {("1", "too_many_heartbeats")}
    assert tekton.state("flooder") == "ready"
    before = crowd.ask("report")
    eventually(lambda: crowd.ask("report")["beats"] > before["beats"] + 200, "the others beat")
    assert (crowd.ask("report")["unknown"], failed(tekton)) == (0, set())


def nonsense(rng: random.Random) -> bytes:
    """The body of a heartbeat with something in it that cannot be."""
    numbers = [
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b"-1e999",
        b"1" + b"0" * 400,
        b'"1"',
        b"null",
        b"[1]",
        b"{}",
    ]
    match rng.randrange(4):
        case 0:
            metrics = b'{"load": %s}' % rng.choice(numbers)
        case 1:
            metrics = json.dumps({f"m{number}": 1.0 for number in range(rng.choice([65, 500, 2000]))}).encode()
        case 2:
            metrics = json.dumps({rng.choice(["", "x" * 129, "\U0001f600" * 200]): rng.random()}).encode()
        case _:
            metrics = rng.choice([b"[]", b"7", b'"all"', b"[[1, 2]]"])
    return b'{"instance_uuid": "%s", "metrics": ' + metrics + b"}"


def test_metrics_that_cannot_be_are_refused_and_do_not_count(tekton: Any) -> None:
    tekton.configure({"worker": SLEEP})
    tekton.up()
    who = register(tekton, "hermes")["instance_uuid"].encode()
    rng = random.Random(8)

    with closing(http.client.HTTPConnection("127.0.0.1", tekton.port, timeout=20)) as connection:
        for _ in range(FUZZ):
            body = nonsense(rng).replace(b"%s", who)
            connection.request("POST", "/api/components/hermes/heartbeat", body, {"content-type": "application/json"})
            response = connection.getresponse()
            problem = json.loads(response.read())
            # Numbers that JSON does not have are no JSON.
            expected = 400 if any(word in body for word in (b"NaN", b"Infinity")) else 422
            assert response.status == expected, (body[:200], problem)
    for value in (0.0, -1.5, 1e308, 5e-324, math.pi):
        status, reply = tekton.request(
            "POST", "/api/components/hermes/heartbeat", {"instance_uuid": who.decode(), "metrics": {"load": value}}
        )
        assert (status, reply["known"]) == (200, True)


def test_who_is_unknown_or_was_replaced_is_told_to_register(tekton: Any) -> None:
    tekton.configure({"worker": SLEEP})
    tekton.up()
    register(tekton, "hermes")
    stranger = {"instance_uuid": str(uuid.uuid4())}

    status, reply = tekton.request("POST", "/api/components/nobody/heartbeat", stranger)
    assert (status, reply["known"]) == (200, False)
    status, problem = tekton.request("POST", "/api/components/hermes/heartbeat", stranger)
    assert (status, problem["code"]) == (409, "stale_instance")
    assert "register again" in problem["hint"]
    batch = [{"component_id": name, **stranger} for name in ("nobody", "hermes")]
    status, answer = tekton.request("POST", "/api/heartbeats", {"heartbeats": batch})
    assert (status, [reply["known"] for reply in answer["replies"]]) == (200, [False, False])


@pytest.fixture
def small_disk(tekton: Any, memory_disk: Any) -> Iterator[Path]:
    """The data directory on a disk of 8 MiB."""
    with memory_disk(tekton.data_dir, "size=8m") as mount:
        yield mount
        tekton.kill()
        for process in tekton.processes():
            with suppress(psutil.Error):
                process.wait(10)


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))


def test_heartbeats_and_what_they_tell_go_on_while_the_disk_is_full(
    tekton: Any, failed: Any, small_disk: Path, gather: Callable[..., Any], eventually: Any
) -> None:
    tekton.configure({"worker": SLEEP}, **QUICK)
    tekton.up()
    tekton.until("worker")
    crowd = gather(50)
    fill(small_disk)
    newcomers = iter(range(10**6))
    eventually(
        lambda: tekton.request("POST", "/api/components", {"component_id": f"n{next(newcomers)}"})[0] == 503,
        "the disk is full",
    )

    before = crowd.ask("report")["beats"]
    dead = set(crowd.ask("silence 3"))
    eventually(lambda: failed(tekton) == dead, "silence is found")
    eventually(lambda: crowd.ask("report")["beats"] > before + 200, "heartbeats are answered")
    assert crowd.ask("report")["unknown"] == 0

    (small_disk / "filler").unlink()
    eventually(tekton.answers, "the disk is usable again")
    eventually(lambda: failed(tekton) == dead, "it is still known")


def test_a_component_that_flaps_says_so_and_is_found_last(tekton: Any) -> None:
    tekton.configure({"worker": SLEEP})
    tekton.up()
    who = {name: register(tekton, name, capabilities=["llm"]) for name in ("athena", "hermes")}

    for _ in range(3):
        assert [item["component_id"] for item in tekton.get("/api/capabilities/llm/components")["items"]] == sorted(who)
        tekton.request("PUT", "/api/components/athena/state", {**who["athena"], "state": "failed"})
        who["athena"] = register(tekton, "athena", capabilities=["llm"])

    assert "flapping" in tekton.component("athena")["note"]
    assert "flapping" in tekton.get("/api/components/athena/why")["reason"]
    found = [item["component_id"] for item in tekton.get("/api/capabilities/llm/components")["items"]]
    assert found == ["hermes", "athena"]
