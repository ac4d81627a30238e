"""The readings of the bus: what is published, who listens, and what streams keep."""

from collections.abc import Iterator

from tekton.bus.bus import StreamInfo
from tekton.core.metrics.metrics import Reading
from tekton.service.messaging import Messaging
from tekton.utils.tekton_errors import StorageError


def bus(messaging: Messaging) -> Iterator[Reading]:
    """What is said, and to whom. O(patterns)."""
    live, tally = messaging.live, messaging.live.tally
    yield Reading("tekton_bus_messages", live.published)
    yield Reading("tekton_bus_subscriptions", tally.subscriptions)
    yield Reading("tekton_bus_messages_lost", tally.lost)
    yield Reading("tekton_bus_slow_consumers", tally.cut)
    yield Reading("tekton_bus_held", live.held[1])


def streams(messaging: Messaging) -> Iterator[Reading]:
    """How the streams fare as a whole; nothing where there are to be none."""
    kept = messaging.streams
    if messaging.enabled:
        yield Reading("tekton_streams_available", kept is not None and kept.failure is None)
    if kept is not None:
        yield Reading("tekton_streams_full", kept.full)
        yield Reading("tekton_streams_waiting", kept.waiting)
        yield Reading("tekton_streams_commit_duration", kept.commit_seconds.read())


async def each_stream(messaging: Messaging) -> list[Reading]:
    """What each stream has, and how far its consumers are. Waits for the disk."""
    kept = messaging.streams
    if kept is None or kept.failure is not None:
        return []
    try:
        return [reading for stream in await kept.streams() for reading in _of_stream(stream)]
    except StorageError:
        return []


def _of_stream(stream: StreamInfo) -> Iterator[Reading]:
    name = (stream.name,)
    yield Reading("tekton_stream_published", stream.last, name)
    yield Reading("tekton_stream_messages", stream.messages, name)
    yield Reading("tekton_stream_size", stream.size, name)
    yield Reading("tekton_stream_dropped", stream.dropped, name)
    for consumer in stream.consumers:
        both = (stream.name, consumer.name)
        yield Reading("tekton_consumer_waiting", consumer.waiting, both)
        yield Reading("tekton_consumer_in_flight", consumer.in_flight, both)
        yield Reading("tekton_consumer_redelivered", consumer.redelivered, both)
        yield Reading("tekton_consumer_dead_letters", consumer.dead_letters, both)
        yield Reading("tekton_consumer_lost", consumer.lost, both)
