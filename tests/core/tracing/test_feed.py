import asyncio

from tekton.core.tracing.feed import Batch, SpanFeed


async def test_who_watches_gets_what_is_published_from_then_on() -> None:
    feed = SpanFeed()
    feed.publish([b"before"])

    watching = feed.watch()
    feed.publish([b"a", b"b"])
    feed.publish([])
    feed.publish([b"c"])

    async with asyncio.timeout(5):
        assert await anext(watching) == Batch(2, [b"a", b"b", b"c"], 0)


async def test_who_waits_is_woken() -> None:
    feed = SpanFeed()
    watching = feed.watch()
    waiting = asyncio.ensure_future(anext(watching))
    await asyncio.sleep(0)

    feed.publish([b"a"])

    async with asyncio.timeout(5):
        assert await waiting == Batch(1, [b"a"], 0)


async def test_spans_that_are_long_together_are_fewer() -> None:
    feed = SpanFeed(room=10)
    watching = feed.watch()

    feed.publish([b"aaaa", b"bbbb", b"cccc"])
    feed.publish([b"dd"])

    async with asyncio.timeout(5):
        assert await anext(watching) == Batch(2, [b"bbbb", b"cccc", b"dd"], 1)


async def test_who_is_slow_is_told_how_much_was_missed() -> None:
    feed = SpanFeed(length=3)
    watching = feed.watch()

    feed.publish([b"%d" % number for number in range(10)])

    async with asyncio.timeout(5):
        assert await anext(watching) == Batch(8, [b"7", b"8", b"9"], 7)
