"""What is left behind by who does not listen any more."""

import asyncio

import pytest

from tekton.bus.live import LiveBus
from tekton.testing import ManualClock


@pytest.mark.parametrize("queue", [None, "workers"])
@pytest.mark.parametrize("batches", [True, False])
async def test_who_closes_while_he_sleeps_leaves_nothing_behind(queue: str | None, batches: bool) -> None:
    live = LiveBus(ManualClock())
    stays = live.subscribe("a", queue=queue)
    for _ in range(10):
        subscription = live.subscribe("a", queue=queue)
        reading = asyncio.ensure_future(anext(subscription.batches() if batches else subscription, None))
        await asyncio.sleep(0)
        await subscription.close()
        assert await reading is None

    [channel] = live._channels.values()
    assert [len(cursor.sleeping) for cursor in channel.cursors] == [0]
    await stays.close()
