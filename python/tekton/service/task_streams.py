"""The events of a task as they happen, as server-sent events.

What is told is durable, and in order, without a gap: the events of the log, behind the number that the client has.
Who may not see the task any more is told nothing more of it.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from tekton.a2a.task_event import TaskEvent
from tekton.gateway.connection import Identify
from tekton.gateway.errors import PermissionDeniedError
from tekton.gateway.request import Request
from tekton.gateway.sse import EventStream, event
from tekton.service.event_streams import AT_ONCE, LISTENING, RESET, in_pieces, position
from tekton.service.task_views import event_json
from tekton.service.tasks import MANAGE, Tasks
from tekton.utils.tekton_errors import TaskNotFoundError


def stream_of_task(tasks: Tasks, request: Request, task_id: str, after: int = 0) -> EventStream:
    """The events of a task behind number *after*, or behind the `Last-Event-ID`; it ends when the task is over.

    Raises TaskNotFoundError.
    """
    task = tasks.find(request.principal, task_id)
    after = position(request, after)
    known = after <= task.number
    batches = follow(tasks, lambda: request.principal, task_id, after if known else 0)
    return EventStream(_as_sent(batches, LISTENING if known else RESET))


async def follow(tasks: Tasks, who: Identify, task_id: str, after: int) -> AsyncGenerator[list[TaskEvent], None]:
    """The events of a task behind number *after*, some at a time, until it is over, or forgotten.

    Raises PermissionDeniedError when *who* may not see it any more.
    """
    try:
        while True:
            task = tasks.manager.get_task_status(task_id)
            if not tasks.may_see(who(), task):
                raise PermissionDeniedError(MANAGE)
            events = await tasks.read(task_id, after, AT_ONCE)
            if events:
                after = events[-1].number
                yield events
            elif task.state.over:
                return
            elif tasks.manager.get_task_status(task_id).number == task.number:
                await tasks.manager.next_change(task_id)
    except TaskNotFoundError:  # it was forgotten
        return


async def _as_sent(batches: AsyncGenerator[list[TaskEvent], None], opening: bytes) -> AsyncIterator[bytes]:
    yield opening
    async with aclosing(batches):
        async for batch in batches:
            for piece in in_pieces(map(_event, batch)):
                yield piece


def _event(one: TaskEvent) -> bytes:
    return event(event_json(one), str(one.change.__struct_config__.tag), one.number)
