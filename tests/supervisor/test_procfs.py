"""Processes as the kernel sees them, and signals that hit nobody else."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tekton.supervisor import procfs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

MARK = f"tests.{os.getpid()}"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A marked process in a session of its own."""
    environment = {procfs.MARK_VARIABLE: f"{MARK}.1", "OTHER": "x" * 10_000}
    with subprocess.Popen(["/bin/sleep", "600"], env=environment, start_new_session=True) as process:
        # The kernel lets Popen return a moment before the new program has its environment.
        while procfs.mark_of(process.pid) is None:
            assert process.poll() is None
        yield process
        process.kill()


def test_a_process_is_described(sleeper: subprocess.Popen[bytes]) -> None:
    process = procfs.read(sleeper.pid)
    assert process is not None
    assert process.pid == process.group == process.session == sleeper.pid
    assert process.parent == os.getpid()
    assert not process.dead


def test_a_name_with_parentheses_and_spaces_is_no_problem() -> None:
    script = "import sys; open('/proc/self/comm', 'w').write('a) R 1 (b'); print(1, flush=True); sys.stdin.read()"
    command = [sys.executable, "-S", "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = procfs.read(process.pid)
        assert process.stdin is not None
        process.stdin.close()
    assert found is not None
    assert found.parent == os.getpid()


def test_the_own_children_are_descendants(sleeper: subprocess.Popen[bytes]) -> None:
    assert sleeper.pid in [process.pid for process in procfs.descendants(os.getpid())]
    assert os.getpid() in [process.pid for process in procfs.descendants(os.getppid())]


def test_marks_are_found_by_their_beginning(sleeper: subprocess.Popen[bytes]) -> None:
    assert procfs.mark_of(sleeper.pid) == f"{MARK}.1"
    assert [process.pid for process in procfs.marked(f"{MARK}.")] == [sleeper.pid]
    assert procfs.marked(f"{MARK}.", exclude=[sleeper.pid]) == []


def test_a_process_without_mark_has_none() -> None:
    with subprocess.Popen(["/bin/sleep", "600"], env={"X": f"{procfs.MARK_VARIABLE}={MARK}"}) as process:
        assert procfs.mark_of(process.pid) is None
        process.kill()


def test_a_signal_reaches_the_process_that_was_meant(sleeper: subprocess.Popen[bytes]) -> None:
    process = procfs.read(sleeper.pid)
    assert process is not None
    assert procfs.send(process, signal.SIGTERM)
    assert sleeper.wait() == -signal.SIGTERM
    assert not procfs.send(process, signal.SIGTERM)


def test_a_signal_does_not_reach_another_process_with_the_same_pid(sleeper: subprocess.Popen[bytes]) -> None:
    process = procfs.read(sleeper.pid)
    assert process is not None
    earlier = process._replace(started=process.started - 1)
    assert not procfs.send(earlier, signal.SIGKILL)
    assert procfs.kill_all([earlier]) == 0
    assert sleeper.poll() is None


def test_a_zombie_is_dead_and_no_descendant(sleeper: subprocess.Popen[bytes]) -> None:
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    process = procfs.read(sleeper.pid)
    assert process is not None
    assert process.dead
    assert sleeper.pid not in [process.pid for process in procfs.descendants(os.getpid())]
