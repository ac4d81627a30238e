"""What the components were at a time: writing it down as it changes, and putting it together again.

Every change of the registry is a row of the kind "state", whose key is the instance; the last rows before a moment
are the picture of it. What could not be written down (the last seconds before a crash, changes that were dropped in a
storm, a file that had to be begun anew) is made up for by comparing: at the start, and whenever rows were dropped.

Rows of the empty key say that the control plane came up, or went down in order. While it was down nobody saw anything.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.view import CommittedView
from tekton.core.history.store import ALWAYS, FOREVER, Kind, Row, TelemetryStore
from tekton.core.lifecycle import Change, ComponentRecord, ComponentState

ALIVE_EVERY: Final = 60.0
"""At least so often, in seconds, something is written while the control plane runs: the samples."""

_PLANE: Final = ""
_A_MOMENT: Final = 1e-6
_SEPARATOR: Final = "/"  # in no component id
_BATCH: Final = 500


class ProcessFacts(NamedTuple):
    """What is known of the process of an instance when it changes."""

    port: int | None = None
    replica: int | None = None
    restarts: int = 0


class InstanceState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An instance after a change. New fields are added at the end, with defaults: old rows go on to be read.

    `usable_since` is in wall-clock seconds, None when it could not be used.
    """

    component_id: str
    instance_uuid: str
    kind: str
    revision: int
    previous: ComponentState | None
    state: ComponentState
    reason: str | None
    serving: bool
    generation: int
    changed_at: float
    registered_at: float
    usable_since: float | None
    component_name: str
    component_type: str
    version: str
    capabilities: tuple[str, ...]
    supervised: bool
    port: int | None = None
    replica: int | None = None
    restarts: int = 0

    def record(self) -> ComponentRecord:
        """As a record; what only the present knows (endpoint, metadata, dependencies) is empty in it."""
        return ComponentRecord(
            component_id=self.component_id,
            instance_uuid=self.instance_uuid,
            component_name=self.component_name,
            component_type=self.component_type,
            version=self.version,
            capabilities=self.capabilities,
            dependencies=(),
            endpoint=None,
            metadata={},
            max_instances=1,
            supervised=self.supervised,
            state=self.state,
            reason=self.reason,
            generation=self.generation,
            revision=self.revision,
            registered_at=self.registered_at,
            changed_at=self.changed_at,
            serving=self.serving,
        )


class Picture(NamedTuple):
    """What the components were. `running` is False when the control plane was down, and this is what it knew before."""

    states: dict[tuple[str, str], InstanceState]
    view: CommittedView
    running: bool


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(InstanceState).decode


