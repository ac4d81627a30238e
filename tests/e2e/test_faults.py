"""The faults that a system must survive, really made: killed, stopped and misconfigured processes."""

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from load_script import load_script

ROUNDS = int(os.environ.get("TEKTON_KILL_ROUNDS", "40"))

SLEEP = {"command": ["sleep", "1000000"]}


def quick_restart(maximum: int = 5) -> dict[str, Any]:
    return {"policy": "on-failure", "max": maximum, "reset_after": 60, "backoff": [0.01, 0.02]}


@pytest.mark.timeout(60 + 10 * ROUNDS)
def test_a_killed_control_plane_loses_nothing_and_its_answers_have_an_order(
    tekton: Any, writers: Any, eventually: Any, tmp_path: Path
) -> None:
    # Nobody here sends heartbeats.
    tekton.configure({"worker": SLEEP}, heartbeat_timeout=3600.0)
    tekton.up()
    worker = tekton.until("worker")
    chaos = load_script(Path(__file__).with_name("chaos_clients.py")).ChaosClients(tekton)
    with chaos, writers:
        for _ in range(ROUNDS):
            goal, answers = len(writers.acknowledged) + 5, chaos.answered + 200
            eventually(
                lambda goal=goal, answers=answers: len(writers.acknowledged) >= goal and chaos.answered >= answers,
                "everybody makes progress",
            )
            killed = tekton.control_pid
            os.kill(killed, signal.SIGKILL)
            eventually(lambda killed=killed: tekton.answers() and tekton.control_pid != killed, "it is back")

    verdict = chaos.verdict()
    print(chaos.summary())
    chaos.history.save(tmp_path / "history.jsonl")
    assert verdict == []
    torn = [
        name
        for name, item in tekton.everything().items()
        if "-" in name and item["metadata"] != {"writer": int(name[1]), "count": int(name.split("-")[1])}
    ]
    assert (tekton.lost(writers.acknowledged), torn) == ([], [])
    assert len(writers.acknowledged) >= 5 * ROUNDS
    adopted = tekton.until("worker")
    assert (adopted["pid"], adopted["instance_uuid"]) == (worker["pid"], worker["instance_uuid"])
    assert psutil.Process(worker["pid"]).is_running()


def test_when_the_guard_is_killed_no_process_is_left(tekton: Any, eventually: Any) -> None:
    tekton.configure(
        {
            "plain": SLEEP,
            "parent": {"command": ["sh", "-c", "sleep 1000 & setsid sleep 1000 & wait"]},
        }
    )
    tekton.up()
    tekton.until("plain")
    tekton.until("parent")
    assert len(tekton.processes()) >= 6

    os.kill(tekton.guard_pid, signal.SIGKILL)

    tekton.process.communicate(timeout=30)
    eventually(lambda: not tekton.processes(), f"no process left: {tekton.processes()}")


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_dead_component_is_restarted_and_its_dependents_are_undisturbed(
    tekton: Any, eventually: Any, how: str
) -> None:
    beating = {"command": ["python", "-c", BEATING], "ready": {"heartbeat": True}, "restart": quick_restart()}
    tekton.configure(
        {"base": beating if how == "stopped" else {**SLEEP, "restart": quick_restart()},
         "user": {**SLEEP, "dependencies": ["base"]}},
        # Its first lease begins before it is ready, which has to be on the disk by the end of it.
        heartbeat_timeout=5.0,
        heartbeat_interval=0.5,
    )  # fmt: skip
    tekton.up()
    user = tekton.until("user")
    base = tekton.component("base")

    os.kill(base["pid"], signal.SIGKILL if how == "killed" else signal.SIGSTOP)

    eventually(
        lambda: tekton.component("base")["instance_uuid"] != base["instance_uuid"] and tekton.state("base") == "ready",
        "a new instance of base is ready",
    )
    assert tekton.component("user")["pid"] == user["pid"]
    assert tekton.component("user")["instance_uuid"] == user["instance_uuid"]
    history = tekton.get("/api/components/base/history")["items"]
    failures = [entry for entry in history if (entry["kind"], entry["state"]) == ("state", "failed")]
    assert len(failures) == 1
    assert failures[0]["reason"] == ("killed by signal 9 (SIGKILL)" if how == "killed" else "no heartbeat for 5 s")
    assert not psutil.pid_exists(base["pid"]) or psutil.Process(base["pid"]).status() == psutil.STATUS_ZOMBIE


