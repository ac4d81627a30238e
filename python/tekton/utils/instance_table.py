"""Every instance of every component, as the changes of the registry tell, and clients for those that can be used."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from tekton.core.lifecycle import Change, ComponentRecord, ComponentState
from tekton.utils.calls import Caller
from tekton.utils.found_components import ComponentClient, best_of

__all__ = ["InstanceTable"]


class Difference(NamedTuple):
    """The instances of two pictures that are in one of them only."""

    gone: list[ComponentRecord]
    new: list[ComponentRecord]


class InstanceTable:
    """See the module. Its clients call through *caller*."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._instances: dict[str, dict[str, ComponentRecord]] = {}
        self._capable: dict[str, dict[str, ComponentClient]] = {}
        self._offered: dict[str, set[str]] = {}
        self.clients: dict[str, ComponentClient] = {}

    def replace(self, records: Iterable[ComponentRecord]) -> Difference:
        """Know *records* and nothing else."""
        before, components = self._by_uuid(), set(self._instances)
        self._instances = {}
        for record in records:
            self._instances.setdefault(record.component_id, {})[record.instance_uuid] = record
        for component_id in components | self._instances.keys():
            self._renew(component_id)
        after = self._by_uuid()
        self._caller.balancer.keep_only(after)
        return Difference(
            [record for uuid, record in before.items() if uuid not in after],
            [record for uuid, record in after.items() if uuid not in before],
        )

    def apply(self, change: Change) -> None:
        """Take one change over."""
        instances = self._instances.setdefault(change.component_id, {})
        if change.kind == "deregistered":
            instances.pop(change.instance_uuid, None)
        else:
            instances[change.instance_uuid] = change.record
        if not change.record.usable or change.kind == "deregistered":
            self._caller.balancer.forget(change.instance_uuid)
        if not instances:
            del self._instances[change.component_id]
        self._renew(change.component_id)

    def instances(self, component_id: str) -> list[ComponentRecord]:
        """The instances of a component, usable or not."""
        return list(self._instances.get(component_id, {}).values())

    def offering(self, capability: str) -> list[ComponentClient]:
        """The components that can be used for *capability*, READY ones first, in the order of their ids."""
        found = self._capable.get(capability, {}).values()
        return sorted(found, key=lambda each: (each.record.state is not ComponentState.READY, each.record.component_id))

    def capable(self, capability: str, besides: Collection[str]) -> list[ComponentRecord]:
        """The instances that offer *capability*, but for those of the components *besides*.

        While none can be used: those that cannot, in O(all instances).
        """
        usable = [
            record
            for component_id, client in self._capable.get(capability, {}).items()
            if component_id not in besides
            for record in client.instances
            if capability in record.capabilities
        ]
        return usable or [
            record
            for component_id, instances in self._instances.items()
            if component_id not in besides
            for record in instances.values()
            if capability in record.capabilities
        ]

    def _by_uuid(self) -> dict[str, ComponentRecord]:
        return {uuid: record for each in self._instances.values() for uuid, record in each.items()}

    def _renew(self, component_id: str) -> None:
        """Make the clients of a component anew. One for a capability calls only those instances that offer it."""
        self.clients.pop(component_id, None)
        for capability in self._offered.pop(component_id, ()):
            offering = self._capable[capability]
            del offering[component_id]
            if not offering:
                del self._capable[capability]
        usable = [record for record in self.instances(component_id) if record.discoverable]
        if (best := best_of(usable)) is None:
            return
        client = ComponentClient(best, lambda: self.instances(component_id), self._caller)
        self.clients[component_id] = client
        offered = self._offered[component_id] = {each for record in usable for each in record.capabilities}
        for capability in offered:
            everywhere = all(capability in record.capabilities for record in usable)
            self._capable.setdefault(capability, {})[component_id] = (
                client if everywhere else self._partial(component_id, capability)
            )

    def _partial(self, component_id: str, capability: str) -> ComponentClient:
        def able() -> list[ComponentRecord]:
            return [record for record in self.instances(component_id) if capability in record.capabilities]

        best = best_of(able())
        assert best is not None, "one of the usable instances offers it"
        return ComponentClient(best, able, self._caller)
