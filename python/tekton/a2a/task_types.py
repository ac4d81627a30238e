"""Which capabilities a type of task asks for: what leads from a task to its agents.

Rules:

* An agent that has a capability of the very name of the type can do it.
* Where there is none, the capabilities count that were declared for the type: agents that have more of them come first,
  then the order of the registry.
* Nothing else is tried. A type for which there is nobody is refused, and never guessed at.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tekton.a2a.agent import Agent, AgentHealth
from tekton.a2a.agent_registry import AgentRegistry
from tekton.utils.tekton_errors import InvalidTaskError, NoAgentAvailableError
from tekton.utils.tekton_ids import check_id

__all__ = ["ResultCheck", "TaskType", "TaskTypes"]

ResultCheck = Callable[[Any], object]
"""Looks at a result, as JSON; what it raises says what is wrong with it. It must return at once."""


@dataclass(frozen=True, slots=True)
class TaskType:
    """A type of task: the *capabilities* with which it can be done, and the *check* that its results have to pass.

    *attempt_timeout* is for how many seconds one agent may try, answers that it waits for included; None for as long as
    the manager of tasks says.
    """

    name: str
    capabilities: tuple[str, ...] = ()
    check: ResultCheck | None = None
    attempt_timeout: float | None = None


_BUILT_IN: Final[Mapping[str, Sequence[str]]] = {"code_optimization": ("code_generation", "code_review")}


class TaskTypes:
    """The types that were declared. One is from the start: code_optimization."""

    def __init__(self) -> None:
        self._types: dict[str, TaskType] = {}
        for name, capabilities in _BUILT_IN.items():
            self.register_task_type(name, capabilities)

    def register_task_type(
        self,
        task_type: str,
        capabilities: Iterable[str] = (),
        *,
        check: ResultCheck | None = None,
        attempt_timeout: float | None = None,
    ) -> TaskType:
        """Declare, or declare anew, what a type of task asks for. Raises InvalidIdError, and InvalidTaskError."""
        if attempt_timeout is not None and not 0 < attempt_timeout < math.inf:
            raise InvalidTaskError("/attempt_timeout", f"{attempt_timeout} seconds are none that an agent can have")
        if isinstance(capabilities, str):
            raise TypeError("capabilities are a list of names, not one text")
        check_id(task_type, "/task_type", dots=True)
        names = tuple(dict.fromkeys(capabilities))
        for name in names:
            check_id(name, "/capabilities", dots=True)
        self._types[task_type] = TaskType(task_type, names, check, attempt_timeout)
        return self._types[task_type]

    def forget_task_type(self, task_type: str) -> None:
        """Forget what was declared of a type, if anything was; the one from the start is as it was then."""
        self._types.pop(task_type, None)
        if task_type in _BUILT_IN:
            self.register_task_type(task_type, _BUILT_IN[task_type])

    def all(self) -> list[TaskType]:
        """The types that were declared, by name."""
        return [self._types[name] for name in sorted(self._types)]

    def __contains__(self, task_type: object) -> bool:
        return task_type in self._types

    def find(self, task_type: str) -> TaskType:
        """What was declared of a type; of one that was not, just its name."""
        return self._types.get(task_type) or TaskType(task_type)

    def agents(self, task_type: str, registry: AgentRegistry) -> tuple[Agent, ...]:
        """The agents that can do it, the ones to ask first at the front. Raises NoAgentAvailableError.

        One lookup for a type that is a capability; else O(agents with one of its capabilities).
        """
        exact = registry.find_agents_by_capability(task_type)
        if exact:
            return exact
        wanted = self.find(task_type).capabilities
        found = {agent.agent_id: agent for name in wanted for agent in registry.find_agents_by_capability(name)}
        if not found:
            names = (task_type, *wanted)
            known = [agent.agent_id for name in names for agent in registry.candidates((name,), ())]
            raise NoAgentAvailableError(" or ".join(names), list(dict.fromkeys(known)))
        return tuple(sorted(found.values(), key=lambda agent: -len(set(wanted).intersection(agent.capabilities))))

    def unusable(self, task_type: str, registry: AgentRegistry) -> list[str]:
        """The agents that could do it, if they were usable. O(those that have the capabilities)."""
        names = (task_type, *self.find(task_type).capabilities)
        known = dict.fromkeys(agent.agent_id for name in names for agent in registry.candidates((name,), ()))
        return [agent_id for agent_id in known if registry.health(agent_id) is AgentHealth.UNUSABLE]
