"""How a task is taken apart: plans that were declared for a type, and functions that make one.

    planners.declare("feature", [Subtask("write", "code_generation"), Subtask("check", "code_review", {}, ["write"])])
    planners.register("research", plan_research)

A planner gets the task, and returns its parts; none of them if it is to be done in one piece. It is asked once in the
life of a task: what it has answered stands in the log.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence

from tekton._native import DependencyGraph
from tekton.a2a.task import Task
from tekton.a2a.task_event import PlannedTask
from tekton.a2a.task_graph import Subtask, checked_plan
from tekton.core.calls import bound, call, describe
from tekton.utils.tekton_errors import InvalidTaskError, TaskCycleError, TaskFailedError
from tekton.utils.tekton_ids import check_id

__all__ = ["Planner", "Planners"]

Planner = Callable[[Task], Sequence[Subtask] | Awaitable[Sequence[Subtask]]]
"""Takes a task apart. One that blocks has to be a plain function, which gets a thread."""


class Planners:
    """Planners by the type of the task."""

    def __init__(self) -> None:
        self._planners: dict[str, Planner] = {}
        self._declared: dict[str, tuple[Subtask, ...]] = {}

    def declare(self, task_type: str, parts: Sequence[Subtask]) -> None:
        """Have tasks of a type be done in these parts. A part without inputs gets those of the task.

        Raises InvalidTaskError, InvalidIdError, and TaskCycleError, also where a type would be a part of itself by what
        was declared for others; then nothing is declared.
        """
        self.check(task_type, parts)
        self._declared[task_type] = tuple(parts)
        self._planners.pop(task_type, None)

    def register(self, task_type: str, planner: Planner) -> None:
        """Have *planner* take the tasks of a type apart. Raises InvalidIdError."""
        check_id(task_type, "/task_type", dots=True)
        self._planners[task_type] = planner
        self._declared.pop(task_type, None)

    def check(self, task_type: str, parts: Sequence[Subtask]) -> None:
        """Raise what `declare` would raise."""
        check_id(task_type, "/task_type", dots=True)
        checked_plan(parts)
        self._check_types(task_type, parts)

    def forget(self, task_type: str) -> None:
        """Have tasks of a type not be taken apart any more, if they were."""
        self._planners.pop(task_type, None)
        self._declared.pop(task_type, None)

    def _check_types(self, task_type: str, parts: Sequence[Subtask]) -> None:
        declared = {**self._declared, task_type: parts}
        within = {name: sorted(_types_of(parts) & declared.keys()) for name, parts in declared.items()}
        _, cycles = DependencyGraph(within).resolve()
        if cycles:
            raise TaskCycleError(cycles[0])

    def __iter__(self) -> Iterator[str]:
        return iter((*self._planners, *self._declared))

    def __contains__(self, task_type: object) -> bool:
        return task_type in self._planners or task_type in self._declared

    def declared(self, task_type: str) -> tuple[Subtask, ...]:
        """The parts that were declared for a type; none if a function makes them."""
        return self._declared.get(task_type, ())

    async def plan(self, task: Task) -> list[PlannedTask]:
        """The parts of *task*; empty if it is to be done in one piece.

        Raises TaskFailedError when the planner fails, and as `checked_plan` for what is no plan.
        """
        if (declared := self._declared.get(task.task_type)) is not None:
            return checked_plan([_with_inputs(part, task) for part in declared])
        planner = self._planners.get(task.task_type)
        if planner is None:
            return []
        outcome = await call(bound(planner, task))
        if outcome.error is not None:
            reason = f"its planner has failed: {describe(outcome.error)}"
            raise TaskFailedError(task.task_id, "planner_failed", reason) from outcome.error
        if not isinstance(outcome.value, (list, tuple)):
            raise InvalidTaskError("/plan", f"expected a list of parts, got {type(outcome.value).__name__}")
        return checked_plan(outcome.value)


def _types_of(parts: Sequence[Subtask]) -> set[str]:
    """The types by which parts may be taken apart again: not what one agent has to do."""
    return {part.task_type for part in parts if not part.agent_id}


def _with_inputs(part: Subtask, task: Task) -> Subtask:
    if part.inputs:
        return part
    return Subtask(part.name, part.task_type, task.inputs, part.dependencies, part.agent_id)
