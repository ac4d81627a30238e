"""Where it is kept who wants to be told of a task at a URL of his own, and how far he was told.

Rules that every store keeps (one conformance suite runs over all of them):

* Calls that change something apply at once, and are durable when a `flush` that began later has returned; the disk is
  what `tekton.a2a.task_log` says of it.
* Of a task that is forgotten all configurations are forgotten, too.
* What has arrived only ever becomes more. A configuration that was deleted meanwhile does not come back by it.

Methods that only read may be called from a second thread; all others are called on one event loop.
"""

from itertools import islice
from typing import Protocol

import msgspec

from tekton.a2a.task import Task
from tekton.a2a.task_event import Created
from tekton.a2a.task_log import TaskLog
from tekton.utils.tekton_errors import TaskNotFoundError

__all__ = ["MemoryPushStore", "PushConfig", "PushStore"]


class PushConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whoever is at *url* wants the events of a task, and has got those up to number *delivered*.

    *token* is given back to him with each of them; *scheme* and *credentials* are what he wants in `Authorization`.
    *owner* is who has set it up.
    """

    task_id: str
    config_id: str
    url: str
    token: str = ""
    scheme: str = ""
    credentials: str = ""
    owner: str = ""
    delivered: int = 0


class PushStore(Protocol):
    """Keeps configurations of pushes; see the module."""

    def put(self, config: PushConfig) -> None:
        """Have *config*, instead of the one with the same ids if there is one. Raises TaskNotFoundError."""
        ...

    def note_delivered(self, task_id: str, config_id: str, number: int) -> None:
        """Events up to *number* have arrived. Nothing happens where that is known, or the configuration is gone."""
        ...

    def delete(self, task_id: str, config_id: str) -> bool:
        """Forget a configuration; False when there is none."""
        ...

    def get(self, task_id: str, config_id: str) -> PushConfig | None:
        """A configuration."""
        ...

    def of_task(self, task_id: str) -> list[PushConfig]:
        """The configurations of a task, by id."""
        ...

    def waiting(self, limit: int = 100, after: tuple[str, str] = ("", "")) -> list[PushConfig]:
        """Configurations whose task has events that have not arrived, by the ids of task and configuration.

        Those behind the pair of ids *after*: who cannot be reached keeps nobody from being seen.
        """
        ...

    async def flush(self) -> None:
        """Wait until all that was called before is durable. Raises the storage errors."""
        ...


class MemoryPushStore:
    """Configurations of pushes of the tasks of *log*, that live as long as the object."""

    def __init__(self, log: TaskLog) -> None:
        self._log = log
        self._configs: dict[tuple[str, str], tuple[PushConfig, Created]] = {}

    def put(self, config: PushConfig) -> None:
        """See PushStore."""
        created = self._log.task(config.task_id).created
        self._configs[config.task_id, config.config_id] = config, created

    def note_delivered(self, task_id: str, config_id: str, number: int) -> None:
        """See PushStore."""
        known = self.get(task_id, config_id)
        if known is not None and known.delivered < number:
            self.put(msgspec.structs.replace(known, delivered=number))

    def delete(self, task_id: str, config_id: str) -> bool:
        """See PushStore."""
        known = self.get(task_id, config_id)
        self._configs.pop((task_id, config_id), None)
        return known is not None

    def get(self, task_id: str, config_id: str) -> PushConfig | None:
        """See PushStore."""
        config, created = self._configs.get((task_id, config_id), (None, None))
        task = self._task(task_id)
        # Another task of the same id is another task.
        return config if task is not None and task.created is created else None

    def of_task(self, task_id: str) -> list[PushConfig]:
        """See PushStore. O(all configurations)."""
        keys = sorted(key for key in self._configs if key[0] == task_id)
        return [config for key in keys if (config := self.get(*key)) is not None]

    def waiting(self, limit: int = 100, after: tuple[str, str] = ("", "")) -> list[PushConfig]:
        """See PushStore. O(all configurations)."""
        found = (self.get(*key) for key in sorted(self._configs) if key > after)
        return list(islice((one for one in found if one is not None and self._waits(one)), max(0, limit)))

    async def flush(self) -> None:
        """See PushStore: there is nothing to wait for."""

    def _waits(self, config: PushConfig) -> bool:
        return config.delivered < self._log.task(config.task_id).number

    def _task(self, task_id: str) -> Task | None:
        try:
            return self._log.task(task_id)
        except TaskNotFoundError:
            return None
