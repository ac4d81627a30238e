"""The handlers of a component at work, on a bus in memory."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tekton.bus.bus import Limits, Policy, Subscription
from tekton.bus.envelope import Envelope
from tekton.bus.local_bus import LocalBus
from tekton.clock import SYSTEM_CLOCK
from tekton.component import Component, readiness
from tekton.component.handlers import MessageTable
from tekton.component.listening import Listening
from tekton.core.degradation.deadline import time_left
from tekton.core.tracing.tracer import Tracer
from tekton.mcp.context import MessageContext
from tekton.mcp.error_message import error_of
from tekton.mcp.message import Message, MessageType
from tekton.utils.tekton_errors import ComponentNotFoundError, NoRespondersError


@pytest.fixture
def bus() -> LocalBus:
    return LocalBus(SYSTEM_CLOCK)


@pytest.fixture
def app(bus: LocalBus) -> Component:
    return Component("engram", bus=bus, register=False, port=0)


def told(content: Any, *, kind: MessageType = MessageType.EVENT, **context: Any) -> Message:
    return Message(kind, content, MessageContext("hermes", **context))


async def ask(bus: LocalBus, subject: str, content: Any) -> Message:
    return await bus.request(subject, told(content, kind=MessageType.REQUEST), timeout=5)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - of nothing that could tell
            await asyncio.sleep(0)


async def test_what_is_published_reaches_the_handler_in_order(bus: LocalBus, app: Component) -> None:
    seen: list[Any] = []

    @app.subscribe("memory.>")
    async def remember(message: Message) -> None:
        seen.append(message.content)
        await asyncio.sleep(0)

    async with app:
        await app.wait_ready()
        for number in range(20):
            await bus.publish("memory.updated", told(number))
        await until(lambda: len(seen) == 20)

    assert seen == list(range(20))


async def test_a_handler_that_is_annotated_so_gets_the_envelope(bus: LocalBus, app: Component) -> None:
    seen: list[str] = []

    @app.subscribe("memory.>")
    def remember(envelope: Envelope) -> None:
        seen.append(envelope.subject)

    async with app:
        await app.wait_ready()
        await bus.publish("memory.updated", told(1))
        await until(lambda: bool(seen))

    assert seen == ["memory.updated"]


async def test_what_a_handler_returns_is_the_answer_to_a_request(bus: LocalBus, app: Component) -> None:
    @app.subscribe("engram.requests.double", queue="engram")
    async def double(message: Message) -> dict[str, int]:
        return {"result": 2 * message.content}

    async with app:
        await app.wait_ready()
        request = told(21, kind=MessageType.REQUEST)
        answer = await bus.request("engram.requests.double", request, timeout=5)

    assert answer.message_type is MessageType.RESPONSE
    assert answer.content == {"result": 42}
    assert answer.context.sender == "engram"
    assert answer.context.recipient == "hermes"
    assert answer.context.parent_id == request.message_id
    assert answer.context.trace_id == request.context.trace_id


async def test_a_message_that_a_handler_returns_is_the_answer_itself(bus: LocalBus, app: Component) -> None:
    @app.subscribe("engram.requests.refuse")
    async def refuse(message: Message) -> Message:
        return Message(MessageType.ERROR, {"code": "not_today"}, message.follow("engram"))

    async with app:
        await app.wait_ready()
        answer = await ask(bus, "engram.requests.refuse", None)

    assert (answer.message_type, answer.content) == (MessageType.ERROR, {"code": "not_today"})


async def test_what_a_handler_raises_is_the_answer_with_its_code(bus: LocalBus, app: Component) -> None:
    @app.subscribe("engram.requests.find")
    async def find(message: Message) -> None:
        raise ComponentNotFoundError(message.content)

    async with app:
        await app.wait_ready()
        error = error_of(await ask(bus, "engram.requests.find", "nobody"))

    assert isinstance(error, ComponentNotFoundError)
    assert error.component_id == "nobody"


async def test_of_a_defect_the_answer_says_no_more_than_that_it_is_one(
    bus: LocalBus, app: Component, caplog: pytest.LogCaptureFixture
) -> None:
    @app.subscribe("engram.requests.find")
    async def find(message: Message) -> None:
        raise ZeroDivisionError("secret 42")

    async with app:
        await app.wait_ready()
        answer = await ask(bus, "engram.requests.find", None)

    assert (answer.message_type, answer.content["code"]) == (MessageType.ERROR, "internal")
    assert b"secret" not in answer.to_json()
    assert "secret 42" in caplog.text


async def test_an_answer_without_a_json_form_is_a_defect(bus: LocalBus, app: Component) -> None:
    @app.subscribe("engram.requests.find")
    async def find(message: Message) -> object:
        return object()

    async with app:
        await app.wait_ready()
        answer = await ask(bus, "engram.requests.find", None)

    assert answer.message_type is MessageType.ERROR


async def test_a_request_that_comes_again_is_carried_out_once(bus: LocalBus, app: Component) -> None:
    calls: list[str] = []

    @app.subscribe("engram.requests.count", concurrency=2)
    async def count(message: Message) -> int:
        calls.append(message.message_id)
        return len(calls)

    request = told(None, kind=MessageType.REQUEST)
    async with app:
        await app.wait_ready()
        answers = [await bus.request("engram.requests.count", request, timeout=5) for _ in range(2)]

    assert [answer.content for answer in answers] == [1, 1]
    assert calls == [request.message_id]


async def test_the_same_message_to_another_handler_is_another_request(bus: LocalBus, app: Component) -> None:
    @app.subscribe("engram.requests.fast")
    async def fast(message: Message) -> str:
        return "fast"

    @app.subscribe("engram.requests.delete")
    async def delete(message: Message) -> str:
        return "deleted"

    request = told(None, kind=MessageType.REQUEST)
    async with app:
        await app.wait_ready()
        subjects = ("engram.requests.fast", "engram.requests.delete", "engram.requests.fast")
        answers = [await bus.request(subject, request, timeout=5) for subject in subjects]

    assert [answer.content for answer in answers] == ["fast", "deleted", "fast"]


async def test_the_same_id_with_other_content_or_on_another_subject_is_another_request(
    bus: LocalBus, app: Component
) -> None:
    @app.subscribe("engram.requests.>")
    async def tell(envelope: Envelope) -> list[Any]:
        return [envelope.subject, envelope.message.content, envelope.message.metadata]

    first = told(1, kind=MessageType.REQUEST)
    others = [
        Message("request", content, first.context, metadata, message_id=first.message_id)
        for content, metadata in ((2, {}), (1, {"tool": "delete"}))
    ]
    async with app:
        await app.wait_ready()
        asked = [("engram.requests.a", message) for message in (first, *others)] + [("engram.requests.b", first)]
        answers = [(await bus.request(subject, message, timeout=5)).content for subject, message in asked]

    assert answers == [[subject, message.content, message.metadata] for subject, message in asked]


async def test_of_handlers_whose_patterns_overlap_all_run_and_the_first_answer_counts(
    bus: LocalBus, app: Component
) -> None:
    ran: list[str] = []

    @app.subscribe("engram.requests.>")
    async def audit(message: Message) -> str:
        ran.append("audit")
        return "audited"

    @app.subscribe("engram.requests.price")
    async def price(message: Message) -> int:
        ran.append("price")
        return 3

    async with app:
        await app.wait_ready()
        answer = await ask(bus, "engram.requests.price", "tea")
        await until(lambda: len(ran) == 2)

    assert sorted(ran) == ["audit", "price"]
    assert answer.content in ("audited", 3)


async def test_an_answer_that_is_given_again_is_no_older_than_the_question(bus: LocalBus, app: Component) -> None:
    @app.subscribe("engram.requests.count")
    async def count(message: Message) -> Message:
        return Message(MessageType.RESPONSE, 1, message.follow("engram"))

    asked = told(None, kind=MessageType.REQUEST, deadline=SYSTEM_CLOCK.time() + 5)
    async with app:
        await app.wait_ready()
        answer = await bus.request("engram.requests.count", asked, timeout=5)

    assert answer.context.deadline is None


async def test_what_a_handler_publishes_is_caused_by_its_message(bus: LocalBus, app: Component) -> None:
    @app.subscribe("memory.>")
    async def remember(message: Message) -> None:
        said = [Message("event", number, MessageContext("engram")) for number in range(3)]
        await bus.publish("seen.one", said[0])
        await bus.publish_many([Envelope("seen.many", said[1])])
        async with asyncio.TaskGroup() as group:
            group.create_task(bus.publish("seen.task", said[2]))
        await bus.publish("seen.itself", message)

    cause = told("tea", hops=3)
    async with app, bus.subscribe("seen.*") as seen:
        await app.wait_ready()
        await bus.publish("memory.updated", cause)
        heard = [(await anext(aiter(seen))).message.context for _ in range(4)]

    assert [one.hops for one in heard] == [4] * 4
    assert [one.parent_id for one in heard] == [cause.message_id] * 3 + [None]
    assert {one.trace_id for one in heard} == {cause.context.trace_id}


async def test_handlers_that_answer_each_other_without_an_end_are_stopped(
    bus: LocalBus, caplog: pytest.LogCaptureFixture
) -> None:
    hops: list[int] = []
    ada, bob = (Component(name, bus=bus, register=False, port=0) for name in ("ada", "bob"))

    def echo(app: Component, heard: str, said: str) -> None:
        @app.subscribe(heard)
        async def answer(message: Message) -> None:
            hops.append(message.context.hops)
            await bus.publish(said, Message("event", message.content, MessageContext(app.component_id)))

    echo(ada, "bob.said", "ada.said")
    echo(bob, "ada.said", "bob.said")
    async with ada, bob:
        await ada.wait_ready()
        await bob.wait_ready()
        await bus.publish("ada.said", told("hello"))
        await until(lambda: "17 messages have caused one another" in caplog.text)

    assert hops == list(range(17))


async def test_the_deadline_of_a_request_is_that_of_the_call(bus: LocalBus, app: Component) -> None:
    @app.subscribe("engram.requests.wait")
    async def wait(message: Message) -> bool:
        left = time_left()
        return left is not None and 50 < left <= 60

    async with app:
        await app.wait_ready()
        request = told(None, kind=MessageType.REQUEST, deadline=SYSTEM_CLOCK.time() + 60)
        answer = await bus.request("engram.requests.wait", request, timeout=100)

    assert answer.content is True


async def test_a_handler_that_fails_goes_on_with_the_next_message(
    bus: LocalBus, app: Component, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []

    @app.subscribe("memory.>")
    async def remember(message: Message) -> None:
        if message.content == 0:
            raise ZeroDivisionError
        seen.append(message.content)

    async with app:
        await app.wait_ready()
        await bus.publish("memory.updated", told(0))
        await bus.publish("memory.updated", told(1))
        await until(lambda: seen == [1])

    assert "ZeroDivisionError" in caplog.text


async def test_no_more_calls_run_at_a_time_than_may(bus: LocalBus, app: Component) -> None:
    running = most = done = 0
    go_on = asyncio.Event()

    @app.subscribe("memory.>", concurrency=3)
    async def remember(message: Message) -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        await go_on.wait()
        running -= 1
        done += 1

    async with app:
        await app.wait_ready()
        for number in range(10):
            await bus.publish("memory.updated", told(number))
        await until(lambda: running == 3)
        go_on.set()
        await until(lambda: done == 10)

    assert most == 3


async def test_a_handler_that_does_not_keep_up_misses_the_oldest_and_the_log_says_so(
    bus: LocalBus, app: Component, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []
    go_on = asyncio.Event()

    @app.subscribe("memory.>", limits=Limits(2, policy=Policy.DROP_OLDEST))
    async def remember(message: Message) -> None:
        await go_on.wait()
        seen.append(message.content)

    async with app:
        await app.wait_ready()
        for number in range(6):
            await bus.publish("memory.updated", told(number))
        await until(lambda: True)
        go_on.set()
        await until(lambda: 5 in seen)

    assert seen[-2:] == [4, 5]
    assert "messages were missed" in caplog.text


async def test_one_that_is_cut_listens_again(
    bus: LocalBus, app: Component, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tekton.component.listening.BACKOFF", (0.0, 0.0))
    seen: list[Any] = []
    go_on = asyncio.Event()

    @app.subscribe("memory.>", limits=Limits(2, policy=Policy.DISCONNECT))
    async def remember(message: Message) -> None:
        await go_on.wait()
        seen.append(message.content)

    async with asyncio.timeout(5), app:
        await app.wait_ready()
        for number in range(300):
            await bus.publish("memory.updated", told(number))
        go_on.set()
        await until(lambda: "trying again" in caplog.text)
        while 300 not in seen:
            await bus.publish("memory.updated", told(300))
            await asyncio.sleep(0)

    assert "subscription to memory.>" in caplog.text


async def test_on_stop_what_is_in_progress_is_finished(bus: LocalBus, app: Component) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    done: list[Any] = []

    @app.subscribe("memory.>")
    async def remember(message: Message) -> None:
        begun.set()
        await go_on.wait()
        done.append(message.content)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        await app.start()
        await app.wait_ready()
        await bus.publish("memory.updated", told(1))
        await begun.wait()
        stopping = group.create_task(app.stop())
        await until(lambda: not bus.live.answered("memory.updated"))
        assert not stopping.done()
        go_on.set()

    assert done == [1]


async def test_what_does_not_finish_in_time_is_cancelled(bus: LocalBus) -> None:
    app = Component("engram", bus=bus, register=False, port=0, stop_timeout=0.2)
    begun, cancelled = asyncio.Event(), asyncio.Event()

    @app.subscribe("memory.>")
    async def remember(message: Message) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with asyncio.timeout(5):
        async with app:
            await app.wait_ready()
            await bus.publish("memory.updated", told(1))
            await begun.wait()
        await cancelled.wait()


async def test_nothing_goes_on_when_the_wait_for_it_is_given_up(bus: LocalBus) -> None:
    table = MessageTable()
    begun, cancelled = asyncio.Event(), asyncio.Event()

    @table.subscribe("memory.>")
    async def remember(message: Message) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    listening = Listening("engram", table, Tracer("engram", [].append, clock=SYSTEM_CLOCK), SYSTEM_CLOCK)
    async with asyncio.timeout(5):
        await listening.start(bus)
        await bus.publish("memory.updated", told(1))
        await begun.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await listening.stop(60)
        await listening.stop(0)

    assert cancelled.is_set()


async def test_nothing_goes_on_when_what_it_read_from_has_ended() -> None:
    subscriptions: list[Subscription] = []

    class Closing(LocalBus):
        def subscribe(self, pattern: str, **options: Any) -> Subscription:
            subscriptions.append(super().subscribe(pattern, **options))
            return subscriptions[-1]

    table, bus = MessageTable(), Closing(SYSTEM_CLOCK)
    begun, cancelled = asyncio.Event(), asyncio.Event()

    @table.subscribe("memory.>", concurrency=2)
    async def remember(message: Message) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    listening = Listening("engram", table, Tracer("engram", [].append, clock=SYSTEM_CLOCK), SYSTEM_CLOCK)
    async with asyncio.timeout(5):
        await listening.start(bus)
        await bus.publish("memory.updated", told(1))
        await begun.wait()
        await subscriptions[0].close()
        await asyncio.sleep(0)
        await listening.stop(0.0)

    assert cancelled.is_set()


async def test_handlers_run_while_the_component_is_ready(
    bus: LocalBus, app: Component, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "SERVING_POLL", 0.001)
    monkeypatch.setattr(readiness, "READY_POLL", 0.001)
    holds = False

    @app.ready_when
    async def warm() -> bool:
        return holds

    @app.subscribe("engram.requests.ping", queue="engram")
    async def ping(message: Message) -> str:
        return "pong"

    async with app:
        with pytest.raises(NoRespondersError):
            await ask(bus, "engram.requests.ping", None)
        holds = True
        await app.wait_ready()
        assert (await ask(bus, "engram.requests.ping", None)).content == "pong"
        holds = False
        await until(lambda: not bus.live.answered("engram.requests.ping"))
        holds = True
        await until(lambda: bus.live.answered("engram.requests.ping"))
        assert (await ask(bus, "engram.requests.ping", None)).content == "pong"


async def test_what_was_published_while_it_was_not_ready_is_caught_up_with(
    bus: LocalBus, app: Component, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "SERVING_POLL", 0.001)
    holds = True
    seen: list[Any] = []

    @app.ready_when
    async def warm() -> bool:
        return holds

    @app.subscribe("memory.>")
    async def remember(message: Message) -> None:
        seen.append(message.content)

    async with app:
        await app.wait_ready()
        await bus.publish("memory.updated", told(1))
        await until(lambda: seen == [1])
        holds = False
        await until(lambda: not bus.live.answered("memory.updated"))
        await bus.publish("memory.updated", told(2))
        holds = True
        await until(lambda: seen == [1, 2])


async def test_a_component_without_a_control_plane_has_no_bus() -> None:
    with pytest.raises(RuntimeError, match="has no bus"):
        _ = Component("engram", register=False).bus
