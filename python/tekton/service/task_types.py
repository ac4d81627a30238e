"""The types of tasks that were declared here: documents of the registry, which are taken up at a start."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from tekton.a2a.planner import Planners
from tekton.a2a.task_graph import Subtask
from tekton.a2a.task_types import ResultCheck, TaskType, TaskTypes
from tekton.core.component_lifecycle.documents import MAX_BODY_BYTES, Documents
from tekton.mcp.schema_check import SchemaCheck, copied_schema
from tekton.utils.tekton_errors import (
    InvalidTaskError,
    TaskTypeLimitError,
    TaskTypeNotFoundError,
    TektonError,
)

__all__ = ["KIND", "MOST", "Declaration", "DeclaredTypes"]

KIND: Final = "task_types"
MOST: Final = 1000
"""Types that may be declared."""

_logger = logging.getLogger("tekton.tasks")


class Declaration(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is declared of a type: the *capabilities* with which it is done, or the *subtasks* that do it.

    *result_schema* is the JSON schema that results have to fit, *attempt_timeout* for how long one agent may try.
    """

    capabilities: Sequence[str] = ()
    subtasks: Sequence[Subtask] = ()
    result_schema: Mapping[str, Any] | None = None
    attempt_timeout: float | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[str] | Declaration).decode


class DeclaredTypes:
    """Declares types in *types*, and how they are taken apart in *planners*, and keeps that among *documents*."""

    def __init__(self, documents: Documents, types: TaskTypes, planners: Planners) -> None:
        self._documents = documents
        self._types = types
        self._planners = planners
        self._declared: dict[str, Declaration] = {}
        self._changing = asyncio.Lock()
        for name, body in documents.all(KIND).items():
            self._take_up(name, body)

    def all(self) -> list[TaskType]:
        """The types that are declared, by name."""
        return self._types.all()

    def declaration(self, task_type: TaskType) -> Declaration:
        """What is declared of a type."""
        return self._declared.get(task_type.name) or Declaration(task_type.capabilities)

    async def declare(self, name: str, wanted: Declaration) -> tuple[TaskType, bool]:
        """Declare a type, or declare it anew; durable on return. True: there was none before.

        Raises InvalidIdError, InvalidTaskError, TaskCycleError where it would be a part of itself, TaskTypeLimitError
        and the storage errors.
        """
        _checked(name, wanted)
        body = _encode(wanted)
        if len(body) > MAX_BODY_BYTES:
            raise InvalidTaskError("", f"what is declared takes {len(body)} bytes, and may take {MAX_BODY_BYTES}")
        async with self._changing:
            self._planners.check(name, wanted.subtasks)
            known = self._documents.all(KIND)
            if name not in known and len(known) >= MOST:
                raise TaskTypeLimitError(name, MOST)
            new = all(one.name != name for one in self.all())
            try:
                await self._documents.put(KIND, name, body, action="task_type.declare", detail=_detail(wanted))
            finally:
                self._show(name)
        return self._types.find(name), new

    async def forget(self, name: str) -> tuple[TaskType, Declaration]:
        """Forget what was declared of a type; durable on return. Returns what that was.

        One that is there from the start is as it was then. Raises TaskTypeNotFoundError and the storage errors.
        """
        async with self._changing:
            if name not in self._documents.all(KIND):
                raise TaskTypeNotFoundError(name)
            gone = self._types.find(name)
            declared = self.declaration(gone)
            try:
                await self._documents.delete(KIND, name, action="task_type.forget")
            finally:
                self._show(name)
        return gone, declared

    def _show(self, name: str) -> None:
        """Let be seen what is committed."""
        body = self._documents.all(KIND).get(name)
        if body is not None:
            self._take_up(name, body)
            return
        self._declared.pop(name, None)
        self._planners.forget(name)
        self._types.forget_task_type(name)

    def _take_up(self, name: str, body: bytes) -> None:
        try:
            stored = _decode(body)
            declared = Declaration(stored) if isinstance(stored, list) else stored  # so were they kept before
            check = _checked(name, declared)
            if declared.subtasks:
                self._planners.declare(name, declared.subtasks)
            else:
                self._planners.forget(name)
        except (TektonError, msgspec.DecodeError) as error:
            _logger.error("the type of task %s, as it was declared, cannot be used: %s", name, error)
            return
        self._declared[name] = declared
        self._types.register_task_type(
            name, declared.capabilities, check=check, attempt_timeout=declared.attempt_timeout
        )


def _checked(name: str, wanted: Declaration) -> ResultCheck | None:
    """The check that *wanted* asks for. Raises InvalidIdError and InvalidTaskError for what cannot be declared."""
    if not any((wanted.capabilities, wanted.subtasks, wanted.result_schema is not None, wanted.attempt_timeout)):
        raise InvalidTaskError("/capabilities", "there are none, and nothing else is declared")
    TaskTypes().register_task_type(name, wanted.capabilities, attempt_timeout=wanted.attempt_timeout)
    return None if wanted.result_schema is None else _check_of(wanted.result_schema)


def _check_of(schema: Mapping[str, Any]) -> ResultCheck:
    try:
        compiled = SchemaCheck(copied_schema(schema))
    except (ValueError, ImportError) as error:
        raise InvalidTaskError("/result_schema", str(error)) from None

    def check(result: Any) -> None:
        misfit = compiled.misfit(result)
        if misfit is not None:
            raise ValueError(f"{misfit.pointer or 'the result'}: {misfit.problem}")

    return check


def _detail(declared: Declaration) -> str:
    """What the audit log says."""
    parts = [*declared.capabilities, *(f"{part.name}: {part.task_type}" for part in declared.subtasks)]
    return " ".join(parts)[:500]
