"""The same request gets the same answer, and is carried out once."""

import asyncio

import pytest

from tekton.mcp.answers import Answered, Answers
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.testing import ManualClock, virtual_time


def message(text: str = "yes") -> Message:
    return Message(MessageType.RESPONSE, text, MessageContext("engram"))


class Work:
    """Counts how often it was done."""

    def __init__(self, *, final: bool = True, text: str = "yes") -> None:
        self.times = 0
        self.answered = Answered(message(text), final)

    async def __call__(self) -> Answered:
        self.times += 1
        return self.answered


async def test_what_was_answered_is_answered_again() -> None:
    answers, work = Answers(), Work()

    first, second = [await answers.once("a", work) for _ in range(2)]

    assert first is second
    assert work.times == 1
    assert len(answers) == 1


async def test_what_was_not_begun_is_tried_again() -> None:
    answers, work = Answers(), Work(final=False)

    for _ in range(2):
        assert await answers.once("a", work) is work.answered.message

    assert (work.times, len(answers), answers.size) == (2, 0, 0)


async def test_that_there_is_nothing_to_say_is_an_answer_too() -> None:
    answers = Answers()
    times: list[int] = []

    async def work() -> Answered:
        times.append(1)
        return Answered(None)

    assert [await answers.once("a", work) for _ in range(2)] == [None, None]
    assert times == [1]


async def test_an_answer_is_kept_for_the_window() -> None:
    clock = ManualClock()
    answers, work = Answers(10.0, clock=clock), Work()

    await answers.once("a", work)
    clock.advance(9.9)
    await answers.once("a", work)
    clock.advance(0.1)
    await answers.once("a", work)

    assert work.times == 2


async def test_the_oldest_goes_first_when_there_are_too_many() -> None:
    answers, works = Answers(most=2), [Work() for _ in range(3)]

    for key, work in enumerate(works):
        await answers.once(key, work)
    for key in (2, 1, 0):
        await answers.once(key, works[key])

    assert [work.times for work in works] == [2, 1, 1]


async def test_no_more_bytes_are_kept_than_allowed() -> None:
    answers = Answers(size=1000)

    for key in range(50):
        await answers.once(key, Work(text="x" * (key * 7)))
        assert answers.size <= 1000

    await answers.once("large", Work(text="x" * 2000))
    assert (len(answers), answers.size) == (0, 0)


class Gate:
    """Work that waits until it is let go."""

    def __init__(self) -> None:
        self.begun, self.open = asyncio.Event(), asyncio.Event()
        self.times = 0

    async def __call__(self) -> Answered:
        self.times += 1
        self.begun.set()
        await self.open.wait()
        return Answered(message())


async def test_who_comes_while_it_is_done_waits_for_it() -> None:
    answers, work = Answers(), Gate()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        tasks = [group.create_task(answers.once("a", work)) for _ in range(3)]
        await work.begun.wait()
        work.open.set()

    assert len({id(task.result()) for task in tasks}) == 1
    assert work.times == 1


async def test_who_waits_waits_no_longer_than_he_wants_to() -> None:
    answers, work = Answers(), Gate()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(answers.once("a", work))
        await work.begun.wait()
        with pytest.raises(TimeoutError):
            await answers.once("a", work, 0.01)
        work.open.set()

    assert work.times == 1


async def test_when_whoever_does_it_is_cancelled_another_takes_over() -> None:
    answers, work = Answers(), Gate()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        first = group.create_task(answers.once("a", work))
        await work.begun.wait()
        second = group.create_task(answers.once("a", work))
        await asyncio.sleep(0)
        work.begun.clear()
        first.cancel()
        await work.begun.wait()
        work.open.set()

    assert first.cancelled()
    assert second.result() is not None
    assert work.times == 2


async def test_what_raises_leaves_nothing_behind() -> None:
    answers = Answers()

    async def fail() -> Answered:
        raise RuntimeError("broken")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"):
            await answers.once("a", fail)

    assert len(answers) == 0


async def test_an_answer_that_cannot_be_written_is_kept_for_all_who_wait_and_counts_as_a_large_one() -> None:
    answers, work = Answers(), Work()
    work.answered = Answered(Message(MessageType.RESPONSE, float("nan"), MessageContext("engram")))

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(answers.once("a", work)) for _ in range(3)]
    again = await answers.once("a", work)

    assert {id(task.result()) for task in tasks} == {id(again)}
    assert (work.times, len(answers), answers.size) == (1, 1, 1024 * 1024)


@virtual_time
async def test_the_time_of_who_waits_does_not_begin_anew_when_another_takes_over() -> None:
    answers, now = Answers(), asyncio.get_running_loop().time
    first, second = Gate(), Gate()

    async def wait() -> float:
        begun = now()
        with pytest.raises(TimeoutError):
            await answers.once("a", Gate(), 5.0)
        return now() - begun

    async with asyncio.TaskGroup() as group:
        cancelled = group.create_task(answers.once("a", first))
        group.create_task(answers.once("a", second))
        waited = group.create_task(wait())
        await asyncio.sleep(3.0)
        cancelled.cancel()
        await asyncio.sleep(10.0)
        second.open.set()

    assert waited.result() == pytest.approx(5.0)
    assert (first.times, second.times) == (1, 1)
