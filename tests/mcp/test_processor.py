"""What becomes of a message."""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tekton.core.degradation.deadline import time_left
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.mcp.modality import CodeContent, ImageContent, StructuredContent, TextContent, parse_content
from tekton.mcp.processor import MessageProcessor, Next
from tekton.mcp.sealed import MAX_ANSWER
from tekton.mcp.tool import ToolLimits
from tekton.mcp.tool_context import Answer, Progress, Question, ToolContext, ToolEvent
from tekton.mcp.tool_registry import ToolRegistry
from tekton.testing import ManualClock, virtual_time
from tekton.utils.error_catalogue import catalogue
from tekton.utils.tekton_errors import ComponentNotFoundError, ToolFailedError
from tekton.utils.trace_context import CURRENT

TRACE = "550e8400-e29b-41d4-a716-446655440000"

REQUEST, COMMAND, EVENT = MessageType.REQUEST, MessageType.COMMAND, MessageType.EVENT
RESPONSE, ERROR, NOTIFICATION = MessageType.RESPONSE, MessageType.ERROR, MessageType.NOTIFICATION


def message(
    message_type: MessageType = REQUEST,
    content: Any = None,
    *,
    tool: Any = None,
    sender: str = "ada",
    deadline: float | None = None,
    message_id: str | None = None,
    **metadata: Any,
) -> Message:
    context = MessageContext(sender, "ergon", TRACE, deadline=deadline)
    about = metadata if tool is None else {**metadata, "tool": tool}
    return Message(message_type, content, context, about, message_id=message_id)


def processor_with(handler: Callable[..., Any], **limits: Any) -> MessageProcessor:
    """A processor with one tool."""
    tools = ToolRegistry()
    tools.register_tool("search", "Search.", handler, limits=ToolLimits(**limits))
    return MessageProcessor(tool_registry=tools)


def search(query: str = "") -> dict[str, str]:
    return {"found": query}


def code_of(answer: Message | None) -> str:
    """The code of an ERROR message."""
    assert answer is not None
    assert answer.message_type is ERROR
    return str(answer.content["code"])


def content_of(answer: Message | None) -> Any:
    """The content of a RESPONSE message."""
    assert answer is not None
    assert answer.message_type is RESPONSE, answer.content
    return answer.content


