"""What is read of the bus: what is said moves the metrics by that."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tekton.bus.bus import ConsumerSettings, Limits, Policy, StreamSettings
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.bus.streams.store import Batch, Committed
from tekton.bus.streams.writer import COMMIT_SECONDS
from tekton.core.metrics.catalogue import METRICS
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.service.messaging import Messaging
from tekton.service.readings.bus import bus, each_stream, streams
from tekton.testing.clock import ManualClock
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import SlowConsumerError, StorageError, StorageUnknownError

Read = Callable[..., Any]


def said(content: object = None) -> Message:
    return Message(MessageType.EVENT, content, MessageContext("engram"))


class Broken(MemoryStreamStore):
    def commit(self, batch: Batch, now: float) -> Committed:  # noqa: ARG002
        raise StorageUnknownError("fsync failed")


@pytest.fixture
async def messaging(tmp_path: Path) -> AsyncIterator[Messaging]:
    config = TektonConfig.load(None, environ={"TEKTON_DATA_DIR": str(tmp_path)}, cwd=tmp_path)
    made = await Messaging.open(config, ManualClock(), MemoryStreamStore())
    yield made
    await made.stop()


async def test_what_is_published_and_who_listens_is_counted(messaging: Messaging, read: Read) -> None:
    reader = partial(bus, messaging)
    before = read(reader, "tekton_bus_messages")

    async with messaging.bus.subscribe("a"), messaging.bus.subscribe("b", queue="q"):
        await messaging.bus.publish("a", said())
        await messaging.bus.publish("nobody", said())

        assert read(reader, "tekton_bus_subscriptions") == 2
        assert read(reader, "tekton_bus_messages") == before + 2
        assert read(reader, "tekton_bus_held") > 0
    assert read(reader, "tekton_bus_subscriptions") == 0


async def test_those_that_do_not_keep_up_are_counted(messaging: Messaging, read: Read) -> None:
    drop = messaging.bus.subscribe("a", limits=Limits(messages=1, policy=Policy.DROP_OLDEST))
    cut = messaging.bus.subscribe("a", limits=Limits(messages=1))

    for number in range(3):
        await messaging.bus.publish("a", said(number))
    await anext(drop.batches())
    with pytest.raises(SlowConsumerError):
        await anext(cut.batches())

    assert read(partial(bus, messaging), "tekton_bus_messages_lost") == 2 + 3
    assert read(partial(bus, messaging), "tekton_bus_slow_consumers") == 1


async def test_what_a_stream_has_and_how_far_its_consumers_are(messaging: Messaging, read: Read) -> None:
    await messaging.create_stream("orders", StreamSettings(("orders.>",)))
    for number in range(5):
        await messaging.bus.publish("orders.new", said(number))
    settings = ConsumerSettings(max_in_flight=3)
    async with messaging.bus.consume("orders", "billing", settings) as work, asyncio.timeout(5):
        batch = await anext(work.batches())
        await batch[0].ack()
        await batch[1].reject("no such customer")

        found = await each_stream(messaging)

    def value(name: str, *labels: str) -> Any:
        return next(one.value for one in found if (one.name, tuple(one.labels)) == (name, labels))

    assert value("tekton_stream_published", "orders") == value("tekton_stream_messages", "orders") == 5
    assert value("tekton_stream_size", "orders") > 500
    billing = ("orders", "billing")
    assert value("tekton_consumer_in_flight", *billing) + value("tekton_consumer_waiting", *billing) in (3, 4)
    assert value("tekton_consumer_redelivered", *billing) == value("tekton_consumer_lost", *billing) == 0
    assert value("tekton_stream_dropped", "orders") == 0
    assert {one.name for one in found} <= {one.metric.name for one in METRICS}


async def test_commits_are_timed_in_the_buckets_of_the_catalogue(messaging: Messaging, read: Read) -> None:
    [metric] = [one.metric for one in METRICS if one.metric.name == "tekton_streams_commit_duration"]
    await messaging.create_stream("orders", StreamSettings(("orders.>",)))
    await messaging.bus.publish("orders.new", said())

    assert metric.buckets == COMMIT_SECONDS
    assert read(partial(streams, messaging), "tekton_streams_commit_duration").count >= 1
    assert read(partial(streams, messaging), "tekton_streams_available") == 1
    assert read(partial(streams, messaging), "tekton_streams_full") == 0


async def test_streams_that_have_stopped_are_not_available(tmp_path: Path, read: Read) -> None:
    config = TektonConfig.load(None, environ={"TEKTON_DATA_DIR": str(tmp_path)}, cwd=tmp_path)
    messaging = await Messaging.open(config, ManualClock(), Broken())
    await messaging.create_stream("orders", StreamSettings(("orders.>",)))
    with pytest.raises(StorageError):
        await messaging.bus.publish("orders.new", said())

    assert read(partial(streams, messaging), "tekton_streams_available") == 0
    assert await each_stream(messaging) == []
    await messaging.stop()
