"""The parts of a task, and which of them have to wait for which.

A plan is checked before anything of it begins: names are there once, dependencies are parts of the same plan, and do
not go round in a circle.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from tekton._native import DependencyGraph, uuid7
from tekton.a2a.task_event import PlannedTask
from tekton.mcp.tool_result import GarbageError, as_json
from tekton.utils.tekton_errors import InvalidTaskError, TaskCycleError
from tekton.utils.tekton_ids import check_id

__all__ = ["Subtask", "checked_plan", "graph_of"]

MOST_PARTS: Final = 1000
MOST_INPUTS: Final = 1024 * 1024
"""Bytes of the inputs of a task, as JSON."""


class Subtask(msgspec.Struct, frozen=True):
    """A part of a task: a task of its own, under a *name*, once those of *dependencies* are completed.

    Their results are in `context.results` then. With *agent_id*, that agent does it, and nobody else.
    """

    name: str
    task_type: str
    inputs: Mapping[str, Any] = {}
    dependencies: Sequence[str] = ()
    agent_id: str = ""


def checked_plan(parts: Sequence[Subtask]) -> list[PlannedTask]:
    """The plan that *parts* are, each with an id for its task. O(parts + dependencies).

    Raises InvalidTaskError, InvalidIdError, and TaskCycleError with the parts that wait for each other.
    """
    if len(parts) > MOST_PARTS:
        raise InvalidTaskError("/subtasks", f"more than {MOST_PARTS} parts")
    for part in parts:
        if not isinstance(part, Subtask):
            raise InvalidTaskError("/subtasks", f"expected a Subtask, got {type(part).__name__}")
    names = {part.name for part in parts}
    if len(names) < len(parts):
        raise InvalidTaskError("/subtasks", "two parts have the same name")
    plan = [_planned(number, part, names) for number, part in enumerate(parts)]
    _, cycles = graph_of(plan).resolve()
    if cycles:
        raise TaskCycleError(cycles[0])
    return plan


def graph_of(plan: Sequence[PlannedTask]) -> DependencyGraph:
    """Which part waits for which."""
    return DependencyGraph({part.name: part.dependencies for part in plan})


def checked_inputs(pointer: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of *inputs*, as JSON. Raises InvalidTaskError."""
    try:
        copy = as_json(inputs, MOST_INPUTS).content
    except GarbageError as error:
        raise InvalidTaskError(pointer, str(error)) from None
    if not isinstance(copy, dict):
        raise InvalidTaskError(pointer, f"expected an object, got {type(inputs).__name__}")
    return copy


def _planned(number: int, part: Subtask, names: set[str]) -> PlannedTask:
    pointer = f"/subtasks/{number}"
    check_id(part.name, f"{pointer}/name", dots=True)
    check_id(part.task_type, f"{pointer}/task_type", dots=True)
    if isinstance(part.dependencies, str):
        raise InvalidTaskError(f"{pointer}/dependencies", "expected a list of names, got one text")
    for name in part.dependencies:
        if name not in names:
            raise InvalidTaskError(f"{pointer}/dependencies", f"there is no part {str(name)[:128]!r}")
    inputs = checked_inputs(f"{pointer}/inputs", part.inputs)
    return PlannedTask(part.name, uuid7(), part.task_type, inputs, list(part.dependencies), part.agent_id)
