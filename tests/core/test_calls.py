"""Tests of tekton.core.calls: user code that misbehaves is contained."""

import asyncio
import contextvars
import functools
import logging
import threading
from collections.abc import Awaitable

import pytest

from tekton.core.calls import CANCEL_GRACE, UserCalls, call, describe
from tekton.testing import current_clock, virtual_time


async def answer() -> int:
    return 42


class AsyncCallable:
    async def __call__(self) -> int:
        return 42


@pytest.mark.parametrize(
    "function",
    [answer, functools.partial(answer), AsyncCallable(), lambda: asyncio.sleep(0, 42), lambda: 42],
    ids=["coroutine function", "partial", "object", "lambda that returns a coroutine", "plain"],
)
async def test_a_call_returns_what_the_function_does_in_the_end(function: object) -> None:
    outcome = await call(function)  # type: ignore[arg-type]

    assert outcome == (42, None)


async def test_a_coroutine_function_runs_on_the_loop_and_a_plain_one_in_a_thread_of_its_own() -> None:
    async def on_loop() -> int:
        return threading.get_ident()

    here = threading.get_ident()

    assert (await call(on_loop)).value == here
    assert (await call(threading.get_ident)).value != here


async def test_a_thread_sees_the_context_of_its_caller() -> None:
    variable = contextvars.ContextVar[str]("variable")
    variable.set("seen")

    assert (await call(variable.get)).value == "seen"


@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), StopIteration(), GeneratorExit()]
)
async def test_whatever_a_plain_function_raises_is_contained(error: BaseException) -> None:
    def fail() -> None:
        raise error

    assert (await call(fail)).error is error


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), GeneratorExit()])
async def test_whatever_a_coroutine_raises_is_contained(error: BaseException) -> None:
    async def fail() -> None:
        raise error

    assert (await call(fail)).error is error


async def test_a_function_that_takes_arguments_is_a_failed_call() -> None:
    async def wants(argument: int) -> None: ...

    assert isinstance((await call(wants)).error, TypeError)  # type: ignore[arg-type]


async def test_a_hundred_hanging_threads_hold_up_nobody() -> None:
    release = threading.Event()
    try:
        async with asyncio.timeout(5):
            hanging = [asyncio.ensure_future(call(release.wait)) for _ in range(100)]
            assert (await call(lambda: 42)).value == 42
            for task in hanging:
                task.cancel()
            await asyncio.wait(hanging)
    finally:
        release.set()


@virtual_time
async def test_what_ignores_its_cancellation_is_abandoned_after_a_grace(caplog: pytest.LogCaptureFixture) -> None:
    released = asyncio.Event()
    calls = UserCalls("test")
    task = calls.spawn(_stubborn(released.wait()), "start function", "stubborn")
    await asyncio.sleep(0)
    began = current_clock().monotonic()

    with caplog.at_level(logging.WARNING):
        await calls.end(task)

    assert current_clock().monotonic() - began == pytest.approx(CANCEL_GRACE)
    assert "stubborn ignores its cancellation" in caplog.text
    released.set()
    await task


@virtual_time
async def test_what_ends_when_it_is_cancelled_is_not_waited_for() -> None:
    calls = UserCalls("test")
    task = calls.spawn(asyncio.sleep(100), "start function", "sleep")

    await calls.end(task)
    await calls.end(task)

    assert task.cancelled()


@virtual_time
async def test_closing_ends_everything_at_once() -> None:
    released = asyncio.Event()
    calls = UserCalls("test")
    tasks = [calls.spawn(_stubborn(released.wait()), "start function", f"stubborn {number}") for number in range(3)]
    await asyncio.sleep(0)
    began = current_clock().monotonic()

    await calls.close()

    assert current_clock().monotonic() - began == pytest.approx(CANCEL_GRACE)
    released.set()
    await asyncio.wait(tasks)
    await calls.close()


async def _stubborn(released: Awaitable[object]) -> None:
    waiting = asyncio.ensure_future(released)
    while not waiting.done():
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError:
            continue


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no  such\nthing"), "ValueError: no such thing"),
        (SystemExit(), "SystemExit"),
        (OSError("http://user:hunter22@host/ refused"), "OSError: http://user:[redacted]@host/ refused"),
        (ValueError("half \ud800 of a pair"), "ValueError: half ? of a pair"),
    ],
)
def test_an_error_is_described_in_a_line_without_passwords(error: BaseException, text: str) -> None:
    assert describe(error) == text


def test_a_description_is_short() -> None:
    assert len(describe(ValueError("x" * 10_000))) == 500
