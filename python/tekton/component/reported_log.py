"""The log of one task at its worker: what is said there happens at once, and is durable when it was reported.

It is an `EventLog`, so that a `TaskContext` does here what it does in the process that has the real log. Changes wait
until a report takes them along, in their order, and are kept until the control plane has said that it has them.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import msgspec

from tekton.a2a.task import Task
from tekton.a2a.task_event import AttemptFailed, Change, Completed, InputGiven, Progressed, Rejected, TaskEvent
from tekton.a2a.task_log import next_events
from tekton.a2a.task_reports import MOST_CHANGES
from tekton.utils.tekton_errors import StorageBusyError

__all__ = ["ReportedLog"]

MOST_WAITING: Final = 10_000
"""Changes that wait for a report at the same time."""
MOST_WAITING_BYTES: Final = 16 * 1024 * 1024

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class _Waiting:
    change: Change
    data: bytes


class ReportedLog:
    """The log of *task*; *wake* is called when there is something to report."""

    def __init__(self, task: Task, wake: Callable[[], object]) -> None:
        self._task = task
        self._wake = wake
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._sent = 0
        self._turned = asyncio.Event()
        self.taken = 0
        """How many changes the control plane has."""
        self.ending: Completed | AttemptFailed | Rejected | None = None
        """How the work has ended; it is reported behind all other changes."""

    @property
    def now(self) -> Task:
        """The task as it is here."""
        return self._task

    @property
    def is_reported(self) -> bool:
        """Whether the control plane has all there is."""
        return not self._waiting and self.ending is None

    def append(
        self,
        task_id: str,
        changes: Sequence[Change],
        at: float,
        *,
        expected: int | None = None,
        epoch: int | None = None,
    ) -> list[TaskEvent]:
        """See EventLog. Raises StorageBusyError, too, when too much waits for a report."""
        del expected
        if len(self._waiting) >= MOST_WAITING or self._bytes >= MOST_WAITING_BYTES:
            raise StorageBusyError(len(self._waiting))
        after, events = next_events(self._task, task_id, changes, at, epoch)
        self._task = after or self._task
        for change in changes:
            if not isinstance(change, InputGiven):  # that comes from the control plane
                self._report(change)
        return events

    def _report(self, change: Change) -> None:
        data = _encode(change)
        unsent = self.taken + len(self._waiting) > self._sent
        if unsent and isinstance(change, Progressed) and isinstance(self._waiting[-1].change, Progressed):
            self._bytes -= len(self._waiting.pop().data)  # nobody wants to know how far it was
        self._waiting.append(_Waiting(change, data))
        self._bytes += len(data)
        self._wake()

    def conclude(self, ending: Completed | AttemptFailed | Rejected) -> None:
        """The work has ended."""
        self.ending = ending
        self._wake()

    def drop(self) -> None:
        """Report nothing of what waits."""
        self._waiting.clear()
        self._bytes = 0

    def task(self, task_id: str) -> Task:
        """See EventLog: there is only one."""
        del task_id
        return self._task

    async def flush(self) -> None:
        """See EventLog. When the work has ended meanwhile it does not return: nothing more is to be begun."""
        wanted = self.taken + len(self._waiting)
        while self.taken < wanted:
            await self._turned.wait()
        if self.ending is not None:
            await asyncio.Event().wait()

    def batch(self, most: int) -> tuple[int, list[msgspec.Raw], bool]:
        """What is to be reported next, in *most* bytes or one change: place of the first, changes, with the ending?"""
        changes: list[msgspec.Raw] = []
        for waiting in islice(self._waiting, MOST_CHANGES):
            most -= len(waiting.data)
            if most < 0 and changes:
                break
            changes.append(msgspec.Raw(waiting.data))
        self._sent = max(self._sent, self.taken + len(changes))
        ends = False
        if self.ending is not None and len(changes) == len(self._waiting):
            data = _encode(self.ending)
            if ends := len(data) <= most or not changes:
                changes.append(msgspec.Raw(data))
        return self.taken, changes, ends

    def take(self, count: int) -> list[Change]:
        """The control plane has *count* changes by now; returns those that it did not have before."""
        gone: list[Change] = []
        while self.taken < count and self._waiting:
            waiting = self._waiting.popleft()
            gone.append(waiting.change)
            self._bytes -= len(waiting.data)
            self.taken += 1
        turned, self._turned = self._turned, asyncio.Event()
        turned.set()
        return gone
