"""A configuration that changes while its system runs, profiles, and choices: with real processes.

`TEKTON_RELOADS` is how many random configurations follow one another in one test (6; more at night), `TEKTON_SEED`
which ones they are.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

Eventually = Callable[..., Any]

RELOADS = int(os.environ.get("TEKTON_RELOADS", "6"))
SEED = int(os.environ.get("TEKTON_SEED", "0"))

pytestmark = pytest.mark.timeout(60 + 5 * RELOADS)

SLEEP = {"command": ["sleep", "1000"], "stop_timeout": 2}
WEB = {**SLEEP, "dependencies": ["db"]}
STUBBORN = {"command": ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"], "ready": {"log": "up"}}


def pids(tekton: Any) -> dict[str, int | None]:
    return {one["component_id"]: one["pid"] for one in tekton.get("/api/system")["components"]}


def states(tekton: Any) -> dict[str, str]:
    return {one["component_id"]: one["state"] for one in tekton.get("/api/system")["components"]}


def environment(pid: int | None) -> list[str]:
    return Path(f"/proc/{pid}/environ").read_text().split("\0")


def reload(tekton: Any) -> Any:
    status, report = tekton.request("POST", "/api/system/reload")
    assert status == 200, report
    return report


@pytest.fixture
def running(tekton: Any) -> Any:
    """db, web (which needs it) and cron, all ready."""
    tekton.configure({"db": SLEEP, "web": WEB, "cron": SLEEP})
    tekton.up()
    for name in ("db", "web", "cron"):
        tekton.until(name)
    return tekton


def test_only_what_has_changed_is_touched(running: Any, eventually: Eventually) -> None:
    before = pids(running)
    changed = {**SLEEP, "env": {"COLOUR": "blue"}}
    running.configure({"db": changed, "web": WEB, "mail": {**SLEEP, "dependencies": ["web"]}})

    done = running.run("reload", "-o", "json")

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report == {
        "added": ["mail"],
        "removed": ["cron"],
        "changed": ["db"],
        "kept": ["web"],
        "settings": [],
        "needs_restart": [],
    }
    running.until("mail")
    eventually(lambda: running.component("db")["pid"] not in (None, before["db"]), "db anew")
    running.until("db")
    after = pids(running)
    assert set(after) == {"db", "web", "mail"}
    assert after["web"] == before["web"]
    assert not os.path.exists(f"/proc/{before['cron']}")
    assert "COLOUR=blue" in environment(after["db"])


def test_a_changed_probe_or_restart_policy_leaves_the_process_alone(running: Any) -> None:
    before = pids(running)
    running.configure({"db": {**SLEEP, "restart": {"max": 1}, "groups": ["store"]}, "web": WEB, "cron": SLEEP})

    assert reload(running)["changed"] == ["db"]
    assert pids(running) == before
    assert running.component("db")["groups"] == ["store"]


def test_a_broken_configuration_is_refused_whole_and_the_old_one_stays(running: Any) -> None:
    before = pids(running)
    (running.directory / "components.json").write_text('{"components": {"db": {"comand": ["x"]}}}')

    refused = running.run("reload")
    status, problem = running.request("POST", "/api/system/reload")

    assert refused.returncode == 8
    assert "did you mean 'command'?" in refused.stderr
    assert (status, problem["code"]) == (422, "config_invalid")
    assert "/components/db/comand" in {mistake["pointer"] for mistake in problem["mistakes"]}
    assert pids(running) == before


@pytest.mark.parametrize("addressee", ["control_pid", "guard_pid"])
def test_sighup_reloads_and_logs_what_was_wrong(running: Any, eventually: Eventually, addressee: str) -> None:
    log = running.data_dir / "logs" / "tekton.log"
    (running.directory / "components.json").write_text("{")
    os.kill(getattr(running, addressee), signal.SIGHUP)
    eventually(lambda: "the configuration was not reloaded, the old one holds" in log.read_text(), "refused")
    assert states(running) == dict.fromkeys(("cron", "db", "web"), "ready")

    running.configure({"db": SLEEP, "web": WEB})
    os.kill(getattr(running, addressee), signal.SIGHUP)

    eventually(lambda: set(states(running)) == {"db", "web"}, "cron gone")


def test_a_file_of_components_that_has_gone_ends_nothing(running: Any, eventually: Eventually) -> None:
    before = pids(running)
    file = running.directory / "components.json"
    file.rename(running.directory / "components.json~")

    status, problem = running.request("POST", "/api/system/reload")
    assert (status, problem["code"]) == (422, "config_invalid")
    assert "it has gone" in problem["detail"]
    os.kill(running.control_pid, signal.SIGKILL)
    eventually(running.answers, "back")
    eventually(lambda: pids(running) == before, "what runs is adopted")

    (running.directory / "components.json~").rename(file)
    assert reload(running)["kept"] == sorted(before)


def test_settings_hold_at_once_or_are_named(running: Any, eventually: Eventually) -> None:
    main = running.directory / "tekton.json"
    settings = json.loads(main.read_text())
    settings["tekton"] |= {"log_level": "debug", "port": 1}
    settings["tekton"]["components"] = {"heartbeat_timeout": 3, "heartbeat_interval": 1}
    main.write_text(json.dumps(settings))

    report = reload(running)

    assert report["settings"] == [
        "tekton.log_level",
        "tekton.components.heartbeat_interval",
        "tekton.components.heartbeat_timeout",
    ]
    assert report["needs_restart"] == ["tekton.port"]
    body = {"component_id": "guest", "instance_uuid": "7b1f2a04-6d6c-4f0a-9df2-0f3b8a52c001"}
    _, answer = running.request("POST", "/api/components", body)
    assert answer["lease"] == {"timeout": 3.0, "interval": 1.0}
    assert reload(running)["needs_restart"] == ["tekton.port"]


def test_reloads_wait_for_one_another_and_the_last_one_holds(running: Any, eventually: Eventually) -> None:
    stubborn = {**STUBBORN, "stop_timeout": 3}
    before = pids(running)["cron"]
    running.configure({"db": SLEEP, "web": WEB, "cron": stubborn})
    reload(running)
    eventually(lambda: pids(running)["cron"] not in (None, before), "the stubborn one runs")
    running.until("cron")
    running.configure({"db": SLEEP, "web": WEB})
    first: list[Any] = []
    thread = threading.Thread(target=lambda: first.append(reload(running)))
    thread.start()
    eventually(lambda: states(running).get("cron") == "stopping", "cron stopping")

    running.configure({"db": SLEEP, "web": WEB, "late": SLEEP})
    second = reload(running)
    thread.join()

    assert first[0]["removed"] == ["cron"]
    assert second["added"] == ["late"]
    running.until("late")
    assert set(states(running)) == {"db", "web", "late"}


def test_a_mistake_that_keeps_a_component_from_starting_can_be_corrected_meanwhile(
    running: Any, eventually: Eventually
) -> None:
    never = {**SLEEP, "ready": {"log": "never"}, "start_timeout": 600}
    running.configure({"db": SLEEP, "web": WEB, "cron": never, "app": {**SLEEP, "dependencies": ["cron"]}})
    reload(running)
    eventually(lambda: running.state("cron") == "starting", "cron starting")

    running.configure({"db": SLEEP, "web": WEB, "cron": SLEEP, "app": {**SLEEP, "dependencies": ["cron"]}})
    reload(running)

    running.until("cron")
    running.until("app")


def test_what_has_failed_for_good_starts_with_the_correction(tekton: Any, eventually: Eventually) -> None:
    wrong = {"command": ["false"], "restart": {"policy": "no"}}
    tekton.configure({"db": wrong, "web": WEB})
    tekton.up()
    eventually(lambda: tekton.state("db") == "failed", "db failed")

    tekton.configure({"db": SLEEP, "web": WEB})
    reload(tekton)

    tekton.until("db")
    tekton.until("web")


def test_what_was_stopped_stays_stopped_through_a_reload(running: Any) -> None:
    running.run("stop", "cron")
    running.configure({"db": SLEEP, "web": WEB, "cron": {**SLEEP, "env": {"A": "1"}}})

    assert reload(running)["changed"] == ["cron"]
    assert running.state("cron") == "stopped"
    running.run("start", "cron")
    assert "A=1" in environment(pids(running)["cron"])


def test_a_crash_of_the_control_plane_keeps_what_a_reload_has_made(running: Any, eventually: Eventually) -> None:
    running.configure({"db": SLEEP, "web": WEB, "late": SLEEP})
    reload(running)
    running.until("late")
    before = pids(running)

    os.kill(running.control_pid, signal.SIGKILL)

    eventually(running.answers, "back")
    eventually(lambda: states(running) == dict.fromkeys(("db", "late", "web"), "ready"), "all ready")
    assert pids(running) == before


def random_components(rng: random.Random) -> dict[str, Any]:
    """Up to six components that need one another in no circle."""
    names = [f"c{number}" for number in range(6) if rng.random() < 0.7]
    return {
        name: {
            "command": ["sleep", "1000"],
            "env": {"VERSION": str(rng.randrange(3))},
            "dependencies": [other for other in names[:place] if rng.random() < 0.4],
            "on_dependency_failure": rng.choice(["keep", "degrade", "restart"]),
            "stop_timeout": 2,
        }
        for place, name in enumerate(names)
    }


def test_after_any_changes_and_crashes_the_last_configuration_holds(tekton: Any, eventually: Eventually) -> None:
    rng = random.Random(SEED)
    components: dict[str, Any] = {}
    tekton.configure(components)
    tekton.up()
    for _ in range(RELOADS):
        components = random_components(rng)
        tekton.configure(components)
        reload(tekton)
        if rng.random() < 0.3:
            os.kill(tekton.control_pid, signal.SIGKILL)
            eventually(tekton.answers, "back")
            reload(tekton)

    def versions() -> dict[str, str]:
        running = {}
        for name, pid in pids(tekton).items():
            # What is restarted just now has ended meanwhile.
            with suppress(OSError):
                running[name] = environment(pid)
        found = ((name, [text for text in texts if text.startswith("VERSION=")]) for name, texts in running.items())
        return {name: texts[0].removeprefix("VERSION=") for name, texts in found if texts}

    expected = {name: entry["env"]["VERSION"] for name, entry in components.items()}
    eventually(lambda: states(tekton) == dict.fromkeys(components, "ready"), f"all ready, seed {SEED}")
    eventually(lambda: versions() == expected, f"all of the last version, seed {SEED}")

    def sleeping() -> set[int]:
        return {process.pid for process in tekton.processes() if process.name() == "sleep"}

    eventually(lambda: sleeping() == set(pids(tekton).values()), f"no other process, seed {SEED}")


def test_a_crash_while_the_configuration_is_broken_ends_nothing(running: Any, eventually: Eventually) -> None:
    running.configure({"db": SLEEP, "web": WEB})
    reload(running)
    before = pids(running)
    (running.directory / "components.json").write_text("{")

    os.kill(running.control_pid, signal.SIGKILL)

    eventually(running.answers, "back")
    assert pids(running) == before
    assert "the one that held before the crash holds on" in (running.data_dir / "logs" / "tekton.log").read_text()
    assert running.stop() == 0
    assert not (running.data_dir / "run" / "config.json").exists()


# Profiles and choices


PROFILED = {
    "db": SLEEP,
    "web": {**WEB, "groups": ["front"]},
    "gpu": {**SLEEP, "profiles": ["gpu"]},
    "tool": {**SLEEP, "groups": ["front"]},
}


def up(tekton: Any, *options: str, **environment: str) -> Any:
    return subprocess.run(
        tekton.command("up", "-d", *options),
        cwd=tekton.directory,
        env={**tekton.environment(), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("options", "variables", "ready"),
    [
        ((), {}, {"db", "web", "tool"}),
        ((), {"TEKTON_PROFILES": "gpu"}, {"db", "web", "tool", "gpu"}),
        (("web", "--profile", "gpu"), {}, {"db", "web"}),
        (("@front", "--no-deps"), {}, {"web", "tool"}),
    ],
)
def test_what_is_chosen_starts_and_the_rest_can_be_started_later(
    tekton: Any, options: tuple[str, ...], variables: dict[str, str], ready: set[str]
) -> None:
    tekton.configure(PROFILED)

    done = up(tekton, *options, **variables)

    assert done.returncode == 0, done.stderr
    assert f"{len(ready)} ready in" in done.stderr
    assert {name for name, state in states(tekton).items() if state == "ready"} == ready
    for name in sorted(set(PROFILED) - ready):
        view = tekton.component(name)
        assert view["state"] == "unknown"
        assert view["note"] == f"not started ({'others were asked for' if options else 'profile gpu'})"
        assert tekton.get(f"/api/components/{name}/why")["reason"] == view["note"]
        assert tekton.run("start", name).returncode == 0


def test_what_was_started_later_survives_a_crash_of_the_control_plane(tekton: Any, eventually: Eventually) -> None:
    tekton.configure(PROFILED)
    up(tekton, "tool")
    tekton.run("start", "gpu")
    before = pids(tekton)

    os.kill(tekton.control_pid, signal.SIGKILL)

    eventually(tekton.answers, "back")
    assert pids(tekton) == before
    assert states(tekton) == {"db": "unknown", "gpu": "ready", "tool": "ready", "web": "unknown"}


def test_a_port_that_the_system_chose_outlives_a_crash_of_the_control_plane(
    tekton: Any, eventually: Eventually
) -> None:
    tekton.configure({"db": SLEEP})
    up(tekton, "--port", "0")
    control = tekton.data_dir / "run" / "control.json"
    before = json.loads(control.read_text())

    os.kill(before["pid"], signal.SIGKILL)

    eventually(lambda: json.loads(control.read_text())["pid"] != before["pid"], "back")
    assert json.loads(control.read_text())["url"] == before["url"]
    assert tekton.run("down").returncode == 0


@pytest.mark.parametrize(
    ("options", "status", "advice"),
    [
        (("--profile", "gpuu"), 8, "did you mean 'gpu'?"),
        (("wbe",), 5, "did you mean 'web'?"),
        (("@frnt",), 5, "did you mean '@front'?"),
        (("--no-deps",), 2, "tekton up --help"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(tekton: Any, options: tuple[str, ...], status: int, advice: str) -> None:
    tekton.configure(PROFILED)

    refused = up(tekton, *options)

    assert refused.returncode == status
    assert advice in refused.stderr
    assert not (tekton.data_dir / "run").exists()


def test_another_port_is_taken_when_that_is_allowed(tekton: Any) -> None:
    tekton.configure({})
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", tekton.port))
        listener.listen()

        refused = up(tekton)
        done = up(tekton, "--auto-port")

    assert refused.returncode == 6
    assert f"port {tekton.port} is in use by" in refused.stderr
    assert f"process {os.getpid()}" in refused.stderr
    assert "tekton up --auto-port" in refused.stderr
    assert done.returncode == 0, done.stderr
    assert f"port {tekton.port} is in use by process {os.getpid()}" in done.stderr
    url = json.loads((tekton.data_dir / "run" / "control.json").read_text())["url"]
    assert not url.endswith(f":{tekton.port}")


def test_a_second_up_is_told_of_reload(running: Any) -> None:
    refused = running.run("up")

    assert refused.returncode == 6
    assert "tekton reload" in refused.stderr
    assert "tekton attach" in refused.stderr


# Ends that come at a bad moment


def test_down_stops_everything_although_the_control_plane_hangs(running: Any, eventually: Eventually) -> None:
    os.kill(running.control_pid, signal.SIGSTOP)

    done = running.run("down", "--timeout", "8s")

    assert done.returncode == 0, done.stderr
    assert "hangs and is killed" in done.stderr
    running.process.wait(20)
    eventually(lambda: not running.processes(), "nothing left")


def test_down_kills_what_does_not_stop_in_time_when_the_control_plane_hangs(
    tekton: Any, eventually: Eventually
) -> None:
    tekton.configure({"stubborn": STUBBORN})
    tekton.up()
    tekton.until("stubborn")
    os.kill(tekton.control_pid, signal.SIGSTOP)

    done = tekton.run("down", "--timeout", "8s")

    assert done.returncode == 0, done.stderr
    assert "kills what is left" in done.stderr
    tekton.process.wait(20)
    eventually(lambda: not tekton.processes(), "nothing left")


def test_a_second_sigterm_ends_a_control_plane_that_is_opening_its_database(
    tekton: Any, eventually: Eventually
) -> None:
    tekton.configure({})
    plane = subprocess.Popen(
        [sys.executable, "-m", "tekton.service.main"],
        cwd=tekton.directory,
        env={**tekton.environment(), "TEKTON_FAILPOINTS": "migrate.each_step=delay:30"},
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually((tekton.data_dir / "tekton.db").exists, "the database is being opened")

        plane.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            plane.wait(0.5)

        def ends() -> bool:
            # Again and again: two signals that come before the first is heard of are one.
            plane.send_signal(signal.SIGTERM)
            return plane.poll() is not None

        eventually(ends, "it ends at once")
        assert plane.returncode == 128 + signal.SIGTERM
    finally:
        plane.kill()
        plane.wait()
