"""Functions that are agents: what is said of them, and what comes of a notice."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from tekton.a2a.agent import Agent
from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.task import Task
from tekton.a2a.task_log import MemoryTaskLog
from tekton.a2a.task_manager import TaskManager
from tekton.a2a.task_reports import Heard, Notice, Report
from tekton.a2a.task_steps import TaskContext
from tekton.component import Component, agents
from tekton.component.agents import AgentTable, AgentWork
from tekton.component.report_client import LeaseOverError
from tekton.core.offered_agents import OfferedAgent
from tekton.gateway.errors import UnavailableError
from tekton.gateway.request import Request
from tekton.service.agent_attempts import Attempt
from tekton.testing import virtual_time
from tekton.testing.clock import current_clock
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.control_plane import ControlPlane
from tekton.utils.tekton_errors import (
    InvalidAgentError,
    InvalidIdError,
    StaleLeaseError,
    TaskStateError,
    TransportError,
)
from tekton.utils.tekton_http import Answer, HttpClient


def shop(**options: Any) -> Component:
    app = Component("shop", port=0, **options)

    @app.agent("reviewer", capabilities=["code_review"], tags=["python"], version="1.2.0", metadata={"model": "none"})
    async def review(code: str, context: TaskContext) -> str:
        """Reviews code.

        And says so.
        """
        return f"{context.task_id}: {code}"

    return app


async def post(app: Component, agent_id: str, body: object) -> Answer:
    async with HttpClient(f"http://127.0.0.1:{app.port}") as client:
        return await client.send("POST", f"/api/agents/{agent_id}/tasks", body)


OFFERED = OfferedAgent(
    agent_id="reviewer",
    capabilities=("code_review",),
    description="Reviews code.",
    version="1.2.0",
    tags=("python",),
    metadata={"model": "none"},
)


async def test_agents_are_part_of_the_registration(plane: InMemoryControlPlane) -> None:
    async with shop(control_plane=plane.address) as app:
        await app.wait_ready()
        record = await plane.registry.wait_until("shop", lambda record: record is not None and record.usable)

    assert record is not None
    assert record.offered_agents == (OFFERED,)


async def test_agents_are_listed() -> None:
    async with shop(register=False) as app, HttpClient(f"http://127.0.0.1:{app.port}") as client:
        listed = await client.request("GET", "/api/agents")

    assert [agent["agent_id"] for agent in listed["agents"]] == ["reviewer"]


async def test_a_component_without_agents_has_no_such_routes() -> None:
    async with Component("shop", port=0, register=False) as app, HttpClient(f"http://127.0.0.1:{app.port}") as client:
        answer = await client.send("GET", "/api/agents")

    assert answer.status == 404


@pytest.mark.parametrize(
    ("agent_id", "options", "error"),
    [
        ("No Name", {}, InvalidIdError),
        ("a", {"capabilities": "review"}, TypeError),
        ("a", {"tags": "python"}, TypeError),
        ("a", {"capabilities": ["No Name"]}, InvalidIdError),
        ("a", {"version": "new"}, InvalidAgentError),
        ("a", {"concurrency": 0}, ValueError),
        ("reviewer", {}, ValueError),
    ],
)
def test_what_is_no_agent_is_refused_where_it_is_defined(
    agent_id: str, options: dict[str, Any], error: type[Exception]
) -> None:
    app = shop(register=False)

    with pytest.raises(error):
        app.agent(agent_id, **options)(print)


def test_an_agent_without_a_name_is_told_apart() -> None:
    app = shop(register=False)

    with pytest.raises(TypeError, match="say who it is"):
        app.agent(print)  # type: ignore[arg-type]


async def test_a_notice_for_an_agent_that_there_is_not_is_refused() -> None:
    async with shop(register=False) as app:
        answer = await post(app, "reviewr", {"task_id": "t1", "epoch": 1})

    assert (answer.status, b"did you mean 'reviewer'?" in answer.body) == (404, True)


async def test_without_a_control_plane_there_is_nothing_to_hear() -> None:
    async with shop(register=False) as app:
        answer = await post(app, "reviewer", {"task_id": "t1", "epoch": 1})

    assert answer.status == 503


async def test_a_notice_of_a_task_that_there_is_not_is_forgotten(plane: InMemoryControlPlane) -> None:
    async with shop(control_plane=plane.address) as app:
        await app.wait_ready()
        answer = await post(app, "reviewer", {"task_id": "t1", "epoch": 1})
        async with asyncio.timeout(10):
            while app.agent_work.tasks:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.01)

    assert answer.status == 204


async def test_so_many_tasks_are_taken_and_no_more(
    plane: InMemoryControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "MOST_TASKS", 0)
    async with shop(control_plane=plane.address) as app:
        await app.wait_ready()
        answer = await post(app, "reviewer", {"task_id": "t1", "epoch": 1})

    assert answer.status == 503


@pytest.mark.parametrize("body", [{}, {"task_id": "t1"}, {"task_id": "", "epoch": 1}, {"task_id": "t", "epoch": -1}])
async def test_a_notice_that_is_none_is_refused(body: dict[str, Any]) -> None:
    async with shop(register=False) as app:
        answer = await post(app, "reviewer", body)

    assert answer.status == 422


LEASE = 30.0


class Employer:
    """The control plane, as the work of a component sees it that is two agents, `first` and `second`, of one skill."""

    def __init__(self, first: Callable[..., Any], second: Callable[..., Any]) -> None:
        table = AgentTable()
        table.agent("first", capabilities=["review"])(first)
        table.agent("second", capabilities=["review"])(second)
        self.work = AgentWork(table, current_clock())
        self.log, self.registry = MemoryTaskLog(), AgentRegistry()
        for name in table.agents:
            self.registry.register_agent(name, ["review"], endpoint="http://shop.test", component_id="shop")
        self.manager = TaskManager(self.registry, log=self.log, remote=self, clock=current_clock())
        self.attempts: dict[str, Attempt] = {}
        self.is_away = self.loses_endings = False
        self.turns = 0
        """Of the loop, after which there is notice."""

    async def __call__(self, _: Agent, context: TaskContext) -> Any:
        attempt = self.attempts[context.task_id] = Attempt("shop", context, self.log, LEASE, current_clock())
        for _ in range(self.turns):
            await asyncio.sleep(0)
        try:
            await self._give_notice(attempt)
            return await attempt.outcome()
        finally:
            await self._give_notice(attempt)

    async def _give_notice(self, attempt: Attempt) -> None:
        _, route = self.work.routes()
        request = SimpleNamespace(params={"agent_id": attempt.agent_id}, body=Notice(attempt.task_id, attempt.epoch))
        await cast(Callable[[Request], Any], route.handler)(cast(Request, request))

    async def send(self, task_id: str, report: object) -> Heard:
        """See Reports: what is sent is JSON."""
        decoded = msgspec.json.decode(msgspec.json.encode(report), type=Report)
        if self.is_away:
            raise TransportError("http://plane.test", "connection refused")
        try:
            heard = await self.attempts[task_id].report(decoded)
        except (StaleLeaseError, TaskStateError):
            raise LeaseOverError from None
        except UnavailableError as error:
            raise TransportError("http://plane.test", str(error)) from None
        if self.loses_endings and decoded.changes and hasattr(decoded.changes[-1], "code"):
            raise TransportError("http://plane.test", "the connection was closed")
        return msgspec.json.decode(msgspec.json.encode(heard), type=Heard)

    async def close(self) -> None:
        """See ReportClient."""

    async def done(self) -> Task:
        """A task, when it has been done."""
        task = self.manager.create_task("review", {})
        await self.manager.execute_task(task)
        return self.log.task(task.task_id)

    @asynccontextmanager
    async def at_work(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
        """While there are reports."""
        monkeypatch.setattr(agents, "ReportClient", lambda _: self)
        self.work.open(ControlPlane(), "w1")
        try:
            yield
        finally:
            await self.work.abandon()
            await self.manager.close()


async def fail() -> None:
    raise OSError("it broke")


async def succeed() -> str:
    return "done"


@pytest.mark.parametrize("turns", range(12))
@virtual_time
async def test_a_second_agent_of_the_component_works_whatever_the_first_knows_of_its_end(
    turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    employer = Employer(fail, succeed)
    employer.turns = turns
    async with employer.at_work(monkeypatch):
        task = await employer.done()

    assert (task.result, task.epoch) == ("done", 2)
    assert [(failure.agent_id, failure.code) for failure in task.failures] == [("first", "agent_failed")]


@virtual_time
async def test_a_second_agent_works_when_the_first_repeats_its_last_report(monkeypatch: pytest.MonkeyPatch) -> None:
    employer = Employer(fail, succeed)
    employer.loses_endings = True
    async with employer.at_work(monkeypatch):
        task = await employer.done()

    assert (task.result, task.epoch) == ("done", 2)


@virtual_time
async def test_a_second_agent_works_when_the_first_is_lost_and_works_on(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = asyncio.Event()

    async def hang() -> None:
        try:
            employer.registry.set_load("first", 5)
            employer.is_away = True
            await asyncio.sleep(LEASE + 1)
            employer.is_away = False
            await asyncio.sleep(1e6)
        finally:
            ended.set()

    employer = Employer(hang, succeed)
    async with employer.at_work(monkeypatch):
        task = await employer.done()
        async with asyncio.timeout(LEASE):
            await ended.wait()

    assert (task.result, task.epoch) == ("done", 2)
    assert [(failure.agent_id, failure.code) for failure in task.failures] == [("first", "agent_lost")]
