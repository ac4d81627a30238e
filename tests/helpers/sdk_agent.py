"""Agents of the official SDK on loopback, to be called."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Message, Task, TaskState, TaskStatus
from asgi_server import serving_asgi
from google.protobuf.json_format import MessageToDict
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

Work = Callable[[TaskUpdater, RequestContext], Awaitable[None]]


@dataclass
class SdkAgent:
    """What an agent was asked for. Change its *card* to have it say other things from now on."""

    card: AgentCard
    url: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    canceled: list[str] = field(default_factory=list)
    has_canceled: asyncio.Event = field(default_factory=asyncio.Event)


class Executor(AgentExecutor):
    """Does *work* with each message."""

    def __init__(self, work: Work, agent: SdkAgent) -> None:
        self._work = work
        self._agent = agent

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.message is not None
        self._agent.messages.append(MessageToDict(context.message))
        task = context.current_task
        if task is None:
            task = Task(
                id=context.task_id or "",
                context_id=context.context_id or "",
                status=TaskStatus(state=TaskState.TASK_STATE_SUBMITTED),
                history=[Message(message_id=context.message.message_id)],
            )
            await event_queue.enqueue_event(task)
        await self._work(TaskUpdater(event_queue, task.id, task.context_id), context)

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        self._agent.canceled.append(context.task_id or "")
        self._agent.has_canceled.set()
        await TaskUpdater(event_queue, context.task_id or "", context.context_id or "").cancel()


@asynccontextmanager
async def sdk_agent(
    work: Work,
    *,
    streaming: bool = True,
    bindings: tuple[str, ...] = ("JSONRPC", "HTTP+JSON"),
    executor: type[Executor] = Executor,
) -> AsyncIterator[SdkAgent]:
    """An agent that does *work*, and speaks by *bindings*."""
    card = AgentCard(
        name="Reviewer",
        description="Reviews code.",
        version="1.4.0",
        capabilities=AgentCapabilities(streaming=streaming),
        default_input_modes=["text/plain", "application/json"],
        default_output_modes=["text/plain", "application/json"],
        skills=[AgentSkill(id="code_review", name="Code review", description="Reads code.", tags=["python"])],
    )
    agent = SdkAgent(card)
    paths = {"JSONRPC": "/rpc", "HTTP+JSON": "/rest"}
    apps: list[Starlette] = []

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        agent.asked.append(f"{request.method} {request.url.path}")
        agent.headers.append(dict(request.headers))
        await apps[0](scope, receive, send)

    async with serving_asgi(watched) as url:
        agent.url = url
        card.supported_interfaces.extend(
            AgentInterface(url=f"{url}{paths[one]}", protocol_binding=one, protocol_version="1.0") for one in bindings
        )
        apps.append(_application(executor(work, agent), agent))
        yield agent


def _application(executor: Executor, agent: SdkAgent) -> Starlette:
    handler = DefaultRequestHandler(agent_executor=executor, task_store=InMemoryTaskStore(), agent_card=agent.card)
    return Starlette(
        routes=[
            *create_agent_card_routes(agent.card, cache_control="max-age=60"),
            *create_jsonrpc_routes(handler, "/rpc"),
            *create_rest_routes(handler, path_prefix="/rest"),
        ]
    )
