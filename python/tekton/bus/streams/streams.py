"""Streams: what is published to their subjects is kept, numbered, for those who replay it and those who consume it.

    streams = Streams(SqliteStreamStore(path), clock, Telling(live).tell)
    await streams.start()
    [receipt] = await streams.append([Envelope("orders.new", message)])     # on the disk by now

What was published is told to *stored*, replays and consumers when it is on the disk, in the order of the commits, and
only then is the publisher answered. All of it happens on one event loop.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Final, TypeVar

from tekton.bus import dead_letters
from tekton.bus.bus import ConsumerSettings, Receipt, StreamInfo, StreamSettings
from tekton.bus.envelope import Envelope
from tekton.bus.streams.append_queue import parts
from tekton.bus.streams.changes import Changes
from tekton.bus.streams.consumer import Dying
from tekton.bus.streams.consumers import Consumers
from tekton.bus.streams.consumption import StreamConsumption
from tekton.bus.streams.desks import AtOnce, ask
from tekton.bus.streams.fair_shares import FairShares
from tekton.bus.streams.replay import Replay
from tekton.bus.streams.store import (
    Batch,
    Committed,
    Desk,
    Page,
    Placed,
    Progress,
    Put,
    StreamState,
    StreamStore,
)
from tekton.bus.streams.subjects import StreamSubjects, check_pattern, check_stream
from tekton.bus.streams.tidying import Tidying
from tekton.bus.streams.view import StreamView
from tekton.bus.streams.writer import StreamWriter
from tekton.bus.turn import Turn
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.history.worker import Worker
from tekton.core.metrics.tally import Tally
from tekton.core.precedence import Precedence
from tekton.utils.tekton_errors import StorageError, StreamNotFoundError
from tekton.utils.tekton_ids import check_id, nearest_name

_T = TypeVar("_T")

_logger = logging.getLogger("tekton.bus")

_NOTHING: Final[Mapping[str, Sequence[tuple[Envelope, int]]]] = MappingProxyType({})


Stored = Callable[[Sequence[Envelope]], "asyncio.Future[None] | None"]
"""Is told what is new; returns a future of when those who listen are told, if they are not by now."""


def _nobody(_: Sequence[Envelope]) -> None:
    pass


class Streams:
    """The streams in *store*, between `start` and `stop`. *stored* is told what is new in them.

    Commits let *precedence*, if there is any, go first.
    """

    def __init__(
        self,
        store: StreamStore,
        clock: Clock = SYSTEM_CLOCK,
        stored: Stored = _nobody,
        precedence: Precedence | None = None,
    ) -> None:
        self.store = store
        self._clock = clock
        self._stored = stored
        self._views: dict[str, StreamView] = {}
        self._subjects = StreamSubjects()
        self._listeners: list[Callable[[StorageError], None]] = []
        self._changes = Changes()
        self._turn = Turn()
        self._stopped = False
        self._reader = self._new_desk("tekton-bus-reader")
        self._desk = self._new_desk("tekton-bus")
        self.writer = StreamWriter(store, self._desk, self, clock, precedence)
        """What is on its way to the disk; for its counts."""
        self._consumers = Consumers(self, self.writer, clock)
        self._tidying = Tidying(store, self.writer, clock, self._show_states)
        self._fair = FairShares(self._dead_letters, self, self.writer, clock, self._show_states)

    # Life

    async def start(self) -> None:
        """Open the store. Raises the storage errors."""
        try:
            loaded = await ask(self._desk, self.store.open)
        except BaseException:
            self._desk.stop()
            raise
        for name, settings, state, _ in loaded:
            self._show(StreamView(name, settings, state))
        await self._changes.make(self._restore_dead_letters)
        for kept in (one for stream in loaded for one in stream.consumers):
            self._consumers.restore(self._views[kept.stream], kept)
        self._tidying.begin()

    async def stop(self) -> None:
        """Let those who read come to an end, write what is to be written, and close the store.

        Stopping twice does nothing.
        """
        if self._stopped:
            return
        self._stopped = True
        self._tidying.stop()
        for view in self._views.values():
            view.close()
        self._consumers.end_all()
        await self.writer.flush()
        closed = StorageError("the bus is closed")
        self.writer.stop(closed)
        await self._changes.finish()
        for view in self._views.values():
            view.end(closed)
        self._reader.stop()
        await ask(self._desk, self.store.close)
        self._desk.stop()

    @property
    def failure(self) -> StorageError | None:
        """What has stopped all of it, if anything has."""
        return self.writer.failure

    @property
    def full(self) -> bool:
        """True after the store refused a batch for want of space, until one succeeds; tried again now and then."""
        return self.writer.full

    @property
    def commit_seconds(self) -> Tally:
        """How long it took to have a batch on the disk."""
        return self.writer.commit_seconds

    @property
    def waiting(self) -> int:
        """How many messages wait for the disk."""
        return self.writer.waiting

    def add_failure_listener(self, listener: Callable[[StorageError], None]) -> None:
        """Call *listener* when a commit of unknown outcome has stopped all of it."""
        self._listeners.append(listener)

    # Publishing

    def stream_of(self, subject: str) -> str | None:
        """The stream that takes *subject*."""
        return self._subjects.stream_of(subject)

    async def append(self, envelopes: Sequence[Envelope]) -> list[Receipt]:
        """Store what is published to subjects of streams. It is on the disk when this returns.

        Raises StreamNotFoundError, the storage errors, and BusBusyError when the disk does not keep up; of more than
        fits into one batch some may have been stored then. Whoever is cancelled takes nothing back.
        """
        at = _whole_micros(self._clock.time())
        puts = [self._put(envelope, at) for envelope in envelopes]
        if len(puts) == 1:
            placed = await self.writer.append(puts)
        else:
            appended = [self.writer.append(part) for part in parts(puts)]
            placed = [one for part in await asyncio.gather(*appended) for one in part]
        return [Receipt(one.sequence, put.stream, one.duplicate) for put, one in zip(puts, placed)]

    def _put(self, envelope: Envelope, at: float) -> Put:
        stream = self._subjects.stream_of(envelope.subject)
        if stream is None:
            raise StreamNotFoundError(envelope.subject)
        if stream == dead_letters.NAME:
            self._need_dead_letters()
        return Put(stream, envelope, envelope.message.to_json(), at)

    # Reading

    def replay(self, stream: str, *, since: int | None = None, at: float | None = None, pattern: str = ">") -> Replay:
        """See Bus."""
        view = self._view(stream)
        check_pattern(pattern)
        begin = None
        if since is not None:
            view.check_since(since)
        elif at is not None:
            begin = partial(self.ask, partial(self.store.before, stream, at))
        after = view.state.dropped if since is None else since
        return Replay(view, pattern, self._read, self._turn, after=after, begin=begin, at=None if begin is None else at)

    def consume(
        self, stream: str, consumer: str, settings: ConsumerSettings | None = None, owner: str = ""
    ) -> StreamConsumption:
        """See Keeper."""
        return self._consumers.consume(self._view(stream), consumer, settings, owner, self._turn)

    def settings_of(self, stream: str, consumer: str) -> ConsumerSettings | None:
        """See Keeper."""
        return self._consumers.settings_of(stream, consumer)

    def owner_of(self, stream: str, consumer: str) -> str:
        """See Keeper."""
        return self._consumers.owner_of(stream, consumer)

    async def _read(self, stream: str, after: int, pattern: str, most: int, size: int) -> Page:
        return await self.ask(lambda: self.store.read(stream, after, pattern, most, size))

    # Streams

    async def create_stream(self, name: str, settings: StreamSettings) -> StreamInfo:
        """See Bus. Whoever is cancelled takes nothing back."""
        check_id(name, "/name")
        check_stream(settings)
        return await self._info(await self._changes.make(partial(self._create, name, settings)))

    async def delete_stream(self, name: str) -> None:
        """See Bus. The stream of the dead letters is only emptied. Whoever is cancelled takes nothing back."""
        await self._changes.make(partial(self._delete, name))

    async def _create(self, name: str, settings: StreamSettings) -> StreamView:
        self._subjects.check(name, settings.subjects)
        now = self._clock.time()
        state = await self.writer.alone(lambda: self.store.put_stream(name, settings, now))
        view = self._views.get(name)
        if view is None:
            view = self._show(StreamView(name, settings, state))
        else:
            view.settings, view.state = settings, state
            self._subjects.add(name, settings.subjects)
            view.stir()
        return view

    async def _delete(self, name: str) -> None:
        view = self._view(name)
        await self.writer.alone(lambda: self.store.delete_stream(name))
        gone = StreamNotFoundError(name)
        del self._views[name]
        view.end(gone)
        self._consumers.end_all(name, gone)
        if name == dead_letters.NAME:
            # Nobody else gets its subjects, also if this fails: then it is tried again when it is needed.
            await self._restore_dead_letters()
        else:
            self._subjects.remove(name)

    async def _restore_dead_letters(self) -> None:
        if dead_letters.NAME not in self._views:
            await self._create(dead_letters.NAME, dead_letters.SETTINGS)

    def _need_dead_letters(self) -> None:
        """Something is about to go there. Their stream is missing if it was emptied while the disk was full."""
        if dead_letters.NAME not in self._views:
            self._changes.begin(self._restore_dead_letters)

    async def streams(self, *, consumers: bool = True) -> list[StreamInfo]:
        """See Bus."""
        views = [self._views[name] for name in sorted(self._views)]
        if not consumers:
            return [view.info(view.state.dropped + 1) for view in views]
        return [await self._info(view) for view in views]

    @property
    def settings(self) -> dict[str, StreamSettings]:
        """The settings of each stream. Waits for no disk."""
        return {name: self._views[name].settings for name in sorted(self._views)}

    async def delete_consumer(self, stream: str, consumer: str) -> None:
        """See Bus."""
        self._view(stream)
        await self._consumers.delete(stream, consumer)

    async def _info(self, view: StreamView) -> StreamInfo:
        consumers, name = await self._consumers.infos(view), view.name
        first = await self.ask(lambda: self.store.first(name)) if view.state.messages else None
        return view.info(first, consumers)

    # What the writer and the desks ask

    def has_stream(self, name: str) -> bool:
        """See Owner."""
        return name in self._views

    def progress(self) -> tuple[list[Progress], Iterable[tuple[str, int]]]:
        """See Owner."""
        removing = ((view.name, one) for view in self._views.values() for one in view.removing)
        return self._consumers.progress(), removing

    def committed(self, batch: Batch, outcome: Committed) -> "asyncio.Future[None] | None":
        """See Owner."""
        new: dict[str, list[tuple[Envelope, int]]] = {}
        told: list[Envelope] = []
        for put, placed in zip(batch.puts, outcome.placed):
            if not placed.duplicate:
                said = put.envelope
                one = Envelope(said.subject, said.message, said.reply, placed.sequence, put.at, 1, put.stream)
                told.append(one)
                new.setdefault(put.stream, []).append((one, len(put.body)))
        for stream, sequence in batch.removed:
            if (view := self._views.get(stream)) is not None:
                view.removed(sequence)
        if batch.progress:
            self._consumers.wrote()
        telling = self._tell(told)
        self._show_states(outcome.states, new)
        self._tidying.soon()
        self._fair.look()
        return telling

    def stopped(self, error: StorageError) -> None:
        """See Owner."""
        for view in self._views.values():
            view.end(error)
        for listener in self._listeners:
            listener(error)

    def note_progress(self) -> None:
        """See Office."""
        self.writer.note_progress()

    def ask(self, job: Callable[[], _T]) -> "asyncio.Future[_T]":
        """See Office."""
        return ask(self._reader, job)

    def bury(self, view: StreamView, consumer: str, envelope: Envelope, dying: Dying) -> "asyncio.Future[list[Placed]]":
        """See Office."""
        _logger.warning(
            "%s gives up message %d of %s at attempt %d: %s",
            consumer, dying.sequence, view.name, dying.attempts, dying.reason,
        )  # fmt: skip
        if view.name == dead_letters.NAME:
            # It stays where it is; a letter about it would be next.
            return self.writer.append(())
        self._need_dead_letters()
        letter = dead_letters.dead_letter(envelope, consumer, dying)
        put = Put(dead_letters.NAME, letter, letter.message.to_json(), _whole_micros(self._clock.time()))
        return self.writer.append([put], bounded=False)

    # The rest

    def _new_desk(self, name: str) -> Desk:
        return Worker(name) if self.store.threaded else AtOnce()

    def _view(self, name: str) -> StreamView:
        view = self._views.get(name)
        if view is None:
            raise StreamNotFoundError(name, nearest_name(name, self._views))
        return view

    def _dead_letters(self) -> StreamView | None:
        return self._views.get(dead_letters.NAME)

    def _show(self, view: StreamView) -> StreamView:
        self._views[view.name] = view
        self._subjects.add(view.name, view.settings.subjects)
        return view

    def _tell(self, told: list[Envelope]) -> "asyncio.Future[None] | None":
        try:
            return self._stored(told)
        except Exception:
            _logger.exception("what was stored could not be told")
            return None

    def _show_states(
        self, states: Mapping[str, StreamState], new: Mapping[str, Sequence[tuple[Envelope, int]]] = _NOTHING
    ) -> None:
        for name, state in states.items():
            if (view := self._views.get(name)) is not None:
                view.show(state, new.get(name, ()))


def _whole_micros(at: float) -> float:
    """What a store keeps of a time."""
    return round(at * 1e6) / 1e6
