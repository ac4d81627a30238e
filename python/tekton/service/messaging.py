"""The bus of the control plane: subjects in memory, streams in `bus.db`, those of the configuration among them.

`bus.db` is a file of its own, and what happens to it takes down nothing else:

* It cannot be opened (damaged, written by a newer version): the control plane comes up all the same. Nobody knows then
  what streams would have taken, so whatever one might have taken is refused, and so is all that names a stream.
  Requests and their answers go on.
* A commit fails with an unknown outcome: streams take nothing any more until the control plane is started anew.
* The disk is full: what a stream takes is refused until there is room.

What is refused is refused with a storage error (503), readiness and the log say why, and everything else goes on.
"""

import logging
from collections.abc import Mapping
from typing import Final

from tekton._native import is_valid_pattern
from tekton.bus import dead_letters
from tekton.bus.bus import SharedBus, StreamInfo, StreamSettings
from tekton.bus.keeper import Keeper
from tekton.bus.live import LiveBus
from tekton.bus.local_bus import LocalBus
from tekton.bus.streams.sqlite_store import FILE_NAME, SqliteStreamStore
from tekton.bus.streams.store import Page, StreamStore
from tekton.bus.streams.streams import Streams
from tekton.bus.telling import Telling
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.precedence import Precedence
from tekton.gateway.errors import InvalidInputError, UnavailableError
from tekton.service.refused_streams import RefusedStreams
from tekton.utils.config_rules import OWN_STREAMS, parse_size
from tekton.utils.tekton_config import StreamSpec, TektonConfig
from tekton.utils.tekton_errors import (
    BusError,
    InvalidSubjectError,
    StorageError,
    StreamConfiguredError,
    StreamNotFoundError,
    TektonError,
)

_logger = logging.getLogger("tekton.bus")


PAGE_BYTES: Final = 1024 * 1024
"""Bytes of messages in one page."""


