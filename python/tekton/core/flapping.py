"""Flapping: components that fail and come back, again and again.

A component flaps when it has failed and become usable again `FLAPS` times within `WINDOW` seconds, and until the first
of those returns is that long ago. Stops, restarts and failures that somebody asked for do not count, nor does the
failure of one instance while another one is usable. While a component flaps,

* discovery by capability prefers others (`ComponentRegistry.unsteady`),
* its health does not reset its restarts, and a restart waits for the longest backoff (`recovery`),
* its view says so.

What it is bad at: it forgets everything when the control plane restarts.
"""

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import Change, ComponentState
from tekton.core.startup.start_plan import CANCELLED, RESTARTING, STOPPED

FLAPS = 3
WINDOW = 300.0
FLAPPING = f"flapping: failed and came back {FLAPS} times within {WINDOW / 60:g} minutes"

_WANTED = frozenset({STOPPED, CANCELLED, RESTARTING})

_logger = logging.getLogger("tekton.flapping")


class Flapping(Collection[str]):
    """The ids of the components that flap at this moment."""

    def __init__(self, registry: ComponentRegistry, clock: Clock = SYSTEM_CLOCK) -> None:
        self._registry = registry
        self._clock = clock
        self._down: set[str] = set()
        self._returns: dict[str, deque[float]] = {}
        self._until: dict[str, float] = {}
        self._unlisten: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin to watch, and let discovery prefer others. Starting twice does nothing."""
        if self._unlisten is None:
            self._unlisten = self._registry.feed.add_listener(self._on_change)
            self._registry.unsteady = self

    def stop(self) -> None:
        """Stop watching and forget everything. Stopping twice does nothing."""
        if self._unlisten is not None:
            self._unlisten()
            self._unlisten = None
        self._down.clear()
        self._returns.clear()
        self._until.clear()

    def __contains__(self, component_id: object) -> bool:
        return bool(self._until) and component_id in self._current()

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._current()))

    def __len__(self) -> int:
        return len(self._current())

    def _current(self) -> dict[str, float]:
        if self._until:
            now = self._clock.monotonic()
            self._until = {component_id: until for component_id, until in self._until.items() if until > now}
        return self._until

    def _on_change(self, change: Change) -> None:
        component_id = change.component_id
        if change.kind == "deregistered":
            self._forget(component_id)
        elif change.record.usable:
            if component_id in self._down:
                self._down.discard(component_id)
                self._came_back(component_id)
        elif change.state is ComponentState.FAILED and not _was_wanted(change):
            known = self._registry.find(component_id)
            if known is None or not known.usable:
                self._down.add(component_id)

    def _came_back(self, component_id: str) -> None:
        now = self._clock.monotonic()
        returns = self._returns.setdefault(component_id, deque(maxlen=FLAPS))
        returns.append(now)
        if len(returns) < FLAPS or returns[0] + WINDOW <= now:
            return
        if component_id not in self:
            _logger.warning(
                "%s flaps: it has failed and come back %d times within %g s",
                component_id,
                FLAPS,
                now - returns[0],
                extra={"component": component_id},
            )
        self._until[component_id] = returns[0] + WINDOW

    def _forget(self, component_id: str) -> None:
        if self._registry.find(component_id) is None:
            self._down.discard(component_id)
            self._returns.pop(component_id, None)
            self._until.pop(component_id, None)


def _was_wanted(change: Change) -> bool:
    return change.previous is ComponentState.STOPPING or change.reason in _WANTED
