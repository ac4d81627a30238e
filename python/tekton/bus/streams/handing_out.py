"""The place where a consumer hands out: between those who take, the stream, its store, and time."""

import asyncio
import math
from collections import deque
from functools import partial
from typing import Final, NamedTuple, TypeVar

from tekton._native import covers
from tekton.bus.bus import ConsumerInfo
from tekton.bus.envelope import Envelope
from tekton.bus.streams.burials import Burials
from tekton.bus.streams.consumer import Consumer, Dying, Handed
from tekton.bus.streams.office import Office
from tekton.bus.streams.store import Page, Progress
from tekton.bus.streams.view import StreamView
from tekton.clock import Clock
from tekton.core.events import can_be_told
from tekton.utils.tekton_errors import StorageError

_T = TypeVar("_T")

PAGE_MESSAGES: Final = 256
PAGE_BYTES: Final = 1024 * 1024


class _Taker(NamedTuple):
    holder: int
    most: int
    taken: "asyncio.Future[list[Handed]]"


class ConsumerDesk:
    """Hands out what *consumer* has, called *name*, of the stream that *view* shows; it is *owner*'s. A Counter.

    `created` is done when the consumer is on the disk.
    """

    def __init__(
        self, name: str, view: StreamView, consumer: Consumer, office: Office, clock: Clock, *, owner: str = ""
    ) -> None:
        self.name = name
        self.owner = owner
        self.consumer = consumer
        self.created: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._view = view
        self._office = office
        self._monotonic = clock.monotonic
        self._burials = Burials(name, view, office, clock.monotonic, self._changed)
        self._holders: dict[int, None] = {}
        self._takers: deque[_Taker] = deque()
        self._error: BaseException | None = None
        self._written = -1
        self._reading = self._picking = self._called = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf
        view.listen(self.serve)

    @property
    def lost(self) -> int:
        """See Counter. What is gone from behind where it has read to is lost, whether somebody reads on or not."""
        return self.consumer.lost + max(0, self._view.state.dropped - self.consumer.read)

    @property
    def stream(self) -> str:
        """The name of the stream."""
        return self._view.name

    def begin(self, cursor: int) -> None:
        """The consumer is on the disk, and begins behind *cursor*."""
        self.consumer = Consumer(self.consumer.settings, cursor)
        self._written = self.consumer.version
        self.created.set_result(None)
        self.serve()

    def resume(self) -> None:
        """The consumer is as it was kept."""
        self.created.set_result(None)
        self._ring()

    # What is kept

    def progress(self) -> Progress | None:
        """What has to be written, if there is anything; to be told to `wrote` when it is."""
        if self._written == self.consumer.version or not self.created.done():
            return None
        return self.kept()

    def kept(self) -> Progress:
        """What is kept of the consumer."""
        one = self.consumer
        counts = one.redelivered, one.dead_letters, one.lost
        return Progress(self._view.name, self.name, one.settings, one.cursor, one.pending(), *counts, self.owner)

    def wrote(self, version: int) -> None:
        """What was `progress` at *version* is on the disk."""
        self._written = version

    def info(self, waiting: int, *, more: bool = False) -> ConsumerInfo:
        """How the consumer is; *waiting* are behind its cursor, or perhaps *more*."""
        one = self.consumer
        counts = one.in_flight, waiting, one.redelivered, one.dead_letters, self.lost
        return ConsumerInfo(self.name, one.settings, one.acknowledged, *counts, self.owner, more)

    # Those who take

    async def enter(self, holder: int) -> None:
        """See Counter. Back when the consumer is on the disk."""
        self._raise()
        self._holders[holder] = None
        try:
            await asyncio.shield(self.created)
        except BaseException:
            # Who did not come in will not leave either.
            self._holders.pop(holder, None)
            raise

    def take(self, holder: int, most: int) -> "list[Handed] | asyncio.Future[list[Handed]]":
        """See Counter."""
        self._raise()
        if holder not in self._holders:
            # He may have left while he was waiting to come in; nobody would give back what he got.
            return []
        if not self._takers:
            handed = self._hand_out(holder, most)
            if handed:
                self._settle()
                self._watch_over(handed)
                return handed
        taker = _Taker(holder, most, asyncio.get_running_loop().create_future())
        self._takers.append(taker)
        self.serve()
        return taker.taken

    def leave(self, holder: int, unseen: dict[int, int]) -> None:
        """See Counter."""
        self._holders.pop(holder, None)
        for taker in self._takers:
            if taker.holder == holder and can_be_told(taker.taken):
                taker.taken.set_result([])
        for dying in self.consumer.leave(holder, unseen, self._monotonic()):
            self._bury(dying)
        self._changed()

    def serve(self) -> None:
        """Hand out what there is to those who wait, in turn."""
        self._called = False
        if self._stop() is not None:
            self._dismiss()
            return
        if not self._takers:
            return
        now = self._monotonic()
        self._feed(now)
        for _ in range(len(self._takers)):
            taker = self._takers.popleft()
            if not can_be_told(taker.taken):
                continue
            share = -(-self.consumer.available(now) // (len(self._takers) + 1))
            handed = self._hand_out(taker.holder, max(1, min(taker.most, share)))
            if handed:
                taker.taken.set_result(handed)
                self._watch_over(handed)
            else:
                self._takers.append(taker)
        self._settle()

    def end(self, error: BaseException | None) -> None:
        """No more of it: because of *error*, or because all ends."""
        self._error = error
        self._holders.clear()
        self._view.unlisten(self.serve)
        self._quiet()
        self._dismiss()

    # What became of it

    def acknowledge(self, sequence: int, tag: int) -> bool:
        """See Counter."""
        return self._said(self.consumer.acknowledge(sequence, tag))

    def fail(self, sequence: int, tag: int, delay: float | None, reason: str) -> bool:
        """See Counter."""
        said = self.consumer.fail(sequence, tag, self._monotonic(), delay, reason)
        if isinstance(said, Dying):
            self._bury(said)
        if said:
            self._changed()
        return self._said(bool(said))

    def release(self, sequence: int, tag: int) -> bool:
        """See Counter."""
        released = self.consumer.release(sequence, tag, self._monotonic())
        if released:
            self._changed()
        return self._said(released)

    def extend(self, sequence: int, tag: int) -> bool:
        """See Counter."""
        return self._said(self.consumer.extend(sequence, tag, self._monotonic()))

    async def reject(self, sequence: int, tag: int, reason: str) -> bool:
        """See Counter."""
        dying = self.consumer.reject(sequence, tag, reason)
        if not self._said(dying is not None) or dying is None:
            return False
        await asyncio.shield(self._bury(dying))
        return True

    def _said(self, counts: bool) -> bool:
        if isinstance(error := self._stop(), StorageError):
            raise error
        self._settle()
        if counts and self._takers and not self._called:
            self._called = True
            asyncio.get_running_loop().call_soon(self.serve)
        return counts

    # Handing out

    def _hand_out(self, holder: int, most: int) -> list[Handed]:
        now = self._monotonic()
        self._feed(now)
        return self.consumer.take(holder, most, len(self._holders), now)

    def _feed(self, now: float) -> None:
        """Have the consumer know what is next."""
        consumer, view = self.consumer, self._view
        while consumer.is_hungry and consumer.read < view.state.last and not self._reading:
            page = view.page(consumer.read, PAGE_MESSAGES, PAGE_BYTES)
            if page is None or consumer.read < view.state.dropped:
                self._read_page()
                break
            self._offer(page)
        if not self._picking and (wanted := consumer.wanted(now)):
            self._pick(wanted)

    def _read_page(self) -> None:
        self._reading = True
        pattern, read = self.consumer.settings.filter, self._office.store.read
        asked = self._view.name, self.consumer.read, pattern, PAGE_MESSAGES, PAGE_BYTES
        self._office.ask(lambda: read(*asked)).add_done_callback(self._page_came)

    def _page_came(self, page: "asyncio.Future[Page]") -> None:
        self._reading = False
        if self._is_sound(page):
            self._offer(page.result())
            self.serve()

    def _offer(self, page: Page) -> None:
        pattern, done = self.consumer.settings.filter, self._view.removing
        envelopes = page.envelopes
        if pattern != ">" or done:
            envelopes = [one for one in envelopes if covers(pattern, one.subject) and one.sequence not in done]
        self.consumer.offer(envelopes, page.through, page.dropped)

    def _pick(self, wanted: list[int]) -> None:
        self._picking = True
        picking = self._office.ask(lambda: self._office.store.pick(self._view.name, wanted))
        picking.add_done_callback(partial(self._picked, wanted))

    def _picked(self, wanted: list[int], found: "asyncio.Future[list[Envelope]]") -> None:
        self._picking = False
        if self._is_sound(found):
            self.consumer.found(wanted, found.result())
            self.serve()

    def _is_sound(self, answer: "asyncio.Future[_T]") -> bool:
        """False when the store could not be read, of which those are told who wait."""
        if answer.cancelled() or self._stop() is not None:
            return False
        error = answer.exception()
        if error is None:
            return True
        for taker in self._takers:
            if can_be_told(taker.taken):
                taker.taken.set_exception(error)
        return False

    def _bury(self, dying: Dying) -> "asyncio.Future[None]":
        return self._burials.begin(self.consumer, dying)

    # Time

    def _changed(self) -> None:
        """Something is due earlier, or there is more room."""
        if self._stop() is not None:
            return
        self._set_alarm(self.consumer.next_event(self._monotonic()))
        self._settle()
        if not self._called:
            self._called = True
            asyncio.get_running_loop().call_soon(self.serve)

    def _watch_over(self, handed: list[Handed]) -> None:
        """See to it that it is taken back in time."""
        now = self._monotonic()
        if now + self.consumer.settings.ack_wait < self._alarm_at or any(one.envelope.attempt > 1 for one in handed):
            self._set_alarm(self.consumer.next_event(now))

    def _set_alarm(self, at: float | None) -> None:
        self._quiet()
        if at is not None:
            self._alarm_at = at
            delay = max(0.0, at - self._monotonic())
            self._alarm = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        self._quiet()
        for dying in self.consumer.expire(self._monotonic()):
            self._bury(dying)
        self._changed()

    def _quiet(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._alarm_at = math.inf

    # The rest

    def _settle(self) -> None:
        """Have written what has changed."""
        consumer = self.consumer
        if consumer.done:
            if self._view.settings.work_queue:
                self._view.removing.update(dict.fromkeys(consumer.done))
            consumer.done.clear()
        if consumer.version != self._written:
            self._office.note_progress()

    def _stop(self) -> BaseException | None:
        return self._error or self._view.error

    def _raise(self) -> None:
        if (error := self._stop()) is not None:
            raise error

    def _dismiss(self) -> None:
        error = self._stop()
        for taker in self._takers:
            if not can_be_told(taker.taken):
                continue
            if error is None:
                taker.taken.set_result([])
            else:
                taker.taken.set_exception(error)
        self._takers.clear()
        if error is not None and not self.created.done():
            self.created.set_exception(error)
            self.created.exception()
