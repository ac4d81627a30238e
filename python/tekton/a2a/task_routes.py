"""Which agents are asked to do a task, and whether there is a way to them.

What is known of the agents now decides; nobody is asked over a network.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Container, Iterable
from contextlib import suppress
from typing import Any, Protocol

from tekton.a2a.agent import Agent, Locality
from tekton.a2a.agent_registry import NEIGHBOURS, AgentRegistry
from tekton.a2a.planner import Planners
from tekton.a2a.task import Task
from tekton.a2a.task_event import PlannedTask
from tekton.a2a.task_graph import Subtask
from tekton.a2a.task_steps import TaskContext
from tekton.a2a.task_types import TaskTypes
from tekton.utils.tekton_errors import AgentNotFoundError, AgentUnreachableError, NoAgentAvailableError
from tekton.utils.tekton_ids import nearest_name

__all__ = ["RemoteAgents", "TaskRoutes"]


class RemoteAgents(Protocol):
    """Has agents do something that are at an endpoint."""

    async def __call__(self, agent: Agent, context: TaskContext) -> Any:
        """Have *agent* do the task; returns its result."""
        ...


class TaskRoutes:
    """Routes of tasks to the agents of *registry*. Unless *remote* is true, only those with a handler can be asked."""

    def __init__(self, registry: AgentRegistry, types: TaskTypes, planners: Planners, *, remote: bool) -> None:
        self._registry = registry
        self._types = types
        self._planners = planners
        self._remote = remote
        self._patient_until = -1.0

    def be_patient(self, seconds: float) -> None:
        """Have `reachable_soon` wait for agents for so long from now on, or longer if that was said before."""
        self._patient_until = max(self._patient_until, asyncio.get_running_loop().time() + seconds)

    def route(self, task: Task) -> tuple[Agent, ...]:
        """The agents that can do *task*, the one to ask first at the front; of a known plan, those of its parts.

        Raises NoAgentAvailableError, and AgentNotFoundError for an agent that was named and is not there.
        """
        if task.created.agent_id:
            return (self._registry.get_agent(task.created.agent_id),)
        parts: Iterable[Subtask | PlannedTask] = task.plan or self._planners.declared(task.task_type)
        if parts:
            return tuple({agent.agent_id: agent for part in parts for agent in self._of_part(part)}.values())
        return self._types.agents(task.task_type, self._registry)

    def reachable(self, task: Task) -> tuple[Agent, ...]:
        """Those of `route` that can be asked. Raises AgentUnreachableError, which names them, if none of them can."""
        return self._to_ask(self.route(task))

    def check(self, task: Task, done: Container[str] = ()) -> None:
        """Return if somebody can be asked to do *task*, as far as that is known: what a planner will say is not.

        A part that waits for others may be done by agents that are not usable yet. Parts whose ids are *done* are not
        looked at. Raises NoAgentAvailableError, which says what was perhaps meant; AgentUnreachableError,
        AgentNotFoundError.
        """
        try:
            self._check(task, done)
        except NoAgentAvailableError as error:
            raise NoAgentAvailableError(error.wanted, error.unusable, self._meant(error)) from None

    def _check(self, task: Task, done: Container[str]) -> None:
        if not self.is_planned(task):
            self.reachable(task)
            return
        for part in task.plan or self._planners.declared(task.task_type):
            if not (isinstance(part, PlannedTask) and part.task_id in done):
                self._check_part(part)

    async def reachable_soon(
        self, task: Task, failed: Container[str] = (), patience: float = 0.0, *, taken_up: bool = False
    ) -> tuple[Agent, ...]:
        """As `reachable`, without those that have *failed*: perhaps nobody is left.

        For *patience* seconds, or while it is to be patient, it waits for one to come. Where all have failed it is
        patient only for a task that was *taken_up*: of any other, those who could be asked were asked.
        """
        now = asyncio.get_running_loop().time
        least = now() + patience
        most = max(self._patient_until, least)
        while True:
            version = self._registry.version
            try:
                found = tuple(agent for agent in self.reachable(task) if agent.agent_id not in failed)
                until = most if taken_up else least
                if found or now() >= until:
                    return found
            except (NoAgentAvailableError, AgentUnreachableError, AgentNotFoundError):
                until = most
                if now() >= until:
                    raise
            try:
                async with asyncio.timeout_at(until):
                    await self._registry.changed(version)
            except TimeoutError:
                continue

    async def all_soon(self, task: Task, *, taken_up: bool) -> tuple[Agent, ...]:
        """All agents that can be asked to do *task*; raises as `reachable`.

        While it is to be patient it waits for somebody; for a task that was *taken_up*, for all that are known to be
        able to do it, and are not usable yet.
        """
        now = asyncio.get_running_loop().time
        while now() < self._patient_until:
            version = self._registry.version
            with suppress(NoAgentAvailableError, AgentUnreachableError):
                found = self.reachable(task)
                if not taken_up or not self._types.unusable(task.task_type, self._registry):
                    return found
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._patient_until):
                    await self._registry.changed(version)
        return self.reachable(task)

    def is_planned(self, task: Task) -> bool:
        """True if its parts, or a planner, say who does it."""
        return bool(task.plan) or (not task.created.agent_id and task.task_type in self._planners)

    def _of_part(self, part: Subtask | PlannedTask) -> tuple[Agent, ...]:
        if part.agent_id:
            return (self._registry.get_agent(part.agent_id),)
        return () if part.task_type in self._planners else self._types.agents(part.task_type, self._registry)

    def _check_part(self, part: Subtask | PlannedTask) -> None:
        try:
            routed = self._of_part(part)
        except NoAgentAvailableError as error:
            if part.dependencies and (error.unusable or part.task_type in self._types):
                return
            raise
        if routed:
            self._to_ask(routed)

    def _meant(self, error: NoAgentAvailableError) -> str | None:
        """The capability or the type nearest to one that nobody knows."""
        if error.unusable or " " in error.wanted:  # it is known who could, or what was declared
            return None
        types = (one.name for one in self._types.all())
        known = sorted({*self._registry.capabilities(), *types, *self._planners} - {error.wanted})
        place = bisect_left(known, error.wanted)
        return nearest_name(error.wanted[:128], known[max(0, place - NEIGHBOURS) : place + NEIGHBOURS])

    def _to_ask(self, routed: tuple[Agent, ...]) -> tuple[Agent, ...]:
        found = tuple(agent for agent in routed if self._can_ask(agent))
        if not found:
            others = [agent.agent_id for agent in routed[1:]]
            also = f", nor is there a way to {', '.join(others)}" if others else ""
            raise AgentUnreachableError(routed[0].agent_id, f"{_obstacle(routed[0])}{also}")
        return found

    def _can_ask(self, agent: Agent) -> bool:
        return agent.locality is Locality.LOCAL or (agent.locality is Locality.REMOTE and self._remote)


def _obstacle(agent: Agent) -> str:
    if agent.locality is Locality.NOWHERE:
        return "it has neither a handler nor an endpoint"
    return "it is at an endpoint, and nothing here calls those"
