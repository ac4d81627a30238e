"""The bookkeeping of long-lived connections."""

import asyncio

import pytest

from tekton.gateway.errors import UnavailableError
from tekton.gateway.streams import Streams


def test_no_more_than_the_limit_are_open_at_once() -> None:
    streams = Streams(limit=2)

    with streams.open(), streams.open():
        assert len(streams) == 2
        with pytest.raises(UnavailableError), streams.open():
            pass
    with streams.open():
        assert len(streams) == 1


def test_a_stream_that_fails_is_no_longer_open() -> None:
    streams = Streams(limit=2)

    with pytest.raises(ZeroDivisionError), streams.open():
        raise ZeroDivisionError

    assert len(streams) == 0


async def test_closing_waits_for_the_last_and_takes_no_more() -> None:
    streams = Streams(limit=2)
    steps: list[str] = []

    async def stream() -> None:
        with streams.open():
            steps.append("open")
            await streams.closing.wait()
            steps.append("ended")

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(stream())
        await asyncio.sleep(0)
        await streams.close()
        steps.append("closed")

    assert steps == ["open", "ended", "closed"]
    with pytest.raises(UnavailableError):
        streams.check()


async def test_closing_without_streams_does_not_wait() -> None:
    async with asyncio.timeout(5):
        await Streams(limit=2).close()


async def test_a_review_ends_the_streams_of_those_who_may_no_longer_have_them() -> None:
    streams = Streams(limit=3)
    lost: list[str] = []

    with streams.open(lambda: "a" not in lost) as a, streams.open(lambda: "b" not in lost) as b, streams.open() as c:
        streams.review()
        assert [one.is_set() for one in (a, b, c)] == [False, False, False]
        lost.append("b")
        streams.review()
        assert [one.is_set() for one in (a, b, c)] == [False, True, False]


async def test_closing_ends_every_stream() -> None:
    streams = Streams(limit=2)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        with streams.open() as ending:
            group.create_task(streams.close())
            await ending.wait()


async def test_closing_lets_those_go_on_that_end_by_themselves_until_they_are_cut() -> None:
    streams = Streams(limit=2)

    with streams.open(finite=True) as call:
        async with asyncio.timeout(5):
            await streams.close()
        assert not call.is_set()
        streams.cut()
        assert call.is_set()


def test_those_that_end_by_themselves_count_as_the_others_do() -> None:
    streams = Streams(limit=2)

    with streams.open(finite=True), streams.open():
        assert len(streams) == 2
        with pytest.raises(UnavailableError):
            streams.check()
    assert len(streams) == 0


def test_a_review_ends_those_that_would_end_by_themselves() -> None:
    streams = Streams(limit=1)

    with streams.open(lambda: False, finite=True) as call:
        streams.review()
        assert call.is_set()
