"""The committed view: what readers and watchers see.

Only changes that cannot vanish in a crash (and observations, which are facts) get here. All reads are from
memory and return immutable records.
"""

import base64
import binascii
from bisect import bisect_left, bisect_right, insort
from typing import NamedTuple

import msgspec

from tekton.core.component_lifecycle.capability import CapabilityIndex
from tekton.core.lifecycle import ENDED, ComponentRecord, ComponentState
from tekton.utils.tekton_errors import CursorExpiredError
from tekton.utils.tekton_ids import nearest_name

_NEIGHBOURS = 500


class Page(msgspec.Struct, frozen=True):
    """One page of a list. `cursor` continues it (None: that was all); `revision` is that of the view."""

    items: list[ComponentRecord]
    cursor: str | None
    revision: int


class Filter(NamedTuple):
    """What a list is restricted to; None means any."""

    state: ComponentState | None = None
    component_type: str | None = None
    capability: str | None = None

    def accepts(self, record: ComponentRecord) -> bool:
        return (
            (self.state is None or record.state is self.state)
            and (self.component_type is None or record.component_type == self.component_type)
            and (self.capability is None or self.capability in record.capabilities)
        )


class CommittedView:
    """Records by component and instance, with an index by capability."""

    def __init__(self) -> None:
        self._instances: dict[str, dict[str, ComponentRecord]] = {}
        self._best: dict[str, ComponentRecord] = {}
        self._ids: list[str] = []
        self._capabilities = CapabilityIndex()

    def __len__(self) -> int:
        return len(self._best)

    def put(self, record: ComponentRecord) -> None:
        """Insert *record*, or replace the one of the same instance. O(instances of the component)."""
        instances = self._instances.get(record.component_id)
        if instances is None:
            instances = self._instances[record.component_id] = {}
            insort(self._ids, record.component_id)
        self._capabilities.replace(instances.get(record.instance_uuid), record)
        instances[record.instance_uuid] = record
        self._choose(record.component_id, instances)

    def drop(self, record: ComponentRecord) -> None:
        """Remove the instance that *record* describes, if it is here."""
        instances = self._instances.get(record.component_id, {})
        known = instances.pop(record.instance_uuid, None)
        if known is None:
            return
        self._capabilities.replace(known, None)
        if instances:
            self._choose(record.component_id, instances)
        else:
            self._forget(record.component_id)

    def find(self, component_id: str) -> ComponentRecord | None:
        """The best instance: READY before DEGRADED before any other live one before ended ones, newest first."""
        return self._best.get(component_id)

    def instance(self, component_id: str, instance_uuid: str) -> ComponentRecord | None:
        """That very instance."""
        return self._instances.get(component_id, {}).get(instance_uuid)

    def instances(self, component_id: str) -> list[ComponentRecord]:
        """All instances of a component, best first."""
        return sorted(self._instances.get(component_id, {}).values(), key=_merit, reverse=True)

    def by_capability(self, capability: str) -> list[ComponentRecord]:
        """Usable instances that offer *capability*, READY ones first, then by id."""
        usable = (self._instances[name][instance] for name, instance in self._capabilities.offering(capability))
        return sorted(
            (record for record in usable if record.usable),
            key=lambda record: (record.state is not ComponentState.READY, record.component_id, -record.generation),
        )

    def capabilities(self) -> dict[str, list[str]]:
        """Each capability with the ids of the components that offer it, usable or not."""
        return self._capabilities.components()

    def components(self) -> list[ComponentRecord]:
        """The best instance of every component, in order of their ids."""
        return [self._best[component_id] for component_id in self._ids]

    def all_instances(self) -> list[ComponentRecord]:
        """Every instance of every component, in order of their ids, best first."""
        return [record for component_id in self._ids for record in self.instances(component_id)]

    def page(self, wanted: Filter, limit: int, cursor: str | None, revision: int) -> Page:
        """At most *limit* components after *cursor*, in order of their ids.

        A cursor names the last id that was given, so it stays right while components come and go: what was
        there all the time is given exactly once. Raises CursorExpiredError for a cursor we never gave.
        """
        start = bisect_right(self._ids, _decode_cursor(cursor)) if cursor else 0
        items: list[ComponentRecord] = []
        for component_id in self._ids[start:]:
            record = self._best[component_id]
            if not wanted.accepts(record):
                continue
            if len(items) == limit:
                return Page(items, _encode_cursor(items[-1].component_id), revision)
            items.append(record)
        return Page(items, None, revision)

    def nearest(self, component_id: str) -> str | None:
        """The known id that looks most like *component_id*, for error messages. Of many, neighbours are looked at."""
        place = bisect_left(self._ids, component_id)
        neighbours = self._ids[max(0, place - _NEIGHBOURS) : place + _NEIGHBOURS]
        return nearest_name(component_id, (name for name in neighbours if name != component_id))

    def _choose(self, component_id: str, instances: dict[str, ComponentRecord]) -> None:
        records = instances.values()
        self._best[component_id] = max(records, key=_merit) if len(records) > 1 else next(iter(records))

    def _forget(self, component_id: str) -> None:
        del self._instances[component_id], self._best[component_id]
        del self._ids[bisect_right(self._ids, component_id) - 1]


def _merit(record: ComponentRecord) -> tuple[int, int]:
    if record.state is ComponentState.READY:
        rank = 3
    elif record.state is ComponentState.DEGRADED:
        rank = 2
    else:
        rank = 0 if record.state in ENDED else 1
    return rank, record.generation


def _encode_cursor(component_id: str) -> str:
    return base64.urlsafe_b64encode(component_id.encode()).decode().rstrip("=")


def _decode_cursor(cursor: str) -> str:
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError):
        raise CursorExpiredError(f"{cursor!r} is not a cursor of this list") from None
