"""Where tasks are kept: the log of the events of each, which is the truth; what one asks of it, and a log in memory.

Rules that every log keeps (one conformance suite runs over all of them):

* Events of a task are numbered from 1 on, without gaps, and never changed. A task is what they fold into.
* `append` is synchronous: all of its changes are applied, or none, and what was applied is read at once. It is durable
  when a `flush` that began later has returned; what is queued together is written together, in the order in which it
  came, by one writer. Whatever is on the disk after a crash is a beginning of what was said.
* A number that is expected and is not there refuses the append; so does the epoch of a lease that is not the task's
  newest. Nobody writes for a task whose worker is another by now.
* A `flush` that raises StorageFullError leaves all of it queued; the next one tries again. The queue is bounded: an
  append for which there is no room raises StorageBusyError. After a StorageUnknownError nothing is accepted any more.

Methods that only read may be called from a second thread; all others are called on one event loop.
"""

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import islice
from typing import Final, Protocol

from tekton.a2a.task import Task, TaskState, apply, check_lease, sealed, unshared
from tekton.a2a.task_event import Change, Leased, TaskEvent
from tekton.utils.tekton_errors import TaskConflictError, TaskNotFoundError, TaskStateError

__all__ = ["MemoryTaskLog", "Place", "TaskLog", "TaskQuery"]

_FEW: Final = 4
"""So many changes may copy the steps of the task each."""


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """Which tasks one looks for: those of which all that is given holds.

    *parent_id* "" has only those that are no part of another one; *agent_id* is who has to do them. *since* has those
    that were changed then or later, in seconds since 1970.
    """

    owner: str | None = None
    conversation_id: str | None = None
    states: frozenset[TaskState] | None = None
    task_type: str | None = None
    parent_id: str | None = None
    since: float | None = None
    agent_id: str | None = None

    def fits(self, task: Task) -> bool:
        """Is *task* one of them?"""
        created = task.created
        return (
            (self.owner is None or self.owner == created.owner)
            and (self.conversation_id is None or self.conversation_id == created.conversation_id)
            and (self.states is None or task.state in self.states)
            and (self.task_type is None or self.task_type == created.task_type)
            and (self.parent_id is None or self.parent_id == created.parent_id)
            and (self.since is None or self.since <= task.changed_at)
            and (self.agent_id is None or self.agent_id == created.agent_id)
        )


Place = tuple[int, str]
"""Where a task is among those that are in order of when they were last changed: that, in microseconds, and its id."""


def place_of(task: Task) -> Place:
    """Where *task* is."""
    return round(task.changed_at * 1e6), task.task_id


def latest_of(tasks: Iterable[Task], before: Place | None, limit: int) -> list[Task]:
    """The *limit* tasks that were changed last, in order, of those that are at a place before that of *before*.

    Keeps no more of them. O(tasks).
    """
    wanted = (task for task in tasks if before is None or place_of(task) < before)
    return nlargest(max(0, limit), wanted, key=place_of)


class TaskLog(Protocol):
    """Keeps tasks; see the module."""

    def append(
        self,
        task_id: str,
        changes: Sequence[Change],
        at: float,
        *,
        expected: int | None = None,
        epoch: int | None = None,
    ) -> list[TaskEvent]:
        """Have *changes* happen to a task, all or none; returns their events.

        *expected* is the number of its last event, 0 for a task that is to be created. *epoch* is that of the lease of
        whoever writes; only what needs none (`task.WITHOUT_LEASE`) goes without. A Leased has the next epoch.

        Raises TaskConflictError, StaleLeaseError, TaskStateError, TaskExistsError, TaskNotFoundError.
        """
        ...

    def task(self, task_id: str) -> Task:
        """The task as it is now. Raises TaskNotFoundError."""
        ...

    def read(self, task_id: str, after: int = 0, limit: int = 100) -> list[TaskEvent]:
        """Up to *limit* events behind number *after*, in order. Raises TaskNotFoundError."""
        ...

    def tasks(self, after: str = "", limit: int = 100, *, open_only: bool = False) -> list[Task]:
        """Tasks by id, which is the order in which they came, behind the id *after*; or only those not over.

        This, `find` and `over_of` leave out what cannot be read.
        """
        ...

    def over_of(self, owner: str, after: str = "", limit: int = 100) -> list[Task]:
        """Those of *owner* that are over, by id, behind the id *after*."""
        ...

    def owners(self) -> dict[str, int]:
        """How many tasks each owner has, open or over, parts of others included."""
        ...

    def find(self, query: TaskQuery, before: str = "", limit: int = 100) -> list[Task]:
        """Tasks that *query* wants, the newest first, before the id *before*, or from the newest of all on."""
        ...

    def latest(self, query: TaskQuery, before: Place | None = None, limit: int = 100) -> list[Task]:
        """Tasks that *query* wants, those that were changed last first, behind the one at *before*, if one is."""
        ...

    def count_of(self, query: TaskQuery) -> int:
        """How many tasks *query* wants."""
        ...

    def states(self, task_ids: Iterable[str]) -> dict[str, TaskState]:
        """The states of those of the tasks that there are, and that can be read, by id. O(task_ids)."""
        ...

    def count(self, *, open_only: bool = False) -> int:
        """How many tasks there are, open or over, or only open ones, parts of others included. O(1)."""
        ...

    def delete(self, task_id: str) -> None:
        """Forget a task that is over, and its events. Raises TaskNotFoundError, and TaskStateError for an open one."""
        ...

    async def flush(self) -> None:
        """Wait until all that was called before is durable. Raises the storage errors; see the module."""
        ...

    async def close(self) -> None:
        """Flush, and give the log free. Closing twice does nothing."""
        ...


