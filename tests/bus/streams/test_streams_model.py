"""Streams and a consumer beside a model that says in a few lines what may happen, in virtual time.

A walk publishes, takes, acknowledges, fails, rejects, gives back, waits, leaves, restarts, and has the consumer of a
work queue made anew; `TEKTON_BUS_WALKS` sets how many (8). The model does not say what is handed out when, but what may
never be: something before its time, to a second one, more often than allowed, after it was done, out of order at the
first time; and, in the end, nothing may be missing.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from at_once_store import AtOnceStore

from tekton.bus.bus import ConsumerSettings, Delivery, StreamSettings
from tekton.bus.envelope import Envelope
from tekton.bus.streams.consumption import StreamConsumption
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.bus.streams.store import StreamStore
from tekton.bus.streams.streams import Streams
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message
from tekton.testing.clock import current_clock, virtual_time

WALKS = int(os.environ.get("TEKTON_BUS_WALKS", "8"))
STEPS = 150
ACK_WAIT, MAX_DELIVER, MAX_IN_FLIGHT = 10.0, 3, 8
BACKOFF = (0.0, 2.0)
WINDOW = 30.0
SETTINGS = ConsumerSettings(
    "work.*.wanted", ack_wait=ACK_WAIT, max_deliver=MAX_DELIVER, backoff=BACKOFF, max_in_flight=MAX_IN_FLIGHT
)
SENDER = MessageContext("ann")


class Known:
    """What the model knows of a message that the consumer is to have."""

    def __init__(self) -> None:
        self.attempts = 0
        self.until = 0.0
        self.state = "stored"  # out, waiting, done, dead


class Walk:
    """One walk."""

    def __init__(self, seed: int, new_store: Callable[[], StreamStore], *, work_queue: bool) -> None:
        self.rng = Random(seed)
        self.new_store = new_store
        self.settings = StreamSettings(("work.>",), dedupe_window=WINDOW, work_queue=work_queue)
        self.clock = current_clock()
        self.known: dict[int, Known] = {}
        self.numbers: dict[str, tuple[int, float]] = {}
        self.last = 0
        self.buried = 0  # by consumers of before
        self.held: dict[StreamConsumption, list[Delivery]] = {}
        self.late: list[Delivery] = []
        self.streams: Streams

    async def run(self) -> None:
        await self.start()
        steps = [self.publish, self.publish, self.take, self.take, self.take, self.acknowledge, self.acknowledge,
                 self.acknowledge, self.fail, self.reject, self.give_back, self.wait, self.join, self.leave,
                 self.be_late]  # fmt: skip
        for _ in range(STEPS):
            await self.rng.choice(steps)()
            if self.rng.random() < 0.03:
                await self.restart()
            if self.settings.work_queue and self.rng.random() < 0.05:
                await self.make_anew()
            self.expire()
            assert sum(one.state in ("out", "waiting") for one in self.known.values()) <= MAX_IN_FLIGHT
        await self.finish()

    async def start(self) -> None:
        self.streams = Streams(self.new_store(), self.clock)
        await self.streams.start()
        await self.streams.create_stream("work", self.settings)

    async def restart(self) -> None:
        """What was out is handed out again, at once, unless it was so often enough."""
        await self.streams.stop()
        for one in self.known.values():
            if one.state in ("out", "waiting"):
                one.state = "dead" if one.attempts >= MAX_DELIVER else "waiting"
                one.until = self.clock.monotonic()
        self.held, self.late = {}, []
        await self.start()

    async def make_anew(self) -> None:
        """What is not done is handed out from the beginning, as if for the first time. What is done is gone."""
        await self.join()
        while self.held:
            await self.leave()
        # Long enough for the letters of what died just now.
        await asyncio.sleep(self.rng.choice((0.1, 1.0)))
        await self.streams.delete_consumer("work", "worker")
        for one in self.known.values():
            if one.state == "waiting":
                one.state, one.attempts = "stored", 0
        self.buried = sum(one.state == "dead" for one in self.known.values())
        self.late = []

    async def publish(self) -> None:
        some = [self.message() for _ in range(self.rng.choice((1, 1, 2, 5, 40)))]
        now = self.clock.monotonic()
        for envelope, receipt in zip(some, await self.streams.append(some), strict=True):
            number, at = self.numbers.get(envelope.message.message_id, (0, -1e9))
            assert receipt.duplicate == (at > now - WINDOW)
            if not receipt.duplicate:
                self.last = number = self.last + 1
                self.numbers[envelope.message.message_id] = number, now
                if envelope.subject.endswith("wanted"):
                    self.known[number] = Known()
            assert receipt.sequence == number

    def message(self) -> Envelope:
        again = self.rng.random() < 0.1 and self.numbers
        id_ = self.rng.choice(list(self.numbers)[-3:]) if again else None
        subject = f"work.{self.rng.randrange(3)}.{self.rng.choice(('wanted', 'other'))}"
        return Envelope(subject, Message("event", "x" * self.rng.randrange(200), SENDER, message_id=id_))

    async def join(self) -> None:
        if len(self.held) < 3:
            consumption = self.streams.consume("work", "worker", SETTINGS)
            await consumption.__aenter__()
            self.held[consumption] = []

    async def take(self) -> None:
        if not self.held:
            await self.join()
        consumption = self.rng.choice(list(self.held))
        batches = consumption.batches(self.rng.choice((1, 3, 64)))
        before = self.clock.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.rng.choice((0.01, 0.01, 3.0))):
                batch = await anext(batches)
                for delivery in batch:
                    self.is_handed(delivery)
                self.held[consumption] += batch
        await batches.aclose()
        assert self.clock.monotonic() - before <= 3.01

    def is_handed(self, delivery: Delivery) -> None:
        sequence, now = delivery.envelope.sequence, self.clock.monotonic()
        self.expire()
        one = self.known[sequence]
        assert one.state in ("stored", "waiting"), f"{sequence} is {one.state}"
        assert delivery.envelope.attempt == one.attempts + 1 <= MAX_DELIVER
        if one.state == "stored":
            assert all(other.state != "stored" for before, other in self.known.items() if before < sequence)
        else:
            assert now >= one.until - 1e-6
        one.state, one.attempts, one.until = "out", one.attempts + 1, now + ACK_WAIT

    async def acknowledge(self) -> None:
        for delivery in self.some_held(self.rng.choice((1, 1, 10))):
            one = self.known[delivery.envelope.sequence]
            assert await delivery.ack()
            one.state = "done"

    async def fail(self) -> None:
        for delivery in self.some_held(1):
            delay = self.rng.choice((None, None, 0.0, 7.0))
            assert await delivery.nack(delay)
            self.waits(delivery.envelope.sequence, self.clock.monotonic(), delay)
            self.late.append(delivery)

    async def reject(self) -> None:
        for delivery in self.some_held(1):
            assert await delivery.reject("no")
            self.known[delivery.envelope.sequence].state = "dead"
            self.late.append(delivery)

    async def give_back(self) -> None:
        """What nobody has begun with was never handed out."""
        for delivery in self.some_held(self.rng.choice((1, 10))):
            assert await delivery.release()
            one = self.known[delivery.envelope.sequence]
            one.state, one.attempts, one.until = "waiting", one.attempts - 1, self.clock.monotonic()
            assert not await delivery.ack()

    async def wait(self) -> None:
        await asyncio.sleep(self.rng.choice((0.1, 1.0, 4.0, 11.0)))

    async def leave(self) -> None:
        if self.held:
            consumption = self.rng.choice(list(self.held))
            self.expire()
            for delivery in self.held.pop(consumption):
                if self.is_current(delivery):
                    self.waits(delivery.envelope.sequence, self.clock.monotonic())
                self.late.append(delivery)
            await consumption.close()

    async def be_late(self) -> None:
        """What is said about something that somebody else has, or that is over, does not count."""
        for delivery in self.late:
            one = self.known[delivery.envelope.sequence]
            if one.state in ("done", "dead") or delivery.envelope.attempt != one.attempts:
                assert not await delivery.ack()
                assert not await delivery.nack()
                assert not await delivery.in_progress()
                assert not await delivery.reject("late")
        self.late.clear()

    def some_held(self, count: int) -> list[Delivery]:
        """Some that are out, which are held no more."""
        self.expire()
        found: list[Delivery] = []
        for deliveries in self.held.values():
            for delivery in self.rng.sample(deliveries, len(deliveries)):
                if len(found) < count and self.is_current(delivery):
                    deliveries.remove(delivery)
                    found.append(delivery)
        return found

    def is_current(self, delivery: Delivery) -> bool:
        one = self.known[delivery.envelope.sequence]
        return one.state == "out" and one.attempts == delivery.envelope.attempt

    def expire(self) -> None:
        for sequence, one in self.known.items():
            if one.state == "out" and one.until <= self.clock.monotonic() + 1e-9:
                self.waits(sequence, one.until)

    def waits(self, sequence: int, now: float, delay: float | None = None) -> None:
        one = self.known[sequence]
        if one.state == "waiting":
            return
        one.state = "dead" if one.attempts >= MAX_DELIVER else "waiting"
        one.until = now + (BACKOFF[min(one.attempts, len(BACKOFF)) - 1] if delay is None else delay)

    async def finish(self) -> None:
        """Whatever is left can be done; then everything is done or dead, and each of the dead has one letter."""
        for consumption in list(self.held):
            await consumption.close()
        await self.restart()
        # What is last is wanted: else nobody may have read so far.
        [last] = await self.streams.append([Envelope("work.0.wanted", Message("event", "last", SENDER))])
        self.last, self.known[last.sequence] = last.sequence, Known()
        async with self.streams.consume("work", "worker", SETTINGS) as consumption:
            while any(one.state not in ("done", "dead") for one in self.known.values()):
                async with asyncio.timeout(60):
                    batch = await anext(consumption.batches(64))
                for delivery in batch:
                    self.is_handed(delivery)
                    assert await delivery.ack()
                    self.known[delivery.envelope.sequence].state = "done"
        await asyncio.sleep(10)
        dead = sorted(sequence for sequence, one in self.known.items() if one.state == "dead")
        letters = self.streams.store.read("dead_letters", 0, ">", 10_000, 1 << 30).envelopes
        assert sorted(one.message.content["sequence"] for one in letters) == dead
        infos = {one.name: one for one in await self.streams.streams()}
        [consumer] = infos["work"].consumers
        assert (consumer.in_flight, consumer.waiting, consumer.lost) == (0, 0, 0)
        assert self.buried + consumer.dead_letters == len(dead)
        assert consumer.acknowledged == self.last
        assert infos["work"].messages == (self.last - len(self.known) if self.settings.work_queue else self.last)
        await self.streams.stop()


@pytest.mark.parametrize("seed", range(WALKS))
def test_a_walk_of_streams_and_consumers_is_one_that_the_model_knows(seed: int, tmp_path: Path) -> None:
    memory = MemoryStreamStore()

    def new_store() -> StreamStore:
        return memory if seed % 2 else AtOnceStore(tmp_path / "bus.db", reserve_bytes=0)

    @virtual_time
    async def walk() -> None:
        await Walk(seed, new_store, work_queue=seed % 4 >= 2).run()

    walk()
