"""What a system must survive: components that behave as badly as they can, and people who do what people do."""

import json
import os
import pty
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tekton.testing import free_port

SLEEP = {"command": ["sleep", "1000"]}
NEVER = {"policy": "no"}
AGAIN = {"policy": "on-failure", "max": 1000, "reset_after": 60, "backoff": [0.01, 0.02]}
MIB = 1024 * 1024


def python(script: str, **more: Any) -> dict[str, Any]:
    return {"command": ["python", "-S", "-c", script], **more}


BEATS = """
import json, os, time, urllib.request

def post(path):
    request = urllib.request.Request(
        os.environ["TEKTON_URL"] + "/api/components/beats/" + path,
        json.dumps({"instance_uuid": os.environ["TEKTON_INSTANCE_UUID"]}).encode(),
        {
            "content-type": "application/json",
            "authorization": "Bearer " + open(os.environ["TEKTON_CREDENTIAL_FILE"]).read(),
        },
    )
    urllib.request.urlopen(request).read()

post("ready")
while True:
    post("heartbeat")
    time.sleep(0.1)
"""
FLOODS = """
import os, time
block = (b"x" * 1023 + b"\\n") * 1024
while True:
    os.write(1, block)
    # 50 MB/s at most: what it has missed it does not make up for at once.
    time.sleep(0.02)
"""
PRINTS = """
import os, time
for text in (b"y" * 10_000_000, bytes(set(range(256)) - {10}) * 100, b"the end"):
    while text:
        text = text[os.write(1, text):]
    os.write(1, b"\\n")
time.sleep(1000)
"""
THREADS = """
import threading, time
for _ in range(1000):
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
print(threading.active_count(), flush=True)
time.sleep(1000)
"""
LATE = """
import http.server, os, time
time.sleep(1.5)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
DAEMON = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(1000)\n"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(1000)"
FLAPS = "import time; print('up', flush=True); time.sleep(1); raise SystemExit(3)"


@pytest.fixture(scope="module")
def rough(start_tekton: Any, tmp_path_factory: pytest.TempPathFactory, eventually: Any) -> Iterator[Any]:
    """A system in which everybody misbehaves at the same time, except one that only beats."""
    system = start_tekton(tmp_path_factory.mktemp("rough"))
    late = free_port()
    system.configure(
        {
            "beats": python(BEATS, ready={"heartbeat": True}),
            "floods": python(FLOODS, log={"max_size": "4M", "keep": 2}),
            "prints": python(PRINTS, ready={"log": "^the end$"}),
            "threads": python(THREADS, ready={"log": "^1001$"}),
            "late": python(LATE, port=late, ready={"http": "/"}),
            "daemon": python(DAEMON, ready={"log": "never"}, restart=NEVER),
            "deaf": python(DEAF, ready={"log": "up"}, stop_timeout=0.3),
            "flaps": python(FLAPS, ready={"log": "up"}, restart=AGAIN),
            "plain": SLEEP,
        },
        heartbeat_timeout=3.0,
        heartbeat_interval=0.5,
    )
    system.up()
    yield system
    code = system.stop()
    left = system.processes()
    system.kill()
    assert (code, left) == (0, [])


def test_a_flood_fills_no_disk_and_hides_nobody(rough: Any, eventually: Any) -> None:
    logs = rough.data_dir / "logs"
    beats = rough.until("beats")
    rough.until("floods")
    rotated = logs / "floods.log.2"
    eventually(rotated.exists, "the log is rotated")

    sizes, answers = [], []
    flood = psutil.Process(rough.component("floods")["pid"])
    eventually(lambda: flood.io_counters().write_chars > 100 * MIB, "more is written than may be kept")
    for _ in range(40):
        began = time.monotonic()
        assert rough.state("floods") == "ready"
        answers.append(time.monotonic() - began)
        sizes.append(sum(_size(file) for file in logs.glob("floods.log*")))
        time.sleep(0.05)

    print(f"at most {max(sizes) / MIB:.0f} MiB; slowest answer {1000 * max(answers):.0f} ms")
    # Three files of 4 MiB, and what is written between two looks.
    assert max(sizes) < 100 * MIB
    assert rough.component("beats")["instance_uuid"] == beats["instance_uuid"]
    assert rough.state("beats") == "ready"


def _size(file: Path) -> int:
    with suppress(FileNotFoundError):
        return file.stat().st_size
    return 0


def test_lines_of_ten_megabytes_and_binary_are_only_lines(rough: Any) -> None:
    rough.until("prints")

    lines = rough.get("/api/components/prints/logs?tail=3")["lines"]
    shown = rough.run("logs", "prints")

    assert [len(lines[0]), lines[-1]] == [10_000_000, "the end"]
    assert rough.get("/api/components/prints/logs?previous=1&level=error")["lines"] == []
    assert rough.request("GET", "/api/components/prints/logs?replica=1")[0] == 404
    assert shown.returncode == 0
    assert len(shown.stdout) < 100_000
    assert "\x1b" not in shown.stdout
    assert rough.get("/api/components/prints/why")["evidence"][-1] == "the end"


def test_a_thousand_threads_are_one_component(rough: Any) -> None:
    process = psutil.Process(rough.until("threads")["pid"])
    assert process.num_threads() == 1001


def test_who_takes_the_port_late_is_ready_late(rough: Any) -> None:
    rough.until("late")


def test_who_becomes_a_daemon_leaves_none(rough: Any, eventually: Any) -> None:
    failed = rough.until("daemon", "failed")

    assert "exit 0 before it was ready" in failed["reason"]
    eventually(lambda: "daemon" not in _components(rough), "the daemon has gone")


def _components(system: Any) -> list[str]:
    """Whose processes there are, once for each process."""
    found = []
    for process in system.processes():
        with suppress(psutil.Error):
            found.append(process.environ().get("TEKTON_COMPONENT_ID", ""))
    return found


def test_who_does_not_hear_is_killed_after_its_stop_timeout(rough: Any) -> None:
    pid = rough.until("deaf")["pid"]

    assert rough.run("stop", "deaf").returncode == 0

    assert not psutil.pid_exists(pid)
    assert rough.state("deaf") == "stopped"


def test_who_fails_every_second_is_told_to_flap_and_disturbs_nobody(rough: Any, eventually: Any) -> None:
    plain = rough.until("plain")

    eventually(lambda: "flap" in json.dumps(rough.get("/api/components/flaps/why")), "it flaps")

    assert rough.component("plain")["pid"] == plain["pid"]


def test_without_a_log_to_write_to_a_component_runs_and_says_so(tekton: Any, memory_disk: Any) -> None:
    logs = tekton.data_dir / "logs"
    tekton.configure({"talks": {"command": ["sh", "-c", "echo hello; exec sleep 1000"]}})
    with memory_disk(logs, "size=1m"):
        subprocess.run(["mount", "-o", "remount,ro", str(logs)], check=True)
        tekton.up()

        talks = tekton.until("talks")

        assert talks["note"] == f"what it prints is not kept: {logs}/talks.log: Read-only file system"
        assert tekton.run("logs", "talks").returncode == 0
        assert tekton.stop() == 0


def test_a_log_that_cannot_be_read_is_told_as_that(tekton: Any) -> None:
    tekton.configure({"talks": {"command": ["sh", "-c", "echo hello; exec sleep 1000"]}})
    (tekton.data_dir / "logs" / "talks.log").mkdir(parents=True)
    tekton.up()
    tekton.until("talks")

    shown = tekton.run("logs", "talks")

    assert shown.returncode == 1
    assert "its log cannot be read" in shown.stderr
    assert tekton.stop() == 0


def test_a_full_log_directory_stops_nobody(tekton: Any, memory_disk: Any) -> None:
    logs = tekton.data_dir / "logs"
    tekton.configure({"talks": python("while True: print('x' * 100)")})
    with memory_disk(logs, "size=64k"):
        with suppress(OSError), (logs / "full").open("wb", buffering=0) as file:
            for _ in range(100):
                file.write(bytes(4096))
        tekton.up()

        assert "No space left on device" in tekton.until("talks")["note"]
        assert tekton.stop() == 0


def test_a_terminal_that_closes_ends_everything_in_order(tekton: Any, eventually: Any) -> None:
    tekton.configure({"plain": SLEEP, "other": {**SLEEP, "dependencies": ["plain"]}})
    # A session of its own, whose terminal it is: what a shell window gives.
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tekton.directory)
        command = tekton.command("up")
        os.execve(command[0], command, {**tekton.environment(), "TERM": "xterm"})
    eventually(tekton.answers, "the control plane is up")
    tekton.until("other")

    os.close(terminal)

    eventually(lambda: not tekton.processes(), "no process is left")
    os.waitpid(child, 0)
    log = (tekton.data_dir / "logs" / "tekton.log").read_text()
    assert "stopping; the control plane has" in log
    assert "killed" not in log


def test_of_two_that_start_at_once_one_runs(tekton: Any, eventually: Any) -> None:
    tekton.configure({"plain": SLEEP})
    both = [
        subprocess.Popen(
            tekton.command("up"),
            cwd=tekton.directory,
            env=tekton.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for _ in range(2)
    ]
    try:
        loser = eventually(lambda: next((one for one in both if one.poll() is not None), None), "one of them gives up")
        (winner,) = [one for one in both if one is not loser]
        plain = tekton.until("plain")

        said = loser.stderr.read()
        assert (loser.returncode, "error[storage_locked]" in said, "is in use by" in said) == (6, True, True)
        assert psutil.Process(plain["pid"]).is_running()

        winner.send_signal(signal.SIGINT)
        assert winner.wait(timeout=30) == 0
    finally:
        for one in both:
            one.kill()
            one.communicate()


LISTENS = """
import socket, time
server = socket.create_server(('127.0.0.1', {port}))
print('up', flush=True)
time.sleep(1000)
"""
TAKES = """
import os, socket, sys, time
while not os.path.exists('now'): time.sleep(0.01)
socket.create_server(('127.0.0.1', int(os.environ['PORT'])))
"""


def test_whose_port_it_is_is_told_before_the_start_and_after_it(tekton: Any, tmp_path: Path) -> None:
    """The owners: a stranger on all addresses of IPv6, and a component that listens where it was not told to."""
    later = free_port()
    with socket.create_server(("::", 0), family=socket.AF_INET6) as stranger:
        taken = stranger.getsockname()[1]
        tekton.configure(
            {
                "before": {**SLEEP, "port": taken, "restart": NEVER},
                "after": python(TAKES, port=later, ready={"log": "up"}, restart=NEVER),
                "started": {"command": ["true"], "dependencies": [{"component": "after", "condition": "started"}]},
                "thief": python(
                    LISTENS.format(port=later),
                    ready={"log": "up"},
                    dependencies=[{"component": "started", "condition": "completed"}],
                ),
            }
        )
        tekton.up()
        before = tekton.until("before", "failed")
        thief = tekton.until("thief")
        (tmp_path / "now").touch()
        after = tekton.until("after", "failed")

        assert f"port {taken} is in use by process {os.getpid()} (" in before["reason"]
        assert f"process {os.getpid()} (" in tekton.get("/api/components/before/why")["reason"]
        assert f"port {later} was taken meanwhile by process {thief['pid']} (" in after["reason"]
        assert "which is thief's" in tekton.get("/api/components/after/why")["reason"]
        assert psutil.Process(thief["pid"]).is_running()


ESCAPES = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open('escaped', 'w').write(str(os.getpid()))
        time.sleep(1000)
    os._exit(0)
time.sleep(1000)
"""


