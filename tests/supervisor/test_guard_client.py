"""One guard, its children, and what its client hears of them."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tekton.supervisor import procfs
from tekton.supervisor.exits import Exit
from tekton.supervisor.guard_client import ChildProcess, GuardClient
from tekton.supervisor.log_rotation import Rotation
from tekton.utils.tekton_errors import SpawnError, SupervisionError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and prctl")

IGNORES_SIGTERM = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); signal.pause()"


class TestSpawn:
    async def test_output_and_errors_are_appended_to_the_log(self, guarded: Any) -> None:
        guarded.log().parent.mkdir(exist_ok=True)
        guarded.log().write_text("before\n")

        child = await guarded.shell("echo out; echo err >&2")

        assert await child.wait() == Exit(0, None)
        assert guarded.log().read_text() == "before\nout\nerr\n"
        assert child.log_offset == len("before\n")

    async def test_a_new_log_is_readable_by_its_owner_only(self, guarded: Any) -> None:
        child = await guarded.shell("exit 0")
        await child.wait()
        assert guarded.log().stat().st_mode & 0o777 == 0o600

    async def test_without_a_log_to_write_to_the_process_starts_all_the_same(self, guarded: Any) -> None:
        child = await guarded.run("/bin/echo", "hello", log=guarded.data_dir)
        assert await child.wait() == Exit(0, None)
        assert child.log_problem == f"{guarded.data_dir}: Is a directory"
        assert (
            f"the output of child is not kept: {guarded.data_dir}: Is a directory" in guarded.log("tekton").read_text()
        )

    async def test_a_log_grows_no_further_than_it_may(self, guarded: Any, until: Any) -> None:
        flood = "while :; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; done"
        rotation = Rotation(max_size=64 * 1024, keep=2)
        child = await guarded.shell(flood, rotation=rotation)
        await until(lambda: "child.log.2" in os.listdir(guarded.data_dir / "logs"))
        await guarded.client.stop(child, 0)
        await child.wait_cleared()
        # What was written after the last look is dealt with at the next one, though nobody writes any more.
        await until(lambda: guarded.log().stat().st_size <= rotation.max_size)
        assert "child.log.3" not in os.listdir(guarded.data_dir / "logs")

    @pytest.mark.parametrize("number", ["\u00b2", "9" * 5000, "x", ""])
    async def test_a_process_with_a_forged_mark_does_no_harm(self, guarded: Any, number: str) -> None:
        forged = f'export TEKTON_RUN_ID="${{TEKTON_RUN_ID%.*}}.{number}"; setsid sleep 60 & sleep 0.1'

        child = await guarded.shell(forged)

        async with asyncio.timeout(5):
            await child.wait_cleared()
        assert "internal error" not in (guarded.data_dir / "logs" / "tekton.log").read_text()

    async def test_the_environment_is_the_guards_with_additions_and_a_mark(self, guarded: Any) -> None:
        child = await guarded.shell("echo $HOME $COLOUR $TEKTON_GUARD_PID $TEKTON_RUN_ID", env={"COLOUR": "blue"})
        await child.wait()
        expected = f"{os.environ['HOME']} blue {guarded.client.pid} {guarded.client.run_id}.{child.id}"
        assert await guarded.says() == expected

    async def test_the_socket_of_the_guard_is_not_inherited(self, guarded: Any) -> None:
        child = await guarded.shell("ls /proc/self/fd | wc -l; echo ${TEKTON_GUARD_FD:-none}")
        await child.wait()
        # 0, 1, 2, and the directory that ls reads.
        assert guarded.log().read_text().split() == ["4", "none"]

    async def test_standard_input_is_empty(self, guarded: Any) -> None:
        child = await guarded.run("/bin/cat")
        assert await child.wait() == Exit(0, None)

    async def test_a_child_leads_a_session_and_has_default_signals(self, guarded: Any) -> None:
        child = await guarded.shell("grep -E 'SigBlk|SigIgn' /proc/self/status; exec sleep 60")
        await guarded.says()

        process = procfs.read(child.pid)

        assert process is not None
        assert process.session == process.group == child.pid
        masks = [line.split()[1] for line in guarded.log().read_text().splitlines()]
        # Signals 32 and 33 belong to the C library; nobody can reset them.
        assert [int(mask, 16) & 0x7FFFFFFF for mask in masks] == [0, 0]

    async def test_hundred_children_start_at_once(self, guarded: Any) -> None:
        children = await asyncio.gather(*(guarded.run("/bin/true", name=f"c{n}") for n in range(100)))
        exits = await asyncio.gather(*(child.wait() for child in children))
        assert exits == [Exit(0, None)] * 100

    async def test_a_process_started_for_a_cancelled_call_is_killed(self, guarded: Any, until: Any) -> None:
        call = asyncio.ensure_future(guarded.run("/bin/sleep", "60"))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

        other = await guarded.run("/bin/true")
        await other.wait_cleared()

        await until(lambda: not procfs.marked(guarded.client.run_id))
        assert guarded.client.children == [other]


class TestSpawnErrors:
    @pytest.mark.parametrize(
        ("argv", "reason"),
        [
            (["no-such-program"], "command not found: no-such-program"),
            (["./no-such-program"], "command not found: ./no-such-program"),
            (["./plain"], "not executable: {dir}/./plain"),
            (["./orphan"], "{dir}/./orphan: the interpreter that its first line names does not exist"),
            (["./garbage"], "{dir}/./garbage is not a program (a script needs a '#!' line)"),
            (["./folder"], "not executable: {dir}/./folder"),
        ],
    )
    async def test_the_error_says_what_is_wrong_with_the_program(
        self, guarded: Any, tmp_path: Path, argv: list[str], reason: str
    ) -> None:
        (tmp_path / "folder").mkdir()
        for name, content, mode in (
            ("plain", "#!/bin/sh\n", 0o600),
            ("orphan", "#!/no/such/interpreter\n", 0o700),
            ("garbage", "\0\1\2", 0o700),
        ):
            (tmp_path / name).write_text(content)
            (tmp_path / name).chmod(mode)

        with pytest.raises(SpawnError) as caught:
            await guarded.run(*argv)

        assert caught.value.reason == reason.format(dir=tmp_path)
        assert guarded.client.children == []

    async def test_a_missing_working_directory_is_named(self, guarded: Any) -> None:
        with pytest.raises(SpawnError, match="working directory /no/such/place: No such file or directory"):
            await guarded.run("/bin/true", cwd="/no/such/place")

    async def test_a_request_without_sense_is_an_error_and_the_guard_goes_on(self, guarded: Any) -> None:
        with pytest.raises(SpawnError, match="bad request"):
            await guarded.client.spawn("child", [], cwd="/", log=guarded.log())
        with pytest.raises(SpawnError, match="bad request"):
            await guarded.run("/bin/echo", "nul\0byte")
        with pytest.raises(SpawnError, match="bad request"):
            await guarded.run("/bin/true", rotation=Rotation(max_size=0))
        assert await (await guarded.run("/bin/true")).wait() == Exit(0, None)


class TestEnds:
    @pytest.mark.parametrize(
        ("script", "how"),
        [("exit 0", Exit(0, None)), ("exit 7", Exit(7, None)), ("kill -SEGV $$", Exit(None, signal.SIGSEGV))],
    )
    async def test_an_exit_is_told_with_its_code_or_signal(self, guarded: Any, script: str, how: Exit) -> None:
        child = await guarded.shell(script)
        assert await child.wait() == how

    async def test_listeners_hear_of_an_exit_at_once(self, guarded: Any) -> None:
        heard: list[ChildProcess] = []
        remove = guarded.client.add_listener(heard.append)

        child = await guarded.shell("sleep 60")
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()
        remove()
        await (await guarded.shell("exit 1")).wait()

        assert heard == [child]

    async def test_no_zombie_is_left(self, guarded: Any, until: Any) -> None:
        # The second process is an orphan as soon as it has begun.
        child = await guarded.shell("sh -c 'sleep 0.05 &'; exit 3")
        await child.wait_cleared()
        await until(lambda: not [p for p in procfs.snapshot() if p.dead and p.session == child.pid])

    async def test_an_acknowledged_end_is_forgotten(self, guarded: Any) -> None:
        child = await guarded.shell("exit 1")
        await child.wait()
        guarded.client.acknowledge(child)
        assert guarded.client.children == []

    async def test_what_a_crashed_child_started_is_killed(
        self, guarded: Any, running: Callable[[int], bool], until: Any
    ) -> None:
        child = await guarded.shell(
            'sleep 61 & a=$!; setsid sleep 62 & b=$!; echo "{\\"group\\": $a, \\"detached\\": $b}"; wait'
        )
        pids = await guarded.tells()
        await until(lambda: (process := procfs.read(pids["detached"])) and process.session == pids["detached"])

        os.kill(child.pid, signal.SIGKILL)
        await child.wait_cleared()

        assert child.exit == Exit(None, signal.SIGKILL)
        assert not any(running(pid) for pid in pids.values())


class TestSignals:
    async def test_a_signal_reaches_the_whole_group(self, guarded: Any) -> None:
        child = await guarded.shell("trap 'echo got; exit 5' USR1; echo up; sleep 60 & wait")
        await guarded.says()
        assert await guarded.client.signal(child, signal.SIGUSR1)
        assert await child.wait() == Exit(5, None)

    async def test_signalling_what_has_ended_is_false(self, guarded: Any) -> None:
        child = await guarded.shell("exit 0")
        await child.wait()
        assert not await guarded.client.signal(child, signal.SIGTERM)
        assert not await guarded.client.stop(child, 1)

    async def test_stop_lets_a_child_end_by_itself(self, guarded: Any) -> None:
        child = await guarded.shell("trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done")
        await guarded.says()
        await guarded.client.stop(child, 60)
        await child.wait_cleared()
        assert child.exit == Exit(0, None)

    async def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(self, guarded: Any) -> None:
        child = await guarded.python(IGNORES_SIGTERM)
        await guarded.says()
        await guarded.client.stop(child, 0.2)
        assert await child.wait() == Exit(None, signal.SIGKILL)

    async def test_a_suspended_child_can_be_stopped(self, guarded: Any) -> None:
        child = await guarded.shell("trap 'exit 4' TERM; echo up; while :; do sleep 0.01; done")
        await guarded.says()
        os.kill(child.pid, signal.SIGSTOP)
        await guarded.client.stop(child, 60)
        assert await child.wait() == Exit(4, None)

    async def test_what_outlives_its_stopping_parent_has_the_rest_of_the_grace(self, guarded: Any) -> None:
        slow = "(trap 'sleep 0.1; echo saved; exit 0' TERM; echo up; while :; do sleep 0.01; done)"
        child = await guarded.shell(f"{slow} & trap 'exit 0' TERM; wait")
        await guarded.says()
        await guarded.client.stop(child, 60)
        await child.wait_cleared()
        assert guarded.log().read_text().endswith("saved\n")

    async def test_what_is_left_at_the_end_of_the_grace_is_killed(
        self, guarded: Any, running: Callable[[int], bool]
    ) -> None:
        child = await guarded.shell(f'setsid {sys.executable} -S -c "{IGNORES_SIGTERM}" & echo $! >pid; wait')
        await guarded.says()
        await guarded.client.stop(child, 0.3)
        await child.wait_cleared()
        assert child.exit == Exit(None, signal.SIGTERM)
        assert not running(int((guarded.data_dir / "pid").read_text()))


class TestTheConnection:
    async def test_closing_ends_everything(self, guarded: Any, running: Callable[[int], bool]) -> None:
        child = await guarded.shell("setsid sleep 60 & exec sleep 60")
        await guarded.client.close()
        assert not running(child.pid)
        assert not running(guarded.client.pid)
        assert procfs.marked(guarded.client.run_id) == []

    async def test_a_second_guard_on_the_data_directory_is_refused(
        self, guarded: Any, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SupervisionError, match=r"did not start \(exit code 75\)"):
            await GuardClient.launch(guarded.data_dir, lock_timeout=0.1)
        assert f"in use by a Tekton guard (pid {guarded.client.pid})" in capfd.readouterr().err

    @pytest.mark.parametrize("half", ["anchor", "guard"])
    async def test_losing_either_half_of_the_guard_kills_everything_and_is_told(
        self, tmp_path: Path, until: Any, half: str
    ) -> None:
        lost = asyncio.Event()
        client = await GuardClient.launch(tmp_path, on_lost=lost.set)
        await client.spawn("a", ["/bin/sh", "-c", "setsid sleep 60 & sleep 60"], cwd="/", log=tmp_path / "log")
        inner = next(p.pid for p in procfs.snapshot() if p.parent == client.pid)

        os.kill(client.pid if half == "anchor" else inner, signal.SIGKILL)
        async with asyncio.timeout(5):
            await lost.wait()

        await until(lambda: not procfs.marked(client.run_id))
        with pytest.raises(SupervisionError, match="the guard is gone"):
            await client.spawn("b", ["/bin/true"], cwd="/", log=tmp_path / "log")
        await client.close()

    async def test_losing_both_halves_kills_everything_too(self, tmp_path: Path, until: Any) -> None:
        lost = asyncio.Event()
        client = await GuardClient.launch(tmp_path, on_lost=lost.set)
        await client.spawn("a", ["/bin/sh", "-c", "setsid sleep 60 & sleep 60"], cwd="/", log=tmp_path / "log")
        inner = next(p.pid for p in procfs.snapshot() if p.parent == client.pid)

        os.kill(client.pid, signal.SIGSTOP)
        os.kill(inner, signal.SIGKILL)
        os.kill(client.pid, signal.SIGKILL)
        async with asyncio.timeout(5):
            await lost.wait()

        await until(lambda: not procfs.marked(client.run_id))
        await client.close()
