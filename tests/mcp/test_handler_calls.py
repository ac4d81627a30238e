"""Handlers of messages that raise, exit and hang, and those who wait for them."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from tekton.core.degradation.bulkhead import Bulkhead, Slot
from tekton.mcp.context import MessageContext
from tekton.mcp.handler_calls import CANCEL_GRACE, HandlerCalls
from tekton.mcp.message import Message, MessageType
from tekton.testing import virtual_time
from tekton.utils.tekton_errors import MessageExpiredError

ASKED = Message(MessageType.REQUEST, 1, MessageContext("ada"))


async def value_of(handler: Callable[[], Any], timeout: float | None = None, slot: Slot | None = None) -> Any:
    return await HandlerCalls("engram").value(handler, ASKED, timeout, "handler of orders", slot)


class Stubborn:
    """A handler that ignores its cancellation, the first two times."""

    def __init__(self) -> None:
        self.begun, self.cancelled = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> str:
        self.begun.set()
        for _ in range(3):
            try:
                await asyncio.sleep(10.0)
            except asyncio.CancelledError:
                self.cancelled.set()
        return "too late"


class InThread:
    """A handler in a thread, which ends when it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        assert self.go.wait(10)


async def fail_on_the_loop() -> NoReturn:
    raise ZeroDivisionError


def fail_in_a_thread() -> NoReturn:
    raise ZeroDivisionError


async def test_what_a_handler_returns_and_raises_is_returned_and_raised() -> None:
    async def seven() -> int:
        return 7

    assert await value_of(seven) == await value_of(lambda: 7) == await value_of(lambda: asyncio.sleep(0, 7)) == 7
    for fail in (fail_on_the_loop, fail_in_a_thread):
        with pytest.raises(ZeroDivisionError):
            await value_of(fail)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
@pytest.mark.parametrize("slot", [False, True])
async def test_what_would_end_the_process_is_a_failure_of_the_handler(error: BaseException, slot: bool) -> None:
    async def on_the_loop() -> NoReturn:
        raise error

    def in_a_thread() -> NoReturn:
        raise error

    for fail in (on_the_loop, in_a_thread):
        with pytest.raises(RuntimeError, match=f"a handler has raised {type(error).__name__}") as raised:
            await value_of(fail, slot=await Bulkhead("engram").enter() if slot else None)
        assert raised.value.__cause__ is error


async def test_a_cancellation_that_the_handler_raises_itself_is_a_failure_too() -> None:
    async def on_the_loop() -> NoReturn:
        raise asyncio.CancelledError

    def in_a_thread() -> NoReturn:
        raise asyncio.CancelledError

    for fail in (on_the_loop, in_a_thread):
        with pytest.raises(RuntimeError, match="a handler has raised CancelledError"):
            await value_of(fail)


@virtual_time
async def test_what_takes_longer_than_it_may_is_ended() -> None:
    async def wait() -> str:
        await asyncio.sleep(10.0)
        return "done"

    assert await value_of(wait, 11.0) == await value_of(wait) == "done"
    with pytest.raises(MessageExpiredError, match=ASKED.message_id):
        await value_of(wait, 9.0)


@virtual_time
async def test_a_timeout_of_the_handlers_own_is_its_own() -> None:
    async def wait() -> None:
        async with asyncio.timeout(1.0):
            await asyncio.sleep(10.0)

    with pytest.raises(TimeoutError):
        await value_of(wait, 100.0)


@virtual_time
async def test_one_that_ignores_its_cancellation_is_given_up_at_its_deadline(caplog: pytest.LogCaptureFixture) -> None:
    stubborn, now = Stubborn(), asyncio.get_running_loop().time
    begun = now()

    with pytest.raises(MessageExpiredError):
        await value_of(stubborn, 2.0)

    assert now() - begun == pytest.approx(2.0 + CANCEL_GRACE)
    assert "the handler of orders of engram ignores its cancellation and was abandoned" in caplog.text


@virtual_time
async def test_one_that_ignores_its_cancellation_keeps_nobody_who_is_cancelled() -> None:
    stubborn, now = Stubborn(), asyncio.get_running_loop().time

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(value_of(stubborn))
        await stubborn.begun.wait()
        begun = now()
        waiting.cancel()

    assert waiting.cancelled()
    assert stubborn.cancelled.is_set()
    assert now() - begun == pytest.approx(CANCEL_GRACE)


@virtual_time
async def test_what_it_returns_after_its_deadline_is_no_answer() -> None:
    async def late() -> str:
        try:
            await asyncio.sleep(10.0)
        except asyncio.CancelledError:
            pass
        return "late"

    with pytest.raises(MessageExpiredError):
        await value_of(late, 1.0)


async def test_a_thread_keeps_its_place_until_it_has_ended() -> None:
    places, handler = Bulkhead("engram", 1, max_waiting=1), InThread()
    slot = await places.enter()

    with pytest.raises(MessageExpiredError):
        await value_of(handler, 0.01, slot)
    slot.release()
    running = places.running
    handler.go.set()
    async with asyncio.timeout(5):
        await places.enter()

    assert running == 1


async def test_a_place_is_given_back_once_however_often_whoever_waits_is_cancelled() -> None:
    places, handler = Bulkhead("engram", 1, max_waiting=1), InThread()
    slot = await places.enter()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(value_of(handler, slot=slot))
        while not handler.begun.is_set():  # noqa: ASYNC110 - of a thread
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        waiting.cancel()
    slot.release()
    running = places.running
    handler.go.set()
    async with asyncio.timeout(5):
        (await places.enter()).release()

    assert (running, places.running) == (1, 0)


@virtual_time
async def test_a_coroutine_that_was_given_up_keeps_no_place() -> None:
    places, stubborn = Bulkhead("engram", 1), Stubborn()
    slot = await places.enter()

    with pytest.raises(MessageExpiredError):
        await value_of(stubborn, 1.0, slot)
    slot.release()

    assert places.running == 0
