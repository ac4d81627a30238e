"""What agents do is part of the trace in which it was wanted: in components, after a restart, and at remote agents."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from calling_agents import calling
from wire_agent import Reply, artifact, whole, wire_agent

from tekton.a2a.agent import Agent
from tekton.a2a.task_steps import TaskContext
from tekton.auth.principal import OWNER
from tekton.component import Component, spans
from tekton.core.tracing import Span, Tracer, span
from tekton.service.agent_calls import AgentCalls
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.tekton_errors import TransportError
from tekton.utils.trace_context import CURRENT, TraceContext, new_trace, parse

PATIENCE = 20.0


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TEKTON_URL", "TEKTON_SOCKET", "TEKTON_CREDENTIAL_FILE", "TEKTON_PORT", "PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(spans, "_LAST", PATIENCE)


@pytest.fixture
async def here() -> AsyncIterator[TraceContext]:
    """The trace in which something is wanted."""
    context = new_trace()
    before = CURRENT.set(context)
    yield context
    CURRENT.reset(before)


async def test_the_steps_of_an_agent_are_in_the_trace_of_who_wanted_the_task(here: TraceContext) -> None:
    def parsed() -> str:
        with span("read"):
            return "tree"

    async def review(context: TaskContext) -> str:
        return f"{await context.step('parse', parsed)} {await context.step('judge', lambda: 'fine')}"

    async with InMemoryControlPlane() as plane:
        app = Component("shop", port=0, control_plane=plane.address, stop_timeout=2.0)
        app.agent("reviewer", capabilities=["review"])(review)
        async with asyncio.timeout(PATIENCE), app:
            await plane.registry.wait_until("shop", lambda record: record is not None and record.discoverable)
            CURRENT.set(here)
            task = await plane.tasks.create(OWNER, "review", {})
            CURRENT.set(None)
            await plane.tasks.wait(task.task_id, PATIENCE)
        spans = {one.name: one for one in await plane.tracing.trace(here.trace_id)}

    work = spans["task review"]
    assert (work.parent_id, work.component, work.kind, work.status) == (here.span_id, "shop", "consumer", "unset")
    assert (work.attributes["agent"], work.attributes["task"]) == ("reviewer", task.task_id)
    assert spans["step parse"].parent_id == spans["step judge"].parent_id == work.span_id
    assert spans["read"].parent_id == spans["step parse"].span_id
    assert "POST /api/agents/{agent_id}/tasks" in spans


def remote_task(trace: TraceContext | None) -> TaskContext:
    return cast(TaskContext, SimpleNamespace(task_id="t1", trace=trace))


async def test_asking_a_remote_agent_is_a_span_of_ours(here: TraceContext) -> None:
    spans: list[Span] = []
    seen: list[TraceContext | None] = []

    async def ask(agent: Agent, _: TaskContext) -> Any:
        seen.append(CURRENT.get())
        if agent.agent_id == "gone":
            raise TransportError("https://agents.example", "connection refused")

    calls = AgentCalls(ask, ask, tracer=Tracer("tekton", spans.append))
    await calls(Agent("translator", ("translate",), endpoint="https://agents.example"), remote_task(here))
    with pytest.raises(TransportError):
        await calls(Agent("gone", ("translate",), endpoint="https://agents.example"), remote_task(here))
    await calls(Agent("translator", ("translate",), endpoint="https://agents.example"), remote_task(None))
    await calls(Agent("reviewer", ("review",), component_id="shop"), remote_task(here))

    done, failed = spans
    assert (done.name, done.kind, done.trace_id, done.parent_id) == (
        "call translator",
        "client",
        here.trace_id,
        here.span_id,
    )
    assert (done.status, failed.status) == ("unset", "error")
    assert [one and one.span_id for one in seen] == [done.span_id, failed.span_id, here.span_id, here.span_id]


async def test_a_remote_agent_is_told_the_trace_and_nothing_of_what_others_added_to_it() -> None:
    here = new_trace()._replace(state="vendor=secret")

    async def send(reply: Reply) -> None:
        await reply.result({"task": whole("COMPLETED", "", artifact("fine"))})

    async with wire_agent({"SendMessage": send}, streaming=False) as there, calling(there.url) as calls:
        token = CURRENT.set(here)
        task = calls.tasks.create_task("code_review", {"code": "x"})
        CURRENT.reset(token)
        assert await calls.tasks.execute_task(task) == "fine"

    (sent,) = ({name.lower(): value for name, value in headers.items()} for headers in there.headers)
    assert parse(sent["traceparent"]) == here._replace(state="")
    assert "tracestate" not in sent
