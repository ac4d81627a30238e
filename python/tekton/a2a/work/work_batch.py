"""What is written together: rows by table, gathered in the order in which they come.

It has the last of what is written over. What is deleted before it was written at all is written without a name: its
rows go by and by, as those of others that were deleted.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from tekton.a2a.conversation_store import ConversationRecord
from tekton.a2a.push_store import PushConfig
from tekton.a2a.task import Task
from tekton.a2a.task_event import TaskEvent
from tekton.a2a.work.work_sql import place

__all__ = ["WorkBatch"]

MOST_CHANGES: Final = 512
MOST_BYTES: Final = 1024 * 1024
"""A batch ends before the change with which it would have more; one change always fits."""

_encode = msgspec.json.Encoder().encode

_Call = tuple[Callable[..., object], tuple[Any, ...]]


class WorkBatch:
    """Rows to be written. `changes` is how many calls have brought them, `size` the bytes that they take."""

    def __init__(self) -> None:
        self.changes = 0
        self.size = 0
        self._bodies: list[bytes] = []
        self._place = 1
        self._tasks: dict[int, list[Any]] = {}
        self._events: list[tuple[int, int, int, int]] = []
        self._ended: list[tuple[int, str, int, int]] = []
        self._dead_tasks: list[int] = []
        self._pushes: dict[tuple[int, str], tuple[int, str, str | None, int]] = {}
        self._conversations: dict[int, list[Any]] = {}
        self._contexts: dict[int, str] = {}
        self._participants: dict[tuple[str, str], int] = {}
        self._dead_participants: dict[tuple[str, str], int] = {}
        self._messages: list[tuple[int, int, int, str]] = []
        self._dead_conversations: list[int] = []
        self._settle: list[_Call] = []
        self._removed: list[_Call] = []

    def has_room(self, size: int) -> bool:
        """May a change with *size* bytes still come?"""
        return not self.changes or (self.changes < MOST_CHANGES and self.size + size <= MOST_BYTES)

    def admit(self, size: int) -> None:
        """A change with *size* bytes comes now."""
        self.changes += 1
        self.size += size

    def when_durable(self, call: Callable[..., object], *args: Any) -> None:
        """Call *call*, on the event loop, when all of this is on the disk."""
        self._settle.append((call, args))

    def when_removed(self, call: Callable[..., object], *args: Any) -> None:
        """The same, but not when what was deleted had to stay."""
        self._removed.append((call, args))

    def settle(self, *, removed: bool = True) -> None:
        """All of this is on the disk; if not *removed*, what was deleted is still there."""
        for call, args in [*self._settle, *(self._removed if removed else ())]:
            call(*args)

    # Tasks

    def put_task(self, number: int, task: Task) -> None:
        """A task has come."""
        made = task.created
        self._tasks[number] = [
            number, task.task_id, made.owner, made.conversation_id, made.task_type, made.parent_id
        ]  # fmt: skip

    def put_event(self, task: int, event: TaskEvent, body: bytes) -> None:
        """Something has happened to a task."""
        self._events.append((task, event.number, *self._put_body(body)))

    def end_task(self, number: int, task: Task) -> None:
        """A task is over."""
        self._ended.append((number, task.state.value, round(task.changed_at * 1e6), task.number))

    def delete_task(self, number: int) -> None:
        """A task is forgotten, with all that belongs to it."""
        _forget(number, self._tasks, self._dead_tasks)

    def put_push(self, task: int, config: PushConfig) -> None:
        """Have a configuration of a task, or another one of the same id."""
        text = _encode(config).decode()
        self._pushes[task, config.config_id] = (task, config.config_id, text, config.delivered)

    def delete_push(self, task: int, config_id: str) -> None:
        """Forget a configuration."""
        self._pushes[task, config_id] = (task, config_id, None, 0)

    # Conversations

    def put_conversation(self, number: int, head: bytes, record: ConversationRecord) -> None:
        """A conversation has come, or has become another. *head* is what seldom does."""
        changed = _encode(record.changed_at).decode()
        self._conversations[number] = [
            number, record.conversation_id, head.decode(), changed, record.last, record.size_bytes
        ]  # fmt: skip

    def put_context(self, conversation: int, context: bytes) -> None:
        """The context of a conversation is another."""
        self._contexts[conversation] = context.decode()

    def put_participant(self, participant: str, id_: str, *, takes_part: bool) -> None:
        """Somebody takes part in the conversation *id_*, or no longer."""
        self._dead_participants.pop((participant, id_), None)
        self._participants[participant, id_] = int(takes_part)

    def put_message(self, conversation: int, sequence: int, id_: str, body: bytes) -> None:
        """Something was said."""
        self._messages.append((place(conversation, sequence), *self._put_body(body), id_))

    def delete_conversation(self, number: int, record: ConversationRecord) -> None:
        """A conversation is forgotten, with all that was said in it."""
        _forget(number, self._conversations, self._dead_conversations)
        for one in record.participants:
            self._participants.pop((one, record.conversation_id), None)
            self._dead_participants[one, record.conversation_id] = 0

    # Writing

    @property
    def rows(self) -> int:
        """About how many pages are touched beside those of the bodies."""
        few = len(self._events) // 16 + len(self._messages) // 16
        return few + len(self._tasks) + len(self._ended) + len(self._conversations) + len(self._pushes)

    @property
    def removes(self) -> bool:
        """Whether it deletes tasks or conversations that are on the disk."""
        return bool(self._dead_tasks or self._dead_conversations)

    def values(self, *, removing: bool = True) -> tuple[object, ...]:
        """The values for `work_sql.WRITE`; if not *removing*, what is deleted stays."""
        contexts = [*self._contexts.items()]
        dead = (self._dead_tasks, self._dead_conversations, self._dead_participants) if removing else ([], [], {})
        dead_tasks, dead_conversations, dead_participants = dead
        participants = [(*key, takes_part) for key, takes_part in (dead_participants | self._participants).items()]
        arrays = (
            [*self._tasks.values()], self._events, self._ended, dead_tasks, [*self._pushes.values()],
            [*self._conversations.values()], contexts, participants, self._messages, dead_conversations,
        )  # fmt: skip
        return b"".join(self._bodies), *(_encode(rows).decode() if rows else None for rows in arrays), self.changes

    def _put_body(self, body: bytes) -> tuple[int, int]:
        """Where it is, counted from 1, and how long."""
        start = self._place
        self._bodies.append(body)
        self._place += len(body)
        return start, len(body)


def _forget(number: int, new: dict[int, list[Any]], dead: list[int]) -> None:
    if number in new:
        new[number][1] = None
    else:
        dead.append(number)
