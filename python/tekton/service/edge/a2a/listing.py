"""ListTasks: the tasks of a caller, by when they were last changed, in pages that a cursor continues.

A cursor is the place of the last task of a page, which stays where it is when that changes or is forgotten: whoever
follows it comes by every task that was not changed meanwhile, and by none twice. One that was changed is at the front
from then on. How many there are is counted for the first page, and goes on with the cursor.
"""

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, NamedTuple

from tekton.a2a.agent import Agent
from tekton.a2a.task import Task
from tekton.a2a.task_log import Place, place_of
from tekton.a2a.task_manager import TaskQuery
from tekton.auth.principal import Principal
from tekton.auth.subjects import sender_of
from tekton.service.edge.a2a.contexts import Contexts
from tekton.service.edge.a2a.errors import invalid
from tekton.service.edge.a2a.views import STATES, task_view
from tekton.service.edge.a2a.wire import ListTasksRequest, State, TaskList
from tekton.service.open_tasks import WHOLE
from tekton.service.tasks import Tasks

PAGE: Final = 50
MOST_ON_PAGE: Final = 100

_STATES: Final = {state: one for one, state in STATES.items()}
_MOST_TOKEN: Final = 512


class _Cursor(NamedTuple):
    """Behind which task a page begins, and how many there are in all."""

    place: Place
    total: int


class Listing:
    """Lists *tasks*, with what was said of them in *contexts*."""

    def __init__(self, tasks: Tasks, contexts: Contexts) -> None:
        self._tasks = tasks
        self._contexts = contexts

    async def page(self, caller: Principal, agent: Agent | None, wanted: ListTasksRequest) -> TaskList:
        """One page of the tasks of *caller*; with *agent*, of those that it was given by itself. Raises A2aError."""
        size = PAGE if wanted.page_size is None else wanted.page_size
        if not 1 <= size <= MOST_ON_PAGE:
            raise invalid("pageSize", f"expected 1 to {MOST_ON_PAGE}")
        length = length_of("historyLength", wanted.history_length) or 0
        cursor = _cursor(wanted.page_token)
        query = TaskQuery(
            sender_of(caller),
            wanted.context_id or None,
            None if wanted.status is State.UNSPECIFIED else frozenset({_STATES[wanted.status]}),
            parent_id=WHOLE,
            since=wanted.status_timestamp_after,
            agent_id=None if agent is None else agent.agent_id,
        )
        await self._tasks.settle()
        found, total = await asyncio.to_thread(self._found, query, cursor, size + 1)
        shown = [
            task_view(task, self._contexts.history(task, length), artifacts=wanted.include_artifacts)
            for task in found[:size]
        ]
        more = _token(found[size - 1], total) if len(found) > size else ""
        return TaskList(shown, more, size, total)

    def _found(self, query: TaskQuery, cursor: _Cursor | None, limit: int) -> tuple[list[Task], int]:
        """The tasks behind *cursor*, and how many there are. Runs in a thread."""
        manager = self._tasks.manager
        if cursor is not None:
            return manager.latest(query, cursor.place, limit), cursor.total
        found = manager.latest(query, limit=limit)
        return found, len(found) if len(found) < limit else manager.count_of(query)


def length_of(field: str, length: int | None) -> int | None:
    """*length*, of a history, if it is one. Raises A2aError."""
    if length is not None and length < 0:
        raise invalid(field, "expected 0 or more")
    return length


def _token(task: Task, total: int) -> str:
    changed, task_id = place_of(task)
    return urlsafe_b64encode(f"{changed} {total} {task_id}".encode()).decode().rstrip("=")


def _cursor(token: str) -> _Cursor | None:
    """What a page token says; None for the first page. Raises A2aError."""
    if not token:
        return None
    try:
        text = urlsafe_b64decode(token[:_MOST_TOKEN] + "=" * (-len(token) % 4)).decode()
        changed, total, task_id = text.split(" ", 2)
        cursor = _Cursor((int(changed), task_id), int(total))
    except ValueError:
        cursor = None
    if cursor is None or not (0 <= cursor.place[0] < 2**63 and 0 <= cursor.total < 2**31):
        raise invalid("pageToken", "it is not one that was given out here")
    return cursor
