"""Kills a process that publishes to a stream and consumes it, again and again.

`TEKTON_BUS_KILLS` sets how often (4); with more than 20, each life is ten times as long: 200 are a million messages.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tekton.bus.bus import ConsumerInfo
from tekton.bus.streams.sqlite_store import SqliteStreamStore
from tekton.bus.streams.streams import Streams

KILLS = int(os.environ.get("TEKTON_BUS_KILLS", "4"))
LINES = 2_000 if KILLS <= 20 else 20_000
PRODUCERS = 16
WRITER = Path(__file__).with_name("bus_writer.py")


class Known:
    """What the processes have said: places of acknowledged messages, and what the consumer has acknowledged."""

    def __init__(self) -> None:
        self.places: dict[tuple[int, int], int] = {}
        self.next = [0] * PRODUCERS
        self.consumed: set[int] = set()

    def hear(self, line: bytes) -> None:
        word, *numbers = line.split()
        if word == b"a":
            self.consumed.add(int(numbers[0]))
            return
        producer, number, sequence = map(int, numbers)
        assert number == self.next[producer]
        assert (producer, number) not in self.places
        self.places[producer, number] = sequence
        self.next[producer] = number + 1

    def live(self, directory: Path, lines: int) -> None:
        """Let a process live for so many lines."""
        command = [sys.executable, str(WRITER), str(directory), json.dumps(self.next)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for line in writer.stdout:
                # What was said before the killing counts; it may still come out of the pipe after it.
                if line.endswith(b"\n"):
                    self.hear(line)
                lines -= 1
                if lines == 0:
                    writer.kill()


async def contents(streams: Streams) -> dict[int, tuple[int, int]]:
    """What the stream has, by sequence: producer and number."""
    found: dict[int, tuple[int, int]] = {}
    [info] = [one for one in await streams.streams() if one.name == "work"]
    async with streams.replay("work") as replay:
        async for batch in replay.batches():
            found |= {one.sequence: tuple(one.message.content) for one in batch}
            if batch[-1].sequence == info.last:
                return found
    return found


async def left(streams: Streams) -> set[int]:
    """What the consumer has not acknowledged, or has and is handed once more."""
    found: set[int] = set()
    consumer = await state(streams)
    async with streams.consume("work", "worker", consumer.settings) as consumption:
        while consumer.in_flight + consumer.waiting:
            for delivery in await anext(consumption.batches(256)):
                assert await delivery.ack()
                found.add(delivery.envelope.sequence)
            consumer = await state(streams)
    assert consumer.dead_letters == 0
    return found


async def state(streams: Streams) -> ConsumerInfo:
    [consumer] = [one for info in await streams.streams() for one in info.consumers]
    return consumer


@pytest.mark.timeout(600 if KILLS > 20 else 60)
async def test_a_killed_process_loses_nothing_that_was_acknowledged_and_keeps_the_order(tmp_path: Path) -> None:
    known = Known()
    for seed in range(KILLS):
        known.live(tmp_path, Random(seed).randrange(1, LINES))
    streams = Streams(SqliteStreamStore(tmp_path / "bus.db", reserve_bytes=0))
    await streams.start()

    found = await contents(streams)
    unfinished = await left(streams)
    await streams.stop()

    assert list(found) == list(range(1, len(found) + 1))
    assert {place: found.get(sequence) for place, sequence in known.places.items()} == {
        one: one for one in known.places
    }
    for producer in range(PRODUCERS):
        numbers = [number for who, number in found.values() if who == producer]
        assert numbers == list(range(len(numbers))), f"of producer {producer}"
    assert len(known.places) > LINES // 4
    assert set(found) == known.consumed | unfinished
    print(f"{len(known.places)} acknowledged, {len(found)} stored, {len(known.consumed)} consumed in {KILLS} lives")