class TestTools:
    @pytest.mark.parametrize("message_type", [REQUEST, COMMAND])
    @pytest.mark.parametrize(
        ("content", "tool"),
        [
            ({"query": "main"}, "search"),
            ({"tool": "search", "arguments": {"query": "main"}}, None),
            (StructuredContent({"query": "main"}, schema={"type": "object"}).to_content(), "search"),
            ({"modality": "structured", "data": {"tool": "search", "arguments": {"query": "main"}}}, None),
        ],
        ids=["metadata", "content", "structured", "structured content"],
    )
    async def test_a_message_can_call_a_tool(self, message_type: MessageType, content: Any, tool: str | None) -> None:
        asked = message(message_type, content, tool=tool)

        answer = await processor_with(search).process_message(asked)

        assert content_of(answer) == {"found": "main"}
        assert answer is not None
        assert answer.metadata == {"tool": "search"}
        context = answer.context
        assert (context.sender, context.recipient, context.trace_id) == ("ergon", "ada", TRACE)
        assert (context.parent_id, context.hops) == (asked.message_id, 1)

    @pytest.mark.parametrize(("content", "tool"), [(None, "search"), ({"tool": "search"}, None)])
    async def test_a_tool_that_needs_no_arguments_needs_none(self, content: Any, tool: str | None) -> None:
        assert content_of(await processor_with(search).process_message(message(content=content, tool=tool))) == {
            "found": ""
        }

    @pytest.mark.parametrize("message_type", [EVENT, NOTIFICATION, RESPONSE, ERROR])
    async def test_who_asks_for_nothing_calls_nothing(self, message_type: MessageType) -> None:
        called: list[int] = []

        answer = await processor_with(lambda: called.append(1)).process_message(message(message_type, tool="search"))

        assert (answer, called) == (None, [])

    @pytest.mark.parametrize(
        ("content", "tool", "code", "pointer"),
        [
            ({}, "serch", "tool_not_found", None),
            ({"qury": "x"}, "search", "invalid_arguments", "/qury"),
            ("main", "search", "invalid_arguments", ""),
            ({"tool": "search", "arguments": [1]}, None, "invalid_arguments", ""),
            ({}, 5, "invalid_message", "/metadata/tool"),
            ({"modality": "video"}, "search", "invalid_content", "/modality"),
            ({"modality": "code", "code": "x"}, None, "invalid_content", "/language"),
        ],
    )
    async def test_what_is_wrong_with_a_call_is_said(self, content: Any, tool: Any, code: str, pointer: Any) -> None:
        answer = await processor_with(search).process_message(message(content=content, tool=tool))

        assert code_of(answer) == code
        assert answer is not None
        assert answer.content.get("pointer") == pointer
        assert answer.content["detail"]

    async def test_what_a_tool_raises_is_answered_with_the_code_of_the_catalogue(self) -> None:
        def fail(kind: str) -> NoReturn:
            raise ValueError("no such branch") if kind == "theirs" else ComponentNotFoundError("engrm", "engram")

        processor = processor_with(fail)

        theirs = await processor.process_message(message(content={"kind": "theirs"}, tool="search"))
        ours = await processor.process_message(message(content={"kind": "ours"}, tool="search"))

        assert (code_of(theirs), code_of(ours)) == ("tool_failed", "component_not_found")
        assert ours is not None
        assert ours.content["hint"] == "did you mean 'engram'?"

    async def test_the_tool_knows_who_calls_and_with_which_message(self) -> None:
        async def about(context: ToolContext) -> list[Any]:
            assert context.message is not None
            assert context.trace is not None
            return [context.caller, context.message.message_id, context.trace.trace_id]

        asked = message(tool="search")

        answer = await processor_with(about).process_message(asked)

        assert content_of(answer) == ["ada", asked.message_id, TRACE.replace("-", "")]

    async def test_a_modality_comes_back_as_one(self) -> None:
        answer = await processor_with(lambda: CodeContent("x = 1", "python")).process_message(message(tool="search"))

        assert content_of(answer) == CodeContent("x = 1", "python").to_content()

    async def test_without_tools_there_are_none(self) -> None:
        assert code_of(await MessageProcessor().process_message(message(tool="search"))) == "tool_not_found"


