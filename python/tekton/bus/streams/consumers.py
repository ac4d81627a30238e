"""The consumers of all streams: who there are, how they are, and what has to be written of them."""

import asyncio
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from itertools import count
from typing import Final

from tekton.bus.bus import DEFAULT_CONSUMER, ConsumerInfo, ConsumerSettings
from tekton.bus.interest import share_subjects
from tekton.bus.streams.consumer import Consumer
from tekton.bus.streams.consumption import StreamConsumption
from tekton.bus.streams.handing_out import ConsumerDesk
from tekton.bus.streams.office import Office
from tekton.bus.streams.store import Batch, Progress
from tekton.bus.streams.subjects import check_consumer
from tekton.bus.streams.view import StreamView
from tekton.bus.streams.writer import StreamWriter
from tekton.bus.turn import Turn
from tekton.clock import Clock
from tekton.utils.tekton_errors import ConsumerExistsError, ConsumerNotFoundError, TooManySubscriptionsError
from tekton.utils.tekton_ids import check_id

MOST_CONSUMERS: Final = 100
"""Consumers of one stream. They stay until they are deleted, and whoever may consume makes them by naming them."""
MOST_COUNTED: Final = 10_000
"""How many messages are looked at to say what waits for a consumer with a filter."""


class Consumers:
    """Desks by stream and name."""

    def __init__(self, office: Office, writer: StreamWriter, clock: Clock) -> None:
        self._office = office
        self._writer = writer
        self._clock = clock
        self._desks: dict[str, dict[str, ConsumerDesk]] = {}
        self._holders = count(1)
        self._writing: list[tuple[ConsumerDesk, int]] = []

    def __iter__(self) -> Iterator[ConsumerDesk]:
        return (desk for desks in list(self._desks.values()) for desk in list(desks.values()))

    def restore(self, view: StreamView, kept: Progress) -> None:
        """A consumer is there as it was kept."""
        self._seat(view, kept).resume()

    def consume(
        self, view: StreamView, name: str, settings: ConsumerSettings | None, owner: str, turn: Turn
    ) -> StreamConsumption:
        """See Keeper."""
        desk = self._desks.get(view.name, {}).get(name)
        if desk is None:
            desk = self._hire(view, name, DEFAULT_CONSUMER if settings is None else settings, owner)
        elif settings is not None and desk.consumer.settings != settings:
            raise ConsumerExistsError(view.name, name, _other_settings(desk.consumer.settings, settings))
        return StreamConsumption(view.name, name, desk, next(self._holders), turn)

    def settings_of(self, stream: str, name: str) -> ConsumerSettings | None:
        """See Keeper."""
        desk = self._desks.get(stream, {}).get(name)
        return None if desk is None else desk.consumer.settings

    def owner_of(self, stream: str, name: str) -> str:
        """See Keeper."""
        desk = self._desks.get(stream, {}).get(name)
        return "" if desk is None else desk.owner

    async def delete(self, stream: str, name: str) -> None:
        """See Bus. Whoever is cancelled takes nothing back."""
        desk = self._desks.get(stream, {}).get(name)
        if desk is None:
            raise ConsumerNotFoundError(stream, name)
        deleting = self._writer.alone(lambda: self._office.store.delete_consumer(stream, name))
        deleting.add_done_callback(partial(self._deleted, desk))
        await asyncio.shield(deleting)

    def end_all(self, stream: str | None = None, error: Exception | None = None) -> None:
        """Let those of *stream*, or of all, come to an end, because of *error* if that is why."""
        for desk in self:
            if stream in (None, desk.stream):
                self._dismiss(desk, error)

    async def infos(self, view: StreamView) -> tuple[ConsumerInfo, ...]:
        """How those of a stream are."""
        return tuple([await self._info(view, desk) for _, desk in sorted(self._desks.get(view.name, {}).items())])

    def progress(self) -> list[Progress]:
        """What has to be written, if there is anything; `wrote` tells that it was."""
        found = [(desk, one) for desk in self if (one := desk.progress()) is not None]
        self._writing = [(desk, desk.consumer.version) for desk, _ in found]
        return [one for _, one in found]

    def wrote(self) -> None:
        """What `progress` said last is on the disk."""
        for desk, version in self._writing:
            desk.wrote(version)
        self._writing = []

    def _seat(self, view: StreamView, kept: Progress) -> ConsumerDesk:
        consumer = Consumer(kept.settings, kept.cursor, kept.pending, self._clock.monotonic())
        consumer.redelivered, consumer.dead_letters, consumer.lost = kept.redelivered, kept.dead_letters, kept.lost
        desk = ConsumerDesk(kept.consumer, view, consumer, self._office, self._clock, owner=kept.owner)
        self._desks.setdefault(view.name, {})[kept.consumer] = desk
        return desk

    def _hire(self, view: StreamView, name: str, settings: ConsumerSettings, owner: str) -> ConsumerDesk:
        """A desk for a new consumer, which is being written down."""
        check_id(name, "/consumer")
        check_consumer(settings)
        if len(self._desks.get(view.name, {})) >= MOST_CONSUMERS:
            raise TooManySubscriptionsError(MOST_CONSUMERS)
        self._check_share(view, settings)
        cursor, store = _beginning(view, settings), self._office.store
        new = Progress(view.name, name, settings, cursor, owner=owner)
        # What one before it has done goes first, else it may read that while it is on its way off the disk. What others
        # have done goes with their progress.
        removing = [] if self._desks.get(view.name) else [(view.name, one) for one in view.removing]
        desk = self._seat(view, new)
        now = self._clock.time()
        at = settings.at if settings.since is None else None

        def write() -> int:
            begin = cursor if at is None else store.before(view.name, at)
            store.commit(Batch((), [new._replace(cursor=begin)], removing), now)
            return begin

        self._writer.alone(write).add_done_callback(partial(self._hired, desk))
        return desk

    def _hired(self, desk: ConsumerDesk, written: "asyncio.Future[int]") -> None:
        if written.cancelled() or desk.created.done():
            return
        error = written.exception()
        if error is None:
            desk.begin(written.result())
        else:
            self._dismiss(desk, error)

    def _deleted(self, desk: ConsumerDesk, deleted: "asyncio.Future[None]") -> None:
        if not deleted.cancelled() and deleted.exception() is None:
            self._dismiss(desk, ConsumerNotFoundError(desk.stream, desk.name))

    def _dismiss(self, desk: ConsumerDesk, error: BaseException | None) -> None:
        desks = self._desks.get(desk.stream, {})
        if error is not None and desks.get(desk.name) is desk:
            del desks[desk.name]
        desk.end(error)

    def _check_share(self, view: StreamView, settings: ConsumerSettings) -> None:
        """In a work queue each subject is one consumer's."""
        for other, desk in self._desks.get(view.name, {}).items() if view.settings.work_queue else ():
            if share_subjects(settings.filter, desk.consumer.settings.filter):
                error = ConsumerExistsError(view.name, other, "takes some of it, and in a work queue nobody else can")
                error.hint = "work under its name, or choose filters that have nothing in common"
                raise error

    async def _info(self, view: StreamView, desk: ConsumerDesk) -> ConsumerInfo:
        cursor, pattern = max(desk.consumer.cursor, view.state.dropped), desk.consumer.settings.filter
        behind = view.state.last - cursor
        if pattern == ">" and not view.settings.work_queue:
            return desk.info(behind)
        counting = self._office.ask(lambda: self._office.store.count(view.name, cursor, pattern, MOST_COUNTED))
        return desk.info(await counting, more=behind > MOST_COUNTED)


def _beginning(view: StreamView, settings: ConsumerSettings) -> int:
    """Where a consumer begins, unless it does so at a time."""
    if settings.since is not None:
        view.check_since(settings.since)
        return settings.since
    return view.state.last if settings.only_new else view.state.dropped


def _other_settings(kept: ConsumerSettings, asked: ConsumerSettings) -> str:
    pairs = [(one.name, getattr(kept, one.name), getattr(asked, one.name)) for one in fields(kept)]
    return "has other settings: " + ", ".join(f"{name} {old}, not {new}" for name, old, new in pairs if old != new)
