"""Units: what is started, stopped and restarted one by one.

Nearly every component is one unit, whose name is the component's id. A component with replicas is several: `worker`
(replica 0), `worker.1`, `worker.2`… Ids of components have no dots, so nothing else can be called like that. Each unit
has a handler, starts, stops, failures, health checks and restarts of its own; the registry knows components and
their instances only, and nothing about units. The rules between the two:

* A unit claims an instance before it registers it. What nobody has claimed (it registered itself, or ran before this
  control plane) belongs to replica 0.
* What somebody asks about a component is about all of its units: a dependency on `worker` is met as soon as one of
  them is usable.
* A component that is one unit pays for nothing of this.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from tekton.core.component_lifecycle.registry import ComponentRegistry
from tekton.core.lifecycle import ComponentRecord

_CLAIMS_KEPT: Final = 8
"""More instances of one unit than can be in the registry at once: a new one replaces those that have ended."""


def unit_name(component_id: str, replica: int) -> str:
    """The name of a replica, counted from 0."""
    return component_id if replica == 0 else f"{component_id}.{replica}"


def component_of(unit: str) -> str:
    """The id of the component that *unit* belongs to."""
    return unit.partition(".")[0]


class Units:
    """Which units components have, and which instances of *registry* are theirs."""

    def __init__(self, registry: ComponentRegistry) -> None:
        self._registry = registry
        self._further: dict[str, list[str]] = {}
        self._claims: dict[str, deque[str]] = {}

    def add(self, unit: str) -> None:
        """There is such a unit. Replica 0 need not be added."""
        component_id = component_of(unit)
        if unit != component_id and unit not in (further := self._further.setdefault(component_id, [])):
            further.append(unit)

    def discard(self, unit: str) -> None:
        """There is no such unit any more. Its instances are replica 0's then, if there still are any."""
        component_id = component_of(unit)
        self._claims.pop(unit, None)
        further = self._further.get(component_id, [])
        if unit in further:
            further.remove(unit)
            if not further:
                del self._further[component_id]

    def of(self, component_id: str) -> Sequence[str]:
        """The units of a component, replica 0 first."""
        return (component_id, *self._further.get(component_id, ()))

    def claim(self, unit: str, instance_uuid: str) -> None:
        """That instance belongs to *unit*, a further replica; for replica 0 nothing is to be done."""
        if unit != component_of(unit):
            self._claims.setdefault(unit, deque(maxlen=_CLAIMS_KEPT)).append(instance_uuid)

    def unit_of(self, component_id: str, instance_uuid: str) -> str:
        """The unit that an instance belongs to."""
        for unit in self._further.get(component_id, ()):
            if instance_uuid in self._claims.get(unit, ()):
                return unit
        return component_id

    def instances(self, unit: str) -> list[ComponentRecord]:
        """All instances of a unit, best first."""
        component_id = component_of(unit)
        records = self._registry.instances(component_id)
        if component_id not in self._further:
            return records if unit == component_id else []
        return [record for record in records if self.unit_of(component_id, record.instance_uuid) == unit]

    def find(self, unit: str) -> ComponentRecord | None:
        """The best instance of a unit."""
        if not self._further:
            return self._registry.find(unit)
        return next(iter(self.instances(unit)), None)
