"""Children of the guard, and what they leave behind."""

import os
import time
from pathlib import Path

import pytest

from tekton.supervisor import procfs
from tekton.supervisor.guard_children import Children, Order
from tekton.supervisor.spawn import Command


def test_who_forked_while_the_processes_were_listed_is_found_and_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = Children("run.1", lambda: 0.0)
    script = ["sh", "-c", "sleep 1000 > /dev/null 2>&1 &"]
    command = Command(script, dict(os.environ), str(tmp_path), str(tmp_path / "log"))
    child = children.start(Order("daemon", {}, command))
    assert child.read_outcome() is None
    os.waitpid(child.pid, 0)
    child.note_exit(0)
    remains = [process for process in procfs.snapshot() if process.session == child.pid]
    looks = iter([[], remains])
    monkeypatch.setattr(procfs, "descendants", lambda _: next(looks))

    assert children.clean(0.0) == []

    assert len(remains) == 1
    assert not child.cleared
    deadline = time.monotonic() + 20
    while (left := procfs.read(remains[0].pid)) is not None and not left.dead:
        assert time.monotonic() < deadline
        time.sleep(0.01)
