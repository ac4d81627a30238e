"""`tekton run`: any command as a component, with real processes, terminals that close, and control planes that die."""

import json
import os
import pty
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

Eventually = Callable[..., Any]

SLEEP = {"command": ["sleep", "1000"], "stop_timeout": 2}
STOP_TIMEOUT = 10.0
"""Seconds that a component has to end in, where its configuration does not say."""
SERVER = """
import http.server, os, sys
print("serving on", os.environ["PORT"], os.getcwd(), os.environ.get("COLOUR"), flush=True)
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Health).serve_forever()
"""


class Run:
    """A `tekton run` in the foreground."""

    def __init__(self, tekton: Any, *arguments: str, cwd: Path | None = None) -> None:
        self.process = subprocess.Popen(
            tekton.command("--data-dir", str(tekton.data_dir), "run", *arguments),
            cwd=cwd or tekton.directory,
            env={**tekton.environment(), "COLOUR": "blue"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def end(self, signum: int | None = None) -> tuple[int, str, str]:
        """Its exit status, output, and what it said."""
        if signum is not None:
            self.process.send_signal(signum)
        output, said = self.process.communicate(timeout=20)
        return self.process.returncode, output, said


@pytest.fixture
def system(tekton: Any) -> Any:
    """A running system with one component."""
    tekton.configure({"db": SLEEP})
    tekton.up()
    tekton.until("db")
    return tekton


@pytest.fixture
def run(system: Any) -> Iterator[Callable[..., Run]]:
    """`run(*arguments)`: start `tekton run`."""
    runs: list[Run] = []

    def start(*arguments: str, **options: Any) -> Run:
        runs.append(Run(system, *arguments, **options))
        return runs[-1]

    yield start
    for one in runs:
        with suppress(ProcessLookupError):
            one.process.kill()
        one.process.communicate()


@pytest.fixture
def server(tmp_path: Path) -> list[str]:
    """The options and the command of a small web server."""
    path = tmp_path / "server.py"
    path.write_text(SERVER)
    return ["--ready", "http:/healthz", "--needs", "db", "--", sys.executable, str(path)]


def names(tekton: Any) -> set[str]:
    return {one["component_id"] for one in tekton.get("/api/system")["components"]}


def adhoc(tekton: Any) -> Path:
    path: Path = tekton.data_dir / "run" / "adhoc.json"
    return path


def test_a_command_is_a_component_as_long_as_it_is_watched(
    system: Any, run: Any, server: list[str], tmp_path: Path, free_port: int
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    watched = run("--port", str(free_port), *server, cwd=elsewhere)
    view = system.until("server")
    assert (view["port"], view["dependencies"]) == (free_port, ["db"])

    status, output, said = watched.end(signal.SIGINT)

    assert status == 0
    assert output == f"serving on {free_port} {elsewhere} blue\n"
    assert [move for move in ("starting → ready", "stopping server", "stopping → stopped") if move not in said] == []
    assert names(system) == {"db"}
    assert not os.path.exists(f"/proc/{view['pid']}")


def test_its_end_is_the_exit_status(run: Any) -> None:
    good = run("--", "sh", "-c", "echo done; printf 'without end'")
    assert good.end()[:2] == (0, "done\nwithout end\n")

    script = "echo no such table >&2; exit 3"
    bad = run("--restart", "no", "--name", "bad", "--ready", "log:never", "--", "sh", "-c", script)
    status, output, said = bad.end()
    assert (status, output) == (1, "no such table\n")
    assert "error[component_failed]: bad: exit 3 before it was ready: no such table" in said


def test_it_is_started_again_as_often_as_was_said_and_then_given_up(system: Any, run: Any, tmp_path: Path) -> None:
    script = f"echo x >> {tmp_path}/starts; exit 1"

    status, _, said = run("--name", "loop", "--max-restarts", "1", "--", "sh", "-c", script).end()

    assert status == 1
    assert (tmp_path / "starts").read_text() == "x\nx\n"
    assert said.count("error[component_failed]") == 1
    assert names(system) == {"db"}


def test_what_is_killed_comes_back_while_it_is_watched(
    system: Any, run: Any, server: list[str], eventually: Eventually, free_port: int
) -> None:
    watched = run("--name", "billing", "--port", str(free_port), *server)
    first = system.until("billing")["pid"]

    os.kill(first, signal.SIGKILL)

    eventually(lambda: system.component("billing")["pid"] not in (None, first), "started again")
    system.until("billing")
    status, output, _ = watched.end(signal.SIGTERM)
    assert status == 0
    assert output.count("serving on") == 2


def test_a_start_that_cannot_be_is_told_and_leaves_nothing(system: Any, run: Any) -> None:
    status, _, said = run("--name", "job", "--needs", "nobody", "--", "true").end()

    assert status == 1
    assert "error[dependency_failed]: job cannot start: nobody" in said
    assert names(system) == {"db"}

    status, _, said = run("--name", "job", "--", "no-such-program").end()

    assert status == 1
    assert "no-such-program" in said


def test_a_terminal_that_closes_stops_it(system: Any, eventually: Eventually) -> None:
    ours, terminal = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", *system.command("run", "--name", "job", "--", "sleep", "1000")],
        cwd=system.directory,
        env=system.environment(),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    pid = system.until("job")["pid"]

    os.close(ours)

    process.wait(20)
    eventually(lambda: names(system) == {"db"}, "taken out")
    assert not os.path.exists(f"/proc/{pid}")


def test_a_second_ctrl_c_kills_it(system: Any, run: Any, eventually: Eventually) -> None:
    watched = run(
        "--name", "job", "--ready", "log:up", "--", "sh", "-c", "trap '' TERM; echo up; sleep 1000 & wait; wait"
    )
    system.until("job")
    watched.process.send_signal(signal.SIGINT)
    eventually(lambda: system.state("job") == "stopping", "stopping")

    status, _, said = watched.end(signal.SIGINT)

    assert status == 130
    assert "killing job" in said
    at = {entry["state"]: entry["at"] for entry in system.get("/api/components/job/history")["items"]}
    assert at["stopped"] - at["stopping"] < STOP_TIMEOUT
    assert names(system) == {"db"}


# Detached


def detached(system: Any, *arguments: str) -> Any:
    return system.run("run", "-d", *arguments)


def test_detached_it_survives_the_control_plane_and_ends_with_the_system(
    system: Any, server: list[str], eventually: Eventually, free_port: int
) -> None:
    done = detached(system, "--name", "billing", "--port", str(free_port), "--group", "shop", *server)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("billing  ready in ")
    view = system.component("billing")
    assert view["groups"] == ["shop"]
    assert stat.S_IMODE(adhoc(system).stat().st_mode) == 0o600

    os.kill(system.control_pid, signal.SIGKILL)

    eventually(system.answers, "back")
    assert system.until("billing")["pid"] == view["pid"]
    system.run("restart", "billing")
    assert system.until("billing")["pid"] != view["pid"]
    assert system.stop() == 0
    assert not adhoc(system).exists()
    assert system.processes() == []


def test_a_name_is_taken_as_long_as_something_of_it_lives(system: Any, free_port: int) -> None:
    assert detached(system, "--name", "job", "--port", str(free_port), "--", "sleep", "1000").returncode == 0

    again = detached(system, "--name", "job", "--", "sleep", "1000")
    clash = detached(system, "--name", "other", "--port", str(free_port), "--", "sleep", "1000")
    configured = detached(system, "--name", "db", "--", "sleep", "1000")

    assert (again.returncode, clash.returncode, configured.returncode) == (6, 8, 6)
    assert "tekton stop job first" in again.stderr
    assert f"port {free_port} of other is already that of job" in clash.stderr
    assert "tekton reload" in configured.stderr
    system.run("stop", "job")
    assert detached(system, "--name", "job", "--", "sleep", "1001").returncode == 0
    assert system.component("job")["port"] is None


def test_detached_a_failure_is_told_with_its_last_words(system: Any) -> None:
    script = "echo no such table; exit 3"
    failed = detached(system, "--name", "job", "--restart", "no", "--ready", "log:never", "--", "sh", "-c", script)

    assert failed.returncode == 1
    assert "\n  no such table\n" in failed.stderr
    assert "help: tekton why job" in failed.stderr


def test_without_a_system_it_says_how_to_get_one(tekton: Any) -> None:
    tekton.configure({})

    refused = tekton.run("run", "--", "true")

    assert refused.returncode == 3
    assert "help: tekton up -d" in refused.stderr


# The API behind it


def test_a_component_is_put_and_deleted_through_the_api(system: Any) -> None:
    path = "/api/components/job/spec"
    entry = {"command": ["sleep", "1000"], "env": {"API_TOKEN": "battery staple"}, "stop_timeout": 1}

    assert system.request("PUT", path, entry) == (
        202,
        {"operation": "start", "component_id": "job", "done": False},
    )
    pid = system.until("job")["pid"]
    assert system.request("PUT", path, entry)[0] == 409
    assert system.request("DELETE", path) == (
        200,
        {"operation": "delete", "component_id": "job", "done": True},
    )

    assert names(system) == {"db"}
    assert not os.path.exists(f"/proc/{pid}")
    assert json.loads(adhoc(system).read_text())["components"] == []
    assert system.request("DELETE", path)[0] == 404
    assert system.request("DELETE", "/api/components/db/spec")[1]["code"] == "component_configured"
    system.request("POST", "/api/components", {"component_id": "guest"})
    assert "guest: it registered itself" in system.run("rm", "guest").stderr


def test_what_is_put_is_checked_as_the_configuration_is(system: Any) -> None:
    path = "/api/components/job/spec"

    kind, problem = system.request("PUT", path, {"command": ["x"], "port": "no"})
    assert (kind, problem["pointer"]) == (422, "/port")
    rule, problem = system.request("PUT", path, {"command": ["x"], "ready": {"http": "healthz"}, "cwd": ""})
    assert (rule, {mistake["pointer"] for mistake in problem["mistakes"]}) == (422, {"/cwd", "/ready/http"})
    assert names(system) == {"db"}


def test_a_reload_leaves_what_was_added_alone_or_takes_over_its_name(system: Any) -> None:
    assert detached(system, "--name", "job", "--", "sleep", "1000").returncode == 0
    pid = system.component("job")["pid"]
    system.configure({"db": SLEEP, "late": SLEEP})
    assert system.run("reload").returncode == 0
    assert system.component("job")["pid"] == pid

    system.configure({"db": SLEEP, "late": SLEEP, "job": SLEEP})
    refused = system.run("reload")
    assert refused.returncode == 6
    assert "tekton stop job first" in refused.stderr
    system.run("stop", "job")

    assert system.run("reload").returncode == 0
    assert system.until("job")["pid"] != pid
    assert json.loads(adhoc(system).read_text())["components"] == []
