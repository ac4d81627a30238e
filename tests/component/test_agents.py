"""Functions that are agents: what is said of them, and what comes of a notice."""

import asyncio
from typing import Any

import pytest

from tekton.a2a.task_steps import TaskContext
from tekton.component import Component, agents
from tekton.core.offered_agents import OfferedAgent
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.tekton_errors import InvalidAgentError, InvalidIdError
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
