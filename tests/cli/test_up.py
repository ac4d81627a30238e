"""up and down, with a guard that plays scenarios; the real one is in tests/e2e."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest
from screen import Screen

PLAYER = Path(__file__).with_name("up_double.py")
COMPONENTS = {
    "hermes": {"command": ["sleep", "1000"], "port": 8001},
    "engram": {"command": ["sleep", "1000"], "dependencies": ["hermes"]},
}


class Up:
    """A running `tekton up`; what it says is on stderr."""

    def __init__(self, scenario: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PLAYER), scenario, "up", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []

    def until(self, text: str) -> str:
        """Read on until a line holds *text*."""
        errors: IO[str] = self.process.stderr  # type: ignore[assignment]
        for line in errors:
            self.said.append(line.rstrip("\n"))
            if text in line:
                return line
        raise AssertionError(f"never said {text!r}: {self.said}")

    def send(self, signum: int) -> None:
        self.process.send_signal(signum)

    def end(self) -> int:
        """Wait until it has ended; its exit status. All that it said is in `said`."""
        output, errors = self.process.communicate(timeout=20)
        self.said += errors.splitlines()
        assert output == ""
        return self.process.returncode

    @property
    def text(self) -> str:
        return "\n".join(self.said)


Start = Callable[..., Up]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Start]:
    """`up(scenario, *arguments)`: start `tekton up` in a directory with two components."""
    (tmp_path / "components.json").write_text(json.dumps({"components": COMPONENTS}))
    (tmp_path / "tekton.json").write_text(json.dumps({"tekton": {"data_dir": str(tmp_path / "data")}}))
    started: list[Up] = []

    def start(scenario: str, *arguments: str) -> Up:
        started.append(Up(scenario, *arguments))
        return started[-1]

    yield start
    for run in started:
        run.process.kill()
        run.process.communicate()
    guard = tmp_path / "data" / "run" / "guard.json"
    if guard.exists():
        try:
            os.kill(json.loads(guard.read_text())["pid"], signal.SIGKILL)
        except ProcessLookupError:
            pass  # as it should be


def tell_guard(tmp_path: Path) -> None:
    """The guard that waits for a word goes on."""
    os.kill(json.loads((tmp_path / "data" / "run" / "guard.json").read_text())["pid"], signal.SIGUSR1)


def tekton(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tekton", *arguments], capture_output=True, text=True, timeout=20, check=False
    )


def test_up_tells_every_transition_then_the_summary_and_stops_in_order_on_ctrl_c(up: Start, tmp_path: Path) -> None:
    run = up("ready")
    run.until("Ctrl-C stops everything")
    run.send(signal.SIGINT)

    assert run.end() == 0
    moves = [" ".join(line.split()[1:5]) for line in run.said if "→" in line]
    assert moves == [
        "hermes initializing → starting",
        "hermes starting → ready",
        "engram starting → ready",
        "engram ready → stopping",
        "engram stopping → stopped",
        "hermes ready → stopping",
        "hermes stopping → stopped",
    ]
    assert "starting → ready  0.25 s  :8001" in run.text
    assert "  2 ready in " in run.text
    assert f"  API   http://127.0.0.1:8010  socket {tmp_path}/data/run/control.sock" in run.said
    assert f"  Logs  {tmp_path}/data/logs" in run.said
    assert "stopping (once more kills)" in run.said
    assert run.said[-1] == "stopped"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_other_stop_signals_do_the_same(up: Start, signum: int) -> None:
    run = up("ready")
    run.until("Try")
    run.send(signum)

    assert run.end() == 0
    assert "hermes        stopping → stopped" in run.text


def test_a_second_ctrl_c_kills(up: Start) -> None:
    run = up("stubborn")
    run.until("initializing → starting")
    run.send(signal.SIGINT)
    run.until("starting → failed")
    run.send(signal.SIGINT)

    assert run.end() == 130
    assert "killing what is left" in run.said


def test_a_component_that_fails_is_explained_and_the_rest_goes_on(up: Start) -> None:
    run = up("failing")
    run.until("Try")

    assert run.process.poll() is None
    run.send(signal.SIGINT)
    assert run.end() == 0
    place = run.said.index("error[component_failed]: hermes: no reason given")
    assert run.said[place + 1 : place + 5] == [
        "  OSError: no disk",
        "  affected: engram is not started",
        "help: tekton why hermes, tekton logs hermes, then tekton restart hermes",
        "error[dependency_failed]: engram was not started: it needs hermes",
    ]
    assert "  0 ready, 1 failed, 1 not started in " in run.text


def test_detached_it_returns_when_all_is_ready_and_leaves_the_system_running(up: Start, tmp_path: Path) -> None:
    run = up("ready", "--detach")

    assert run.end() == 0
    assert run.said[-1] == "  tekton down stops everything"
    assert "  2 ready in " in run.text
    down = tekton("down")
    assert down.returncode == 0
    assert "hermes        stopping → stopped" in down.stderr
    assert down.stderr.splitlines()[-1].startswith("stopped in ")
    assert tekton("down").stderr == f"nothing runs in {tmp_path}/data\n"


def test_detached_a_failure_has_exit_status_1(up: Start) -> None:
    run = up("failing", "-d")

    assert run.end() == 1
    assert tekton("down").returncode == 0


def test_detached_it_waits_no_longer_than_it_was_told(up: Start) -> None:
    run = up("stubborn", "-d", "--timeout", "600ms")

    assert run.end() == 4
    assert "gave up after 0.6 s (waiting for hermes, engram to be ready)" in run.text
    assert "help: tekton why hermes" in run.text


def test_quiet_says_nothing_but_errors(up: Start) -> None:
    run = up("failing", "-d", "--quiet")

    assert run.end() == 1
    assert [line.split("]")[0] for line in run.said if line.startswith("error")] == [
        "error[component_failed",
        "error[dependency_failed",
    ]
    assert "→" not in run.text
    assert "Try" not in run.text
    assert tekton("down").returncode == 0


def test_a_data_directory_in_use_is_refused_with_the_pid_of_its_owner(up: Start, tmp_path: Path) -> None:
    run = up("ready")
    run.until("Try")
    owner = json.loads((tmp_path / "data" / "run" / "guard.json").read_text())["pid"]

    second = tekton("up")

    assert second.returncode == 6
    assert second.stderr == (
        f"error[storage_locked]: {tmp_path}/data is in use by process {owner}\n"
        "help: tekton reload makes a changed configuration hold there, tekton attach shows what it does, "
        f"tekton down --data-dir {tmp_path}/data stops it\n"
    )


def test_a_control_plane_that_is_restarted_is_followed_on(up: Start, tmp_path: Path) -> None:
    run = up("restarting")
    run.until("does not answer")
    tell_guard(tmp_path)
    run.until("Try")
    run.send(signal.SIGINT)

    assert run.end() == 0
    assert run.said.count("the control plane does not answer; its guard starts it again") == 1
    assert "  2 ready in " in run.text


def test_a_control_plane_that_cannot_start_is_explained_by_its_log(up: Start, tmp_path: Path) -> None:
    run = up("in_use")

    assert run.end() == 6
    assert run.said == [
        "error[in_use]: port 8010 is in use by python (4711)",
        "  CRITICAL tekton.service: port 8010 is in use by python (4711)",
        f"help: tekton up --auto-port takes another port; read {tmp_path}/data/logs/tekton.log",
    ]


def test_a_data_directory_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", "tekton", "up", "--data-dir", str(tmp_path / "file" / "data")]

    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)

    assert run.returncode == 1
    assert f"{tmp_path}/file/data cannot be used: Not a directory" in run.stderr


def test_a_guard_that_ends_by_itself_is_exit_status_1(up: Start, tmp_path: Path) -> None:
    run = up("lost")
    run.until("Try")
    tell_guard(tmp_path)

    assert run.end() == 1
    assert "error[control_plane_failed]: the control plane has ended (exit code 70)" in run.said
    assert "  CRITICAL the guard is gone" in run.said


def test_a_control_plane_that_never_answers_is_given_up_and_stopped(up: Start, tmp_path: Path) -> None:
    run = up("silent")

    assert run.end() == 4
    assert f"the control plane does not answer yet; its log is {tmp_path}/data/logs/tekton.log" in run.said
    assert "  still loading" in run.said
    assert "gave up after 30 s (waiting for the control plane)" in run.text
    assert tekton("down").stderr.startswith("nothing runs")


def test_down_asks_the_guard_when_the_control_plane_does_not_answer(up: Start, tmp_path: Path) -> None:
    run = up("hung")
    run.until("still loading")

    down = tekton("down")

    assert down.returncode == 0
    assert "the control plane does not answer; its guard (process " in down.stderr
    assert run.end() == 0


@pytest.mark.parametrize("option", ["-f", "-c"])
def test_a_system_elsewhere_is_named_by_its_file(up: Start, tmp_path: Path, option: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    mistake = {"components": {"hermes": {"comand": ["sleep"]}}}
    (elsewhere / "mine.json").write_text(json.dumps(mistake))

    run = up("ready", option, str(elsewhere / "mine.json"))

    assert run.end() == 8
    assert "help: did you mean 'command'?" in run.said
    assert "2 mistakes in the configuration; nothing was done" in run.said
    assert not (tmp_path / "data").exists()


def test_a_control_plane_elsewhere_cannot_be_started(up: Start) -> None:
    run = up("ready", "--url", "http://elsewhere:8010")

    assert run.end() == 2


def test_a_timeout_makes_no_sense_in_the_foreground(up: Start) -> None:
    assert up("ready", "--timeout", "5s").end() == 2


def test_a_reader_that_leaves_ends_the_system_that_was_started_for_it(up: Start, tmp_path: Path) -> None:
    run = up("ready")
    run.until("starting → ready")
    run.process.stderr.close()  # type: ignore[union-attr]
    run.process.stderr = None
    run.send(signal.SIGTERM)

    run.process.wait(timeout=20)
    assert tekton("down").stderr.startswith("nothing runs")


def test_on_a_terminal_a_tree_turns_into_the_summary_and_lines(up: Start, tmp_path: Path) -> None:
    ours, terminal = pty.openpty()
    ours_to_choose = {name: value for name, value in os.environ.items() if name != "CI"}
    environment = {**ours_to_choose, "TERM": "xterm-256color", "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, str(PLAYER), "ready", "up"], stderr=terminal, env=environment)
    os.close(terminal)
    shown = b""
    while b"Ctrl-C stops everything" not in shown:
        shown += os.read(ours, 65536)
    process.send_signal(signal.SIGINT)
    while b"\r\nstopped\r\n" not in shown:
        shown += os.read(ours, 65536)

    assert process.wait(timeout=20) == 0
    os.close(ours)
    text = shown.decode()
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is back
    screen = Screen()
    screen.write(text)
    rows = screen.text()
    assert rows[:2] == ["  ●  hermes  ready  0.25 s  :8001", "  ●  engram  ready  0.25 s  :8000"]
    assert rows[2].startswith("  2 ready in ")
    assert ["hermes", "stopping", "→", "stopped"] in [row.split()[1:] for row in rows]
