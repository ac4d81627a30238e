"""Handlers that return what cannot be sent, hang and exit, and what those get who have asked."""

import asyncio
import logging
import math
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from leaps import Leaps

from tekton.bus.local_bus import LocalBus
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.component import Component, listening
from tekton.component.handlers import MessageTable
from tekton.component.handling import CANCEL_GRACE
from tekton.component.listening import Listening
from tekton.core.tracing.tracer import Tracer
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.testing.clock import current_clock, virtual_time
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.bus_client import BusClient
from tekton.utils.tekton_errors import InvalidMessageError, ReplyTimeoutError


def asked(content: Any = None, **context: Any) -> Message:
    return Message(MessageType.REQUEST, content, MessageContext("hermes", **context))


def listening_to(table: MessageTable, clock: Clock = SYSTEM_CLOCK) -> Listening:
    return Listening("engram", table, Tracer("engram", [].append, clock=clock), clock)


@asynccontextmanager
async def at_work(table: MessageTable, clock: Clock = SYSTEM_CLOCK) -> AsyncIterator[LocalBus]:
    """A bus on which the handlers of *table* work as "engram"."""
    bus, handlers = LocalBus(clock), listening_to(table, clock)
    await handlers.start(bus)
    try:
        yield bus
    finally:
        await handlers.stop(0.0)


async def ask(bus: LocalBus, message: Message, timeout: float = 60.0) -> Message:
    return await bus.request("engram.requests.it", message, timeout=timeout)


async def ask_and_wait(bus: LocalBus, message: Message) -> Message:
    """The answer to *message*, whatever its deadline is."""
    async with bus.subscribe("hermes.heard") as heard:
        await bus.publish("engram.requests.it", message, reply="hermes.heard")
        return (await anext(aiter(heard))).message


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"x": math.nan}, "nan is no number in JSON"),
        ("\ud800", "a text has half of a surrogate pair"),
        (2**70, "an integer is beyond 64 bits"),
        ("x" * 2**21, "it is larger than 1048576 bytes as JSON"),
        (object(), "a value of the type object has no JSON form"),
        (Message(MessageType.RESPONSE, {1: 2}, MessageContext("engram")), "it has no JSON form: Dict key must be str"),
        (Message(MessageType.RESPONSE, math.inf, MessageContext("rhetor")), "inf is no number in JSON"),
    ],
    ids=["nan", "surrogate", "integer", "large", "object", "message", "of another"],
)
@virtual_time
async def test_what_cannot_be_sent_is_answered_at_once_with_what_is_wrong_and_logged_once(
    value: Any, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    table, calls = MessageTable(), []

    @table.subscribe("engram.requests.it")
    async def it(message: Message) -> Any:
        calls.append(message)
        return value

    begun, request = current_clock().monotonic(), asked()
    with caplog.at_level(logging.WARNING):
        async with at_work(table, current_clock()) as bus:
            answers = [await ask(bus, request) for _ in range(2)]

    assert current_clock().monotonic() == begun
    assert answers[0].message_type is MessageType.ERROR
    assert answers[0].content["detail"].startswith(f"what a handler has returned cannot be passed on: {problem}")
    assert answers[0].content == answers[1].content
    assert len(calls) == 1
    assert [record.getMessage() for record in caplog.records] == ["engram has failed to answer engram.requests.it"]


@virtual_time
async def test_an_error_that_cannot_be_sent_is_answered_with_its_code() -> None:
    table = MessageTable()

    @table.subscribe("engram.requests.it")
    async def it(message: Message) -> None:
        error = InvalidMessageError("/x", "no number")
        error.extra = math.nan  # type: ignore[attr-defined]
        raise error

    async with at_work(table, current_clock()) as bus:
        answer = await ask(bus, asked())

    assert answer.content == {"code": "invalid_message", "detail": "what the error says cannot be sent; the log has it"}


@virtual_time
async def test_keys_that_are_no_texts_are_sent_as_texts() -> None:
    table = MessageTable()

    @table.subscribe("engram.requests.it")
    async def it(message: Message) -> dict[int, str]:
        return {1: "a"}

    async with at_work(table, current_clock()) as bus:
        assert (await ask(bus, asked())).content == {"1": "a"}


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()], ids=repr)
@pytest.mark.parametrize("in_thread", [False, True])
async def test_what_would_end_the_process_is_answered_as_a_defect_and_the_next_request_is_carried_out(
    error: BaseException, in_thread: bool
) -> None:
    table = MessageTable()

    def it(message: Message) -> Any:
        if message.content:
            return message.content
        raise error

    async def on_the_loop(message: Message) -> Any:
        return it(message)

    table.subscribe("engram.requests.it")(it if in_thread else on_the_loop)

    async with asyncio.timeout(5), at_work(table) as bus:
        await bus.publish("engram.requests.it", asked())  # nobody waits for an answer to it
        failed, done = await ask(bus, asked()), await ask(bus, asked("again"))

    assert (failed.message_type, failed.content["code"]) == (MessageType.ERROR, "internal")
    assert (done.message_type, done.content) == (MessageType.RESPONSE, "again")


