"""What is to be done, and what was said about it: tasks, conversations, and who is to be told of them, in `work.db`.

`work.db` is a file of its own, and what happens to it takes down nothing else:

* It cannot be opened (damaged, written by a newer version): the control plane comes up all the same. Whatever is about
  a task or a conversation is refused.
* A commit fails with an unknown outcome: nothing is taken any more until the control plane is started anew.
* The disk is full: what would change something is refused until there is room. What is known can be read.
* A page is damaged that nobody needs for a start: what is on it is gone round, and all else goes on.

What is refused is refused with a storage error (503), readiness and the log say why, and everything else goes on.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, cast

import msgspec

from tekton.a2a.conversation_store import ConversationStore, MemoryConversationStore
from tekton.a2a.push_store import MemoryPushStore, PushStore
from tekton.a2a.task import Task
from tekton.a2a.task_log import MemoryTaskLog, TaskLog
from tekton.a2a.work.open_bytes import OpenBytes
from tekton.a2a.work.work_store import FILE_NAME, WorkStore
from tekton.core.metrics.tally import Tally
from tekton.utils.tekton_errors import StorageError

_FRAME: Final = 64
"""More than an event takes beside the change that it is."""

_logger = logging.getLogger("tekton.tasks")


class Store(Protocol):
    """What is asked of a store of work: `WorkStore` is one."""

    @property
    def tasks(self) -> TaskLog:
        """The tasks."""
        ...

    @property
    def conversations(self) -> ConversationStore:
        """The conversations."""
        ...

    @property
    def push(self) -> PushStore:
        """Who is to be told of tasks, at URLs."""
        ...

    @property
    def failure(self) -> StorageError | None:
        """Why nothing is accepted any more."""
        ...

    @property
    def full(self) -> bool:
        """True while the disk has no room."""
        ...

    @property
    def waiting(self) -> int:
        """How many changes wait for the disk."""
        ...

    @property
    def open_bytes(self) -> OpenBytes:
        """What open tasks take in memory, and the bounds of that."""
        ...

    @property
    def damaged(self) -> int:
        """How many tasks, conversations and other things were found that cannot be read."""
        ...

    @property
    def commit_seconds(self) -> Tally | None:
        """How long it took to have a batch on the disk, where there is one."""
        ...

    def add_failure_listener(self, listener: Callable[[StorageError], object]) -> None:
        """Tell *listener*, once, when nothing is accepted any more."""
        ...

    async def flush(self) -> None:
        """Wait until all that was called before is durable."""
        ...

    async def close(self) -> None:
        """Flush, as far as that is possible, and close."""
        ...


class MemoryStore:
    """Work that is kept as long as the process lives, without bounds: for tests."""

    failure: StorageError | None = None
    full = False
    waiting = 0
    damaged = 0
    commit_seconds: Tally | None = None

    def __init__(self) -> None:
        log = MemoryTaskLog()
        self.tasks: TaskLog = log
        self.conversations: ConversationStore = MemoryConversationStore()
        self.push: PushStore = MemoryPushStore(log)
        self.open_bytes = OpenBytes()

    def add_failure_listener(self, listener: Callable[[StorageError], object]) -> None:
        """See Store: it does not fail."""

    async def flush(self) -> None:
        """See Store: there is nothing to wait for."""

    async def close(self) -> None:
        """See Store."""


class Work:
    """The store of work, or what stands in its place. Made by `open`, before anything else needs it."""

    def __init__(self, store: Store | None) -> None:
        """None for a *store* that cannot be used."""
        self._store = store
        self.tasks: Final = store.tasks if store is not None else cast(TaskLog, _Refused())
        self.conversations: Final = store.conversations if store is not None else cast(ConversationStore, _Refused())
        self.push: Final = store.push if store is not None else cast(PushStore, _Refused())
        if store is not None:
            store.add_failure_listener(_stopped)

    @classmethod
    async def open(cls, data_dir: Path) -> "Work":
        """The work of a control plane with that data directory. What is the matter with the file is logged and told."""
        try:
            return cls(await WorkStore.open(data_dir / FILE_NAME))
        except StorageError as error:
            _logger.critical("no task and no conversation is taken: %s", error)
            return cls(None)

    async def stop(self) -> None:
        """Commit what is queued and close the file, after the port has closed. Stopping twice does nothing."""
        if self._store is not None:
            await self._store.close()

    @property
    def usable(self) -> bool:
        """Whether there is something to work with: the file could be read, and its writer goes on."""
        return self._store is not None and self._store.failure is None

    @property
    def full(self) -> bool:
        """Whether the disk has no room."""
        return self._store is not None and self._store.full

    @property
    def waiting(self) -> int:
        """How many changes wait for the disk."""
        return 0 if self._store is None else self._store.waiting

    @property
    def damaged(self) -> int:
        """How many tasks, conversations and other things were found since the start that cannot be read."""
        return 0 if self._store is None else self._store.damaged

    @property
    def commit_seconds(self) -> Tally | None:
        """How long it took to have a batch on the disk, where there is one."""
        return None if self._store is None else self._store.commit_seconds

    @property
    def problems(self) -> list[str]:
        """What is the matter, in a few words that everybody may read."""
        if self._store is None:
            return ["tasks: unreadable"]
        if self._store.failure is not None:
            return ["tasks: stopped"]
        return ["tasks: full"] * self._store.full + ["tasks: damaged"] * bool(self._store.damaged)

    def bound_open_tasks(self, most: int, most_of_one: int) -> None:
        """Let open tasks take *most* bytes in memory, those of one owner *most_of_one*."""
        if self._store is not None:
            self._store.open_bytes.most, self._store.open_bytes.most_of_one = most, most_of_one

    def check_open_bytes(self, draft: Task) -> None:
        """Return if there is room in memory for the task that *draft* is. Raises TooManyTasksError. O(its inputs)."""
        if self._store is not None:
            size = len(msgspec.json.encode(draft.created)) + _FRAME
            self._store.open_bytes.check(draft, (draft.created,), size)

    @property
    def open_bytes(self) -> int:
        """What open tasks take in memory (`tekton.a2a.work.open_bytes`)."""
        return 0 if self._store is None else self._store.open_bytes.total

    async def check(self) -> None:
        """Return if a change can be taken now; one that cannot be kept is not made. Raises the storage errors."""
        if self._store is None:
            raise _unreadable()
        if self._store.failure is not None:
            raise self._store.failure.with_traceback(None)
        if self._store.full:
            await self._store.flush()

    async def flush(self) -> None:
        """Wait until all that was called before is durable. Raises the storage errors."""
        if self._store is None:
            raise _unreadable()
        await self._store.flush()

    async def settle(self) -> None:
        """Wait until all that was called before is durable, if it can be: before something is told that was asked for.

        While the disk is full, or the writer has stopped, what is known is told as it is.
        """
        if self._store is None:
            raise _unreadable()
        if self._store.full or self._store.failure is not None:
            return
        try:
            await self._store.flush()
        except StorageError as error:
            _logger.warning("what is told of tasks and conversations may not be kept: %s", error)


class _Refused:
    """Whatever is asked of it is refused."""

    def __getattr__(self, name: str) -> Callable[..., object]:
        def refuse(*_: object, **__: object) -> object:
            raise _unreadable()

        return refuse


def _unreadable() -> StorageError:
    # A new one each time: an error that is raised again and again keeps the frames of all of them.
    return StorageError("work.db cannot be used, so there are no tasks and no conversations; the log says more")


def _stopped(error: StorageError) -> None:
    _logger.critical("tasks and conversations have stopped, until the control plane is started anew: %s", error)
