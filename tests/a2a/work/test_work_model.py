"""The store on disk beside those in memory: whatever is said to both, both answer the same, after a restart too.

`TEKTON_WORK_WALKS` sets how many walks there are (4).
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest

from tekton.a2a.conversation_store import ConversationRecord, MemoryConversationStore
from tekton.a2a.message import AgentMessage
from tekton.a2a.push_store import MemoryPushStore, PushConfig
from tekton.a2a.task import TaskState
from tekton.a2a.task_event import (
    ArtifactAdded,
    AttemptFailed,
    Budget,
    Canceled,
    Change,
    Completed,
    Created,
    Failed,
    InputGiven,
    InputRequired,
    Leased,
    Planned,
    PlannedTask,
    Progressed,
    Spent,
    StepBegun,
    StepCompleted,
)
from tekton.a2a.task_log import MemoryTaskLog, TaskQuery
from tekton.a2a.work.work_store import WorkStore
from tekton.utils.tekton_errors import ConversationError, TaskError

WALKS = int(os.environ.get("TEKTON_WORK_WALKS", "4"))
STEPS = 250
TASKS = [f"t{number}" for number in range(8)]
TALKS = [f"c{number}" for number in range(4)]
PEOPLE = ("ada", "bob", "eve")
STATES = (None, frozenset({TaskState.COMPLETED}), frozenset({TaskState.WORKING, TaskState.FAILED}), frozenset())


class Walk:
    """What is done to `work` and to its twins in memory."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.rng = Random(seed)
        self.now = 1_700_000_000.0
        self.tasks = MemoryTaskLog()
        self.conversations = MemoryConversationStore()
        self.push = MemoryPushStore(self.tasks)
        self.work: WorkStore

    async def run(self) -> None:
        self.work = await WorkStore.open(self.path)
        steps = [self.append, self.append, self.append, self.append, self.say, self.say, self.say, self.begin,
                 self.join, self.forget, self.end, self.put, self.deliver, self.withdraw]  # fmt: skip
        for _ in range(STEPS):
            self.now += self.rng.choice((0.0, 0.001, 1.7))
            self.rng.choice(steps)()
            if self.rng.random() < 0.2:
                self.look()
            if self.rng.random() < 0.15:
                await self.work.flush()
            if self.rng.random() < 0.05:
                await asyncio.wrap_future(self.work._desk.submit(self.work._file.tidy))
            if self.rng.random() < 0.04:
                await self.restart()
        await self.restart()
        self.look()
        await self.work.close()

    async def restart(self) -> None:
        await self.work.close()
        self.work = await WorkStore.open(self.path)

    def both(self, ours: Callable[[], Any], its: Callable[[], Any]) -> Any:
        """Have the same done to both. What comes of it, an error too, is the same."""
        outcomes = []
        for call in (ours, its):
            try:
                outcomes.append(call())
            except (TaskError, ConversationError) as error:
                outcomes.append((type(error), str(error)))
        assert outcomes[0] == outcomes[1]
        return outcomes[0]

    # Tasks

    def append(self) -> None:
        task_id, now = self.rng.choice(TASKS), self.now
        changes = [self.change() for _ in range(self.rng.choice((1, 1, 2, 3)))]
        if task_id not in [task.task_id for task in self.tasks.tasks()]:
            changes[0] = self.created(task_id)
        try:
            known = self.tasks.task(task_id)
        except TaskError:
            known = None
        epoch = self.rng.choice((None, known.epoch if known else 0, 1))
        expected = self.rng.choice((None, None, known.number if known else 0, 3))
        self.both(
            lambda: self.work.tasks.append(task_id, changes, now, expected=expected, epoch=epoch),
            lambda: self.tasks.append(task_id, changes, now, expected=expected, epoch=epoch),
        )

    def created(self, task_id: str) -> Created:
        rng = self.rng
        return Created(
            rng.choice(("review", "écrire")),
            {"text": "x" * rng.choice((0, 30, 5000))},
            self.now + 60,
            Budget(units=rng.choice((None, 2.5))),
            task_id,
            owner=rng.choice(PEOPLE),
            conversation_id=rng.choice(("", *TALKS)),
            parent_id=rng.choice(("", "", *TASKS)),
        )

    def change(self) -> Change:
        rng = self.rng
        number = rng.randrange(5)
        changes: list[Change] = [
            Leased("w", rng.choice(("", "agent"))),
            Leased("v", "agent"),
            StepBegun(f"s{number}"),
            StepCompleted(f"s{number}", {"né": ["x" * rng.choice((0, 9000)), None, 1e300, -0.1]}),
            Progressed(number / 3, None, "½"),
            ArtifactAdded(f"a{number}", number),
            Spent(0.1),
            InputRequired("ask", "wohin?", {"type": "string"}),
            InputGiven("ask", "there"),
            AttemptFailed("agent", "x", "y"),
            Planned([PlannedTask("p", "t1", "review", {})]),
            Completed([number]),
            Failed("x", "y"),
            Canceled("z"),
        ]
        return rng.choice(changes)

    def forget(self) -> None:
        task_id = self.rng.choice(TASKS)
        self.both(lambda: self.work.tasks.delete(task_id), lambda: self.tasks.delete(task_id))

    # Conversations

    def begin(self) -> None:
        some = tuple(self.rng.sample(PEOPLE, self.rng.randrange(1, 4)))
        record = ConversationRecord(self.rng.choice(TALKS), some[0], some, self.now, self.now)
        self.both(lambda: self.work.conversations.create(record), lambda: self.conversations.create(record))

    def say(self) -> None:
        rng, now, talk = self.rng, self.now, self.rng.choice(TALKS)
        id_ = str(UUID(int=rng.randrange(40), version=4))
        message = AgentMessage(rng.choice(PEOPLE), {"t": "é" * rng.choice((1, 4000))}, message_id=id_, timestamp=now)
        context = rng.choice((None, None, {}, {"k": [now, "ü"]}))
        self.both(
            lambda: self.work.conversations.append(talk, message, now, context),
            lambda: self.conversations.append(talk, message, now, context),
        )

    def join(self) -> None:
        talk, some, now = self.rng.choice(TALKS), tuple(self.rng.sample(PEOPLE, self.rng.randrange(4))), self.now
        self.both(
            lambda: self.work.conversations.set_participants(talk, some, now),
            lambda: self.conversations.set_participants(talk, some, now),
        )

    def end(self) -> None:
        talk = self.rng.choice(TALKS)
        self.both(lambda: self.work.conversations.delete(talk), lambda: self.conversations.delete(talk))

    # Pushes

    def put(self) -> None:
        config = PushConfig(
            self.rng.choice(TASKS), f"p{self.rng.randrange(3)}", f"https://{self.now}", delivered=self.rng.randrange(3)
        )
        self.both(lambda: self.work.push.put(config), lambda: self.push.put(config))

    def deliver(self) -> None:
        key, number = (self.rng.choice(TASKS), f"p{self.rng.randrange(3)}"), self.rng.randrange(20)
        self.both(lambda: self.work.push.note_delivered(*key, number), lambda: self.push.note_delivered(*key, number))

    def withdraw(self) -> None:
        key = (self.rng.choice(TASKS), f"p{self.rng.randrange(3)}")
        self.both(lambda: self.work.push.delete(*key), lambda: self.push.delete(*key))

    # Reading

    def look(self) -> None:
        """Ask both all that can be asked."""
        limit, after = self.rng.choice((0, 1, 3, 100)), self.rng.choice(("", *TASKS))
        for open_only in (False, True):
            self.same("tasks", lambda log: log.tasks(after, limit, open_only=open_only))  # noqa: B023
        self.same("tasks", lambda log: log.count())
        query = self.query()
        self.same("tasks", lambda log: log.find(query, after, limit))
        self.same("push", lambda push: push.waiting(limit, (after, "p1")))
        self.same("push", lambda push: push.waiting())
        for task_id in TASKS:
            self.same("tasks", lambda log: log.task(task_id))  # noqa: B023
            self.same("tasks", lambda log: log.read(task_id, limit, 4))  # noqa: B023
            self.same("push", lambda push: push.of_task(task_id))  # noqa: B023
        for talk in TALKS:
            self.same("conversations", lambda store: store.record(talk))  # noqa: B023
            self.same("conversations", lambda store: store.read(talk, limit, 5))  # noqa: B023
        for person in PEOPLE:
            self.same("conversations", lambda store: store.of_participant(person, "c0", limit))  # noqa: B023

    def query(self) -> TaskQuery:
        rng = self.rng
        return TaskQuery(
            rng.choice((None, *PEOPLE)),
            rng.choice((None, None, "", *TALKS)),
            rng.choice(STATES),
            rng.choice((None, None, "review")),
            rng.choice((None, "", *TASKS)),
            rng.choice((None, None, self.now - 20)),
        )

    def same(self, part: str, ask: Callable[[Any], Any]) -> None:
        self.both(lambda: ask(getattr(self.work, part)), lambda: ask(getattr(self, part)))


@pytest.mark.parametrize("seed", range(WALKS))
async def test_the_store_on_disk_answers_as_those_in_memory(tmp_path: Path, seed: int) -> None:
    await Walk(tmp_path / "work.db", seed).run()
