"""Publishes to a stream and consumes it until it is killed, and says so.

`p <producer> <number> <sequence>` for each message that was acknowledged to its producer, `a <sequence>` for each that
the consumer has acknowledged. A producer goes on with the number that it is told, under the same message ids as ever.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from uuid import UUID

from tekton.bus.bus import ConsumerSettings, StreamSettings
from tekton.bus.envelope import Envelope
from tekton.bus.streams.sqlite_store import SqliteStreamStore
from tekton.bus.streams.streams import Streams
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message

SETTINGS = StreamSettings(("work.>",), max_messages=10_000_000, max_bytes=1 << 40, dedupe_window=3600.0)
CONSUMER = ConsumerSettings(max_deliver=1_000_000)


def envelope(producer: int, number: int) -> Envelope:
    """The *number*-th message of a producer: whenever it is made, it has the same id."""
    id_ = str(UUID(int=(producer << 64) + number, version=4))
    message = Message("event", [producer, number], MessageContext(f"producer-{producer}"), message_id=id_)
    return Envelope(f"work.{producer}", message)


def say(line: str) -> None:
    os.write(sys.stdout.fileno(), line.encode())


async def produce(streams: Streams, producer: int, number: int) -> None:
    while True:
        # One at a time, and several at a time.
        some = range(number, number + 1 + number % 3)
        receipts = await streams.append([envelope(producer, one) for one in some])
        say("".join(f"p {producer} {one} {receipt.sequence}\n" for one, receipt in zip(some, receipts, strict=True)))
        number = some.stop


async def consume(streams: Streams) -> None:
    async with streams.consume("work", "worker", CONSUMER) as consumption:
        async for batch in consumption.batches(32):
            for delivery in batch:
                await delivery.ack()
            say("".join(f"a {delivery.envelope.sequence}\n" for delivery in batch))


async def main(directory: Path, numbers: list[int]) -> None:
    streams = Streams(SqliteStreamStore(directory / "bus.db", reserve_bytes=0))
    await streams.start()
    await streams.create_stream("work", SETTINGS)
    async with asyncio.TaskGroup() as group:
        group.create_task(consume(streams))
        for producer, number in enumerate(numbers):
            group.create_task(produce(streams, producer, number))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
