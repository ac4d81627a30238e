"""Since when components are usable without a break."""

from collections.abc import Callable

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import USABLE, Change, ComponentRecord


class Uptime:
    """Listens to the registry from `start` on.

    Going from READY to DEGRADED and back is no break. Of a component that was usable before we began to listen, only
    its last change is known: counting begins with that.
    """

    def __init__(self, registry: ComponentRegistry) -> None:
        self._registry = registry
        self._since: dict[tuple[str, str], float] = {}
        self._unlisten: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin to listen. Starting twice does nothing."""
        if self._unlisten is None:
            self._since = {
                _key(record): record.changed_at for record in self._registry.all_instances() if record.usable
            }
            self._unlisten = self._registry.feed.add_listener(self._on_change)

    def stop(self) -> None:
        """Listen no more. Stopping twice does nothing."""
        if self._unlisten is not None:
            self._unlisten()
            self._unlisten = None

    def since(self, record: ComponentRecord) -> float | None:
        """Since when the instance of *record* is usable, in wall-clock seconds; None when it is not."""
        return self._since.get(_key(record), record.changed_at) if record.usable else None

    def _on_change(self, change: Change) -> None:
        key = (change.component_id, change.instance_uuid)
        if change.kind == "deregistered" or change.state not in USABLE:
            self._since.pop(key, None)
        elif change.previous not in USABLE:
            self._since[key] = change.at


def _key(record: ComponentRecord) -> tuple[str, str]:
    return record.component_id, record.instance_uuid
