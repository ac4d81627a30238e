"""The guard as a program: `python -m tekton.supervisor.guard`, with a control plane below it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tekton.supervisor import procfs
from tekton.supervisor.guard import data_dir_mark, main

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and prctl")

CONTROL_PLANE = Path(__file__).with_name("control_plane.py")
DETACHING = "setsid sleep 601 & sleep 602 & exec sleep 603"


class System:
    """A guard, its control plane, and what they wrote."""

    def __init__(self, data_dir: Path, until: Any) -> None:
        self.data_dir = data_dir
        self.until = until
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, command: list[str] | None = None, **plan: object) -> None:
        control_plane = [sys.executable, str(CONTROL_PLANE), str(self.data_dir), json.dumps(plan)]
        argv = [sys.executable, "-m", "tekton.supervisor.guard", "--data-dir", str(self.data_dir), *options, "--"]
        self.process = subprocess.Popen([*argv, *(command or control_plane)], stderr=subprocess.PIPE)

    def signal(self, signum: int) -> None:
        assert self.process is not None
        self.process.send_signal(signum)

    async def ended(self) -> int:
        """The exit code of the guard."""
        process = self.process
        assert process is not None
        await self.until(lambda: process.poll() is not None)
        code: int = process.returncode
        return code

    @property
    def seen(self) -> list[dict[str, Any]]:
        file = self.data_dir / "seen"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    async def sees(self, lines: int) -> list[dict[str, Any]]:
        await self.until(lambda: len(self.seen) >= lines)
        return self.seen

    @property
    def log(self) -> str:
        file = self.data_dir / "logs" / "tekton.log"
        return file.read_text() if file.exists() else ""

    @property
    def remains(self) -> list[procfs.Process]:
        return procfs.marked(data_dir_mark(os.path.realpath(self.data_dir)))

    @property
    def inner(self) -> int:
        """The pid of the inner half."""
        assert self.process is not None
        return next(process.pid for process in procfs.snapshot() if process.parent == self.process.pid)


@pytest.fixture
def system(tmp_path: Path, until: Any) -> Iterator[System]:
    system = System(tmp_path, until)
    yield system
    if system.process is not None:
        system.process.kill()
        system.process.wait()
        assert system.process.stderr is not None
        system.process.stderr.close()
    procfs.kill_all(system.remains)


class TestRestarts:
    async def test_a_killed_control_plane_is_restarted_and_finds_its_children(self, system: System) -> None:
        system.start(spawn={"a": "exec sleep 600", "b": "exec sleep 600"})
        (first,) = await system.sees(1)

        os.kill(first["pid"], signal.SIGKILL)
        _, second = await system.sees(2)

        assert second["pid"] != first["pid"]
        assert second["now"] == first["now"]
        assert second["before"] == {name: {"pid": pid, "exit": None} for name, pid in first["now"].items()}
        assert "killed by signal 9 (SIGKILL)" in system.log

    async def test_what_ended_in_the_meantime_is_told_to_the_next_control_plane(self, system: System) -> None:
        os.mkfifo(system.data_dir / "fifo")
        system.start(spawn={"a": "read line < fifo; exit 3"}, then=["block"])
        (first,) = await system.sees(1)

        (system.data_dir / "fifo").write_text("go\n")
        await system.until(lambda: (found := procfs.read(first["now"]["a"])) is None)
        os.kill(first["pid"], signal.SIGKILL)
        _, second = await system.sees(2)

        assert second["before"] == {"a": {"pid": first["now"]["a"], "exit": "exit 3"}}

    async def test_the_children_of_a_dead_control_plane_go_with_it(
        self, system: System, running: Callable[[int], bool]
    ) -> None:
        script = "import os, time; print(os.posix_spawn('/bin/sleep', ['sleep', '604'], os.environ), flush=True)\n"
        system.start(command=[sys.executable, "-S", "-c", script + "time.sleep(600)"])
        await system.until(lambda: system.log)
        probe = procfs.read(int(system.log.split()[0]))
        assert probe is not None

        os.kill(probe.parent, signal.SIGKILL)

        await system.until(lambda: not running(probe.pid))

    async def test_a_crashing_control_plane_is_restarted_again_and_again(self, system: System) -> None:
        system.start(then=[1, 1, "serve"])
        await system.sees(3)
        assert "exit 1; it is started again in 0.1 s" in system.log
        assert "exit 1; it is started again in 0.2 s" in system.log

    @pytest.mark.parametrize("code", [0, 8, 75, 78])
    async def test_final_exit_codes_are_passed_on_and_end_everything(self, system: System, code: int) -> None:
        system.start(spawn={"a": DETACHING}, then=[code])
        assert await system.ended() == code
        assert len(system.seen) == 1
        assert system.remains == []

    async def test_a_control_plane_that_cannot_be_executed_is_a_final_error(self, system: System) -> None:
        system.start(command=["no-such-program"])
        assert await system.ended() == 127
        assert system.process is not None
        _, errors = system.process.communicate()
        assert errors == b"tekton: the control plane could not be started: command not found: no-such-program\n"


class TestStopping:
    @pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
    async def test_a_stop_signal_lets_the_control_plane_stop_in_order(self, system: System, signum: int) -> None:
        system.start(spawn={"a": "exec sleep 600", "b": "exec sleep 600"})
        await system.sees(1)

        system.signal(signum)

        assert await system.ended() == 0
        assert [line["stopped"] for line in system.seen[1:]] == ["b", "a"]
        assert not (system.data_dir / "run" / "guard.json").exists()

    async def test_what_the_control_plane_leaves_is_stopped(self, system: System) -> None:
        script = "trap 'echo bye; exit' TERM; echo hi; while :; do sleep 0.01; done"
        system.start(spawn={"a": script, "b": DETACHING})
        await system.sees(1)
        await system.until(lambda: (system.data_dir / "a.log").read_text() == "hi\n")

        os.kill(system.inner, signal.SIGTERM)
        os.kill(system.seen[0]["pid"], signal.SIGKILL)

        assert await system.ended() in (0, 1)
        assert system.remains == []
        assert (system.data_dir / "a.log").read_text().endswith("bye\n")

    async def test_a_control_plane_that_hangs_is_killed_at_the_deadline(self, system: System) -> None:
        system.start("--drain-timeout", "0.2", spawn={"a": DETACHING}, then=["hang"])
        await system.sees(1)
        system.signal(signal.SIGTERM)
        assert await system.ended() == 1
        assert system.remains == []
        assert "did not stop within 0.2 s" in system.log

    async def test_a_control_plane_that_said_how_long_its_stop_may_take_has_that_long(self, system: System) -> None:
        slow = "trap 'sleep 0.8; exit' TERM; while :; do sleep 0.01; done"
        system.start("--drain-timeout", "0.2", spawn={"a": slow}, patience=30)
        await system.sees(1)

        system.signal(signal.SIGTERM)

        assert await system.ended() == 0
        assert [line["stopped"] for line in system.seen[1:]] == ["a"]
        assert "stopping; the control plane has 30 s for it" in system.log

    @pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
    async def test_a_second_signal_kills_everything_at_once(self, system: System, signum: int, code: int) -> None:
        system.start(spawn={"a": f"trap '' TERM; {DETACHING}"}, then=["hang"])
        await system.sees(1)
        system.signal(signal.SIGTERM)
        await system.until(lambda: "stopping" in system.log)

        system.signal(signum)

        assert await system.ended() == code
        assert system.remains == []

    async def test_a_signal_between_two_incarnations_stops_too(self, system: System) -> None:
        system.start(spawn={"a": DETACHING}, then=[1])
        await system.until(lambda: len(system.seen) >= 1 and "started again in 0.4" in system.log)
        system.signal(signal.SIGTERM)
        assert await system.ended() in (0, 1)
        assert system.remains == []


class TestLosses:
    @pytest.mark.parametrize(
        ("half", "then"),
        # With both halves gone, only a control plane that still reads can act; else the next start does, see below.
        [("anchor", "serve"), ("anchor", "block"), ("inner", "serve"), ("inner", "block"), ("both", "serve")],
    )
    async def test_no_process_is_left_when_the_guard_is_killed(self, system: System, half: str, then: str) -> None:
        system.start(spawn={"a": DETACHING, "b": f"trap '' TERM; {DETACHING}"}, then=[then])
        await system.sees(1)
        await system.until(lambda: len(system.remains) >= 6)
        assert system.process is not None
        anchor, inner = system.process.pid, system.inner

        if half == "both":
            # Neither half may see the other one die.
            os.kill(anchor, signal.SIGSTOP)
        for pid in {"anchor": [anchor], "inner": [inner], "both": [inner, anchor]}[half]:
            os.kill(pid, signal.SIGKILL)

        await system.until(lambda: not system.remains)
        assert await system.ended() == (-signal.SIGKILL if half != "inner" else 137)

    async def test_leftovers_of_an_earlier_run_are_killed_at_the_next_start(self, system: System) -> None:
        system.start(spawn={"a": DETACHING}, then=["block"])
        (first,) = await system.sees(1)
        await system.until(lambda: len(system.remains) >= 4)
        inner, process = system.inner, system.process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        os.kill(inner, signal.SIGKILL)
        process.kill()
        process.communicate()
        await system.until(lambda: procfs.read(inner) is None)

        system.start(spawn={"a": "exec sleep 600"})
        _, second = await system.sees(2)

        assert second["before"] == {}
        assert procfs.marked(first["run_id"]) == []

    async def test_a_data_directory_has_one_guard(self, system: System) -> None:
        system.start()
        await system.sees(1)
        assert system.process is not None

        second = System(system.data_dir, system.until)
        second.start("--lock-timeout", "0")

        assert await second.ended() == 75
        assert second.process is not None
        _, errors = second.process.communicate()
        assert f"in use by a Tekton guard (pid {system.process.pid})".encode() in errors
        assert system.process.poll() is None

    async def test_a_control_plane_that_closes_its_connection_is_replaced(self, system: System) -> None:
        script = "import os, time; os.close(int(os.environ['TEKTON_GUARD_FD'])); print('mute', flush=True)\n"
        system.start(command=[sys.executable, "-S", "-c", script + "time.sleep(600)"])
        await system.until(lambda: system.log.count("mute") == 2)
        assert "the control plane's connection ended" in system.log


class TestFiles:
    async def test_the_run_directory_tells_of_the_guard_to_its_owner_only(self, system: System) -> None:
        system.start()
        (seen,) = await system.sees(1)
        run_dir = system.data_dir / "run"
        guard = json.loads((run_dir / "guard.json").read_text())
        assert system.process is not None
        assert guard["pid"] == seen["guard"] == system.process.pid
        assert guard["run_id"] == seen["run_id"]
        assert run_dir.stat().st_mode & 0o777 == 0o700
        assert (run_dir / "guard.json").stat().st_mode & 0o777 == 0o600

    async def test_a_data_directory_that_it_makes_is_for_its_owner_only(self, system: System) -> None:
        system.data_dir /= "new"
        system.start()
        await system.sees(1)
        assert system.data_dir.stat().st_mode & 0o777 == 0o700

    async def test_descriptors_of_the_starter_do_not_reach_components(self, system: System) -> None:
        leak = os.open(os.devnull, os.O_RDONLY)
        os.set_inheritable(leak, True)
        system.start(spawn={"a": "ls -l /proc/self/fd; exec sleep 600"})
        os.close(leak)
        await system.sees(1)
        await system.until(lambda: (system.data_dir / "a.log").read_text().count("->") == 4)


@pytest.mark.parametrize(
    "arguments", [[], ["--attached"], ["--data-dir", "x"], ["--data-dir", "x", "--attached", "--", "y"]]
)
def test_wrong_usage_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m tekton.supervisor.guard" in capsys.readouterr().err