def test_after_everything_was_killed_the_next_start_is_clean(tekton: Any, eventually: Any, tmp_path: Path) -> None:
    tekton.configure({"plain": SLEEP, "parent": python(ESCAPES)})
    tekton.up()
    first = tekton.until("plain")
    tekton.until("parent")
    escaped = eventually(lambda: (tmp_path / "escaped").exists() and (tmp_path / "escaped").read_text(), "it escapes")
    guards = [tekton.guard_pid, *(one.pid for one in psutil.Process(tekton.guard_pid).children())]

    for pid in [*guards, tekton.control_pid]:
        os.kill(pid, signal.SIGSTOP)
    for pid in [*guards, tekton.control_pid]:
        os.kill(pid, signal.SIGKILL)
    tekton.process.communicate(timeout=30)
    tekton.up()

    again = tekton.until("plain")
    tekton.until("parent")
    assert again["instance_uuid"] != first["instance_uuid"]
    assert int(escaped) not in [one.pid for one in tekton.processes()]
    # It escapes again, which takes it a moment.
    eventually(lambda: sorted(filter(None, _components(tekton))) == ["parent", "parent", "plain"], "nobody else")


CURLS = """
echo $(id -un) $HOME $(ulimit -n) $(stat -c '%U %a' "$TEKTON_CREDENTIAL_FILE") ${TEKTON_SOCKET-none}
who="{\\"instance_uuid\\": \\"$TEKTON_INSTANCE_UUID\\"}"
tell() { curl -sS -H content-type:application/json -d "$who" "$@"; echo; }
tell "$TEKTON_URL/api/components/web/heartbeat"
tell -H "authorization: Bearer $(cat "$TEKTON_CREDENTIAL_FILE")" "$TEKTON_URL/api/components/web/ready"
exec sleep 1000
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_component_of_another_user_speaks_for_itself_within_its_limits(tekton: Any) -> None:
    tekton.configure(
        {
            "web": {
                "command": ["sh", "-c", CURLS.replace("$", "$$")],
                "cwd": "/",
                "user": "nobody",
                "limits": {"open_files": 100, "memory": "4G"},
                "ready": {"heartbeat": True},
            },
            "nobodys": {**SLEEP, "user": "no-such-user", "restart": NEVER},
        }
    )
    tekton.up()

    tekton.until("web")

    lines = tekton.get("/api/components/web/logs")["lines"]
    assert lines[0] == f"nobody {pwd.getpwnam('nobody').pw_dir} 100 nobody 400 none"
    assert '"code":"unauthenticated"' in lines[1], "without its credential it is nobody"
    assert "there is no user no-such-user" in tekton.until("nobodys", "failed")["reason"]
