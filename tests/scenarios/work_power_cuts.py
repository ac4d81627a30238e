"""Cuts the power under the file with the work, checksums included, and checks what is left. Prints JSON.

    python tests/scenarios/work_power_cuts.py [--cuts 200] [--seed 1]

What a cut is, and what must be there after it, is told in `power_cuts.py`. What there is, is all that is in the tables;
a database in memory that gets the same batches says what there should be.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
from power_cuts import Life, campaign

from tekton.a2a.conversation_store import ConversationRecord
from tekton.a2a.push_store import PushConfig
from tekton.a2a.task import Task, fold
from tekton.a2a.task_event import Budget, Change, Completed, Created, Leased, StepCompleted, TaskEvent
from tekton.a2a.work import work_sql as sql
from tekton.a2a.work.work_batch import WorkBatch
from tekton.a2a.work.work_file import WorkFile, body_of
from tekton.core.component_lifecycle import database
from tekton.testing.powercut import PowerCutDisk

TABLES = ("tasks", "events", "pushes", "conversations", "contexts", "participants", "messages", "message_ids")
Contents = dict[str, list[Any]]


class WorkLife(Life[WorkFile, WorkBatch, Contents]):
    """The life of a disk with the file."""

    def __init__(self, disk: PowerCutDisk, directory: Path, seed: int) -> None:
        super().__init__(disk, directory, seed, nothing=WorkBatch())
        self.number = 0
        self.open_tasks: dict[int, Task] = {}
        self.talks: dict[int, int] = {}

    def make_store(self) -> WorkFile:
        return WorkFile(self.directory / "work.db", 0, exclusive=True)

    def open(self, store: WorkFile) -> None:
        found = store.open()
        self.open_tasks = {one.number: one.task for one in found.tasks}

    def commit(self, store: WorkFile, batch: WorkBatch) -> None:
        store.write(batch)

    def rest(self, store: WorkFile) -> None:
        if self.rng.random() < 0.2:
            self.doing = "checkpointing"
            store.move_log(idle=True)

    def verify(self) -> Contents:
        found = super().verify()
        self.talks = {number: last for number, _, _, _, last, *_ in found["conversations"]}
        return found

    def make_batch(self) -> WorkBatch:
        batch = WorkBatch()
        for _ in range(self.rng.choice((1, 1, 3, 30))):
            self.rng.choice((self.begin, self.go_on, self.go_on, self.say))(batch)
        return batch

    def begin(self, batch: WorkBatch) -> None:
        self.number += 1
        task_id = f"t{self.number}"
        made = Created("review", {"text": self.text()}, 1.0, Budget(), task_id, owner=f"o{self.number % 3}")
        event = TaskEvent(task_id, 1, 1.0, 0, made)
        task = self.open_tasks[self.number] = fold([event])
        batch.put_task(self.number, task)
        batch.put_event(self.number, event, body_of(event))
        if self.rng.random() < 0.3:
            batch.put_push(self.number, PushConfig(task_id, "hook", "https://example.org", self.text()))

    def go_on(self, batch: WorkBatch) -> None:
        if not self.open_tasks:
            return
        number, task = self.rng.choice(sorted(self.open_tasks.items()))
        changes: list[Change] = [Leased("w"), StepCompleted(f"s{task.number}", self.text())]
        change = Completed(1) if task.number > 9 else changes[task.number > 1]
        event = TaskEvent(task.task_id, task.number + 1, 2.0, 1, change)
        batch.put_event(number, event, body_of(event))
        task = self.open_tasks[number] = fold([TaskEvent(task.task_id, event.number, 1.0, 0, task.created)])
        if event.number > 10:
            batch.end_task(number, task)
            del self.open_tasks[number]

    def say(self, batch: WorkBatch) -> None:
        talk = self.rng.randrange(1, 4)
        last = self.talks[talk] = self.talks.get(talk, 0) + 1
        id_ = f"0190000{talk}-0000-7000-8000-{last:012}"
        record = ConversationRecord(f"c{talk}", "ann", ("ann",), 1.0, float(last), last=last)
        batch.put_conversation(talk, b'["ann",["ann"],1.0]', record)
        batch.put_context(talk, b'{"n":"%s"}' % self.text().encode())
        batch.put_participant("ann", f"c{talk}", takes_part=last % 2 == 1)
        batch.put_message(talk, last, id_, b'"%s"' % self.text().encode())

    def text(self) -> str:
        return "x" * self.rng.choice((3, 100, 3000))

    def found(self) -> Contents:
        store = self.make_store()
        store.open()
        store.close()
        connection = database.connect(self.directory / "work.db", exclusive=True)
        try:
            return contents(connection)
        finally:
            connection.close()

    def expected(self, batches: Sequence[WorkBatch]) -> Contents:
        connection = apsw.Connection(":memory:")
        connection.execute("".join(sql.MIGRATIONS) + sql.WRITER)
        with connection:
            for batch in batches:
                connection.execute(sql.WRITE, batch.values())
        return contents(connection)


def contents(connection: apsw.Connection) -> Contents:
    return {name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in TABLES}


if __name__ == "__main__":
    sys.exit(campaign(__doc__, WorkLife, cuts_per_life=15))