class TestHandlers:
    async def test_a_handler_takes_the_messages_of_its_type(self) -> None:
        processor = MessageProcessor(component_id="rhetor")

        @processor.on(REQUEST)
        async def describe(message: Message) -> str:
            return f"{message.content}, described"

        answer = await processor.process_message(message(content="the system"))

        assert content_of(answer) == "the system, described"
        assert answer is not None
        assert answer.context.sender == "rhetor"

    async def test_the_first_that_takes_a_message_gets_it(self) -> None:
        processor = MessageProcessor()
        processor.on(REQUEST, lambda _: "urgent", when=lambda message: message.metadata.get("priority") == "high")
        processor.on(REQUEST, lambda _: "code", content=CodeContent)
        processor.on(REQUEST, lambda _: "text", content=TextContent)
        processor.on(REQUEST, lambda _: "any")

        contents = [CodeContent("x", "c").to_content(), "hello", {"a": 1}]
        answers = [await processor.process_message(message(content=content)) for content in contents]
        urgent = await processor.process_message(message(content="hello", priority="high"))

        assert [content_of(answer) for answer in (*answers, urgent)] == ["code", "text", "any", "urgent"]

    async def test_content_of_no_modality_is_passed_by_who_wants_one(self) -> None:
        processor = MessageProcessor()
        seen: list[Any] = []
        processor.on(REQUEST, lambda _: "code", content=CodeContent)
        processor.on(REQUEST, lambda _: "any")
        processor.on(EVENT, lambda _: seen.append("code"), content=CodeContent)
        processor.on(EVENT, lambda message: seen.append(message.content))

        answer = await processor.process_message(message(content={"modality": "audio"}))
        nothing = await processor.process_message(message(EVENT, {"modality": "audio"}))

        assert (content_of(answer), nothing, seen) == ("any", None, [{"modality": "audio"}])

    async def test_content_of_no_modality_that_nobody_takes_is_said_only_to_who_asks(self) -> None:
        processor = MessageProcessor()
        for message_type in (REQUEST, EVENT):
            processor.on(message_type, lambda _: "code", content=CodeContent)

        asked = await processor.process_message(message(content={"modality": "audio"}))
        told = await processor.process_message(message(EVENT, {"modality": "audio"}))

        assert (code_of(asked), told) == ("invalid_content", None)

    async def test_content_is_parsed_once_for_all_handlers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        parsed: list[Any] = []
        monkeypatch.setattr(
            "tekton.mcp.processor.parse_content", lambda content: parsed.append(content) or parse_content(content)
        )
        processor = MessageProcessor()
        for kind in (CodeContent, ImageContent, TextContent):
            processor.on(REQUEST, lambda _: "one", content=kind)
        content = {"modality": "text", "text": "hello"}

        assert content_of(await processor.process_message(message(content=content))) == "one"
        assert parsed == [content]

    @pytest.mark.parametrize("message_type", [REQUEST, COMMAND])
    async def test_a_request_that_nobody_takes_is_refused(self, message_type: MessageType) -> None:
        answer = await MessageProcessor().process_message(message(message_type, "Generate a description"))

        assert code_of(answer) == "no_handler"
        assert answer is not None
        assert answer.content["hint"]

    @pytest.mark.parametrize("message_type", [EVENT, NOTIFICATION, RESPONSE, ERROR])
    async def test_what_nobody_takes_and_asks_for_nothing_is_no_error(self, message_type: MessageType) -> None:
        assert await MessageProcessor().process_message(message(message_type, "it happened")) is None

    async def test_an_event_is_taken_and_not_answered(self) -> None:
        processor = MessageProcessor()
        seen: list[Any] = []
        processor.on(EVENT, lambda message: seen.append(message.content) or "nobody asked")

        assert await processor.process_message(message(EVENT, "it happened")) is None
        assert seen == ["it happened"]

    async def test_that_there_is_nothing_to_say_answers_a_request_and_no_command(self) -> None:
        processor = MessageProcessor()
        processor.on(REQUEST, lambda _: None)
        processor.on(COMMAND, lambda _: None)

        assert content_of(await processor.process_message(message())) is None
        assert await processor.process_message(message(COMMAND)) is None

    async def test_a_handler_can_make_the_answer_itself(self) -> None:
        processor = MessageProcessor()
        processor.on(EVENT, lambda asked: Message(NOTIFICATION, "noted", asked.follow("ergon")))

        answer = await processor.process_message(message(EVENT))

        assert answer is not None
        assert (answer.message_type, answer.content) == (NOTIFICATION, "noted")

    async def test_a_plain_handler_does_not_hold_up_the_loop(self) -> None:
        processor = MessageProcessor()
        processor.on(REQUEST, lambda _: threading.get_ident())

        assert content_of(await processor.process_message(message())) != threading.get_ident()

    async def test_a_condition_that_would_end_the_process_is_a_defect(self) -> None:
        def leave(_: Message) -> bool:
            raise SystemExit(3)

        processor = MessageProcessor()
        processor.on(REQUEST, lambda _: 1, when=leave)

        assert code_of(await processor.process_message(message())) == "internal"

    @pytest.mark.parametrize("message_type", [REQUEST, COMMAND, EVENT, NOTIFICATION])
    async def test_what_a_handler_raises_stays_in_the_log(
        self, message_type: MessageType, caplog: pytest.LogCaptureFixture
    ) -> None:
        processor = MessageProcessor()

        @processor.on(message_type)
        async def fail(_: Message) -> NoReturn:
            raise SystemExit("hunter2")

        with caplog.at_level(logging.ERROR, "tekton.messages"):
            answer = await processor.process_message(message(message_type))

        assert code_of(answer) == "internal"
        assert answer is not None
        assert "hunter2" not in answer.to_json().decode()
        assert len(caplog.records) == 1

    @pytest.mark.parametrize("message_type", [RESPONSE, ERROR])
    async def test_two_cannot_answer_each_others_errors(
        self, message_type: MessageType, caplog: pytest.LogCaptureFixture
    ) -> None:
        processor = MessageProcessor()

        @processor.on(message_type)
        async def fail(_: Message) -> NoReturn:
            raise ComponentNotFoundError("engrm")

        with caplog.at_level(logging.ERROR, "tekton.messages"):
            assert await processor.process_message(message(message_type)) is None

        assert len(caplog.records) == 1

    @pytest.mark.parametrize("value", [object(), float("nan"), "\ud800", {"a": {1: object()}}])
    async def test_garbage_is_not_sent(self, value: Any, caplog: pytest.LogCaptureFixture) -> None:
        processor = MessageProcessor()
        processor.on(REQUEST, lambda _: value)
        processor.on(EVENT, lambda asked: Message(EVENT, object(), asked.follow("ergon")))

        with caplog.at_level(logging.ERROR, "tekton.messages"):
            assert code_of(await processor.process_message(message())) == "internal"
            assert code_of(await processor.process_message(message(EVENT))) == "internal"

        assert len(caplog.records) == 2

    @pytest.mark.parametrize("detail", ["\ud800", "x" * 2 * MAX_ANSWER], ids=["surrogate", "large"])
    async def test_an_error_that_cannot_be_sent_is_an_error_nevertheless(self, detail: str) -> None:
        processor = MessageProcessor()

        @processor.on(REQUEST)
        async def fail(_: Message) -> NoReturn:
            raise ToolFailedError("search", detail)

        answer = await processor.process_message(message())

        assert code_of(answer) == "tool_failed"
        assert answer is not None
        assert len(answer.to_json()) < 1000

    async def test_an_answer_that_is_larger_than_a_message_may_be_is_not_sent(self) -> None:
        processor = processor_with(lambda: "x" * (MAX_ANSWER - 2))

        assert code_of(await processor.process_message(message(tool="search"))) == "message_too_large"

    async def test_a_message_with_as_many_hops_as_can_be_is_answered(self) -> None:
        context = MessageContext("ada", trace_id=TRACE, hops=255)

        answer = await MessageProcessor().process_message(Message(REQUEST, "x", context))

        assert code_of(answer) == "no_handler"
        assert answer is not None
        assert answer.context.sender == "tekton"


