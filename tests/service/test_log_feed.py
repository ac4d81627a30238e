"""Who follows logs gets every line once, or is told what is missing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tekton.service.log_feed import LONGEST_SEARCH, MOST_WAITING, Follower, LogFeed
from tekton.supervisor.log_history import Entry
from tekton.supervisor.log_lines import read_line
from tekton.testing.clock import ManualClock
from tekton.utils.log_query import EVERYTHING, Query, Seen


def everything(_: str) -> bool:
    return True


class Logs:
    """Logs in a directory, and how often they were looked up."""

    def __init__(self, directory: Path, *units: str) -> None:
        self.files = {unit: directory / f"{unit}.log" for unit in units}
        self.looks: asyncio.Queue[int] = asyncio.Queue()

    def __call__(self) -> dict[str, Path]:
        self.looks.put_nowait(0)
        return self.files

    async def looked(self, times: int) -> None:
        """Wait until they were looked up *times* times from now on."""
        async with asyncio.timeout(10):
            for _ in range(self.looks.qsize() + times):
                await self.looks.get()

    def add(self, unit: str, *lines: str) -> None:
        with self.files[unit].open("a") as log:
            log.write("".join(f"{line}\n" for line in lines))


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path, "web", "worker", "worker.1")


@pytest.fixture
async def feed(logs: Logs) -> AsyncIterator[LogFeed]:
    feed = LogFeed(logs, look=0.001)
    yield feed
    await feed.stop()


async def taken(follower: Follower, count: int) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    async with asyncio.timeout(10):
        while len(lines) < count:
            lines += [(entry.unit, entry.line.text) for entry in (await follower.news()).entries]
    return lines


async def test_lines_that_come_are_followed_and_those_that_were_there_are_not(logs: Logs, feed: LogFeed) -> None:
    logs.add("web", "old")
    async with feed.follow(EVERYTHING, everything) as follower:
        logs.add("web", "one")
        logs.add("worker.1", "two", "three")

        assert sorted(await taken(follower, 3)) == [("web", "one"), ("worker.1", "three"), ("worker.1", "two")]
        assert follower.positions["web"] == len("old\n")


async def test_each_follower_gets_what_its_query_wants_of_what_it_may_see(logs: Logs, feed: LogFeed) -> None:
    async with (
        feed.follow(Query("-two", 0), everything) as first,
        feed.follow(Query("comp:worker", 0), everything) as second,
        feed.follow(EVERYTHING, lambda unit: unit.startswith("w") and unit != "web") as third,
    ):
        logs.add("web", "one", "two", "end")
        logs.add("worker", "two", "three", "end")

        assert sorted(await taken(first, 4)) == [
            ("web", "end"), ("web", "one"), ("worker", "end"), ("worker", "three"),
        ]  # fmt: skip
        assert await taken(second, 3) == [("worker", "two"), ("worker", "three"), ("worker", "end")]
        assert await taken(third, 3) == [("worker", "two"), ("worker", "three"), ("worker", "end")]


async def test_a_line_without_a_time_has_that_of_the_line_before(logs: Logs, feed: LogFeed) -> None:
    async with feed.follow(Query("since:2026-01-31", 0), everything) as follower:
        logs.add("web", "2026-01-30T00:00:00Z old", "of the old", "2026-02-01T00:00:00Z new", "of the new")

        assert [text.split()[-1] for _, text in await taken(follower, 2)] == ["new", "new"]


async def test_a_log_that_comes_into_being_is_followed_and_one_that_goes_is_forgotten(
    logs: Logs, feed: LogFeed, tmp_path: Path
) -> None:
    async with feed.follow(EVERYTHING, everything) as follower:
        logs.files = {**logs.files, "new": tmp_path / "new.log"}
        await logs.looked(3)
        logs.add("new", "hello")

        assert await taken(follower, 1) == [("new", "hello")]

        logs.files = {"web": logs.files["web"]}
        logs.add("web", "still")
        assert await taken(follower, 1) == [("web", "still")]


async def test_nothing_is_read_while_nobody_follows(logs: Logs, feed: LogFeed) -> None:
    async with feed.follow(EVERYTHING, everything):
        pass
    async with asyncio.timeout(10):
        await feed._task.join()
    await logs.looked(0)

    logs.add("web", "unheard")
    assert logs.looks.empty()
    async with feed.follow(EVERYTHING, everything) as follower:
        assert not logs.looks.empty()
        logs.add("web", "heard")
        assert await taken(follower, 1) == [("web", "heard")]


async def test_what_nobody_wanted_is_no_news_for_who_wants_it_later(logs: Logs, feed: LogFeed) -> None:
    async with feed.follow(Query("comp:web", 0), everything):
        async with feed.follow(EVERYTHING, everything):
            pass
        await logs.looked(2)
        logs.add("worker", "unheard")

        async with feed.follow(Query("comp:worker", 0), everything) as follower:
            logs.add("worker", "heard")
            assert await taken(follower, 1) == [("worker", "heard")]


def entry(text: str) -> Entry:
    return Entry("web", None, read_line(text), 0, 0.0)


async def test_who_follows_is_told_when_the_logs_cannot_be_followed_and_may_begin_anew(
    logs: Logs, feed: LogFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Query("x", 0)
    monkeypatch.setattr(broken, "wants", lambda _: 1 // 0)
    async with feed.follow(broken, everything) as follower, asyncio.timeout(10):
        logs.add("web", "one")
        with pytest.raises(ZeroDivisionError):
            await follower.news()

    async with feed.follow(EVERYTHING, everything) as follower:
        logs.add("web", "two")
        assert await taken(follower, 1) == [("web", "two")]


async def test_a_query_that_takes_too_long_is_asked_no_more_and_that_is_told(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()

    def slowly(_: Seen) -> bool:
        clock.advance(LONGEST_SEARCH)
        return True

    slow = Query("line", 0)
    monkeypatch.setattr(slow, "wants", slowly)
    feed = LogFeed(logs, clock, look=0.001)
    logs.add("web", "old")
    async with feed.follow(slow, everything) as follower, asyncio.timeout(10):
        with logs.files["web"].open("a") as log:
            log.write("".join(f"{number}\n" for number in range(10)))
        news = await follower.news()
    await feed.stop()

    assert ([entry.line.text for entry in news.entries], news.dropped) == (["0", "1"], 8)
    assert feed.dropped == 8


async def test_who_takes_lines_slowly_is_told_how_many_were_dropped() -> None:
    follower = Follower(EVERYTHING, everything)

    follower.add([entry(str(number)) for number in range(MOST_WAITING)])
    follower.add([entry("new"), entry("newer")])
    news = await follower.news()

    assert (news.dropped, news.entries[0].line.text, news.entries[-1].line.text) == (2, "2", "newer")

    follower.add([entry("x" * 300_000) for _ in range(10)])
    news = await follower.news()

    assert (news.dropped, len(news.entries)) == (7, 3)
