"""Runs the handlers of a component (`handlers.py`) on its bus.

Each has a task that reads, and a group in which its calls run, so many at a time. What ends a reader, such as a stream
that does not exist yet, is logged, and tried again with growing delays; from the second failure in a row on it is told
to the component as well. To stop is to read no more, to let what is in progress finish while there is time, and to give
back the rest; what has come for a queue group is for nobody else any more, and is worked off while there is time.

How a handler is called, and what a message brings along, is in `handling.py`.
"""

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, Final, Generic, TypeVar

from tekton.background import BackgroundGroup, BackgroundTask
from tekton.bus.bus import Bus, Delivery, Subscription
from tekton.bus.envelope import Envelope
from tekton.clock import Clock
from tekton.component.ack_waits import AckWaits
from tekton.component.done_work import DoneWork
from tekton.component.handlers import MessageTable, Subscriber, Worker
from tekton.component.handling import Calls
from tekton.component.losses import Losses
from tekton.core.calls import describe
from tekton.core.degradation.bulkhead import Bulkhead, Slot
from tekton.core.tracing.tracer import Tracer, why
from tekton.utils.redaction import scrub
from tekton.utils.tekton_errors import (
    ConsumerNotFoundError,
    CursorExpiredError,
    MessageExpiredError,
    StreamNotFoundError,
    TektonError,
)

__all__ = ["Listening"]

STANDING_TIMEOUT: Final = 2.0
"""Seconds for which a component that is about to be ready waits for its subscriptions."""
BACKOFF: Final = (0.25, 15.0)

_logger = logging.getLogger("tekton.component")

_ItemT = TypeVar("_ItemT", Envelope, Delivery)


