"""ListTasks: the tasks of a caller, by when they were last changed, in pages that a cursor continues.

The log of tasks finds them by when they were created. So the newest ones are put in order here, as many as can be, in a
thread; a cursor is the place of the last task of a page, which stays where it is when that changes or is forgotten.
"""

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from tekton.a2a.agent import Agent
from tekton.a2a.task import Task
from tekton.a2a.task_manager import TaskQuery
from tekton.auth.principal import Principal
from tekton.auth.subjects import sender_of
from tekton.service.edge.a2a.contexts import Contexts
from tekton.service.edge.a2a.errors import invalid
from tekton.service.edge.a2a.views import STATES, task_view
from tekton.service.edge.a2a.wire import ListTasksRequest, State, TaskList
from tekton.service.open_tasks import WHOLE
from tekton.service.tasks import Tasks

MOST_LISTED: Final = 1000
"""Tasks of one caller that are known here: the newest ones."""
PAGE: Final = 50
MOST_ON_PAGE: Final = 100

_STATES: Final = {state: one for one, state in STATES.items()}

_Place = tuple[int, str]


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
        await self._tasks.settle()
        found = await asyncio.to_thread(self._found, caller, agent, wanted)
        left = found if cursor is None else [task for task in found if _place(task) < cursor]
        shown = [
            task_view(task, self._contexts.history(task, length), artifacts=wanted.include_artifacts)
            for task in left[:size]
        ]
        return TaskList(shown, _token(left[size - 1]) if len(left) > size else "", size, len(found))

    def _found(self, caller: Principal, agent: Agent | None, wanted: ListTasksRequest) -> list[Task]:
        """All tasks of which one page is to be shown, in order. Runs in a thread."""
        query = TaskQuery(
            sender_of(caller),
            wanted.context_id or None,
            None if wanted.status is State.UNSPECIFIED else frozenset({_STATES[wanted.status]}),
            parent_id=WHOLE,
            since=wanted.status_timestamp_after,
        )
        found = self._tasks.search(caller, query, limit=MOST_LISTED)
        if agent is not None:
            found = [task for task in found if task.created.agent_id == agent.agent_id]
        return sorted(found, key=_place, reverse=True)


def length_of(field: str, length: int | None) -> int | None:
    """*length*, of a history, if it is one. Raises A2aError."""
    if length is not None and length < 0:
        raise invalid(field, "expected 0 or more")
    return length


def _place(task: Task) -> _Place:
    return round(task.changed_at * 1_000_000), task.task_id


def _token(task: Task) -> str:
    changed, task_id = _place(task)
    return urlsafe_b64encode(f"{changed} {task_id}".encode()).decode().rstrip("=")


def _cursor(token: str) -> _Place | None:
    """The place behind which a page begins; None for the first one."""
    if not token:
        return None
    try:
        changed, _, task_id = urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode().partition(" ")
        return int(changed), task_id
    except ValueError:
        raise invalid("pageToken", "it is not one that was given out here") from None
