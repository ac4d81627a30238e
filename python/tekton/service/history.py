"""The past of the system: what is written down about it, and how it looked at a time."""

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeVar

from tekton.background import BackgroundTask
from tekton.clock import Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.history.sampler import INTERVAL, Numbers, Sampler, Source, Table, names, nearest, series
from tekton.core.history.sqlite_store import FILE_NAME, SqliteTelemetryStore
from tekton.core.history.states import Picture, ProcessFacts, StateRecorder, picture
from tekton.core.history.store import Kind, MemoryTelemetryStore, TelemetryStore
from tekton.core.lifecycle import ENDED, ComponentRecord
from tekton.core.uptime import Uptime
from tekton.gateway.errors import UnavailableError
from tekton.service.lineup import LineUp
from tekton.service.samples import COMPONENT, MACHINE
from tekton.service.views import NOT_SERVING, ComponentView, health_mark, show
from tekton.supervisor.supervisor import Supervisor
from tekton.utils.config_rules import parse_size
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import HistoryUnknownError

_T = TypeVar("_T")

_logger = logging.getLogger("tekton.history")

_PATIENCE: Final = 20.0
_MICROSECOND: Final = 1e-6


class Past(NamedTuple):
    """The system as it was *at* a time. `known_since`: from when on that can be told. `running`: see `Picture`.

    `machine` are the numbers of the machine then, empty where none were taken.
    """

    at: float
    known_since: float
    running: bool
    components: list[ComponentView]
    machine: dict[str, float]


def open_telemetry(config: TektonConfig, clock: Clock) -> TelemetryStore:
    """The store that the configuration asks for. Nothing of the disk is touched yet."""
    size = parse_size(config.history_size)
    if not size:
        return MemoryTelemetryStore(age=config.history_age, clock=clock)
    return SqliteTelemetryStore(config.data_dir / FILE_NAME, size_bytes=size, age=config.history_age, clock=clock)


class History:
    """Writes down states and samples while it runs, and tells of them. *sources* are sampled once a minute."""

    def __init__(
        self,
        store: TelemetryStore,
        registry: ComponentRegistry,
        lineup: LineUp,
        supervisor: Supervisor,
        uptime: Uptime,
        *,
        sources: Sequence[Source],
        clock: Clock,
    ) -> None:
        self.store = store
        self._lineup = lineup
        self._supervisor = supervisor
        self._clock = clock
        self._recorder = StateRecorder(registry, store, usable_since=uptime.since, facts=self._facts, clock=clock)
        self._sampler = Sampler(store, sources, clock)
        self._task = BackgroundTask("history")

    def start(self) -> None:
        """Begin to write down. A disk that does not answer holds up nothing."""
        self._recorder.start()
        self._task.start(self._run())

    async def stop(self) -> None:
        """Write down the end, and close the store. Stopping twice does nothing."""
        await self._task.stop()
        self._recorder.stop()
        await self.store.close()

    async def at(self, moment: float) -> Past:
        """The system as it was at *moment* (wall-clock seconds).

        Raises HistoryUnknownError for a time of which nothing is known, UnavailableError when the disk does not answer.
        """
        since = await self.known(moment)
        await self._patiently(self._recorder.catch_up())
        # Times are written down to the microsecond, rounded: one means all of it.
        found, samples = await self._patiently(_both(self.store, moment + _MICROSECOND))
        # Of very many components it takes a while.
        views = await asyncio.to_thread(self._views, found, samples, moment)
        return Past(moment, since, found.running, views, samples.get(MACHINE, {}))

    def now(self) -> float:
        """The present, in wall-clock seconds."""
        return self._clock.time()

    async def known_since(self, kind: Kind) -> float:
        """From when on rows of *kind* are kept. Raises UnavailableError when the disk does not answer."""
        return await self._patiently(self.store.known_since(kind))

    async def samples(self) -> list[str]:
        """The names of what there are samples of. Raises as `known_since`."""
        return await self._patiently(names(self.store))

    async def series(self, name: str, columns: Sequence[str], since: float, until: float, limit: int) -> Table:
        """See `sampler.series`. Raises as `known_since`."""
        return await self._patiently(series(self.store, name, since, until, columns=columns, limit=limit))

    async def known(self, moment: float) -> float:
        """Since when states are known. Raises HistoryUnknownError when *moment* was before that."""
        since = await self.known_since("state")
        if moment < since - _MICROSECOND:
            raise HistoryUnknownError(written(moment), written(since))
        return since

    async def _patiently(self, reading: Awaitable[_T]) -> _T:
        try:
            async with asyncio.timeout(_PATIENCE):
                return await reading
        except TimeoutError:
            raise UnavailableError("the disk does not answer: the history cannot be read") from None

    async def _run(self) -> None:
        while True:
            await self._try(self._recorder.catch_up())
            await self._try(self.store.tidy())
            await asyncio.sleep(INTERVAL)
            self._sampler.sample()

    async def _try(self, work: Awaitable[None]) -> None:
        """Do *work*; a disk that does not answer is left alone, until the next time."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await work
        except TimeoutError:
            _logger.debug("the disk of the history does not answer")
        except Exception:  # ours: the next minute has another chance
            _logger.exception("the history could not be tidied up")

    def _facts(self, record: ComponentRecord) -> ProcessFacts:
        process = self._supervisor.process(record)
        return ProcessFacts() if process is None else ProcessFacts(process.port, process.replica, process.restarts)

    def _views(self, found: Picture, samples: Mapping[str, Numbers], moment: float) -> list[ComponentView]:
        return [self._view(record, found, samples, moment) for record in found.view.components()]

    def _view(
        self, record: ComponentRecord, found: Picture, samples: Mapping[str, Numbers], moment: float
    ) -> ComponentView:
        state = found.states[record.component_id, record.instance_uuid]
        instances = found.view.instances(record.component_id)
        numbers = samples.get(f"{COMPONENT}{record.component_id}", {})
        memory = numbers.get("memory")
        live = sum(instance.state not in ENDED for instance in instances)
        return show(
            record,
            uptime=None if state.usable_since is None else max(0.0, moment - state.usable_since),
            note=record.reason or (None if record.serving or not record.usable else NOT_SERVING),
            health=health_mark(record, None),
            cpu=numbers.get("cpu"),
            memory=None if memory is None else int(memory),
            replicas=max(live, 1),
            ready_replicas=sum(instance.usable for instance in instances),
            groups=self._lineup.groups(record.component_id),
            port=state.port,
            restarts=int(numbers.get("restarts", state.restarts)),
        )


async def _both(store: TelemetryStore, moment: float) -> tuple[Picture, dict[str, dict[str, float]]]:
    return await picture(store, moment), await nearest(store, moment)


def written(at: float) -> str:
    """A time in UTC, as messages have it."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (OverflowError, OSError, ValueError):
        return f"{at:.0f} s after 1970"
