"""Reading a stream: what is told of what was missed."""

from collections.abc import AsyncIterator

from stream_owner import said

from tekton.bus.bus import StreamSettings
from tekton.bus.envelope import Envelope
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.bus.streams.streams import Streams


async def test_who_breaks_off_and_goes_on_is_told_of_a_gap_once() -> None:
    streams = Streams(MemoryStreamStore())
    await streams.start()
    await streams.create_stream("orders", StreamSettings(("orders.>",), max_messages=3))
    replay = streams.replay("orders", since=0)
    await streams.append([said(number) for number in range(10)])

    seen: list[tuple[int, int]] = []
    for _ in range(3):
        async for envelope in replay:
            seen.append((envelope.sequence, replay.gap))
            break
    assert seen == [(8, 7), (9, 0), (10, 0)]

    await streams.append([said(number) for number in range(10, 20)])
    async for envelope in replay:
        assert (envelope.sequence, replay.gap, replay.lost) == (18, 7, 14)
        break
    assert [(len(batch), replay.gap) async for batch in _one(replay.batches())] == [(2, 0)]
    await streams.stop()


async def _one(batches: AsyncIterator[list[Envelope]]) -> AsyncIterator[list[Envelope]]:
    async for batch in batches:
        yield batch
        return