BEATING = """
import json, os, time, urllib.request

def post(path, **body):
    request = urllib.request.Request(
        os.environ["TEKTON_URL"] + "/api/components" + path,
        json.dumps({"instance_uuid": os.environ["TEKTON_INSTANCE_UUID"], **body}).encode(),
        {
            "content-type": "application/json",
            "authorization": "Bearer " + open(os.environ["TEKTON_CREDENTIAL_FILE"]).read(),
        },
    )
    return json.load(urllib.request.urlopen(request))

# A supervised component has a lease from its first heartbeat on: whoever sees it ready may rely on one.
post("/base/heartbeat")
post("/base/ready")
while True:
    post("/base/heartbeat")
    time.sleep(0.1)
"""


def test_a_component_that_keeps_failing_is_given_up_visibly(tekton: Any, eventually: Any) -> None:
    tekton.configure(
        {"broken": {"command": ["sh", "-c", "echo no luck; exit 3"], "restart": quick_restart(2)}, "fine": SLEEP}
    )
    tekton.up()

    tekton.until("fine")
    why = eventually(
        lambda: (
            (answer := tekton.get("/api/components/broken/why"))["restart"] and answer["restart"]["gave_up"] and answer
        ),
        "restarts end",
    )

    assert why["state"] == "failed"
    assert "exit 3" in why["reason"]
    assert "no luck" in why["evidence"]


def test_cycles_and_missing_dependencies_are_reported_and_everything_else_starts(tekton: Any) -> None:
    tekton.configure(
        {
            "a": {**SLEEP, "dependencies": ["b"]},
            "b": {**SLEEP, "dependencies": ["c"]},
            "c": {**SLEEP, "dependencies": ["a"]},
            "behind": {**SLEEP, "dependencies": ["a"]},
            "lonely": {**SLEEP, "dependencies": ["nobody"]},
            "fine": SLEEP,
            "also-fine": {**SLEEP, "dependencies": ["fine"]},
        }
    )
    tekton.up()

    tekton.until("also-fine")
    tekton.until("fine")

    assert [set(cycle) for cycle in tekton.get("/api/graph")["cycles"]] == [{"a", "b", "c"}]
    notes = {name: tekton.component(name) for name in ("a", "b", "c", "behind", "lonely")}
    assert all(one["pid"] is None for one in notes.values())
    for name in ("a", "b", "c"):
        why = tekton.get(f"/api/components/{name}/why")
        assert "dependency cycle" in why["reason"]
        assert sorted(why["cycle"]) == ["a", "b", "c"]
    assert "nobody" in tekton.get("/api/components/lonely/why")["reason"]


def test_a_start_that_hangs_ends_at_its_timeout_and_leaves_no_process(tekton: Any, eventually: Any) -> None:
    tekton.configure(
        {
            "hangs": {
                "command": ["sleep", "1000"],
                "ready": {"log": "never printed"},
                "start_timeout": 0.5,
                "restart": {"policy": "no"},
            }
        }
    )
    tekton.up()

    failed = tekton.until("hangs", "failed")

    assert "0.5 s" in failed["reason"]
    eventually(lambda: tekton.component("hangs")["pid"] is None, "its process is gone")
    eventually(
        lambda: not [process for process in tekton.processes() if process.name() == "sleep"], "it has really ended"
    )


def test_a_start_can_be_stopped_while_it_waits(tekton: Any, eventually: Any) -> None:
    tekton.configure({"slow": {"command": ["sleep", "1000"], "ready": {"log": "never printed"}}})
    tekton.up()
    tekton.until("slow", "starting")

    assert tekton.run("stop", "slow").returncode == 0

    assert tekton.state("slow") == "stopped"
    eventually(
        lambda: not [process for process in tekton.processes() if process.name() == "sleep"], "its process is gone"
    )


def test_a_second_control_plane_is_refused_with_the_pid_of_the_owner(tekton: Any) -> None:
    tekton.configure({"fine": SLEEP})
    tekton.up()
    tekton.until("fine")

    second = tekton.run("up")

    assert second.returncode == 6
    assert str(tekton.guard_pid) in second.stderr or str(tekton.control_pid) in second.stderr
    assert tekton.state("fine") == "ready"


