"""Dependents: what happens to a component when something that it depends on can no longer be used.

By default nothing: most components cope, or fail by themselves. A policy asks for more:

* `degrade`: as long as one of its dependencies cannot be used, it is DEGRADED instead of READY.
* `restart`: it is restarted once all of its dependencies can be used again. That is no failure of its own, and not
  counted; who has failed by itself meanwhile is left to Recovery.

Only direct dependencies count. Whoever is restarted is a dependency that cannot be used for a while, and so the next
ones follow. That ends: in dependencies there are no circles, or, where a start was forced, nobody in one is restarted.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import Change, ComponentRecord, ComponentState
from tekton.core.recovery import Recovery

DependentPolicy = Literal["keep", "degrade", "restart"]

WITHOUT: Final = "dependency: "
"""How the reason of a component begins that is DEGRADED for want of a dependency."""


@dataclass(slots=True)
class _Dependent:
    policy: DependentPolicy
    needs: tuple[str, ...]
    was_without: set[str] = field(default_factory=set)
    """Its instances that have run without a dependency since they became usable."""


class Dependents:
    """Carries the policies out, from `start` to `stop`. Costs a dictionary look-up per change."""

    def __init__(self, registry: ComponentRegistry, recovery: Recovery) -> None:
        self._registry = registry
        self._recovery = recovery
        self._dependents: dict[str, _Dependent] = {}
        self._of: dict[str, set[str]] = {}
        self._unlisten: Callable[[], None] = _nothing

    def start(self) -> None:
        """Begin to listen, and see how everybody stands now. Starting twice does nothing more."""
        self.stop()
        self._unlisten = self._registry.feed.add_listener(self._on_change)
        for component_id in self._dependents:
            self._consider(component_id)

    def stop(self) -> None:
        """Listen no more. Stopping twice does nothing."""
        unlisten, self._unlisten = self._unlisten, _nothing
        unlisten()

    def set_policy(self, component_id: str, policy: DependentPolicy, needs: Iterable[str]) -> None:
        """Use *policy* for the component, which is to be able to use all of *needs* while it runs."""
        self.forget(component_id)
        if policy != "keep":
            dependent = self._dependents[component_id] = _Dependent(policy, tuple(needs))
            for need in dependent.needs:
                self._of.setdefault(need, set()).add(component_id)

    def forget(self, component_id: str) -> None:
        """The component is no concern of ours any more."""
        known = self._dependents.pop(component_id, None)
        for need in known.needs if known is not None else ():
            self._of[need].discard(component_id)
            if not self._of[need]:
                del self._of[need]

    def _on_change(self, change: Change) -> None:
        if change.component_id in self._dependents:
            self._consider(change.component_id)
        for component_id in tuple(self._of.get(change.component_id, ())):
            self._consider(component_id)

    def _consider(self, component_id: str) -> None:
        dependent = self._dependents[component_id]
        missing = next((why for need in dependent.needs if (why := self._missing(need)) is not None), None)
        usable = [record for record in self._registry.instances(component_id) if record.usable]
        if dependent.policy == "degrade":
            for record in usable:
                self._degrade(record, missing)
        else:
            self._mark(component_id, dependent, {record.instance_uuid for record in usable}, missing)

    def _degrade(self, record: ComponentRecord, missing: str | None) -> None:
        key = (record.component_id, record.instance_uuid)
        if missing is not None and record.state is ComponentState.READY:
            self._registry.observe(*key, ComponentState.DEGRADED, f"{WITHOUT}{missing}")
        elif missing is None and record.state is ComponentState.DEGRADED and (record.reason or "").startswith(WITHOUT):
            self._registry.observe(*key, ComponentState.READY, "its dependencies can be used again")

    def _mark(self, component_id: str, dependent: _Dependent, usable: set[str], missing: str | None) -> None:
        dependent.was_without &= usable
        if missing is not None:
            dependent.was_without |= usable
        else:
            owed, dependent.was_without = dependent.was_without, set()
            for instance_uuid in owed:
                self._recovery.renew(component_id, instance_uuid)

    def _missing(self, component_id: str) -> str | None:
        """Why a dependency cannot be used; None when it can."""
        record = self._registry.find(component_id)
        if record is None:
            return f"{component_id} is gone"
        return None if record.usable else f"{component_id} {_STANDS.get(record.state, f'is {record.state.value}')}"


def _nothing() -> None:
    return


_STANDS = {ComponentState.FAILED: "failed", ComponentState.STOPPED: "stopped"}