@pytest.mark.parametrize("sender", ["hermes", "engram"])
@virtual_time
async def test_one_that_returns_its_message_answers_with_its_content(sender: str) -> None:
    table = MessageTable()

    @table.subscribe("engram.requests.it")
    async def echo(message: Message) -> Message:
        return message

    request = Message(MessageType.REQUEST, "tea", MessageContext(sender), {"timeout": 5})
    async with at_work(table, current_clock()) as bus:
        answer = await ask(bus, request)

    assert (answer.message_type, answer.content, answer.metadata) == (MessageType.RESPONSE, "tea", {})
    assert (answer.context.sender, answer.context.recipient) == ("engram", sender)
    assert answer.context.parent_id == request.message_id
    assert answer.message_id != request.message_id


async def test_what_is_passed_on_passes_the_port_where_nobody_speaks_for_somebody_else(
    plane: InMemoryControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "STANDING_TIMEOUT", 10.0)
    engram, ada = [plane.address_of(await plane.token(name, "component")) for name in ("engram", "ada")]
    app = Component("engram", port=0, control_plane=engram)

    @app.subscribe("engram.requests.it")
    async def echo(message: Message) -> Message:
        return message

    async with asyncio.timeout(10), app, BusClient(ada) as bus:
        await app.wait_ready()
        answer = await bus.request("engram.requests.it", Message("request", "tea", MessageContext("ada")), timeout=5.0)

    assert (answer.context.sender, answer.content) == ("engram", "tea")


@pytest.mark.parametrize("kind", [MessageType.RESPONSE, MessageType.ERROR])
@virtual_time
async def test_the_answer_of_another_is_passed_on_as_one_of_the_component(kind: MessageType) -> None:
    table = MessageTable()

    @table.subscribe("engram.requests.it")
    async def ask_on(message: Message) -> Message:
        return Message(kind, {"code": "sold_out"}, message.follow("rhetor", "engram"), {"tool": "price"})

    async with at_work(table, current_clock()) as bus:
        answer = await ask(bus, asked())

    assert (answer.message_type, answer.content, answer.metadata) == (kind, {"code": "sold_out"}, {"tool": "price"})
    assert (answer.context.sender, answer.context.recipient) == ("engram", "hermes")


@virtual_time
async def test_one_that_ignores_its_cancellation_is_answered_for_and_leaves_its_place_to_the_next() -> None:
    table, clock = MessageTable(), current_clock()

    @table.subscribe("engram.requests.it")
    async def it(message: Message) -> str:
        for _ in range(3 if message.content is None else 0):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(10.0)
        return "done"

    begun = clock.monotonic()
    async with at_work(table, clock) as bus:
        late = await ask_and_wait(bus, asked(deadline=clock.time() + 1.0))
        then = clock.monotonic()
        done = await ask(bus, asked("quick"))
        await bus.publish("engram.requests.it", asked())
        await asyncio.sleep(1.0)
        stopping = clock.monotonic()

    assert late.content["code"] == "message_expired"
    assert then - begun == pytest.approx(1.0 + CANCEL_GRACE)
    assert done.content == "done"
    assert clock.monotonic() - stopping == pytest.approx(CANCEL_GRACE)