class TestMiddleware:
    async def test_the_first_is_outermost_and_each_may_change_what_comes_and_goes(self) -> None:
        processor = processor_with(search)
        order: list[str] = []

        @processor.use
        async def outer(message: Message, next: Next) -> Message | None:  # noqa: A002
            order.append("outer")
            answer = await next(message)
            order.append("outer again")
            return answer

        @processor.use
        async def inner(asked: Message, next: Next) -> Message | None:  # noqa: A002
            order.append("inner")
            return await next(message(content={"query": "changed"}, tool="search"))

        assert content_of(await processor.process_message(message(tool="search"))) == {"found": "changed"}
        assert order == ["outer", "inner", "outer again"]

    async def test_one_can_refuse(self) -> None:
        processor = processor_with(search)

        @processor.use
        async def refuse(message: Message, next: Next) -> NoReturn:  # noqa: A002
            raise ComponentNotFoundError(message.context.sender)

        assert code_of(await processor.process_message(message(tool="search"))) == "component_not_found"

    async def test_one_can_answer_itself(self) -> None:
        processor = MessageProcessor()

        @processor.use
        async def say_nothing(_: Message, __: Next) -> None:
            return None

        assert await processor.process_message(message()) is None

    @pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()], ids=repr)
    @pytest.mark.parametrize("timeout", [None, 5])
    async def test_one_that_would_end_the_process_is_a_defect(self, error: BaseException, timeout: int | None) -> None:
        processor = MessageProcessor()

        @processor.use
        async def leave(_: Message, __: Next) -> NoReturn:
            raise error

        assert code_of(await processor.process_message(message(timeout=timeout))) == "internal"
        assert code_of(await processor.process_message(message(EVENT, timeout=timeout))) == "internal"

    async def test_what_one_makes_of_an_answer_is_looked_at_too(self) -> None:
        processor = MessageProcessor()
        processor.on(REQUEST, lambda _: 1)

        @processor.use
        async def spoil(asked: Message, next: Next) -> Message:  # noqa: A002
            await next(asked)
            return Message(RESPONSE, "x" * 2 * MAX_ANSWER, asked.follow("ergon"))

        answer = await processor.process_message(message())

        assert code_of(answer) == "internal"
        assert answer is not None
        assert "larger than" in answer.content["detail"]


