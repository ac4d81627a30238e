"""Configurations of pushes in `work.db`.

In memory are those of tasks of which something is still to come: open ones, those with events that have not arrived,
and what is not on the disk yet. The others are read when they are asked for.
"""

from bisect import bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from tekton.a2a.push_store import PushConfig
from tekton.a2a.work import work_sql as sql
from tekton.a2a.work.task_store import SqliteTaskLog
from tekton.a2a.work.work_batch import WorkBatch
from tekton.a2a.work.writer import WorkWriter
from tekton.core.component_lifecycle.database_reader import DatabaseReader
from tekton.utils.tekton_errors import StorageCorruptError, StorageError, TaskNotFoundError

__all__ = ["SqlitePushStore"]

_decode = msgspec.json.Decoder(PushConfig).decode

_FRAME: Final = 512
"""About what a configuration takes."""


@dataclass(slots=True)
class _Live:
    """The configurations of a task in memory, by id. *unwritten* counts the changes that are not on the disk yet."""

    configs: dict[str, PushConfig] = field(default_factory=dict)
    unwritten: int = 0


class SqlitePushStore:
    """A PushStore for the tasks of *log*, that writes by *writer* and reads by *reader*; *configs* are to be known."""

    def __init__(
        self, writer: WorkWriter, reader: DatabaseReader, log: SqliteTaskLog, configs: Iterable[PushConfig]
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._log = log
        self._live: dict[str, _Live] = {}
        for config in configs:
            self._live.setdefault(config.task_id, _Live()).configs[config.config_id] = config
        self._ids = sorted(self._live)
        log.when_gone(self._forget)

    def put(self, config: PushConfig) -> None:
        """See PushStore."""
        number = self._log.number(config.task_id)
        live = self._loaded(config.task_id)
        batch = self._change(config.task_id, live)
        batch.put_push(number, config)
        live.configs[config.config_id] = config

    def note_delivered(self, task_id: str, config_id: str, number: int) -> None:
        """See PushStore."""
        known = self.get(task_id, config_id)
        if known is not None and known.delivered < number:
            self.put(msgspec.structs.replace(known, delivered=number))

    def delete(self, task_id: str, config_id: str) -> bool:
        """See PushStore."""
        live = self._loaded(task_id)
        if config_id not in live.configs:
            return False
        batch = self._change(task_id, live)
        batch.delete_push(self._log.number(task_id), config_id)
        del live.configs[config_id]
        return True

    def get(self, task_id: str, config_id: str) -> PushConfig | None:
        """See PushStore."""
        return self._loaded(task_id).configs.get(config_id)

    def of_task(self, task_id: str) -> list[PushConfig]:
        """See PushStore."""
        configs = dict(self._loaded(task_id).configs)
        return [configs[id_] for id_ in sorted(configs)]

    def waiting(self, limit: int = 100, after: tuple[str, str] = ("", "")) -> list[PushConfig]:
        """See PushStore. O(configurations of tasks that are open, or in which something waits)."""
        ids = self._ids[max(0, bisect_right(self._ids, after[0]) - 1) :]
        found: list[PushConfig] = []
        for task_id in ids:
            if len(found) >= limit:
                break
            number = self._last_event(task_id)
            configs = self.of_task(task_id)
            found += [one for one in configs if one.delivered < number and (task_id, one.config_id) > after]
        return found[: max(0, limit)]

    async def flush(self) -> None:
        """See PushStore."""
        await self._writer.flush()

    def _change(self, task_id: str, live: _Live) -> WorkBatch:
        batch = self._writer.admit(_FRAME)
        batch.when_durable(self._settle, task_id, live)
        live.unwritten += 1
        if task_id not in self._live:
            self._live[task_id] = live
            insort(self._ids, task_id)
        return batch

    def _settle(self, task_id: str, live: _Live) -> None:
        live.unwritten -= 1
        if live.unwritten or self._live.get(task_id) is not live:
            return
        try:
            task = self._log.task(task_id)
        except (TaskNotFoundError, StorageError):  # what cannot be read stays in memory
            return
        if task.state.over and all(one.delivered >= task.number for one in live.configs.values()):
            self._forget(task_id)

    def _forget(self, task_id: str) -> None:
        """Have nothing of a task in memory."""
        if self._live.pop(task_id, None) is not None:
            self._ids.remove(task_id)

    def _loaded(self, task_id: str) -> _Live:
        live = self._live.get(task_id)
        return live or _Live({one.config_id: one for one in self._stored(task_id)})

    def _stored(self, task_id: str) -> list[PushConfig]:
        try:
            number = self._log.number(task_id)
            return [_decode(config) for (config,) in self._reader.rows(sql.PUSHES_OF_TASK, (number,))]
        except TaskNotFoundError:
            return []
        except msgspec.MsgspecError as error:
            path = str(self._reader.path)
            raise StorageCorruptError(path, f"a push of the task {task_id} cannot be read: {error}") from error

    def _last_event(self, task_id: str) -> int:
        try:
            return self._log.task(task_id).number
        except TaskNotFoundError:
            return 0