def test_stopping_ends_with_exit_code_zero_and_leaves_nothing(tekton: Any, eventually: Any) -> None:
    tekton.configure({"base": SLEEP, "user": {**SLEEP, "dependencies": ["base"]}})
    tekton.up()
    tekton.until("user")

    assert tekton.stop() == 0

    eventually(lambda: not tekton.processes(), "no process left")
    assert not (tekton.data_dir / "run" / "control.json").exists()


def test_components_stop_in_reverse_order(tekton: Any) -> None:
    note = "trap 'echo $0 >> order; exit 0' TERM; echo up; while :; do sleep 0.05; done"

    def noting(name: str, *needs: str) -> dict[str, Any]:
        return {"command": ["sh", "-c", note, name], "ready": {"log": "up"}, "dependencies": list(needs)}

    tekton.configure({"base": noting("base"), "middle": noting("middle", "base"), "top": noting("top", "middle")})
    tekton.up()
    tekton.until("top")

    assert tekton.stop() == 0

    assert (tekton.directory / "order").read_text().split() == ["top", "middle", "base"]


def test_all_mistakes_of_a_configuration_are_reported_at_once_and_nothing_is_started(tekton: Any) -> None:
    tekton.configure({})
    (tekton.directory / "components.json").write_text(
        '{"components": {\n'
        '  "Hermes": {"command": ["sleep", "1"]},\n'
        '  "engram": {"comand": ["sleep", "1"], "port": "eighty"},\n'
        '  "rhetor": {"command": ["sleep", "1"], "ready": {"http": "/", "tcp": true}}\n'
        "}}\n"
    )

    outcome = tekton.run("up")

    assert outcome.returncode == 8
    for expected in (":2:", ":3:", ":4:", "hermes", "command", "port"):
        assert expected in outcome.stderr, outcome.stderr
    assert not tekton.processes()


def test_an_address_that_is_not_ours_ends_the_start_at_once(tekton: Any) -> None:
    tekton.configure({"web": SLEEP})

    result = tekton.run("up", "--host", "203.0.113.1")

    assert result.returncode == 8
    log = (tekton.data_dir / "logs" / "tekton.log").read_text()
    assert log.count("cannot listen on 203.0.113.1 port") == 1
    assert "cannot listen on 203.0.113.1 port" in result.stderr
    assert tekton.processes() == []


def test_who_dies_before_it_is_ready_gives_its_id_back(tekton: Any, eventually: Any) -> None:
    tekton.configure({}, startup_timeout=600)
    tekton.up()
    assert tekton.request("POST", "/api/components", {"component_id": "ghost"})[0] == 201
    assert tekton.request("POST", "/api/components", {"component_id": "ghost"})[0] == 409

    tekton.configure({}, heartbeat_interval=0.2, heartbeat_timeout=0.5, startup_timeout=1)
    assert tekton.request("POST", "/api/system/reload")[0] == 200
    eventually(lambda: tekton.state("ghost") == "failed", "its first lease has run out")

    assert tekton.component("ghost")["reason"] == "never became ready: nothing was heard of it for 1 s"
    assert tekton.request("POST", "/api/components", {"component_id": "ghost"})[0] == 201
    assert tekton.stop() == 0


def test_a_missing_program_is_named(tekton: Any) -> None:
    tekton.configure({"ghost": {"command": ["/no/such/program"], "restart": {"policy": "no"}}})
    tekton.up()

    failed = tekton.until("ghost", "failed")

    assert "/no/such/program" in failed["reason"]


def test_a_component_that_is_not_configured_any_more_is_forgotten(tekton: Any) -> None:
    tekton.configure({"kept": SLEEP, "removed": SLEEP})
    tekton.up()
    tekton.until("removed")
    assert tekton.stop() == 0

    tekton.configure({"kept": SLEEP})
    tekton.up()
    tekton.until("kept")

    assert [one["component_id"] for one in tekton.get("/api/system")["components"]] == ["kept"]
    assert tekton.get("/api/components/removed/history")["items"][0]["kind"] == "deregistered"