class TestDeadlines:
    async def test_what_comes_too_late_is_not_begun(self) -> None:
        clock = ManualClock()
        called: list[int] = []
        tools = ToolRegistry()
        tools.register_tool("search", "", lambda: called.append(1))
        processor = MessageProcessor(tools, clock=clock)
        processor.on(EVENT, lambda _: called.append(1))

        answers = [
            await processor.process_message(message(message_type, tool="search", deadline=clock.time() - 0.001))
            for message_type in (REQUEST, COMMAND, EVENT)
        ]

        assert [code_of(answer) for answer in answers] == ["message_expired"] * 3
        assert called == []

    @virtual_time
    async def test_what_is_left_is_the_time_that_there_is(self) -> None:
        clock = ManualClock()

        async def left() -> float | None:
            return time_left()

        tools = ToolRegistry()
        tools.register_tool("search", "", left)
        processor = MessageProcessor(tools, clock=clock)
        processor.on(REQUEST, lambda _: time_left())

        async def given(**about: Any) -> Any:
            return content_of(await processor.process_message(message(**about)))

        soon = clock.time() + 7.0
        assert await given(tool="search") == pytest.approx(60.0, abs=0.01)
        assert await given(tool="search", deadline=soon) == pytest.approx(7.0, abs=0.01)
        assert await given(tool="search", deadline=soon, timeout=3) == pytest.approx(3.0, abs=0.01)
        assert await given(deadline=soon, timeout=30) == pytest.approx(7.0, abs=0.01)
        assert await given() is None

    @pytest.mark.parametrize("timeout", [0, -1, True, "30", None, [], {}])
    async def test_a_timeout_that_is_none_limits_nothing(self, timeout: Any) -> None:
        processor = MessageProcessor()
        processor.on(REQUEST, lambda _: time_left())

        assert content_of(await processor.process_message(message(timeout=timeout))) is None

    @pytest.mark.parametrize("timeout", [10**400, 1e308], ids=["integer", "float"])
    async def test_a_timeout_without_an_end_hurts_nobody(self, timeout: Any) -> None:
        answer = await processor_with(search).process_message(message(tool="search", timeout=timeout, deadline=1e300))

        assert content_of(answer) == {"found": ""}

    @virtual_time
    async def test_what_takes_too_long_is_ended(self) -> None:
        async def hang(*_: Any) -> Any:
            await asyncio.Event().wait()

        async def hang_tool() -> None:
            await asyncio.Event().wait()

        processor = processor_with(hang_tool)
        processor.on(REQUEST, hang)
        processor.on(EVENT, hang)
        begun = asyncio.get_running_loop().time()

        assert code_of(await processor.process_message(message(tool="search", timeout=2))) == "tool_timeout"
        assert code_of(await processor.process_message(message(timeout=2))) == "message_expired"
        assert code_of(await processor.process_message(message(EVENT, timeout=2))) == "message_expired"
        processor.use(hang)
        assert code_of(await processor.process_message(message(timeout=2))) == "message_expired"
        assert asyncio.get_running_loop().time() - begun < 10.0

    @virtual_time
    async def test_who_ignores_that_his_time_is_over_is_given_up(self) -> None:
        async def stubborn(*_: Any) -> int:
            for _ in range(5):
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(60.0)
            return 1

        now = asyncio.get_running_loop().time
        handles, comes_between = MessageProcessor(), MessageProcessor()
        handles.on(REQUEST, stubborn)
        comes_between.use(stubborn)

        for processor in (handles, comes_between):
            begun = now()
            assert code_of(await processor.process_message(message(timeout=2))) == "message_expired"
            assert now() - begun <= 3.0

    async def test_a_timeout_of_the_handlers_own_is_not_the_messages(self) -> None:
        processor = MessageProcessor()

        @processor.on(REQUEST)
        async def fail(_: Message) -> NoReturn:
            raise TimeoutError

        assert code_of(await processor.process_message(message(timeout=30))) == "internal"


