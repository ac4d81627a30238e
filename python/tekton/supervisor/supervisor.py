"""The supervisor: makes startable components of what the configuration describes, and answers for their processes.

It tells the start-up coordinator how each component is started and stopped, Recovery how often it is restarted, and
the registry when a process has ended. It restarts nothing by itself.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from tekton.background import BackgroundGroup
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.dependency import Dependency
from tekton.core.lifecycle import ENDED, Change, ComponentRecord, ComponentState
from tekton.core.recovery import Recovery, RestartPolicy
from tekton.core.startup.start_plan import ComponentConfig
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator, StartResult
from tekton.supervisor.guard_client import ChildProcess, GuardClient
from tekton.supervisor.supervised import ControlPlaneAddress, ProcessView, SupervisedComponent, Surroundings
from tekton.utils.tekton_config import ComponentSpec, TektonConfig

__all__ = ["ControlPlaneAddress", "ProcessView", "Supervisor"]

LOST: Final = "its process is gone, with the guard that ran it"
"""The reason of a supervised component whose process has vanished together with an earlier guard."""

_STRAY_GRACE: Final = 5.0
_STOP_MARGIN: Final = 10.0

_logger = logging.getLogger("tekton.supervisor")


class Supervisor:
    """Supervises the components of *config*; `prepare()` first.

    Logs are in `<data dir>/logs/<component>.log`.
    """

    def __init__(
        self,
        *,
        config: TektonConfig,
        registry: ComponentRegistry,
        coordinator: EnhancedStartUpCoordinator,
        recovery: Recovery,
        guard: GuardClient,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._registry = registry
        self._coordinator = coordinator
        self._recovery = recovery
        self._guard = guard
        around = Surroundings(registry, guard, clock, config.data_dir / "logs", config.redact, recovery.restarts)
        awaited = _completions(config.components.values())
        self._components = {
            name: SupervisedComponent(spec, around, one_shot=name in awaited)
            for name, spec in config.components.items()
        }
        self._background = BackgroundGroup("supervisor")
        self._unlisten: list[Callable[[], None]] = []

    async def prepare(self, address: ControlPlaneAddress) -> None:
        """Make the components known to the coordinator, and take over what an earlier control plane left running.

        *address* is what components are told about us. To be called once, when the registry is loaded, before
        anything is started.
        """
        for component in self._components.values():
            component.address = address
            await self._introduce(component)
        self._unlisten = [
            self._guard.add_listener(self._on_exit),
            self._registry.feed.add_listener(self._on_change),
        ]
        for child in self._guard.children:
            self._take_over(child)
        self._report_lost()
        await self._forget_removed()

    def startable(self) -> dict[str, ComponentConfig]:
        """The components to start now, for `start_components`.

        All of them; but when we replace a control plane that has crashed, not those that had been stopped or were
        done.
        """
        wanted = (name for name in self._components if not (self._guard.incarnation > 1 and self._is_stopped(name)))
        return {name: ComponentConfig() for name in wanted}

    async def stop(self) -> dict[str, StartResult]:
        """Stop all components, dependents first, and supervise no more; the verdict on each."""
        results = await self._coordinator.stop_components(self._components)
        for unlisten in self._unlisten:
            unlisten()
        self._unlisten = []
        await self._background.stop()
        return results

    def view(self, component_id: str) -> ProcessView | None:
        """The process of a component; None for one that is not supervised."""
        component = self._components.get(component_id)
        return None if component is None else component.view()

    def evidence(self, component_id: str, lines: int = 10) -> Sequence[str]:
        """The last lines that a supervised component wrote since its last start; none for others."""
        component = self._components.get(component_id)
        return () if component is None else component.evidence(lines)

    async def _introduce(self, component: SupervisedComponent) -> None:
        spec = component.spec
        await self._coordinator.register_component_handler(
            spec.name,
            component.start,
            [Dependency(need.component, need.condition) for need in spec.dependencies],
            stop_func=component.stop,
            timeout=spec.start_timeout,
            stop_timeout=spec.stop_timeout + _STOP_MARGIN,
            registration=component.registration,
            supervised=True,
            readiness=[component.readiness],
            health=component.health,
        )
        restart = spec.restart
        policy = RestartPolicy(restart.policy, restart.max, restart.reset_after, restart.backoff)
        self._recovery.set_policy(spec.name, policy)

    # After a crash of the control plane

    def _take_over(self, child: ChildProcess) -> None:
        component = self._components.get(child.meta.get("component_id", ""))
        record = self._registry.instance(component.spec.name, child.meta["instance_uuid"]) if component else None
        if component is None or record is None or record.state in ENDED:
            self._background.spawn(self._end_stray(child), f"stray {child.name}")
            return
        _logger.info("%s still runs as process %d", child.name, child.pid, extra={"component": child.name})
        component.adopt(child)
        if record.state is ComponentState.STOPPING:
            self._background.spawn(self._finish_stop(component, record), f"stop {child.name}")
        elif component.running and record.usable:
            # Nobody has seen it work.
            self._background.spawn(self._coordinator.check_health(child.name, strict=True), f"probe {child.name}")

    async def _end_stray(self, child: ChildProcess) -> None:
        if child.exit is None:
            _logger.warning("stopping process %d of %s, which nobody knows", child.pid, child.name)
        await self._guard.stop(child, _STRAY_GRACE)
        await child.wait_cleared()
        self._guard.acknowledge(child)

    async def _finish_stop(self, component: SupervisedComponent, record: ComponentRecord) -> None:
        await component.stop()
        self._registry.observe(record.component_id, record.instance_uuid, ComponentState.STOPPED, "stopped")

    def _report_lost(self) -> None:
        """What counts as running, but is nobody's process any more, has failed."""
        running = {child.meta.get("instance_uuid") for child in self._guard.children}
        for record in self._registry.all_instances():
            if record.supervised and record.state not in ENDED and record.instance_uuid not in running:
                self._registry.observe(record.component_id, record.instance_uuid, ComponentState.FAILED, LOST)

    async def _forget_removed(self) -> None:
        """What we ran once, but is not configured any more, leaves the registry; its history stays."""
        for record in self._registry.all_instances():
            if record.supervised and record.component_id not in self._components:
                await self._registry.deregister(record.component_id, record.instance_uuid)

    def _is_stopped(self, component_id: str) -> bool:
        record = self._registry.find(component_id)
        return record is not None and record.state is ComponentState.STOPPED

    # Events

    def _on_exit(self, child: ChildProcess) -> None:
        component = self._components.get(child.meta.get("component_id", ""))
        if component is not None:
            component.on_exit(child)

    def _on_change(self, change: Change) -> None:
        component = self._components.get(change.component_id)
        if component is not None and change.state is ComponentState.FAILED and component.runs(change.instance_uuid):
            # It hangs. One that we have adopted has not been started by this coordinator.
            self._coordinator.owe_stop(change.component_id)
        if component is not None and change.record.usable:
            # Not from here: others have not heard of this change yet.
            asyncio.get_running_loop().call_soon(component.conclude)


def _completions(specs: Iterable[ComponentSpec]) -> frozenset[str]:
    """The components whose completion others wait for."""
    needs = (need for spec in specs for need in spec.dependencies)
    return frozenset(need.component for need in needs if need.condition == "completed")