class Listening:
    """The handlers of *table* at work, from `start` to `stop`, and again."""

    def __init__(
        self,
        component_id: str,
        table: MessageTable,
        tracer: Tracer,
        clock: Clock,
        complain: Callable[[str], object] = lambda _: None,
    ) -> None:
        """*complain* is told what keeps handlers from their messages; an empty text when nothing does any more."""
        self._component_id = component_id
        self._table = table
        self._calls = Calls(component_id, tracer, clock)
        self._complain = complain
        self._readers: list[_Reader[Any]] = []
        self._pausing = BackgroundTask(f"pause of {component_id}")

    @property
    def wanted(self) -> bool:
        """True when there are handlers."""
        return bool(self._table.subscribers or self._table.workers)

    async def start(self, bus: Bus) -> None:
        """Read from *bus*. Returns when all subscriptions stand, or after two seconds."""
        self._readers = self._readers or self._make_readers(bus)
        for reader in self._readers:
            reader.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(STANDING_TIMEOUT):
                for reader in self._readers:
                    await reader.standing.wait()

    async def pause(self, patience: float) -> None:
        """Read no more, and finish what is in progress, *patience* seconds at most. `start` goes on from there.

        Whoever is cancelled meanwhile does not end that: it is for `stop` to do so.
        """
        self._pausing.start(self._stop_readers(patience))
        await self._pausing.join()

    async def stop(self, patience: float) -> None:
        """The same, and the next `start` begins anew. Twice does nothing."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._pausing.join()
        finally:
            await self._pausing.stop()
        await self._stop_readers(patience)
        self._readers = []

    async def _stop_readers(self, patience: float) -> None:
        async with asyncio.TaskGroup() as group:
            for reader in self._readers:
                group.create_task(reader.stop(patience))

    def _make_readers(self, bus: Bus) -> "list[_Reader[Any]]":
        calls, table = self._calls, self._table
        readers: list[_Reader[Any]] = [
            *(_SubscriptionReader(bus, subscriber, calls) for subscriber in table.subscribers),
            *(_WorkReader(bus, worker, calls, worker.consumer or self._component_id) for worker in table.workers),
        ]
        for reader in readers:
            reader.changed = self._tell
        return readers

    def _tell(self) -> None:
        self._complain("; ".join(reader.problem for reader in self._readers if reader.problem))


class _Reader(ABC, Generic[_ItemT]):
    """Reads for one handler, so many calls at a time."""

    def __init__(self, name: str, concurrency: int) -> None:
        self.standing = asyncio.Event()
        self.problem = ""
        """What keeps it from reading, if that has lasted for a while."""
        self.changed: Callable[[], None] = _nothing
        """Called when `problem` has changed."""
        self._name = name
        # The one that reads waits; a place may be kept by a thread that outlives its call, and this reader's end.
        self._places = Bulkhead(name, concurrency, max_waiting=1)
        self._concurrency = concurrency
        self._work = BackgroundGroup(name)
        self._task = BackgroundTask(name)
        self._patience = 0.0
        self._random = random.Random()

    def start(self) -> None:
        if not self._task.running:
            self._task.start(self._run())

    async def stop(self, patience: float) -> None:
        self._patience = patience
        try:
            await self._task.stop()
        except asyncio.CancelledError:
            self._patience = 0.0
            raise
        finally:
            # It may have been between two attempts, or have ended by itself.
            await self._finish()
            self.standing.clear()

    @abstractmethod
    async def _read(self) -> None:
        """Read until the source ends. Raises what ends it."""

    @abstractmethod
    async def _handle(self, item: _ItemT, slot: Slot) -> None:
        """Never raises but when it is cancelled."""

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._read()
                return
            except TektonError as error:
                failures = 0 if self.standing.is_set() else failures
                if failures == 0:
                    hint = f" ({error.hint})" if error.hint else ""
                    _logger.warning("%s: %s%s; trying again", self._name, error, hint)
                else:
                    self._set_problem(f"{self._name}: {error}")
            self.standing.clear()
            limit = min(BACKOFF[1], BACKOFF[0] * 2**failures)
            failures = min(failures + 1, 16)
            await asyncio.sleep(self._random.uniform(limit / 2, limit))

    async def _hand_over(self, items: AsyncIterator[_ItemT]) -> None:
        """Call the handler with all *items*, until it is cancelled."""
        self.standing.set()
        self._set_problem("")
        await self._call_with(items)

    async def _call_with(self, items: AsyncIterator[_ItemT]) -> None:
        try:
            while True:
                # A place comes first: what nobody can work on is left where it is.
                slot = await self._places.enter()
                try:
                    item = await anext(items)
                except BaseException:
                    slot.release()
                    raise
                # Not in the task itself: one that is cancelled before it has begun does nothing at all.
                self._work.spawn(self._handle(item, slot), "call").add_done_callback(partial(_leave, slot))
        except StopAsyncIteration:
            pass

    def _set_problem(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            self.changed()

    async def _finish(self, left: AsyncIterator[_ItemT] | None = None) -> None:
        """Let what is in progress finish, and what is *left* be done, while there is time: all of it is spent then."""
        patience, self._patience = self._patience, 0.0
        free: list[Slot] = []
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    if left is not None and patience > 0:
                        # It may end by an error, and that comes behind all that is left.
                        with suppress(TektonError):
                            await self._call_with(left)
                    for _ in range(self._concurrency):
                        free.append(await self._places.enter())  # noqa: PERF401 - what there is by then counts
        finally:
            for slot in free:
                slot.release()
            # Also when whoever waits for this does not wait any longer: nothing goes on behind our back.
            await self._work.stop()


class _SubscriptionReader(_Reader[Envelope]):
    """Reads what is published. Where nobody shares it, it goes on behind what was read last, or where it began."""

    def __init__(self, bus: Bus, subscriber: Subscriber, calls: Calls) -> None:
        super().__init__(f"subscription to {subscriber.pattern}", subscriber.concurrency)
        self._bus = bus
        self._subscriber = subscriber
        self._calls = calls
        self._position: int | None = None

    async def _read(self) -> None:
        try:
            await self._read_on()
        except CursorExpiredError:
            if self._position is None:
                raise
            _logger.warning("%s: messages were missed", self._name)
            self._position = None
            await self._read_on()

    async def _read_on(self) -> None:
        wanted, since = self._subscriber, self._position
        subscription = self._bus.subscribe(wanted.pattern, queue=wanted.queue, limits=wanted.limits, since=since)
        async with subscription:
            if since is None:
                self._position = subscription.began
            try:
                async with aclosing(self._envelopes(subscription)) as envelopes:
                    await self._hand_over(envelopes)
            except asyncio.CancelledError:
                if wanted.queue is not None:
                    await self._work_off(subscription)
                raise

    async def _work_off(self, subscription: Subscription) -> None:
        # First, so that what comes from now on is for the others of the group.
        await subscription.close()
        try:
            async with aclosing(self._envelopes(subscription)) as left:
                await self._finish(left)
        finally:
            lost = 0
            with suppress(TektonError):
                async for _ in subscription:
                    lost += 1
            if lost:
                _logger.warning("%s: %d messages that had come were not handled: the time was over", self._name, lost)

    async def _envelopes(self, subscription: Subscription) -> AsyncGenerator[Envelope, None]:
        async for envelope in subscription:
            if subscription.gap:
                number = "some" if subscription.gap < 0 else subscription.gap
                _logger.warning("%s: %s messages were missed", self._name, number)
            if self._subscriber.queue is None:
                self._position = envelope.sequence
            yield envelope

    async def _handle(self, item: Envelope, slot: Slot) -> None:
        try:
            if item.reply is None:
                await self._calls.handle(self._subscriber, item, slot)
            elif (answer := await self._calls.answer(self._bus, self._subscriber, item, slot)) is not None:
                await self._bus.publish(item.reply, answer)
        except TektonError as error:
            _logger.warning("%s: %s: %s", self._name, item.subject, error)
        except Exception:
            _logger.exception("%s: %s", self._name, item.subject)


class _WorkReader(_Reader[Delivery]):
    """Reads what a stream hands out."""

    def __init__(self, bus: Bus, worker: Worker, calls: Calls, consumer: str) -> None:
        super().__init__(f"work of {consumer} on {worker.stream}", worker.concurrency)
        self._bus = bus
        self._worker = worker
        self._calls = calls
        self._consumer = consumer
        self._ack_waits = AckWaits(worker.settings.ack_wait, worker.longest)
        self._losses = Losses(self._name)
        self._done = DoneWork()
        self._beside = BackgroundGroup(self._name)

    async def _read(self) -> None:
        try:
            await self._consume()
        except (ConsumerNotFoundError, StreamNotFoundError):
            self._done.clear()
            raise

    async def _consume(self) -> None:
        async with self._bus.consume(self._worker.stream, self._consumer, self._worker.settings) as consumption:
            self._beside.spawn(self._ack_waits.run(), "ack_wait")
            self._beside.spawn(self._losses.watch(consumption), "lost")
            try:
                await self._hand_over(aiter(consumption))
            except asyncio.CancelledError:
                # What is in progress is ours until we leave.
                await self._finish()
                raise
            finally:
                await self._beside.stop()

    async def _handle(self, item: Delivery, slot: Slot) -> None:
        try:
            with self._ack_waits.holding(item):
                counts = await self._settle(item, slot)
        except TektonError as error:
            _logger.warning("%s: what became of message %d was not told: %s", self._name, _place(item), error)
            return
        if not counts and self._worker.takes is not Delivery:
            _logger.warning("%s: message %d comes again, or somebody else has it by now", self._name, _place(item))

    async def _settle(self, item: Delivery, slot: Slot) -> bool:
        if item.envelope in self._done:
            return await item.ack()
        try:
            await self._calls.handle(self._worker, item, slot)
        except Exception as error:
            if isinstance(error, MessageExpiredError) and error.message_id == item.envelope.message.message_id:
                return await item.reject(str(error))
            known = isinstance(error, TektonError)
            _logger.warning("%s: message %d: %s", self._name, _place(item), why(error), exc_info=not known)
            return await item.nack(reason=scrub(describe(error)))
        if self._worker.takes is not Delivery:
            self._done.add(item.envelope)
        return await item.ack()


def _nothing() -> None:
    pass


def _leave(slot: Slot, _: object) -> None:
    slot.release()


def _place(item: Delivery) -> int:
    return item.envelope.sequence
