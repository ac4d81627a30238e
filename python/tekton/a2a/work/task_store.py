"""Tasks in `work.db`.

* In memory are the tasks that are open, those whose end is not on the disk yet, and, as far as they take little room,
  some that are over. All others are read when they are asked for.
* What has been said and is not on the disk yet is in memory: who reads gets what is on the disk, and that behind it.
* Whoever reads looks at memory first and then at the disk, because what leaves memory is on the disk by then.
* A list leaves out what cannot be read; who asks for that is told.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import merge
from operator import itemgetter
from typing import Final

import msgspec

from tekton.a2a.task import Task, TaskState, fold
from tekton.a2a.task_event import Change, TaskEvent
from tekton.a2a.task_log import Place, TaskQuery, latest_of, next_events, place_of
from tekton.a2a.work import work_sql as sql
from tekton.a2a.work.bounded import Bounded
from tekton.a2a.work.damage import Damage
from tekton.a2a.work.open_bytes import OpenBytes, is_held
from tekton.a2a.work.task_questions import Row, count_over, latest_rows, one_by_one, only_open, question_for
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

_Found = tuple[str, Task | Row]
"""The id of a task, and it, from memory, or where it is on the disk."""
_Placed = tuple[Place, Task | Row]
"""The same, with its place among those that were changed last."""


@dataclass(slots=True)
class _Live:
    """A task in memory, under its number in the file. *unwritten* are its events that are not on the disk yet.

    *size* is what all of its events take, *held* what those do that count while it is open (`open_bytes`).
    """

    number: int
    task: Task
    size: int = 0
    held: int = 0
    unwritten: list[TaskEvent] = field(default_factory=list)


class SqliteTaskLog:
    """A TaskLog that writes by *writer* and reads by *reader* what was *stored* when the file was opened, and since.

    `find` may look at all there is: in another thread, by *searcher*, it holds up nobody else. What cannot be read is
    *damage*. `open_bytes` has what open tasks take in memory, and its bounds.
    """

    def __init__(
        self,
        writer: WorkWriter,
        reader: DatabaseReader,
        searcher: DatabaseReader,
        stored: StoredWork,
        damage: Damage,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._searcher = searcher
        self._last = stored.last_task
        self._owners = stored.owners
        self._count = self._owners.total()
        self._damage = damage
        self.open_bytes: Final = OpenBytes()
        self._live = {one.task.task_id: _Live(*one) for one in stored.tasks}
        self._open = sorted(self._live)
        self._ending: set[str] = set()
        self._over: Bounded[str, _Live] = Bounded(KEPT_BYTES)
        self._gone: set[int] = set()
        self._when_gone: Callable[[str], object] = lambda _: None
        for live in self._live.values():
            self.open_bytes.add(live.task.owner, live.held)

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
        anything = question_for(TaskQuery())
        rows = self._rows(
            lambda last, most: self._reader.rows(sql.TASKS, (last, most)),
            lambda last, most: one_by_one(self._reader, sql.NUMBERS_UP, (last, most), anything, self._damage),
            after,
        )
        here: Iterator[_Found] = merge(self._here(ids), self._here(ending), key=itemgetter(0))
        return self._first(merge(here, rows, key=itemgetter(0)), limit)

    def over_of(self, owner: str, after: str = "", limit: int = 100) -> list[Task]:
        """See TaskLog."""
        ending = sorted(id_ for id_ in tuple(self._ending) if id_ > after)
        here: Iterator[_Found] = (one for one in self._here(ending) if one[1].owner == owner)
        question = question_for(TaskQuery(owner=owner))
        rows = self._rows(
            lambda last, most: self._reader.rows(sql.TASKS_OF, (owner, last, most)),
            lambda last, most: one_by_one(self._reader, sql.NUMBERS_UP, (last, most), question, self._damage),
            after,
        )
        return self._first(merge(here, rows, key=itemgetter(0)), max(0, limit))

    def owners(self) -> dict[str, int]:
        """See TaskLog."""
        return dict(self._owners)

    def find(self, query: TaskQuery, before: str = "", limit: int = 100) -> list[Task]:
        """See TaskLog. O(tasks that have to be looked at); owner, conversation and whole have an index on the disk."""
        ids = self._open[:]
        if before:
            del ids[bisect_left(ids, before) :]
        ending = sorted((id_ for id_ in tuple(self._ending) if not before or id_ < before), reverse=True)
        live = merge(self._here(reversed(ids)), self._here(ending), key=itemgetter(0), reverse=True)
        here: Iterator[_Found] = (one for one in live if query.fits(one[1]))
        rows = iter(()) if only_open(query) else self._searched(query, before)
        return self._first(merge(here, rows, key=itemgetter(0), reverse=True), max(0, limit))

    def latest(self, query: TaskQuery, before: Place | None = None, limit: int = 100) -> list[Task]:
        """See TaskLog. O(tasks of the owner), of which those alone are read that are returned."""
        here = self._fitting(query)
        known: list[_Placed] = [(place_of(task), task) for task in latest_of(here.values(), before, limit)]
        rows: Iterable[_Placed] = ()
        if not only_open(query):
            rows = latest_rows(self._searcher, query, before, max(1, limit))
        found = merge(known, rows, key=itemgetter(0), reverse=True)
        try:
            return self._first(((place[1], one) for place, one in found if self._is_there(one)), max(0, limit))
        except StorageCorruptError:  # of a page of rows; one after the other, they can be gone round
            return latest_of(self._every(query), before, limit)

    def count_of(self, query: TaskQuery) -> int:
        """See TaskLog. O(tasks of the owner)."""
        # Before they are looked at: one that is over and durable by then is on the disk, too, and counts once.
        numbers = {id_: live.number for id_, live in tuple(self._live.items())}
        here = self._fitting(query)
        if only_open(query):
            return len(here)
        live = [numbers[id_] for id_ in here if id_ in numbers]
        try:
            return len(live) + count_over(self._searcher, query, [*live, *tuple(self._gone)])
        except StorageCorruptError:
            return sum(1 for _ in self._every(query))

    def states(self, task_ids: Iterable[str]) -> dict[str, TaskState]:
        """See TaskLog. One question for all that are on the disk."""
        here = {id_: self._live.get(id_) or self._over.get(id_) for id_ in task_ids}
        states = {id_: live.task.state for id_, live in here.items() if live is not None}
        wanted = [id_ for id_, live in here.items() if live is None]
        rows = self._state_rows(wanted) if wanted else ()
        return states | {id_: TaskState(state) for number, id_, state in rows if number not in self._gone}

    def count(self, *, open_only: bool = False) -> int:
        """See TaskLog."""
        return len(self._open) if open_only else self._count

    def delete(self, task_id: str) -> None:
        """See TaskLog."""
        if (live := self._live.get(task_id)) is not None and not live.task.state.over:
            raise TaskStateError(task_id, live.task.state, "delete")
        number, owner = self._place(task_id)
        batch = self._writer.admit(0)
        batch.delete_task(number)
        batch.when_removed(self._gone.discard, number)
        self._gone.add(number)
        self._count -= 1
        self._owners[owner] -= 1
        if not self._owners[owner]:
            del self._owners[owner]
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
        return self._place(task_id)[0]

    # Changing

    def _keep(self, live: _Live | None, task: Task, events: list[TaskEvent]) -> None:
        bodies = [body_of(event) for event in events]
        size = sum(map(len, bodies))
        held = sum(len(body) for event, body in zip(events, bodies) if is_held(event.change))
        if held:
            self.open_bytes.check(task, [event.change for event in events], held)
        batch = self._writer.admit(size)
        if live is None:
            live = self._begin(task)
            batch.put_task(live.number, task)
        for event, body in zip(events, bodies):
            batch.put_event(live.number, event, body)
        live.task = task
        live.size += size
        live.held += held
        live.unwritten += events
        if held:
            self.open_bytes.add(task.owner, held)
        if task.state.over:
            self.open_bytes.add(task.owner, -live.held)
            batch.end_task(live.number, task)
            self._ending.add(task.task_id)
            del self._open[bisect_left(self._open, task.task_id)]
        batch.when_durable(self._settle, live, len(events))

    def _begin(self, task: Task) -> _Live:
        self._last += 1
        self._count += 1
        self._owners[task.owner] += 1
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

    def _row(self, task_id: str) -> Row | None:
        for number, last, _ in self._reader.rows(sql.TASK, (task_id,)):
            if number not in self._gone:
                return number, task_id, last
        return None

    def _state_rows(self, ids: list[str]) -> list[tuple[int, str, str]]:
        try:
            return self._reader.rows(sql.STATES, (_encode(ids).decode(),))
        except StorageCorruptError as error:
            if len(ids) > 1:
                return [row for id_ in ids for row in self._state_rows([id_])]
            self._damage.note(f"the task {ids[0]}", error)
            return []

    def _place(self, task_id: str) -> tuple[int, str]:
        """The number of a task in the file, and its owner. Raises TaskNotFoundError."""
        live = self._live.get(task_id) or self._over.get(task_id)
        if live is not None:
            return live.number, live.task.owner
        for number, _, owner in self._reader.rows(sql.TASK, (task_id,)):
            if number not in self._gone:
                return number, owner
        raise TaskNotFoundError(task_id)

    def _fold(self, number: int, task_id: str, last: int) -> Task:
        """A task from the disk; *last* is the number of its last event where that is known."""
        try:
            return self._folded(number, task_id, last)
        except StorageCorruptError as error:
            self._damage.note(f"the task {task_id}", error)
            raise

    def _folded(self, number: int, task_id: str, last: int) -> Task:
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
            with suppress(StorageCorruptError):
                if (task := self._find(id_)) is not None:
                    yield id_, task

    def _fitting(self, query: TaskQuery) -> dict[str, Task]:
        """The tasks in memory that *query* wants, those left out that are over and durable."""
        ids = dict.fromkeys([*self._open, *tuple(self._ending)])
        return {id_: task for id_, task in self._here(ids) if query.fits(task)}

    def _is_there(self, one: Task | Row) -> bool:
        return isinstance(one, Task) or one[0] not in self._gone

    def _every(self, query: TaskQuery) -> Iterator[Task]:
        """All tasks that *query* wants, however damaged the rest is."""
        before = ""
        while page := self.find(query, before, _PAGE):
            yield from page
            before = page[-1].task_id

    def _rows(
        self,
        ask: Callable[[str, int], list[Row]],
        look: Callable[[str, int], tuple[list[Row], str | None]],
        cursor: str,
    ) -> Iterator[_Found]:
        """The tasks that *ask* finds on the disk behind *cursor*, a page at a time; those that *look* does, where that
        comes upon damage."""
        after: str | None = cursor
        while after is not None:
            try:
                rows = ask(after, _PAGE)
                last = rows[-1][1] if rows else None
            except StorageCorruptError:
                rows, last = look(after, _PAGE)
            yield from ((row[1], row) for row in rows if row[0] not in self._gone)
            after = last

    def _searched(self, query: TaskQuery, before: str) -> Iterator[_Found]:
        question = question_for(query)

        def ask(first: str, most: int) -> list[Row]:
            text = question.behind if first else question.all
            return self._searcher.rows(text, question.values | {"before": first, "limit": most})

        def look(first: str, most: int) -> tuple[list[Row], str | None]:
            values = {"before": first, "limit": most}
            return one_by_one(self._searcher, sql.NUMBERS_DOWN, values, question, self._damage)

        return self._rows(ask, look, before)

    def _first(self, found: Iterable[_Found], limit: int) -> list[Task]:
        """The first of *found*; what is in memory and on the disk comes twice, as it is in memory first."""
        tasks: dict[str, Task] = {}
        for id_, one in found:
            if len(tasks) >= limit:
                break
            if id_ not in tasks:
                kept = self._over.get(id_)
                with suppress(StorageCorruptError):  # it is noted
                    tasks[id_] = one if isinstance(one, Task) else kept.task if kept is not None else self._fold(*one)
        return list(tasks.values())
