"""The topics of tasks on the socket: `task` is one, with all that happens to it; `tasks` are all that one has.

    → {"op":"sub","id":1,"topic":"task","query":"<task id>","since":N?}
    ← {"id":1,"t":"event","seq":N,"data":{event…}}                  each event of it behind number N, in order
    ← {"id":1,"t":"end"}                                            it is over, or forgotten: there are no more

    → {"op":"sub","id":2,"topic":"tasks","query":"all"?}
    ← {"id":2,"t":"snap","seq":N,"data":[note…]}                    those that are open, the newest first
    ← {"id":2,"t":"note","seq":N,"data":note}                       each thing that happens, in a few words
    ← {"id":2,"t":"lag","dropped":N}, and a snapshot again          the client has read too slowly

What is told is durable. Who may not see a task is told nothing of it; with `all`, who manages tasks sees everybody's.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, closing
from typing import Final

from tekton.a2a.task import Task, TaskState
from tekton.a2a.task_log import TaskQuery
from tekton.auth.principal import Principal
from tekton.auth.subjects import sender_of
from tekton.gateway.connection import Identify
from tekton.gateway.errors import InvalidInputError, PermissionDeniedError
from tekton.gateway.request import encode
from tekton.gateway.sockets import Sub
from tekton.gateway.topics import OwnedTopic
from tekton.service.open_tasks import WHOLE
from tekton.service.task_news import TaskNews, TaskNote
from tekton.service.task_streams import follow
from tekton.service.task_views import event_json
from tekton.service.tasks import MANAGE, Tasks

RUN: Final = "tasks:run"
MOST_OPEN: Final = 1000
"""Tasks in a snapshot, the newest."""

_OPEN: Final = frozenset(state for state in TaskState if not state.over)


def task_topics(tasks: Tasks) -> dict[str, OwnedTopic]:
    """The topics by name."""

    def one(operation: Sub, who: Identify) -> AsyncGenerator[str, None]:
        if not operation.query:
            raise InvalidInputError("/query", "it has to be the id of a task")
        tasks.find(who(), operation.query)
        return _of_one(tasks, operation, who)

    def all_(operation: Sub, who: Identify) -> AsyncGenerator[str, None]:
        if operation.query not in ("", "all"):
            raise InvalidInputError("/query", "nothing, or `all`")
        if operation.query == "all" and not who().grants.allows(MANAGE):
            raise PermissionDeniedError(MANAGE)
        return _of_all(tasks, operation, who)

    return {"task": OwnedTopic(RUN, one, queried=True), "tasks": OwnedTopic(RUN, all_, queried=True)}


async def _of_one(tasks: Tasks, operation: Sub, who: Identify) -> AsyncGenerator[str, None]:
    head = f'{{"id":{operation.id},"t":"event","seq":'
    async with aclosing(follow(tasks, who, operation.query, operation.since or 0)) as batches:
        async for batch in batches:
            for event in batch:
                yield f'{head}{event.number},"data":{event_json(event).decode()}}}'
    yield f'{{"id":{operation.id},"t":"end"}}'


async def _of_all(tasks: Tasks, operation: Sub, who: Identify) -> AsyncGenerator[str, None]:
    everybody = operation.query == "all"

    def sees(principal: Principal, owner: str) -> bool:
        if everybody:
            return principal.grants.allows(MANAGE)
        return owner == sender_of(principal)

    opened = sender_of(who())
    with closing(TaskNews(tasks.manager, lambda task: everybody or task.owner == opened)) as news:
        yield await _snapshot(tasks, operation.id, None if everybody else opened)
        while True:
            notes, lost = await news.next()
            await tasks.settle()
            principal = who()
            if not sees(principal, opened):
                raise PermissionDeniedError(MANAGE)
            if lost:
                yield f'{{"id":{operation.id},"t":"lag","dropped":{lost}}}'
                yield await _snapshot(tasks, operation.id, None if everybody else opened)
                continue
            for frame in _frames(operation.id, notes, tasks.manager.version):
                yield frame


async def _snapshot(tasks: Tasks, topic_id: int, owner: str | None) -> str:
    version = tasks.manager.version
    found = tasks.manager.find(TaskQuery(owner=owner, states=_OPEN, parent_id=WHOLE), limit=MOST_OPEN)
    await tasks.settle()
    notes = encode([_note(task) for task in found]).decode()
    return f'{{"id":{topic_id},"t":"snap","seq":{version},"data":{notes}}}'


def _note(task: Task) -> TaskNote:
    return TaskNote.of(task, task.number, task.changed_at, "")


def _frames(topic_id: int, notes: list[TaskNote], version: int) -> Iterator[str]:
    for note in notes:
        yield f'{{"id":{topic_id},"t":"note","seq":{version},"data":{encode(note).decode()}}}'
