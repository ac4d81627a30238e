"""Process 1 of a container: what it passes on, what it reaps, and how it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")

# A subreaper inherits orphans as process 1 does.
ATTENDED = """
import os, signal, sys, time
from tekton.supervisor import prctl
from tekton.supervisor.process_one import attended

def run():
    {run}

prctl.become_subreaper()
code = attended(run)
sys.stdout.flush()
os._exit(code)
"""
NEEDS_SUBREAPERS = pytest.mark.skipif(sys.platform != "linux", reason="subreapers are there on Linux only")


def begin(run: str) -> "subprocess.Popen[str]":
    program = ATTENDED.format(run=run.strip().replace("\n", "\n    "))
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize(("run", "code"), [("return 0", 0), ("return 74", 74), ("os.kill(os.getpid(), 9)", 137)])
@NEEDS_SUBREAPERS
def test_it_ends_as_its_child_has_ended(run: str, code: int) -> None:
    process = begin(run)

    process.communicate()

    assert process.returncode == code


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=str)
@NEEDS_SUBREAPERS
def test_a_signal_is_passed_on_once(signum: signal.Signals) -> None:
    process = begin(
        f"""
signal.pthread_sigmask(signal.SIG_BLOCK, [{signum:d}])
print("waiting", flush=True)
signal.sigwait([{signum:d}])
return 1 if {signum:d} in signal.sigpending() else 5
"""
    )
    assert process.stdout is not None
    process.stdout.readline()

    process.send_signal(signum)
    process.communicate()

    assert process.returncode == 5


@NEEDS_SUBREAPERS
def test_whom_nobody_waits_for_is_reaped() -> None:
    """An orphan ends; the child goes on until it is gone altogether, zombies included."""
    process = begin(
        """
reading, writing = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.write(writing, str(os.getpid()).encode())
    os._exit(0)
os.wait()
orphan = int(os.read(reading, 20))
while os.path.exists(f"/proc/{orphan}"):
    time.sleep(0.005)
return 7
"""
    )

    process.communicate(timeout=30)

    assert process.returncode == 7


def test_whoever_is_not_process_1_runs_by_itself(tmp_path: Path) -> None:
    script = (
        "import os; from tekton.supervisor.process_one import below_process_one as below; me = os.getpid();"
        "raise SystemExit(below(lambda: 3 if os.getpid() == me else 4))"
    )

    assert subprocess.run([sys.executable, "-c", script], check=False, cwd=tmp_path).returncode == 3
