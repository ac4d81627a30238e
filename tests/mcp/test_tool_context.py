"""What a tool tells and asks those who call it."""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from tekton.mcp.tool_context import BACKLOG, Answer, LogLine, Progress, Question, ToolContext, ToolEvent
from tekton.utils.tekton_errors import InvalidContentError, NobodyToAskError


class Confirmation(msgspec.Struct):
    really: bool


async def test_progress_and_log_lines_are_told_at_once() -> None:
    told: list[ToolEvent] = []
    context = ToolContext(tell=told.append).bound("build", None)

    context.progress(1, 3, "compiling")
    context.log("warning", "slow disk", path="/tmp")

    assert told == [Progress(1, 3, "compiling"), LogLine("warning", "slow disk", {"path": "/tmp"})]


@pytest.mark.parametrize("level", ["warn", "critical", "INFO", ""])
async def test_a_level_that_there_is_not_is_an_error_of_the_tool(level: Any) -> None:
    told: list[ToolEvent] = []

    for context in (ToolContext(tell=told.append).bound("build", None), ToolContext()):
        with pytest.raises(ValueError, match=f"unknown level '{level}'; use one of debug, info, warning, error"):
            context.log(level, "slow disk")

    assert told == []


@pytest.mark.parametrize(("done", "total"), [(float("nan"), None), (float("inf"), None), (1, float("nan"))])
async def test_progress_that_is_no_number_is_an_error_of_the_tool(done: float, total: float | None) -> None:
    told: list[ToolEvent] = []

    with pytest.raises(ValueError, match="finite numbers"):
        ToolContext(tell=told.append).bound("build", None).progress(done, total)

    assert told == []


async def test_threads_are_heard_on_the_loop_and_in_order() -> None:
    told: list[tuple[ToolEvent, int]] = []
    done = asyncio.Event()

    def tell(event: ToolEvent) -> None:
        told.append((event, threading.get_ident()))
        if event == Progress(99):
            done.set()

    context = ToolContext(tell=tell).bound("build", None)
    thread = threading.Thread(target=lambda: [context.progress(number) for number in range(100)])
    thread.start()
    async with asyncio.timeout(5):
        await done.wait()
    thread.join()

    assert [event for event, _ in told] == [Progress(number) for number in range(100)]
    assert {ident for _, ident in told} == {threading.get_ident()}


async def test_a_thread_that_floods_keeps_the_newest_and_costs_no_more() -> None:
    told: list[ToolEvent] = []
    context = ToolContext(tell=told.append).bound("build", None)

    thread = threading.Thread(target=lambda: [context.progress(number) for number in range(3 * BACKLOG)])
    thread.start()
    thread.join()
    context.close()

    assert told == [Progress(number) for number in range(2 * BACKLOG, 3 * BACKLOG)]


class Chatty:
    """Hears what is said, and has a thread say something more before it goes on, *most* times."""

    def __init__(self, thread: ThreadPoolExecutor, most: int = 100) -> None:
        self.told: list[ToolEvent] = []
        self.context = ToolContext(tell=self._hear).bound("build", None)
        self._thread = thread
        self._most = most

    def say(self) -> None:
        """Have the thread say how much was heard."""
        self._thread.submit(self.context.progress, len(self.told)).result()

    def _hear(self, event: ToolEvent) -> None:
        self.told.append(event)
        if len(self.told) < self._most:
            self.say()


async def test_a_thread_that_says_more_than_can_be_heard_leaves_the_loop_its_turns() -> None:
    with ThreadPoolExecutor(1) as thread:
        chatty = Chatty(thread)

        chatty.say()
        for _ in range(3):
            await asyncio.sleep(0)
        heard_by_then = len(chatty.told)
        async with asyncio.timeout(5):
            while len(chatty.told) < 100:  # noqa: ASYNC110 - of nothing that could tell
                await asyncio.sleep(0)

    assert heard_by_then <= 3
    assert chatty.told == [Progress(number) for number in range(100)]


async def test_a_thread_that_says_more_than_can_be_heard_does_not_keep_its_call_from_ending() -> None:
    with ThreadPoolExecutor(1) as thread:
        chatty = Chatty(thread)

        chatty.say()
        chatty.context.close()
        await asyncio.sleep(0)

    assert chatty.told == [Progress(0)]


async def test_what_is_said_on_the_loop_comes_behind_what_a_thread_has_said_and_waits_for_no_more() -> None:
    with ThreadPoolExecutor(1) as thread:
        chatty = Chatty(thread, most=3)

        chatty.say()
        chatty.context.log("info", "on the loop")

    assert chatty.told[:2] == [Progress(0), LogLine("info", "on the loop")]


async def test_after_the_call_nobody_listens() -> None:
    told: list[ToolEvent] = []
    context = ToolContext(tell=told.append).bound("build", None)

    context.close()
    context.progress(1)

    assert told == []


async def test_a_listener_that_fails_does_not_hurt_the_tool(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: ToolEvent) -> None:
        raise RuntimeError("broken")

    context = ToolContext(tell=fail).bound("build", None)

    with caplog.at_level(logging.ERROR, "tekton.tools"):
        context.progress(1)

    assert [record.getMessage() for record in caplog.records] == ["who called build failed at what it says"]


async def test_a_question_is_answered_in_the_type_that_was_asked_for() -> None:
    asked: list[Question] = []

    async def answer(question: Question) -> Answer:
        asked.append(question)
        return Answer("accept", {"really": True})

    context = ToolContext(answer=answer).bound("deploy", "ada")

    assert await context.ask("Really?", Confirmation) == Answer("accept", Confirmation(True))
    assert (asked[0].tool_id, asked[0].text) == ("deploy", "Really?")
    assert asked[0].schema is not None


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_who_does_not_answer_gives_nothing(action: Any) -> None:
    async def answer(question: Question) -> Answer:
        assert question.schema is None
        return Answer(action, "secret")

    answered = await ToolContext(answer=answer).bound("deploy", None).ask("Which branch?")

    assert (answered.accepted, answered.content) == (False, None)


async def test_an_answer_of_another_type_is_refused() -> None:
    async def answer(_: Question) -> Answer:
        return Answer("accept", {"really": "yes"})

    with pytest.raises(InvalidContentError, match="in the answer: Expected bool, got str") as refused:
        await ToolContext(answer=answer).bound("deploy", None).ask("Really?", Confirmation)

    assert refused.value.pointer == "/really"


async def test_where_nobody_can_be_asked_asking_is_an_error() -> None:
    with pytest.raises(NobodyToAskError, match="deploy asks 'Really"):
        await ToolContext().bound("deploy", None).ask("Really?")


async def test_a_context_that_is_passed_on_keeps_the_caller_and_who_listens() -> None:
    told: list[ToolEvent] = []
    outer = ToolContext("ada", tell=told.append).bound("deploy", None)

    inner = outer.bound("build", None)
    inner.progress(1)

    assert (inner.caller, inner.tool_id, told) == ("ada", "build", [Progress(1)])
    assert outer.bound("build", "grace").caller == "grace"
