"""Tasks: created, watched, answered, called off, tried again."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final

import msgspec

from tekton.a2a.task import Task, TaskState
from tekton.a2a.task_event import Budget
from tekton.a2a.task_graph import MOST_INPUTS, Subtask
from tekton.a2a.task_log import TaskQuery
from tekton.a2a.task_manager import TIMEOUT
from tekton.auth.principal import Principal
from tekton.auth.subjects import sender_of
from tekton.gateway.errors import InvalidParameterError, PermissionDeniedError, UnavailableError
from tekton.gateway.request import Request, Response, encode
from tekton.gateway.router import Route
from tekton.gateway.sse import EventStream
from tekton.gateway.tool_calls import wants_events
from tekton.service.api.paging import Item, page_of
from tekton.service.open_tasks import WHOLE
from tekton.service.system import System
from tekton.service.task_streams import stream_of_task
from tekton.service.task_views import TaskView, event_json
from tekton.utils.tekton_errors import (
    AgentNotFoundError,
    AgentUnreachableError,
    ConversationNotFoundError,
    InvalidIdError,
    InvalidTaskError,
    NoAgentAvailableError,
    StorageError,
    TaskCycleError,
    TaskNotFoundError,
    TaskStateError,
    TooManyTasksError,
)
from tekton.utils.tekton_ids import nearest_name

RUN: Final = "tasks:run"
MAX_WAIT: Final = 60.0
"""Seconds for which the end of a task is waited for at most."""
MAX_ORDER: Final = MOST_INPUTS + 64 * 1024
AT_ONCE: Final = 20
"""Tasks, or events, that are read at a time, before others get their turn."""
MOST_PARTS: Final = 1000

_Text = Annotated[str, msgspec.Meta(max_length=256)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class BudgetOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a task may use up: `steps`, `attempts` in a row without one, and `units` of what its agents spend."""

    steps: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
    attempts: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 5
    units: Annotated[float, msgspec.Meta(ge=0)] | None = None


class PartOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a task: it begins when those of its `dependencies` are completed, and has their results."""

    name: _Text
    task_type: _Text
    inputs: dict[str, Any] = {}
    dependencies: Annotated[list[_Text], msgspec.Meta(max_length=MOST_PARTS)] = []
    agent_id: _Text = ""


class TaskOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be done, within `timeout` seconds. With `subtasks` it is done by these.

    `strategy` puts the results of the parts together, or those of all agents that can do it: `all`, `first`…
    """

    task_type: _Text
    inputs: dict[str, Any] = {}
    timeout: Annotated[float, msgspec.Meta(gt=0, le=31_536_000)] = TIMEOUT
    budget: BudgetOrder = BudgetOrder()
    strategy: _Text = ""
    subtasks: Annotated[list[PartOrder], msgspec.Meta(max_length=MOST_PARTS)] = []
    conversation_id: _Text = ""


class WaitQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For how many seconds to wait until the task is over, or waits for an answer."""

    wait: Annotated[float, msgspec.Meta(ge=0, le=MAX_WAIT)] = 0.0


class TaskFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which tasks, the newest first: `state` may be several, with commas, or `open`. `all`: those of everybody.

    Without a `parent` those that are no part of another one.
    """

    state: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    type: _Text | None = None
    conversation: _Text | None = None
    parent: _Text | None = None
    all: bool = False
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100
    cursor: _Text | None = None


class TaskPage(msgspec.Struct, frozen=True):
    """One page of a list. `cursor` continues it; null: that was all."""

    items: list[TaskView]
    cursor: str | None


class EventQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events: behind a number, and how many at once."""

    after: _Number = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100


class EventPage(msgspec.Struct, frozen=True):
    """Some events of a task, the oldest first: `{"number", "at", "epoch", "event", …}`. `cursor`: the next `after`."""

    items: list[dict[str, Any]]
    cursor: int | None


class CancelOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a task is called off."""

    reason: Annotated[str, msgspec.Meta(max_length=2000)] = ""


class AnswerOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answer to what a task asks: JSON."""

    answer: Any


class Tasks:
    """Handlers over the tasks."""

    def __init__(self, system: System) -> None:
        self._system = system

    async def create(self, request: Request) -> TaskView:
        order: TaskOrder = request.body
        tasks = self._system.tasks
        task = await tasks.create(
            request.principal,
            order.task_type,
            order.inputs,
            timeout=order.timeout,
            budget=Budget(order.budget.steps, order.budget.attempts, order.budget.units),
            strategy=order.strategy,
            subtasks=[subtask_of(part) for part in order.subtasks],
            conversation_id=order.conversation_id,
        )
        wanted: WaitQuery = request.query
        return self._view(await tasks.wait(task.task_id, wanted.wait) if wanted.wait else task)

    async def list(self, request: Request) -> Response:
        wanted: TaskFilter = request.query
        caller = request.principal
        query = TaskQuery(
            owner=None if wanted.all else sender_of(caller),
            conversation_id=wanted.conversation,
            states=None if wanted.state is None else _states(wanted.state),
            task_type=wanted.type,
            parent_id=wanted.parent or WHOLE,
        )
        return await page_of(self._views(caller, query, wanted.cursor or ""), wanted.limit)

    async def get(self, request: Request) -> TaskView:
        view = self._view(self._found(request))
        await self._system.tasks.settle()
        return view

    async def delete(self, request: Request) -> TaskView:
        view = self._view(self._found(request))
        await self._system.tasks.forget(request.principal, view.task_id)
        return view

    async def events(self, request: Request) -> Response | EventStream:
        query: EventQuery = request.query
        task_id = request.params["task_id"]
        if wants_events(request):
            return stream_of_task(self._system.tasks, request, task_id, query.after)
        self._found(request)
        return await page_of(self._told(task_id, query.after), query.limit)

    async def cancel(self, request: Request) -> TaskView:
        order: CancelOrder = request.body
        return self._view(await self._system.tasks.cancel(request.principal, self._id(request), order.reason))

    async def answer(self, request: Request) -> TaskView:
        order: AnswerOrder = request.body
        return self._view(await self._system.tasks.answer(request.principal, self._id(request), order.answer))

    async def retry(self, request: Request) -> TaskView:
        return self._view(await self._system.tasks.retry(request.principal, self._id(request)))

    def _id(self, request: Request) -> str:
        return request.params["task_id"]

    def _found(self, request: Request) -> Task:
        return self._system.tasks.find(request.principal, self._id(request))

    async def _views(self, caller: Principal, query: TaskQuery, before: str) -> AsyncGenerator[Item, None]:
        tasks = self._system.tasks
        # Of very many there may be few that fit.
        while found := await asyncio.to_thread(tasks.search, caller, query, before=before, limit=AT_ONCE):
            for task in found:
                view = self._view(task)
                await tasks.settle()
                yield task.task_id, encode(view)
                await asyncio.sleep(0)
            before = found[-1].task_id

    async def _told(self, task_id: str, after: int) -> AsyncGenerator[Item, None]:
        while found := await self._system.tasks.read(task_id, after, AT_ONCE):
            for event in found:
                yield event.number, event_json(event)
            after = found[-1].number

    def _view(self, task: Task) -> TaskView:
        return TaskView.of(task, self._system.tasks.manager)


def subtask_of(part: PartOrder) -> Subtask:
    """The part that is ordered."""
    return Subtask(part.name, part.task_type, part.inputs, tuple(part.dependencies), part.agent_id)


def _states(text: str) -> frozenset[TaskState]:
    found: set[TaskState] = set()
    for word in text.split(","):
        if word == "open":
            found.update(state for state in TaskState if not state.over)
        elif word in _STATES:
            found.add(TaskState(word))
        else:
            raise InvalidParameterError("state", f"{word[:64]!r} is no state", nearest_name(word[:64], _STATES))
    return frozenset(found)


_STATES: Final = {state.value for state in TaskState}
_ASKS: Final = (
    NoAgentAvailableError,
    AgentUnreachableError,
    AgentNotFoundError,
    TooManyTasksError,
    UnavailableError,
)
_BEGINS: Final = (InvalidTaskError, InvalidIdError, TaskCycleError, *_ASKS, StorageError)


def routes(system: System) -> list[Route]:
    """The routes under /api/tasks."""
    api = Tasks(system)
    one = "/api/tasks/{task_id}"
    unknown = (TaskNotFoundError, StorageError)
    return [
        Route(
            "POST",
            "/api/tasks",
            api.create,
            "Create a task; it has begun, and is stored, when this answers",
            RUN,
            body=TaskOrder,
            query=WaitQuery,
            response=TaskView,
            status=201,
            max_body=MAX_ORDER,
            errors=(*_BEGINS, ConversationNotFoundError),
        ),
        Route(
            "GET",
            "/api/tasks",
            api.list,
            "The tasks of the caller, or of everybody",
            RUN,
            query=TaskFilter,
            response=TaskPage,
            errors=(PermissionDeniedError, StorageError),
        ),
        Route("GET", one, api.get, "One task", RUN, response=TaskView, errors=unknown),
        Route(
            "DELETE",
            one,
            api.delete,
            "Forget a task that is over, and its parts",
            RUN,
            response=TaskView,
            errors=(*unknown, TaskStateError),
        ),
        Route(
            "GET",
            f"{one}/events",
            api.events,
            "What has happened to a task, or what does, as a stream that ends with it",
            RUN,
            query=EventQuery,
            response=EventPage,
            or_stream=True,
            errors=unknown,
        ),
        Route(
            "POST",
            f"{one}/cancel",
            api.cancel,
            "Call a task off, with its parts",
            RUN,
            body=CancelOrder,
            response=TaskView,
            errors=(*unknown, TaskStateError),
        ),
        Route(
            "POST",
            f"{one}/answer",
            api.answer,
            "Give a task the answer that it waits for",
            RUN,
            body=AnswerOrder,
            response=TaskView,
            max_body=MAX_ORDER,
            errors=(*unknown, TaskStateError, InvalidTaskError),
        ),
        Route(
            "POST",
            f"{one}/retry",
            api.retry,
            "Try a task again that was not done, as a new one; what was done is not done again",
            RUN,
            response=TaskView,
            status=201,
            errors=(*unknown, TaskStateError, *_ASKS),
        ),
    ]