@virtual_time
async def test_who_asks_again_meanwhile_waits_no_longer_than_until_his_deadline() -> None:
    table, clock = MessageTable(), current_clock()

    @table.subscribe("engram.requests.it", concurrency=2)
    async def it(message: Message) -> None:
        await asyncio.sleep(100.0)

    first = asked()
    again = Message("request", None, MessageContext("hermes", deadline=clock.time() + 5.0), message_id=first.message_id)
    begun = clock.monotonic()
    async with at_work(table, clock) as bus:
        await bus.publish("engram.requests.it", first, reply="ada.heard")
        answer = await ask_and_wait(bus, again)

    assert answer.content["code"] == "message_expired"
    assert clock.monotonic() - begun == pytest.approx(5.0)


class Blocking:
    """A plain handler that notes what it gets, and goes on when it is let go."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.begun = asyncio.Event()
        self.go = threading.Event()
        self._loop = asyncio.get_running_loop()

    def handle(self, message: Message) -> str:
        self.calls.append(message.content)
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self.go.wait(10)
        return "done"


async def test_a_thread_keeps_its_place_beyond_its_deadline_and_who_has_asked_does_not_wait_for_it() -> None:
    table, blocking, leaps = MessageTable(), Blocking(), Leaps()
    table.subscribe("engram.requests.it")(blocking.handle)

    async with asyncio.timeout(20), at_work(table) as bus:
        waiting = asyncio.ensure_future(ask_and_wait(bus, asked(1, deadline=SYSTEM_CLOCK.time() + 5.0)))
        await blocking.begun.wait()
        leaps.leap(5.0)
        late = await waiting
        for number in (2, 3):
            with pytest.raises(ReplyTimeoutError):
                await ask(bus, asked(number), 0.05)
        blocking.go.set()
        done = await ask(bus, asked(4))

    assert late.content["code"] == "message_expired"
    assert done.content == "done"
    assert blocking.calls == [1, 4]


async def test_a_thread_keeps_its_place_when_its_component_was_not_ready_meanwhile() -> None:
    table, blocking, leaps = MessageTable(), Blocking(), Leaps()
    table.subscribe("engram.requests.it")(blocking.handle)
    bus, handlers = LocalBus(SYSTEM_CLOCK), listening_to(table)

    async with asyncio.timeout(20):
        await handlers.start(bus)
        waiting = asyncio.ensure_future(ask(bus, asked(1), 5.0))
        await blocking.begun.wait()
        leaps.leap(5.0)
        with pytest.raises(ReplyTimeoutError):
            await waiting
        await handlers.pause(0.0)
        await handlers.start(bus)
        with pytest.raises(ReplyTimeoutError):
            await ask(bus, asked(2), 0.05)
        blocking.go.set()
        done = await ask(bus, asked(3))
        await handlers.stop(1.0)

    assert done.content == "done"
    assert blocking.calls == [1, 3]


@virtual_time
async def test_no_place_is_lost_at_whatever_moment_the_component_is_paused() -> None:
    table = MessageTable()

    @table.subscribe("engram.requests.it")
    async def it(message: Message) -> Any:
        return message.content

    bus, handlers = LocalBus(current_clock()), listening_to(table, current_clock())
    await handlers.start(bus)
    for turns in range(12):
        await bus.publish("engram.requests.it", asked())
        for _ in range(turns):
            await asyncio.sleep(0)
        await handlers.pause(0.0)
        await handlers.start(bus)
        assert (await ask(bus, asked(turns), 5.0)).content == turns
    await handlers.stop(0.0)


@virtual_time
@pytest.mark.parametrize(("patience", "done"), [(4.0, ["first"]), (1.0, [])])
async def test_a_stop_in_the_middle_of_a_pause_lets_finish_what_the_pause_would_have_let_finish(
    patience: float, done: list[str]
) -> None:
    """A component that is not healthy is often stopped next: its handlers were ended at once."""
    table, clock, ended = MessageTable(), current_clock(), []

    @table.subscribe("engram.requests.it")
    async def it(message: Message) -> None:
        await asyncio.sleep(5.0)
        ended.append(message.content)

    bus, handlers = LocalBus(clock), listening_to(table, clock)
    await handlers.start(bus)
    await bus.publish("engram.requests.it", asked("first"))
    await asyncio.sleep(1.0)
    with suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            await handlers.pause(7.0)
    stopping = clock.monotonic()
    await handlers.stop(patience)

    assert ended == done
    assert clock.monotonic() - stopping == pytest.approx(min(patience, 3.0))
