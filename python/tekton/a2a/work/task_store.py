"""Tasks in `work.db`.

* In memory are the tasks that are open, those whose end is not on the disk yet, and, as far as they take little room,
  some that are over. All others are read when they are asked for.
* What has been said and is not on the disk yet is in memory: who reads gets what is on the disk, and that behind it.
* Whoever reads looks at memory first and then at the disk, because what leaves memory is on the disk by then.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from operator import itemgetter
from typing import Any, Final

import msgspec

from tekton.a2a.task import Task, TaskState, fold
from tekton.a2a.task_event import Change, TaskEvent
from tekton.a2a.task_log import TaskQuery, next_events
from tekton.a2a.work import work_sql as sql
from tekton.a2a.work.bounded import Bounded
from tekton.a2a.work.work_file import StoredWork, body_of, event_of
from tekton.a2a.work.writer import WorkWriter
from tekton.core.component_lifecycle.database_reader import DatabaseReader
from tekton.utils.tekton_errors import (
    StorageCorruptError,
    TaskConflictError,
    TaskError,
    TaskNotFoundError,
    TaskStateError,
)

__all__ = ["SqliteTaskLog"]

KEPT_BYTES: Final = 16 << 20
"""Bytes of events of tasks that are over and yet in memory."""
_PAGE: Final = 100
_FOREVER: Final = 1 << 62

_encode = msgspec.json.Encoder().encode

_Row = tuple[int, str, int]
"""A task that is over: its number in the file, its id, the number of its last event."""
_Found = tuple[str, Task | _Row]
"""The id of a task, and it, from memory, or where it is on the disk."""


@dataclass(slots=True)
class _Live:
    """A task in memory, under its number in the file. *unwritten* are its events that are not on the disk yet."""

    number: int
    task: Task
    size: int = 0
    unwritten: list[TaskEvent] = field(default_factory=list)


class SqliteTaskLog:
    """A TaskLog that writes by *writer* and reads by *reader* what was *stored* when the file was opened, and since.

    `find` may look at all there is: in another thread, by *searcher*, it holds up nobody else.
    """

    def __init__(
        self, writer: WorkWriter, reader: DatabaseReader, searcher: DatabaseReader, stored: StoredWork
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._searcher = searcher
        self._last = stored.last_task
        self._count = stored.known
        self._live = {one.task.task_id: _Live(*one) for one in stored.tasks}
        self._open = sorted(self._live)
        self._ending: set[str] = set()
        self._over: Bounded[str, _Live] = Bounded(KEPT_BYTES)
        self._gone: set[int] = set()
        self._when_gone: Callable[[str], object] = lambda _: None

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
        live = self._live.get(task_id)
        task = self._find(task_id) if live is None else live.task
        found = 0 if task is None else task.number
        if expected is not None and expected != found:
            raise TaskConflictError(task_id, expected, found)
        after, events = next_events(task, task_id, changes, at, epoch)
        if after is not None and events:
            self._keep(live, after, events)
        return events

    def task(self, task_id: str) -> Task:
        """See TaskLog."""
        task = self._find(task_id)
        if task is None:
            raise TaskNotFoundError(task_id)
        return task

    def read(self, task_id: str, after: int = 0, limit: int = 100) -> list[TaskEvent]:
        """See TaskLog. Reads one index range."""
        live = self._live.get(task_id)
        behind = () if live is None else tuple(live.unwritten)
        number = self.number(task_id) if live is None else live.number
        after, limit = max(0, after), max(0, limit)
        first = behind[0].number if behind else _FOREVER
        found = self._stored(task_id, number, after, min(limit, max(0, first - after - 1)))
        return [*found, *(event for event in behind if event.number > after)][:limit]

    def tasks(self, after: str = "", limit: int = 100, *, open_only: bool = False) -> list[Task]:
        """See TaskLog."""
        limit = max(0, limit)
        ids = self._open[bisect_right(self._open, after) :]
        if open_only:
            return [live.task for id_ in ids[:limit] if (live := self._live.get(id_)) is not None]
        ending = sorted(id_ for id_ in tuple(self._ending) if id_ > after)
        rows = self._rows(lambda last, most: self._reader.rows(sql.TASKS, (last, most)), after)
        here: Iterator[_Found] = merge(self._here(ids), self._here(ending), key=itemgetter(0))
        return self._first(merge(here, rows, key=itemgetter(0)), limit)

    def find(self, query: TaskQuery, before: str = "", limit: int = 100) -> list[Task]:
        """See TaskLog. O(tasks that have to be looked at); owner, conversation and whole have an index on the disk."""
        ids = self._open[:]
        if before:
            del ids[bisect_left(ids, before) :]
        ending = sorted((id_ for id_ in tuple(self._ending) if not before or id_ < before), reverse=True)
        live = merge(self._here(reversed(ids)), self._here(ending), key=itemgetter(0), reverse=True)
        here: Iterator[_Found] = (one for one in live if query.fits(one[1]))
        rows = iter(()) if _only_open(query) else self._searched(query, before)
        return self._first(merge(here, rows, key=itemgetter(0), reverse=True), max(0, limit))

    def states(self, task_ids: Iterable[str]) -> dict[str, TaskState]:
        """See TaskLog. One question for all that are on the disk."""
        here = {id_: self._live.get(id_) or self._over.get(id_) for id_ in task_ids}
        states = {id_: live.task.state for id_, live in here.items() if live is not None}
        wanted = [id_ for id_, live in here.items() if live is None]
        rows = self._reader.rows(sql.STATES, (_encode(wanted).decode(),)) if wanted else ()
        return states | {id_: TaskState(state) for number, id_, state in rows if number not in self._gone}

    def count(self, *, open_only: bool = False) -> int:
        """See TaskLog."""
        return len(self._open) if open_only else self._count

    def delete(self, task_id: str) -> None:
        """See TaskLog."""
        if (live := self._live.get(task_id)) is not None and not live.task.state.over:
            raise TaskStateError(task_id, live.task.state, "delete")
        number = self.number(task_id)
        batch = self._writer.admit(0)
        batch.delete_task(number)
        batch.when_durable(self._gone.discard, number)
        self._gone.add(number)
        self._count -= 1
        self._live.pop(task_id, None)
        self._ending.discard(task_id)
        self._over.take(task_id)
        self._when_gone(task_id)

    async def flush(self) -> None:
        """See TaskLog."""
        await self._writer.flush()

    async def close(self) -> None:
        """See TaskLog. The file is closed by who has opened it."""
        await self.flush()

    # What the store of pushes asks

    def when_gone(self, call: Callable[[str], object]) -> None:
        """Have *call* called with the id of each task that is forgotten."""
        self._when_gone = call

    def number(self, task_id: str) -> int:
        """The number of a task in the file. Raises TaskNotFoundError."""
        live = self._live.get(task_id) or self._over.get(task_id)
        if live is not None:
            return live.number
        row = self._row(task_id)
        if row is None:
            raise TaskNotFoundError(task_id)
        return row[0]

    # Changing

    def _keep(self, live: _Live | None, task: Task, events: list[TaskEvent]) -> None:
        bodies = [body_of(event) for event in events]
        size = sum(map(len, bodies))
        batch = self._writer.admit(size)
        if live is None:
            live = self._begin(task)
            batch.put_task(live.number, task)
        for event, body in zip(events, bodies):
            batch.put_event(live.number, event, body)
        live.task = task
        live.size += size
        live.unwritten += events
        if task.state.over:
            batch.end_task(live.number, task)
            self._ending.add(task.task_id)
            del self._open[bisect_left(self._open, task.task_id)]
        batch.when_durable(self._settle, live, len(events))

    def _begin(self, task: Task) -> _Live:
        self._last += 1
        self._count += 1
        live = self._live[task.task_id] = _Live(self._last, task)
        insort(self._open, task.task_id)
        return live

    def _settle(self, live: _Live, count: int) -> None:
        """So many events more of a task are on the disk."""
        del live.unwritten[:count]
        task_id = live.task.task_id
        if live.task.state.over and not live.unwritten and self._live.get(task_id) is live:
            self._over.put(task_id, live, live.size)
            self._ending.discard(task_id)
            del self._live[task_id]

    # Reading

    def _find(self, task_id: str) -> Task | None:
        live = self._live.get(task_id) or self._over.get(task_id)
        if live is not None:
            return live.task
        row = self._row(task_id)
        return None if row is None else self._fold(*row)

    def _row(self, task_id: str) -> _Row | None:
        for number, last in self._reader.rows(sql.TASK, (task_id,)):
            if number not in self._gone:
                return number, task_id, last
        return None

    def _fold(self, number: int, task_id: str, last: int) -> Task:
        """A task from the disk; *last* is the number of its last event where that is known."""
        events = self._stored(task_id, number, 0, _FOREVER)
        try:
            if last and last != len(events):
                raise StorageCorruptError(str(self._reader.path), f"events of the task {task_id} are missing")
            return fold(events)
        except TaskError as error:
            raise StorageCorruptError(str(self._reader.path), f"the task {task_id} makes no sense: {error}") from error

    def _stored(self, task_id: str, number: int, after: int, limit: int) -> list[TaskEvent]:
        rows = self._reader.rows(sql.EVENTS, (number, after, limit)) if limit else ()
        try:
            return [event_of(task_id, place, body) for place, body in rows]
        except msgspec.MsgspecError as error:
            path = str(self._reader.path)
            raise StorageCorruptError(path, f"an event of the task {task_id} cannot be read: {error}") from error

    def _here(self, ids: Iterable[str]) -> Iterator[tuple[str, Task]]:
        """The tasks that were in memory when *ids* were; some may be only on the disk by now."""
        for id_ in ids:
            if (task := self._find(id_)) is not None:
                yield id_, task

    def _rows(self, ask: Callable[[str, int], list[_Row]], cursor: str) -> Iterator[_Found]:
        """The tasks that *ask* finds on the disk behind *cursor*, a page at a time."""
        while rows := ask(cursor, _PAGE):
            yield from ((row[1], row) for row in rows if row[0] not in self._gone)
            cursor = rows[-1][1]

    def _searched(self, query: TaskQuery, before: str) -> Iterator[_Found]:
        question, asked = _question(query)
        return self._rows(
            lambda first, most: self._searcher.rows(question[bool(first)], asked | {"before": first, "limit": most}),
            before,
        )

    def _first(self, found: Iterable[_Found], limit: int) -> list[Task]:
        """The first of *found*; what is in memory and on the disk comes twice, as it is in memory first."""
        tasks: dict[str, Task] = {}
        for id_, one in found:
            if len(tasks) >= limit:
                break
            if id_ not in tasks:
                kept = self._over.get(id_)
                tasks[id_] = one if isinstance(one, Task) else kept.task if kept is not None else self._fold(*one)
        return list(tasks.values())


def _only_open(query: TaskQuery) -> bool:
    """Are all that it wants in memory?"""
    return query.states is not None and not any(state.over for state in query.states)


def _question(query: TaskQuery) -> tuple[tuple[str, str], dict[str, Any]]:
    """What is asked of the disk, without and with a bound, and the values for it."""
    names = [name for name in sql.CONDITIONS if name != "before" and getattr(query, name) is not None]
    asked: dict[str, Any] = {name: getattr(query, name) for name in names}
    if query.states is not None:
        asked["states"] = _encode(sorted(query.states)).decode()
    if query.since is not None:
        asked["since"] = round(query.since * 1e6)
    conditions = [sql.CONDITIONS[name] for name in names]
    conditions += [said for name, said in sql.INDEXED.items() if asked.get(name)]
    return (_found(conditions), _found([*conditions, sql.CONDITIONS["before"]])), asked


def _found(conditions: list[str]) -> str:
    return sql.FOUND.format("".join(f" AND {one}" for one in conditions))
