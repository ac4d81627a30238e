"""Kills a process that carries out tasks, again and again, at every failpoint of them and anywhere else.

`TEKTON_WORK_KILLS` sets how often it is killed anywhere (3); with more than 20, each life is ten times as long.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tekton.a2a.conversation import Conversation
from tekton.a2a.task import TaskState
from tekton.a2a.work.work_store import FILE_NAME, WorkStore
from tekton.failpoints import POINTS

KILLS = int(os.environ.get("TEKTON_WORK_KILLS", "3"))
LINES = 1_000 if KILLS <= 20 else 10_000
SPEAKERS = 4
WRITER = Path(__file__).with_name("work_writer.py")
FAILPOINTS = [f"{name}=kill@{9 + 5 * number}" for number, name in enumerate(POINTS) if name.startswith("work.")]


class Known:
    """What the processes have said."""

    def __init__(self) -> None:
        self.done: dict[str, set[str]] = {}
        self.over: dict[str, str] = {}
        self.ran = 0
        self.again: list[tuple[str, str]] = []
        self.sequences: list[list[int]] = [[] for _ in range(SPEAKERS)]

    def hear(self, line: str) -> None:
        word, *rest = line.split(" ")
        if word == "ran":
            self.ran += 1
            if rest[1] in self.done.get(rest[0], ()):
                self.again.append((rest[0], rest[1]))
        elif word == "done":
            self.done.setdefault(rest[0], set()).add(rest[1])
        elif word == "over":
            assert self.over.setdefault(rest[0], rest[1]) == rest[1]
        elif word == "said":
            speaker, number, sequence = map(int, rest)
            assert number == len(self.sequences[speaker])
            self.sequences[speaker].append(sequence)

    def live(self, directory: Path, how: str = "", lines: int = 0) -> int:
        """Let a process live for so many lines, or to its own end; its exit status."""
        numbers = json.dumps([len(one) for one in self.sequences])
        command = [sys.executable, str(WRITER), str(directory), how, numbers]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for line in writer.stdout:
                # What was said before the killing counts; it may still come out of the pipe after it.
                if line.endswith(b"\n"):
                    self.hear(line.decode().rstrip())
                lines -= 1
                if lines == 0:
                    writer.kill()
        return writer.returncode


@pytest.mark.timeout(1800 if KILLS > 20 else 60)
async def test_a_killed_process_repeats_no_step_and_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    known = Known()
    for point in FAILPOINTS:
        assert known.live(tmp_path, point) == -signal.SIGKILL
    for seed in range(KILLS):
        assert known.live(tmp_path, "", Random(seed).randrange(1, LINES)) == -signal.SIGKILL
    assert known.live(tmp_path, "finish") == 0

    assert known.again == []
    acknowledged = sum(map(len, known.done.values()))
    assert acknowledged > 50
    store = await WorkStore.open(tmp_path / FILE_NAME)
    assert store.tasks.tasks(open_only=True) == []
    tasks = {task.task_id: task for task in store.tasks.tasks(limit=1_000_000)}
    for task in tasks.values():
        # A step that must not be repeated, and of which nobody knows what came of it, ends its task.
        assert task.state is TaskState.COMPLETED or (task.failure and task.failure.code == "step_unknown")
        assert known.done.get(task.task_id, set()) <= set(task.steps)
        assert store.push.get(task.task_id, "hook") is not None
    for task_id, result in known.over.items():
        if (found := tasks.get(task_id)) is not None:
            assert found.failure.code == result if found.failure else found.result == json.loads(result)
    for speaker, sequences in enumerate(known.sequences):
        talk = Conversation.resume(f"talk-{speaker}", store.conversations)
        contents = [message.content for message in talk.messages()]
        assert contents == list(range(len(contents)))
        assert [contents[one - 1] for one in sequences] == list(range(len(sequences)))
        assert talk.context == {"newest": contents[-1]}
    await store.close()
    print(f"{acknowledged} of {known.ran} steps acknowledged in {KILLS + len(FAILPOINTS)} lives")
