"""Who stands in for whom: chains of fallbacks for each capability.

What stands in for a component may have fallbacks of its own, which are tried after all of the first one's. A chain that
leads back to where it began is refused when it is registered.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tekton.utils.tekton_errors import FallbackCycleError


@dataclass(frozen=True, slots=True)
class Fallback:
    """*component* stands in for *primary* where that provides *capability*.

    It is called by *function*, or by the one that was to call the primary, with *parameters* on top of the keyword
    arguments of the call. The lower its *priority*, the earlier it is tried.
    """

    capability: str
    primary: str
    component: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    function: Callable[..., Any] | None = None
    priority: int = 0


class Fallbacks:
    """All fallbacks. Of two with the same priority, the one that was added first is tried first."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], list[Fallback]] = {}

    def add(self, fallback: Fallback) -> None:
        """Add *fallback*; one for the same components is replaced. Raises FallbackCycleError and changes nothing."""
        self._refuse_cycle(fallback)
        beside = self._of.setdefault((fallback.capability, fallback.primary), [])
        beside[:] = [other for other in beside if other.component != fallback.component] + [fallback]
        beside.sort(key=lambda one: one.priority)

    def remove(self, capability: str, primary: str, component: str | None = None) -> None:
        """Forget the fallbacks of *primary* for *capability*, or the one named."""
        kept = [one for one in self._of.pop((capability, primary), ()) if component not in (None, one.component)]
        if kept:
            self._of[capability, primary] = kept

    def chain(self, capability: str, primary: str) -> list[Fallback]:
        """What is tried when *primary* fails, in this order; nobody twice."""
        found: dict[str, Fallback] = {}
        behind = deque([primary])
        while behind:
            for fallback in self._of.get((capability, behind.popleft()), ()):
                if fallback.component not in found:
                    found[fallback.component] = fallback
                    behind.append(fallback.component)
        return list(found.values())

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Every capability with the component that has fallbacks for it."""
        return iter(tuple(self._of))

    def _refuse_cycle(self, fallback: Fallback) -> None:
        way = self._way(fallback.capability, fallback.component, fallback.primary)
        if way:
            raise FallbackCycleError(fallback.capability, [fallback.primary, *way])

    def _way(self, capability: str, start: str, goal: str) -> list[str]:
        """The components from *start* to *goal* along fallbacks, both included; empty when there is no way."""
        came_from: dict[str, str | None] = {start: None}
        behind = deque([start])
        while behind and goal not in came_from:
            at = behind.popleft()
            for fallback in self._of.get((capability, at), ()):
                if fallback.component not in came_from:
                    came_from[fallback.component] = at
                    behind.append(fallback.component)
        way: list[str] = []
        step: str | None = goal if goal in came_from else None
        while step is not None:
            way.append(step)
            step = came_from[step]
        return way[::-1]