class StateRecorder:
    """Writes down every change of *registry* from `start` on.

    *usable_since* and *facts* are asked about an instance at each of its changes; *facts* only about supervised ones.
    """

    def __init__(
        self,
        registry: ComponentRegistry,
        store: TelemetryStore,
        *,
        usable_since: Callable[[ComponentRecord], float | None],
        facts: Callable[[ComponentRecord], ProcessFacts],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._registry = registry
        self._store = store
        self._usable_since = usable_since
        self._facts = facts
        self._clock = clock
        self._unlisten: Callable[[], None] | None = None
        self._made_up_for: tuple[int, int] | None = None
        self._up_since = 0.0

    def start(self) -> None:
        """Begin to listen: the control plane is up. To be followed by `catch_up`. Starting twice does nothing."""
        if self._unlisten is None:
            self._unlisten = self._registry.feed.add_listener(self._on_change)
            self._up_since = self._clock.time()
            self._note_plane(self._up_since, up=True)

    def stop(self) -> None:
        """Listen no more: the control plane goes down. Stopping twice does nothing."""
        if self._unlisten is not None:
            self._unlisten()
            self._unlisten = None
            self._note_plane(self._clock.time(), up=False)

    async def catch_up(self) -> None:
        """While we listen: compare, the first time and whenever rows were dropped or lost since the last time."""
        status = self._store.status()
        lost = (status.dropped["state"], status.begun_anew)
        if self._unlisten is not None and lost != self._made_up_for:
            await self.compare()
            self._made_up_for = lost

    async def compare(self) -> None:
        """Write down where what is kept and what is differ. O(instances), in slices."""
        kept = {row.key: row for row in await self._store.latest("state", FOREVER)}
        if kept.pop(_PLANE, None) is None:
            self._note_plane(self._up_since, up=True)
        for batch in _batches(self._registry.all_instances()):
            # What has changed since we began has been written down.
            current = [one for one in batch if self._current(one.component_id, one.instance_uuid) is one]
            self._store.append("state", [row for one in current for row in self._difference(one, kept)])
            for one in batch:
                kept.pop(_key(one), None)
            await asyncio.sleep(0)
        gone = [row for row in kept.values() if self._current(*row.key.split(_SEPARATOR, 1)) is None]
        self._store.append("state", [Row(self._clock.time(), row.key, row.body, ends=True) for row in gone])

    def _difference(self, record: ComponentRecord, kept: Mapping[str, Row]) -> Iterator[Row]:
        row = kept.get(_key(record))
        if row is None:
            yield self._row(record, record.changed_at)
        elif (state := _state(row)) is None or state.revision != record.revision:
            # What was seen after the last change is not known any more, but it was seen: it held until now.
            yield self._row(record, record.changed_at if record.changed_at > row.at else self._clock.time())

    def _current(self, component_id: str, instance_uuid: str) -> ComponentRecord | None:
        return self._registry.instance(component_id, instance_uuid)

    def _on_change(self, change: Change) -> None:
        row = self._row(change.record, change.at, change)
        self._store.append("state", (row,))

    def _row(self, record: ComponentRecord, at: float, change: Change | None = None) -> Row:
        kind = "state" if change is None else change.kind
        facts = self._facts(record) if record.supervised else _NO_FACTS
        state = InstanceState(
            record.component_id,
            record.instance_uuid,
            kind,
            record.revision,
            None if change is None else change.previous,
            record.state,
            record.reason if change is None else change.reason,
            record.serving,
            record.generation,
            record.changed_at,
            record.registered_at,
            self._usable_since(record),
            record.component_name,
            record.component_type,
            record.version,
            record.capabilities,
            record.supervised,
            *facts,
        )
        return Row(at, _key(record), _encode(state), ends=kind == "deregistered")

    def _note_plane(self, at: float, *, up: bool) -> None:
        self._store.append("state", (Row(at, _PLANE, _encode({"up": up})),))


async def picture(store: TelemetryStore, at: float) -> Picture:
    """The components as they were *at* that time (wall-clock seconds). O(rows of states), beside the event loop."""
    rows = await store.latest("state", at)
    plane = rows.pop(0) if rows and rows[0].key == _PLANE else None
    return await asyncio.to_thread(_picture, rows, await _was_running(store, at, plane))


def _picture(rows: list[Row], running: bool) -> Picture:
    states = [state for row in rows if (state := _state(row)) is not None]
    view = CommittedView()
    for state in states:
        view.put(state.record())
    return Picture({(state.component_id, state.instance_uuid): state for state in states}, view, running)


async def _was_running(store: TelemetryStore, at: float, plane: Row | None) -> bool:
    """Whether the control plane, of which *plane* was the last word, was there then.

    Where that was dropped for want of room, it had come up: it writes nothing while it is down.
    """
    if plane is not None and not _is_up(plane):
        return False
    following = await store.read("state", at + _A_MOMENT, limit=1, key=_PLANE, oldest_first=True)
    if not following or not _is_up(following[0]):
        return True
    # It came up again without having gone down in order: it ended some time after the last thing that it wrote.
    last = [await store.read(kind, until=following[0].at, limit=1) for kind in _SIGNS_OF_LIFE]
    return at <= max((row.at for rows in last for row in rows), default=ALWAYS) + ALIVE_EVERY


def _state(row: Row) -> InstanceState | None:
    """What *row* says; None for one of a version that wrote something else."""
    try:
        return _decode(row.body)
    except msgspec.DecodeError:
        return None


def _is_up(row: Row) -> bool:
    said: Any = msgspec.json.decode(row.body)
    return bool(said["up"])


def _key(record: ComponentRecord) -> str:
    return f"{record.component_id}{_SEPARATOR}{record.instance_uuid}"


def _batches(records: list[ComponentRecord]) -> Iterator[list[ComponentRecord]]:
    return (records[start : start + _BATCH] for start in range(0, len(records), _BATCH))


_NO_FACTS: Final = ProcessFacts()
_SIGNS_OF_LIFE: Final[tuple[Kind, ...]] = ("sample", "state")
