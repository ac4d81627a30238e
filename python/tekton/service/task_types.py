"""The types of tasks that were declared here: documents of the registry, which are taken up at a start."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

import msgspec

from tekton.a2a.task_types import TaskType, TaskTypes
from tekton.core.component_lifecycle.documents import Documents
from tekton.utils.tekton_errors import InvalidIdError, TaskTypeLimitError, TaskTypeNotFoundError

KIND: Final = "task_types"
MOST: Final = 1000
"""Types that may be declared."""
MOST_CAPABILITIES: Final = 64

_logger = logging.getLogger("tekton.tasks")


class DeclaredTypes:
    """Declares types in *types*, and keeps what was declared among *documents*."""

    def __init__(self, documents: Documents, types: TaskTypes) -> None:
        self._documents = documents
        self._types = types
        self._changing = asyncio.Lock()
        for name, body in documents.all(KIND).items():
            self._take_up(name, body)

    def all(self) -> list[TaskType]:
        """The types that are declared, by name."""
        return self._types.all()

    async def declare(self, name: str, capabilities: Sequence[str]) -> tuple[TaskType, bool]:
        """Declare a type, or declare it anew; durable on return. True: there was none before.

        Raises InvalidIdError, TaskTypeLimitError and the storage errors.
        """
        TaskTypes().register_task_type(name, capabilities)
        async with self._changing:
            known = self._documents.all(KIND)
            if name not in known and len(known) >= MOST:
                raise TaskTypeLimitError(name, MOST)
            new = all(one.name != name for one in self.all())
            body = msgspec.json.encode(list(dict.fromkeys(capabilities)))
            try:
                detail = " ".join(capabilities)[:500]
                await self._documents.put(KIND, name, body, action="task_type.declare", detail=detail)
            finally:
                self._show(name)
        return self._types.find(name), new

    async def forget(self, name: str) -> TaskType:
        """Forget what was declared of a type; durable on return. Returns what that was.

        One that is there from the start is as it was then. Raises TaskTypeNotFoundError and the storage errors.
        """
        async with self._changing:
            if name not in self._documents.all(KIND):
                raise TaskTypeNotFoundError(name)
            gone = self._types.find(name)
            try:
                await self._documents.delete(KIND, name, action="task_type.forget")
            finally:
                self._show(name)
        return gone

    def _show(self, name: str) -> None:
        """Let be seen what is committed."""
        body = self._documents.all(KIND).get(name)
        if body is None:
            self._types.forget_task_type(name)
        else:
            self._take_up(name, body)

    def _take_up(self, name: str, body: bytes) -> None:
        try:
            self._types.register_task_type(name, msgspec.json.decode(body, type=list[str]))
        except (InvalidIdError, msgspec.DecodeError) as error:
            _logger.error("the type of task %s, as it was declared, cannot be used: %s", name, error)