class TestAsides:
    async def test_who_brings_a_message_can_hear_and_answer_for_its_sender(self) -> None:
        async def deploy(context: ToolContext) -> str:
            context.progress(1, 2)
            return (await context.ask("Really?")).content

        async def answer(question: Question) -> Answer:
            return Answer("accept", f"{question.text} Yes.")

        heard: list[ToolEvent] = []
        processor = processor_with(deploy)
        alone = await processor.process_message(message(tool="search"))
        answered = await processor.process_message(message(tool="search"), tell=heard.append, answer=answer)

        assert code_of(alone) == "nobody_to_ask"
        assert content_of(answered) == "Really? Yes."
        assert heard == [Progress(1, 2)]


class Counting:
    """A tool that counts its calls."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self, query: str = "") -> int:
        self.times += 1
        if query == "fail":
            raise ValueError("no")
        return self.times


ID = "0190b5e4-7e4d-7c3a-8f2b-3d6f1a2b3c4d"


class TestIdempotency:
    @pytest.mark.parametrize("content", [{}, {"query": "fail"}], ids=["success", "failure"])
    async def test_the_same_request_is_carried_out_once(self, content: Any) -> None:
        counting = Counting()
        processor = processor_with(counting)
        asked = message(content=content, tool="search", message_id=ID)

        first, second = [await processor.process_message(asked) for _ in range(2)]

        assert first is not None
        assert second is not None
        assert first.to_json() == second.to_json()
        assert counting.times == 1

    async def test_the_same_id_of_another_sender_is_another_request(self) -> None:
        processor = processor_with(Counting())

        answers = [
            await processor.process_message(message(tool="search", message_id=ID, sender=sender))
            for sender in ("ada", "grace", "ada")
        ]

        assert [content_of(answer) for answer in answers] == [1, 2, 1]

    async def test_the_same_id_with_other_content_or_of_another_tool_is_another_request(self) -> None:
        processor = processor_with(Counting())
        processor.tool_registry.register_tool("delete", "", lambda: "deleted")
        asked = [
            message(tool="search", message_id=ID),
            message(content={"query": "x"}, tool="search", message_id=ID),
            message(tool="delete", message_id=ID),
            message(tool="search", message_id=ID),
        ]

        answers = [await processor.process_message(each) for each in asked]

        assert [content_of(answer) for answer in answers] == [1, 2, "deleted", 1]

    async def test_an_answer_has_no_deadline_so_that_it_can_be_given_again(self) -> None:
        clock = ManualClock()
        processor = MessageProcessor(clock=clock)
        processor.on(REQUEST, lambda asked: Message(NOTIFICATION, "noted", asked.follow("ergon")))
        context = MessageContext("ada", deadline=clock.time() + 5)

        answers = [await processor.process_message(Message(kind, None, context)) for kind in (REQUEST, COMMAND)]

        assert [answer and answer.context.deadline for answer in answers] == [None, None]

    async def test_what_comes_while_it_is_carried_out_waits_for_the_answer(self) -> None:
        begun, end = asyncio.Event(), asyncio.Event()
        times: list[int] = []

        async def work() -> str:
            times.append(1)
            begun.set()
            await end.wait()
            return "done"

        processor = processor_with(work)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            asked = [
                group.create_task(processor.process_message(message(tool="search", message_id=ID))) for _ in range(5)
            ]
            await begun.wait()
            late = await processor.process_message(message(tool="search", message_id=ID, timeout=0.01))
            end.set()

        assert [content_of(task.result()) for task in asked] == ["done"] * 5
        assert (code_of(late), times) == ("message_expired", [1])

    @pytest.mark.parametrize("code", ["tool_not_found", "invalid_arguments", "tool_busy", "no_handler", "expired"])
    async def test_what_was_refused_before_anything_was_done_may_be_tried_again(self, code: str) -> None:
        clock, counting, tools = ManualClock(), Counting(), ToolRegistry()
        processor = MessageProcessor(tools, clock=clock)
        asked = message(content={"qery": 1} if code == "invalid_arguments" else {}, tool="search", message_id=ID)
        end = asyncio.Event()
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            match code:
                case "invalid_arguments":
                    tools.register_tool("search", "", counting)
                case "tool_busy":
                    tools.register_tool("search", "", end.wait, limits=ToolLimits(max_concurrent=1, max_waiting=0))
                    group.create_task(tools.execute("search"))
                    await asyncio.sleep(0)
                case "no_handler":
                    asked = message(message_id=ID)
                case "expired":
                    code, asked = "message_expired", message(tool="search", message_id=ID, deadline=clock.time() - 1.0)

            assert code_of(await processor.process_message(asked)) == code
            end.set()

        tools.register_tool("search", "", counting, replace=True)
        assert content_of(await processor.process_message(message(tool="search", message_id=ID))) == 1

    async def test_a_tool_that_calls_a_missing_one_was_called_nevertheless(self) -> None:
        counting = Counting()
        processor = processor_with(counting)

        async def outer() -> Any:
            await counting()
            return await processor.tool_registry.execute("lost")

        processor.tool_registry.register_tool("outer", "", outer)

        answers = [await processor.process_message(message(tool="outer", message_id=ID)) for _ in range(2)]

        assert [code_of(answer) for answer in answers] == ["tool_not_found"] * 2
        assert counting.times == 1

    async def test_events_come_as_often_as_they_come(self) -> None:
        processor = MessageProcessor()
        seen: list[str] = []
        processor.on(EVENT, lambda message: seen.append(message.message_id))

        for _ in range(2):
            await processor.process_message(message(EVENT, message_id=ID))

        assert seen == [ID, ID]

    async def test_a_request_whose_caller_went_away_can_be_asked_again(self) -> None:
        begun = asyncio.Event()
        times: list[int] = []

        async def work() -> int:
            times.append(1)
            begun.set()
            if len(times) == 1:
                await asyncio.Event().wait()
            return len(times)

        processor = processor_with(work)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            gone = group.create_task(processor.process_message(message(tool="search", message_id=ID)))
            await begun.wait()
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait({gone})

        assert content_of(await processor.process_message(message(tool="search", message_id=ID))) == 2


async def test_the_trace_of_the_message_is_left_again() -> None:
    traces: list[Any] = []
    processor = MessageProcessor()

    @processor.on(EVENT)
    async def note(_: Message) -> None:
        traces.append(CURRENT.get())

    await processor.process_message(message(EVENT))

    assert [trace.trace_id for trace in traces] == [TRACE.replace("-", "")]
    assert CURRENT.get() is None


async def test_an_image_is_taken_by_who_takes_images() -> None:
    processor = MessageProcessor()
    processor.on(REQUEST, lambda _: "an image", content=ImageContent)
    picture = ImageContent("image/png", b"\x89PNG\r\n\x1a\nrest").to_content()

    received = Message.from_json(message(content=picture).to_json())

    assert content_of(await processor.process_message(received)) == "an image"


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["tool", "arguments", "query", "modality", "data", "text"]) | texts, inner)
    ),
    max_leaves=8,
)
anything = st.builds(
    lambda kind, content, metadata: Message(kind, content, MessageContext("ada"), metadata),
    st.sampled_from(MessageType),
    json_values | st.fixed_dictionaries({"tool": st.just("search"), "arguments": json_values}),
    st.dictionaries(st.sampled_from(["tool", "timeout"]), json_values | st.just("search")),
)


@given(asked=anything)
@example(asked=message(EVENT, tool="search", timeout=1e-172))
async def test_whatever_comes_is_answered_with_what_can_be_sent_or_not_at_all(asked: Message) -> None:
    processor = processor_with(search)
    processor.on(REQUEST, lambda message: message.content, content=StructuredContent)

    answer = await processor.process_message(asked)

    if asked.message_type not in (REQUEST, COMMAND):
        assert answer is None or code_of(answer) == "message_expired"  # its timeout was over before anything was done
        return
    assert answer is not None
    assert answer.message_type in (RESPONSE, ERROR)
    assert answer.context.parent_id == asked.message_id
    assert answer.message_type is RESPONSE or answer.content["code"] in catalogue()
