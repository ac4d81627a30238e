"""The agents of a component: the decorator that makes a function one, and the work that comes for them.

    @app.agent("reviewer", capabilities=["code_review"], description="Reviews code.")
    async def review(code: str, context: TaskContext) -> dict[str, Any]:
        tree = await context.step("parse", parse, code)
        return await context.step("judge", judge, tree)

They are part of the registration. The control plane has them do tasks: it gives notice at
`POST /api/agents/{agent_id}/tasks`, and hears all else by reports (`tekton.a2a.task_reports`). So an agent works where
its component is, and its task goes on, whatever dies.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from tekton.a2a.agent import Agent
from tekton.a2a.task_reports import Notice
from tekton.clock import Clock
from tekton.component.agent_job import Job, Workplace, Workshop
from tekton.component.report_client import ReportClient
from tekton.core.degradation.bulkhead import Bulkhead
from tekton.core.offered_agents import OfferedAgent
from tekton.core.tracing import Tracer
from tekton.gateway.errors import RouteNotFoundError, UnavailableError
from tekton.gateway.request import Request
from tekton.gateway.router import CALLERS, Route
from tekton.utils.control_plane import ControlPlane
from tekton.utils.tekton_ids import did_you_mean

__all__ = ["AgentList", "AgentTable", "AgentWork", "LocalAgent"]

MOST_TASKS: Final = 1000
"""Tasks that an instance of a component has at the same time; those that must wait their turn included."""

_HandlerT = TypeVar("_HandlerT", bound=Callable[..., Any])
_TAGS: Final = ("agents",)

_AgentTask = tuple[str, str]
"""An agent, and a task that it works on; by their names."""

_logger = logging.getLogger("tekton.component")


@dataclass(frozen=True, slots=True)
class LocalAgent:
    """An agent of the component, the function that does its work, and how many tasks that is done for at a time."""

    offered: OfferedAgent
    handler: Callable[..., Any]
    concurrency: int


class AgentTable:
    """Which agents a component is, in the order of the definitions."""

    def __init__(self) -> None:
        self.agents: dict[str, LocalAgent] = {}

    def agent(
        self,
        agent_id: str,
        *,
        capabilities: Sequence[str] = (),
        description: str | None = None,
        version: str = "0.0.0",
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        concurrency: int = 32,
    ) -> Callable[[_HandlerT], _HandlerT]:
        """Have the decorated function, which stays as it is, do the work of an agent; before the component is started.

        Its parameters are the inputs of a task, by their names; one annotated `TaskContext` is what it can do with it
        (`tekton.a2a.task_steps`). What it returns is the result. A plain function runs in a thread. It works on so many
        tasks at a time as *concurrency* says; others wait. *description* is the first line of its docstring unless it
        is given. A thread keeps its place until it has ended, though its task is over.

        Raises InvalidIdError, InvalidAgentError, TypeError for one string where several are expected, and ValueError
        for a second agent of the same name.
        """
        if not isinstance(agent_id, str):
            raise TypeError('say who it is: @app.agent("reviewer")')
        if concurrency < 1:
            raise ValueError(f"concurrency is at least 1, not {concurrency}")
        if agent_id in self.agents:
            raise ValueError(f"there is an agent {agent_id} already")

        def add(handler: _HandlerT) -> _HandlerT:
            said = _first_line(handler) if description is None else description
            checked = Agent(
                agent_id,
                _several("capabilities", capabilities),
                {**(metadata or {}), "description": said},
                version,
                tags=_several("tags", tags),
                handler=handler,
            )
            offered = OfferedAgent(
                agent_id=agent_id,
                capabilities=checked.capabilities,
                description=said,
                version=version,
                tags=checked.tags,
                metadata=dict(metadata or {}),
            )
            self.agents[agent_id] = LocalAgent(offered, handler, concurrency)
            return handler

        return add


class AgentList(msgspec.Struct, frozen=True):
    """The agents of the component, in the order of their names."""

    agents: list[OfferedAgent]


class AgentWork:
    """What the agents of *table* have to do, from `open` to `close`, and again; *tracer* makes spans of that."""

    def __init__(self, table: AgentTable, clock: Clock, tracer: Tracer | None = None) -> None:
        self._table = table
        self._clock = clock
        self._tracer = tracer
        self._places: dict[str, Workplace] = {}
        self._client: ReportClient | None = None
        self._workshop: Workshop | None = None
        # Of each agent its own: one that has failed may not have heard that its task is over when the next has it.
        self._jobs: dict[_AgentTask, Job] = {}
        self._running: dict[_AgentTask, asyncio.Task[None]] = {}

    @property
    def tasks(self) -> list[str]:
        """The tasks that are being worked on, or wait for that."""
        return list(dict.fromkeys(task_id for _, task_id in self._jobs))

    def offered(self) -> tuple[OfferedAgent, ...]:
        """What the component says of its agents when it registers."""
        return tuple(agent.offered for _, agent in sorted(self._table.agents.items()))

    def open(self, plane: ControlPlane, worker: str) -> None:
        """From now on there is work. *worker* is the name of this process in reports to *plane*."""
        if self._table.agents:
            self._client = ReportClient(plane)
            self._workshop = Workshop(worker, self._client, self._clock, tracer=self._tracer)
            self._places = {
                name: Workplace(name, agent.handler, Bulkhead(name, agent.concurrency, MOST_TASKS))
                for name, agent in self._table.agents.items()
            }

    async def close(self, patience: float) -> None:
        """Take no more, and give back what there is: each task when its step is done, or after *patience* seconds."""
        workshop, self._workshop = self._workshop, None
        if workshop is None:
            return
        running = list(self._running.values())
        for job in self._jobs.values():
            job.leave()
        if running:
            await asyncio.wait(running, timeout=patience * 0.7)
        for job in self._jobs.values():
            job.leave(now=True)
        if still := [task for task in running if not task.done()]:
            await asyncio.wait(still, timeout=patience * 0.3)
        await self._end(workshop)

    async def abandon(self) -> None:
        """Take no more, and tell nobody."""
        workshop, self._workshop = self._workshop, None
        if workshop is not None:
            await self._end(workshop)

    async def _end(self, workshop: Workshop) -> None:
        await workshop.group.stop()
        await workshop.calls.close()
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def routes(self) -> list[Route]:
        """Where agents are listed, and where notice is given."""
        if not self._table.agents:
            return []
        return [
            Route(
                "GET", "/api/agents", self._list, "The agents of the component", CALLERS, response=AgentList, tags=_TAGS
            ),
            Route(
                "POST",
                "/api/agents/{agent_id}/tasks",
                self._noticed,
                "There is something to hear about a task of the agent",
                CALLERS,
                body=Notice,
                status=204,
                repeats="harmless",
                errors=(RouteNotFoundError, UnavailableError),
                tags=_TAGS,
            ),
        ]

    async def _list(self, _: Request) -> AgentList:
        return AgentList(list(self.offered()))

    async def _noticed(self, request: Request) -> None:
        agent_id, notice = request.params["agent_id"], request.body
        if agent_id not in self._table.agents:
            error = RouteNotFoundError(request.path)
            error.hint = did_you_mean(agent_id, self._table.agents) or "see /api/agents"
            raise error
        if self._workshop is None:
            raise UnavailableError("there is no control plane to ask what is to be done")
        if (job := self._jobs.get((agent_id, notice.task_id))) is not None:
            job.notice(notice.epoch)
        elif len(self._jobs) >= MOST_TASKS:
            raise UnavailableError(f"{len(self._jobs)} tasks are being worked on, or wait for that")
        else:
            self._take(self._places[agent_id], notice.task_id, notice.epoch)

    def _take(self, place: Workplace, task_id: str, epoch: int) -> None:
        if self._workshop is None:
            return
        key = place.agent_id, task_id
        job = self._jobs[key] = Job(self._workshop, place, task_id, epoch)
        self._running[key] = task = self._workshop.group.spawn(job.run(), f"task {task_id}")
        task.add_done_callback(lambda _: self._done(place, job))

    def _done(self, place: Workplace, job: Job) -> None:
        key = place.agent_id, job.task_id
        del self._jobs[key], self._running[key]
        if job.missed:
            self._take(place, job.task_id, job.missed)


def _first_line(handler: Callable[..., Any]) -> str:
    text = (handler.__doc__ or "").strip()
    return text.splitlines()[0] if text else ""


def _several(argument: str, names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise TypeError(f"{argument} is a list: {argument}=[{names!r}]")
    return tuple(names)
