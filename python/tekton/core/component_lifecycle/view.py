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

_NEIGHBOURS = 50
"""Ids on either side at which `nearest` looks: a few milliseconds' work for who asks for what is not there."""


class Page(msgspec.Struct, frozen=True):
    """One page of a list. `cursor` continues it (None: that was all); `revision` is that of the view."""

    items: list[ComponentRecord]
    cursor: str | None
    revision: int


class Filter(NamedTuple):
    """What a list is restricted to; None means any.

    A capability alone asks for who can be called: components that cannot, or do not serve, are left out. With a state
    it asks for those in that state.
    """

    state: ComponentState | None = None
    component_type: str | None = None
    capability: str | None = None


class CommittedView:
    """Records by component and instance, with an index by capability.

    Nearly every component has one instance, so only those that have several pay for a dictionary of them.
    """

    def __init__(self) -> None:
        self._best: dict[str, ComponentRecord] = {}
        self._several: dict[str, dict[str, ComponentRecord]] = {}
        self._ids: list[str] = []
        self._capabilities = CapabilityIndex()

    def __len__(self) -> int:
        return len(self._best)

    def put(self, record: ComponentRecord) -> None:
        """Insert *record*, or replace the one of the same instance. O(instances of the component)."""
        component_id = record.component_id
        best = self._best.get(component_id)
        if best is None:
            insort(self._ids, component_id)
        several = self._several.get(component_id)
        if several is None and (best is None or best.instance_uuid == record.instance_uuid):
            self._capabilities.replace(component_id, best.capabilities if best else (), record.capabilities)
            self._best[component_id] = record
            return
        before = self._offered(component_id)
        if several is None:
            assert best is not None
            several = self._several[component_id] = {best.instance_uuid: best}
        several[record.instance_uuid] = record
        self._choose(component_id, several, before)

    def drop(self, record: ComponentRecord) -> None:
        """Remove the instance that *record* describes, if it is here."""
        component_id = record.component_id
        known = self.instance(component_id, record.instance_uuid)
        if known is None:
            return
        several = self._several.get(component_id)
        if several is None:
            self._forget(known)
            return
        before = self._offered(component_id)
        del several[record.instance_uuid]
        self._choose(component_id, several, before)
        if len(several) == 1:
            del self._several[component_id]

    def find(self, component_id: str) -> ComponentRecord | None:
        """The best instance: usable before other live ones before ended ones, serving and READY first, then newest."""
        return self._best.get(component_id)

    def instance(self, component_id: str, instance_uuid: str) -> ComponentRecord | None:
        """That very instance."""
        several = self._several.get(component_id)
        if several is not None:
            return several.get(instance_uuid)
        best = self._best.get(component_id)
        return best if best is not None and best.instance_uuid == instance_uuid else None

    def instances(self, component_id: str) -> list[ComponentRecord]:
        """All instances of a component, best first."""
        several = self._several.get(component_id)
        if several is not None:
            return sorted(several.values(), key=_merit, reverse=True)
        best = self._best.get(component_id)
        return [] if best is None else [best]

    def by_capability(self, capability: str) -> list[ComponentRecord]:
        """Usable, serving instances that offer it, READY ones first, then by id. O(components that offer it)."""
        found: list[ComponentRecord] = []
        for component_id in self._capabilities.offering(capability):
            if component_id in self._several:
                found += [
                    one for one in self.instances(component_id) if one.discoverable and capability in one.capabilities
                ]
            elif (record := self._best[component_id]).discoverable:
                found.append(record)
        found.sort(key=lambda record: record.state is not ComponentState.READY)
        return found

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
        there all the time is given exactly once. O(page) without a filter or with a capability only, else O(all).
        Raises CursorExpiredError for a cursor we never gave.
        """
        ids = self._ids if wanted.capability is None else self._capabilities.offering(wanted.capability)
        start = bisect_right(ids, _decode_cursor(cursor)) if cursor else 0
        items: list[ComponentRecord] = []
        best, (state, component_type, capability) = self._best, wanted
        callable_only = state is None and capability is not None
        # Without a call for each: a list of few among very many looks at all of them.
        for position in range(start, len(ids)):
            record = best[ids[position]]
            if (
                (state is not None and record.state is not state)
                or (component_type is not None and record.component_type != component_type)
                or (capability is not None and capability not in record.capabilities)
                or (callable_only and not record.discoverable)
            ):
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

    def _offered(self, component_id: str) -> tuple[str, ...]:
        return tuple(name for record in self.instances(component_id) for name in record.capabilities)

    def _choose(self, component_id: str, several: dict[str, ComponentRecord], before: tuple[str, ...]) -> None:
        self._best[component_id] = max(several.values(), key=_merit)
        self._capabilities.replace(component_id, before, self._offered(component_id))

    def _forget(self, record: ComponentRecord) -> None:
        self._capabilities.replace(record.component_id, record.capabilities, ())
        del self._best[record.component_id]
        del self._ids[bisect_left(self._ids, record.component_id)]


def _merit(record: ComponentRecord) -> tuple[int, bool, bool, int]:
    rank = 2 if record.usable else 0 if record.state in ENDED else 1
    return rank, record.discoverable, record.state is ComponentState.READY, record.generation


def _encode_cursor(component_id: str) -> str:
    return base64.urlsafe_b64encode(component_id.encode()).decode().rstrip("=")


def _decode_cursor(cursor: str) -> str:
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError):
        raise CursorExpiredError(f"{cursor!r} is not a cursor of this list") from None
