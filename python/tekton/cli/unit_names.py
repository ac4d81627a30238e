"""Which replica an event is about: `worker`, `worker.1`.

The feed and the history name instances; whose they are, only the control plane knows. It is asked once for each
instance of a component that has replicas.
"""

from collections.abc import Iterable
from typing import Any

from tekton.cli.client import Client, component_path
from tekton.utils.tekton_errors import TektonError

_SHORT = 8


class UnitNames:
    """The names of units; *replicated* are components of which more than one instance is known."""

    def __init__(self, client: Client, replicated: Iterable[str] = ()) -> None:
        self._client = client
        self._replicated = set(replicated)
        self._units: dict[tuple[str, str], str] = {}

    def of(self, entry: dict[str, Any]) -> str:
        """The unit that a change, a record, or an entry of the history is about; without a number, its instance."""
        name: str = entry["component_id"]
        if entry.get("record", entry).get("max_instances", 1) > 1:
            self._replicated.add(name)
        if name not in self._replicated:
            return name
        instance: str = entry["instance_uuid"]
        if (name, instance) not in self._units:
            self._ask(name)
        return self._units.setdefault((name, instance), f"{name} ({instance[:_SHORT]})")

    def learn(self, records: Iterable[dict[str, Any]]) -> None:
        """Ask about these instances now: when they are told of, there may be nobody to ask."""
        for record in records:
            self.of(record)

    def _ask(self, name: str) -> None:
        try:
            views = self._client.get(component_path(name, "instances"))["items"]
        except TektonError:
            return  # then its instance is named
        from tekton.core.units import unit_name

        for view in views:
            if view["replica"] is not None:
                self._units[name, view["instance_uuid"]] = unit_name(name, view["replica"])