def next_events(
    task: Task | None, task_id: str, changes: Sequence[Change], at: float, epoch: int | None
) -> tuple[Task | None, list[TaskEvent]]:
    """The events that *changes* are for *task*, and what it is after them. Raises as `TaskLog.append`."""
    events: list[TaskEvent] = []
    many = len(changes) > _FEW
    if many and task is not None:
        task = unshared(task)
    for change in changes:
        if task is not None:
            check_lease(task, change, epoch)
        number, current = (0, 0) if task is None else (task.number, task.epoch)
        event = TaskEvent(task_id, number + 1, at, current + isinstance(change, Leased), change)
        task = apply(task, event)
        events.append(event)
    return sealed(task) if many and task is not None else task, events


class MemoryTaskLog:
    """Tasks that live as long as the object: for tests, and where nothing has to outlast the process."""

    def __init__(self, events: Iterable[TaskEvent] = ()) -> None:
        """Begin with *events*, of any tasks, in the order in which they were appended."""
        self._tasks: dict[str, Task] = {}
        self._events: dict[str, list[TaskEvent]] = {}
        self._ids: list[str] = []
        self._open: list[str] = []
        for event in events:
            self._keep(apply(self._tasks.get(event.task_id), event), [event])

    def append(
        self,
        task_id: str,
        changes: Sequence[Change],
        at: float,
        *,
        expected: int | None = None,
        epoch: int | None = None,
    ) -> list[TaskEvent]:
        """See TaskLog."""
        task = self._tasks.get(task_id)
        found = 0 if task is None else task.number
        if expected is not None and expected != found:
            raise TaskConflictError(task_id, expected, found)
        after, events = next_events(task, task_id, changes, at, epoch)
        if after is not None:
            self._keep(after, events)
        return events

    def task(self, task_id: str) -> Task:
        """See TaskLog."""
        try:
            return self._tasks[task_id]
        except KeyError:
            raise TaskNotFoundError(task_id) from None

    def read(self, task_id: str, after: int = 0, limit: int = 100) -> list[TaskEvent]:
        """See TaskLog."""
        self.task(task_id)
        return self._events[task_id][max(0, after) : max(0, after) + limit]

    def tasks(self, after: str = "", limit: int = 100, *, open_only: bool = False) -> list[Task]:
        """See TaskLog."""
        ids = self._open if open_only else self._ids
        return [self._tasks[id_] for id_ in islice(ids, bisect_right(ids, after), bisect_right(ids, after) + limit)]

    def over_of(self, owner: str, after: str = "", limit: int = 100) -> list[Task]:
        """See TaskLog. O(tasks)."""
        behind = (self._tasks[id_] for id_ in islice(self._ids, bisect_right(self._ids, after), None))
        return list(islice((task for task in behind if task.owner == owner and task.state.over), limit))

    def owners(self) -> dict[str, int]:
        """See TaskLog. O(tasks)."""
        return Counter(task.owner for task in self._tasks.values())

    def find(self, query: TaskQuery, before: str = "", limit: int = 100) -> list[Task]:
        """See TaskLog. O(tasks)."""
        end = bisect_left(self._ids, before) if before else len(self._ids)
        found = (self._tasks[self._ids[place]] for place in range(end - 1, -1, -1))
        return list(islice((task for task in found if query.fits(task)), limit))

    def latest(self, query: TaskQuery, before: Place | None = None, limit: int = 100) -> list[Task]:
        """See TaskLog. O(tasks)."""
        return latest_of(filter(query.fits, list(self._tasks.values())), before, limit)

    def count_of(self, query: TaskQuery) -> int:
        """See TaskLog. O(tasks)."""
        return sum(map(query.fits, list(self._tasks.values())))

    def states(self, task_ids: Iterable[str]) -> dict[str, TaskState]:
        """See TaskLog."""
        return {id_: task.state for id_ in task_ids if (task := self._tasks.get(id_)) is not None}

    def count(self, *, open_only: bool = False) -> int:
        """See TaskLog."""
        return len(self._open if open_only else self._tasks)

    def delete(self, task_id: str) -> None:
        """See TaskLog."""
        task = self.task(task_id)
        if not task.state.over:
            raise TaskStateError(task_id, task.state, "delete")
        del self._tasks[task_id], self._events[task_id]
        self._ids.remove(task_id)

    async def flush(self) -> None:
        """See TaskLog: there is nothing to wait for."""

    async def close(self) -> None:
        """See TaskLog: what was said stays."""

    def _keep(self, task: Task, events: list[TaskEvent]) -> None:
        if task.task_id not in self._tasks:
            self._events[task.task_id] = []
            insort(self._ids, task.task_id)
            insort(self._open, task.task_id)
        self._tasks[task.task_id] = task
        self._events[task.task_id] += events
        if task.state.over:
            self._open.remove(task.task_id)
