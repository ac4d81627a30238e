"""Those who share a consumer: who is counted as one of them."""

import asyncio

import pytest
from stream_owner import said

from tekton.bus.bus import ConsumerSettings, StreamSettings
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.bus.streams.streams import Streams


async def test_who_was_cancelled_before_he_was_in_takes_no_share() -> None:
    streams = Streams(MemoryStreamStore())
    await streams.start()
    await streams.create_stream("orders", StreamSettings(("orders.>",)))
    settings = ConsumerSettings(max_in_flight=10)
    coming = asyncio.ensure_future(streams.consume("orders", "billing", settings).__aenter__())
    await asyncio.sleep(0)
    coming.cancel()
    await asyncio.gather(coming, return_exceptions=True)
    assert coming.cancelled()

    await streams.append([said(number) for number in range(10)])
    async with streams.consume("orders", "billing", settings) as deliveries:
        async with asyncio.timeout(10):
            assert len(await anext(deliveries.batches(10))) == 10
    await streams.stop()


async def test_who_is_closed_while_he_is_coming_in_is_handed_nothing() -> None:
    streams = Streams(MemoryStreamStore())
    await streams.start()
    await streams.create_stream("orders", StreamSettings(("orders.>",)))
    await streams.append([said(number) for number in range(10)])
    closed = streams.consume("orders", "billing")
    coming = asyncio.ensure_future(anext(closed.batches(10)))
    await asyncio.sleep(0)

    await closed.close()

    async with asyncio.timeout(10):
        with pytest.raises(StopAsyncIteration):
            await coming
        async with streams.consume("orders", "billing") as deliveries:
            assert len(await anext(deliveries.batches(10))) == 10
    await streams.stop()
