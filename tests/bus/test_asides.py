"""What is said between a request and its answer, in one process and over the port of a control plane."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

import msgspec
import pytest

from tekton.bus.asides import on_line
from tekton.bus.bus import Bus
from tekton.bus.envelope import Envelope
from tekton.bus.local_bus import LocalBus
from tekton.clock import SYSTEM_CLOCK
from tekton.component import Component
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.mcp.processor import MessageProcessor
from tekton.mcp.tool_context import Answer, LogLine, Progress, Question, ToolContext, ToolEvent
from tekton.mcp.tool_line import line_of
from tekton.mcp.tool_registry import ToolRegistry
from tekton.testing.clock import current_clock, virtual_time
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.bus_client import BusClient
from tekton.utils.tekton_errors import ComponentNotFoundError, ReplyTimeoutError


class Confirmation(msgspec.Struct):
    really: bool


async def deploy(target: str, context: ToolContext) -> list[Any]:
    """Deploy it."""
    for done in range(3):
        context.progress(done, 3)
    context.log("warning", "slow disk", path="/tmp")
    name = await context.ask("As what?")
    if not name.accepted:
        return [target, name.action]
    sure = await context.ask("Really?", Confirmation)
    return [target, name.action, name.content, sure.content.really]


class Side(NamedTuple):
    """Who asks, and who answers."""

    asks: Bus
    answers: Bus


@asynccontextmanager
async def in_process() -> AsyncIterator[Side]:
    bus = LocalBus(SYSTEM_CLOCK)
    yield Side(bus, bus)


@asynccontextmanager
async def over_the_port() -> AsyncIterator[Side]:
    async with InMemoryControlPlane() as plane:
        tokens = [await plane.token(name, "component") for name in ("ada", "ergon")]
        async with (
            BusClient(plane.address_of(tokens[0])) as asks,
            BusClient(plane.address_of(tokens[1])) as answers,
        ):
            yield Side(asks, answers)


SIDES: dict[str, Callable[[], AbstractAsyncContextManager[Side]]] = {"process": in_process, "port": over_the_port}


@pytest.fixture(params=list(SIDES))
async def asks(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    """The bus of one who asks; at `ergon.requests.do` there is a processor with the tool `deploy`."""
    async with SIDES[request.param]() as side, ToolRegistry() as tools:
        tools.register_tool("deploy", None, deploy)
        processor = MessageProcessor(tools, component_id="ergon")
        app = Component("ergon", bus=side.answers, register=False, port=0)
        app.subscribe("ergon.requests.do", concurrency=4)(processor.process_message)
        async with app:
            await app.wait_ready()
            yield side.asks


def call() -> Message:
    content = {"tool": "deploy", "arguments": {"target": "shop"}}
    return Message(MessageType.REQUEST, content, MessageContext("ada", "ergon"))


async def test_who_asks_hears_what_the_tool_says_and_is_asked_what_it_asks(asks: Bus) -> None:
    heard: list[ToolEvent] = []
    asked: list[Question] = []

    async def answer(question: Question) -> Answer:
        asked.append(question)
        return Answer("accept", "blue" if question.schema is None else {"really": True})

    answered = await asks.request("ergon.requests.do", call(), timeout=10, tell=heard.append, answer=answer)

    assert answered.content == ["shop", "accept", "blue", True]
    assert heard == [*(Progress(done, 3) for done in range(3)), LogLine("warning", "slow disk", {"path": "/tmp"})]
    assert [(one.tool_id, one.text) for one in asked] == [("deploy", "As what?"), ("deploy", "Really?")]
    assert asked[1].schema == msgspec.json.schema(Confirmation)


async def test_a_question_can_be_declined(asks: Bus) -> None:
    async def answer(_: Question) -> Answer:
        return Answer("decline")

    answered = await asks.request("ergon.requests.do", call(), timeout=10, answer=answer)

    assert answered.content == ["shop", "decline"]


async def test_where_nobody_listens_there_is_nobody_to_ask(asks: Bus) -> None:
    heard: list[ToolEvent] = []
    silent = await asks.request("ergon.requests.do", call(), timeout=10)
    listening = await asks.request("ergon.requests.do", call(), timeout=10, tell=heard.append)

    assert [one.content["code"] for one in (silent, listening)] == ["nobody_to_ask"] * 2
    assert len(heard) == 4


@pytest.mark.parametrize(
    ("error", "code"),
    [(ComponentNotFoundError("bob"), "component_not_found"), (ZeroDivisionError("secret 42"), "internal")],
)
async def test_what_is_raised_by_who_is_asked_is_raised_where_it_was_asked(
    asks: Bus, error: Exception, code: str
) -> None:
    async def answer(_: Question) -> Answer:
        raise error

    answered = await asks.request("ergon.requests.do", call(), timeout=10, answer=answer)

    assert (answered.message_type, answered.content["code"]) == (MessageType.ERROR, code)
    assert b"secret" not in answered.to_json()


async def test_a_question_is_over_when_the_request_is(asks: Bus) -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def answer(_: Question) -> Answer:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        task = group.create_task(asks.request("ergon.requests.do", call(), timeout=10, answer=answer))
        await asked.wait()
        task.cancel()
        await ended.wait()


async def test_nothing_is_said_beside_a_reply_that_is_no_private_inbox() -> None:
    bus, request = LocalBus(SYSTEM_CLOCK), call()
    asked = Message(MessageType.REQUEST, request.content, request.context, {"hears": ["events", "questions"]})
    for reply, listens in (("ada.answers", False), ("_inbox.ada.1.1", True)):
        async with on_line(bus, "ergon", Envelope("ergon.requests.do", asked, reply)):
            line = line_of(asked)
        assert (line.tell is not None, line.answer is not None) == (listens, listens)


async def test_what_says_less_than_it_should_is_no_question_and_no_answer(asks: Bus) -> None:
    async def answer(_: Question) -> Answer:
        return Answer("maybe")  # type: ignore[arg-type]

    answered = await asks.request("ergon.requests.do", call(), timeout=10, answer=answer)

    assert (answered.message_type, answered.content["code"]) == (MessageType.ERROR, "invalid_content")


async def _raises(asking: "asyncio.Future[Answer]") -> BaseException | None:
    await asyncio.wait([asking])
    return asking.exception()


@virtual_time
async def test_an_answer_in_time_counts_also_when_who_is_asked_takes_long_to_clean_up() -> None:
    bus = LocalBus(current_clock())

    async def answer(_: Question) -> Answer:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(5)
        raise AssertionError

    async def serve() -> None:
        async with bus.subscribe("ergon.requests.do") as requests:
            envelope = await anext(aiter(requests))
            async with on_line(bus, "ergon", envelope):
                ask = line_of(envelope.message).answer
                assert ask is not None
                asking = asyncio.ensure_future(ask(Question("deploy", "As what?", None)))
                await asyncio.sleep(1)
                assert envelope.reply is not None
                context = envelope.message.follow("ergon", "ada")
                await bus.publish(envelope.reply, Message(MessageType.RESPONSE, "blue", context))
                # It has the time of the request, and who is asked is not done by then.
                assert isinstance(await _raises(asking), ReplyTimeoutError)

    async with asyncio.TaskGroup() as group:
        group.create_task(serve())
        await asyncio.sleep(0)
        answered = await bus.request("ergon.requests.do", call(), timeout=3, answer=answer)

    assert answered.content == "blue"