class Messaging:
    """The bus, and the streams that it has. Made by `open`, before anything else needs it."""

    def __init__(
        self, config: TektonConfig, live: LiveBus, keeper: Keeper, clock: Clock, precedence: Precedence | None = None
    ) -> None:
        self.live = live
        self.precedence: Final = precedence or Precedence(clock)
        """What goes before messages."""
        self.bus: Final[SharedBus] = LocalBus(clock, keeper, live)
        self.stream_of = keeper.stream_of
        """The stream that takes a subject."""
        self.streams: Final = keeper if isinstance(keeper, Streams) else None
        """The streams, where they can be used."""
        self.enabled: Final = config.enable_streams
        self._configured: dict[str, StreamSettings] = {}
        self._limit = parse_size(config.streams_size)
        self._refused: dict[str, TektonError] = {}

    @classmethod
    async def open(
        cls,
        config: TektonConfig,
        clock: Clock = SYSTEM_CLOCK,
        store: StreamStore | None = None,
        precedence: Precedence | None = None,
    ) -> "Messaging":
        """The bus of a control plane with *config*. What is the matter with *store* (`bus.db`) is logged, and told.

        It lets *precedence*, if there is any, go first.
        """
        live = LiveBus(clock)
        if not config.enable_streams:
            return cls(config, live, RefusedStreams(_switched_off, all_kept=False), clock, precedence)
        streams = Streams(
            store or SqliteStreamStore(config.data_dir / FILE_NAME), clock, Telling(live).tell, precedence
        )
        try:
            await streams.start()
        except StorageError as error:
            _logger.critical("messages are not kept, and none is taken that a stream might keep: %s", error)
            return cls(config, live, RefusedStreams(_unreadable, all_kept=True), clock, precedence)
        streams.add_failure_listener(_stopped)
        return cls(config, live, streams, clock, precedence)

    async def adopt(self, config: TektonConfig) -> None:
        """Have the streams of *config*, with their settings. One that is not in it any more is kept, and logged."""
        configured = {name: settings_of(spec) for name, spec in config.streams.items()}
        before, self._configured = self._configured, configured
        self._limit = parse_size(config.streams_size)
        self._refused.clear()
        if self.streams is None or self.streams.failure is not None:
            return
        known = self.streams.settings
        for name in sorted(before.keys() & known.keys() - configured.keys()):
            _logger.warning("the stream %s is not configured any more; it is kept until it is deleted", name)
        wanted = {name: settings for name, settings in configured.items() if known.get(name) != settings}
        # One may have given up a subject that another one takes now: what is refused is tried again after the others.
        while wanted and len(left := await self._create_all(wanted)) < len(wanted):
            wanted = left
        for name, error in self._refused.items():
            _logger.error("the stream %s is not as it is configured: %s", name, error)

    async def stop(self) -> None:
        """Commit what is queued and end the streams, after the port has closed. Stopping twice does nothing."""
        if self.streams is not None:
            await self.streams.stop()

    @property
    def problems(self) -> list[str]:
        """What is the matter, in a few words that everybody may read."""
        if self.streams is None:
            return ["streams: unreadable"] if self.enabled else []
        if self.streams.failure is not None:
            return ["streams: stopped"]
        full = ["streams: full"] if self.streams.full else []
        return full + [f"stream {name}: not as configured" for name in self._refused]

    def is_configured(self, name: str) -> bool:
        """Whether the stream *name* is one of the configuration."""
        return name in self._configured

    async def create_stream(self, name: str, settings: StreamSettings) -> StreamInfo:
        """Have a stream beside those of the configuration; see `Bus.create_stream`.

        Raises StreamConfiguredError for one of the configuration, InvalidInputError for one that is Tekton's own or
        would be too much, and as the bus does.
        """
        self._check_changeable(name)
        if name in OWN_STREAMS:
            raise InvalidInputError("/name", f"{name} is a name of Tekton's own")
        known = {} if self.streams is None else self.streams.settings
        others = [one.max_bytes for other, one in known.items() if other not in (name, dead_letters.NAME)]
        together = sum(others) + settings.max_bytes
        if together > self._limit:
            problem = f"all streams might take {together} bytes, and tekton.bus.streams_size is {self._limit}"
            raise InvalidInputError("/max_bytes", problem)
        return await self.bus.create_stream(name, settings)

    async def delete_stream(self, name: str) -> None:
        """Drop a stream that is not of the configuration; see `Bus.delete_stream`. Raises StreamConfiguredError."""
        self._check_changeable(name)
        await self.bus.delete_stream(name)

    async def page(
        self, name: str, *, since: int | None = None, at: float | None = None, pattern: str = ">", limit: int = 100
    ) -> Page:
        """Some of the messages of a stream behind *since*, or from *at* on; default: from its oldest on.

        At most *limit*, and 1 MiB, unless one alone has more. A page may be empty and yet not be the last one. Raises
        StreamNotFoundError, InvalidSubjectError and the storage errors.
        """
        streams = self.streams
        if streams is None or not streams.has_stream(name):
            raise StreamNotFoundError(name)
        if not is_valid_pattern(pattern):
            raise InvalidSubjectError(pattern, "is no pattern of subjects")
        if at is not None:
            since = await streams.ask(lambda: streams.store.before(name, at))
        after = 0 if since is None else since
        return await streams.ask(lambda: streams.store.read(name, after, pattern, limit, PAGE_BYTES))

    def _check_changeable(self, name: str) -> None:
        if name in self._configured:
            raise StreamConfiguredError(name)

    async def _create_all(self, wanted: Mapping[str, StreamSettings]) -> dict[str, StreamSettings]:
        """Those of *wanted* that were refused."""
        self._refused.clear()
        for name, settings in wanted.items():
            try:
                await self.bus.create_stream(name, settings)
            except (BusError, StorageError) as error:
                self._refused[name] = error
        return {name: wanted[name] for name in self._refused}


def settings_of(spec: StreamSpec) -> StreamSettings:
    """What the configuration says of a stream, as the bus takes it."""
    return StreamSettings(
        subjects=tuple(spec.subjects),
        max_messages=spec.max_messages,
        max_bytes=parse_size(spec.max_bytes),
        max_age=spec.max_age,
        dedupe_window=spec.dedupe_window,
        work_queue=spec.work_queue,
    )


def _switched_off() -> TektonError:
    return UnavailableError("there are no streams: tekton.bus.enable_streams is false")


def _unreadable() -> TektonError:
    # A new one each time: an error that is raised again and again keeps the frames of all of them.
    return StorageError("bus.db cannot be used, so nothing is taken that a stream might keep; the log says more")


def _stopped(error: StorageError) -> None:
    _logger.critical("streams have stopped, until the control plane is started anew: %s", error)
