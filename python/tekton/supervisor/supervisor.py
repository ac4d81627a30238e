"""The supervisor: makes startable components of what the configuration describes, and answers for their processes.

It tells the start-up coordinator how each component is started and stopped, Recovery how often it is restarted, and
the registry when a process has ended. It restarts nothing by itself.

A component with replicas is several units (`core/units.py`), each with a process, a log, probes and restarts of its
own: `worker` with `worker.log`, `worker.1` with `worker.1.log`… `members.py` knows who is supervised, `replicas.py`
does to all replicas what is asked of a component.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec

from tekton.background import BackgroundGroup
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.healthcheck import Health
from tekton.core.lifecycle import ENDED, Change, ComponentRecord, ComponentState
from tekton.core.recovery import Recovery
from tekton.core.resource_monitor import ResourceMonitor
from tekton.core.startup.start_plan import RESTARTING, ComponentConfig
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator, StartResult
from tekton.core.units import unit_name
from tekton.supervisor.admission import Admission
from tekton.supervisor.component_probes import LIVENESS
from tekton.supervisor.control_plane_address import ControlPlaneAddress
from tekton.supervisor.guard_client import ChildProcess, GuardClient
from tekton.supervisor.members import Members, stop_time
from tekton.supervisor.replicas import Replicas
from tekton.supervisor.supervised import ProcessView, SupervisedComponent
from tekton.supervisor.surroundings import Surroundings
from tekton.utils.tekton_config import ComponentSpec, TektonConfig
from tekton.utils.tekton_errors import SupervisionError

__all__ = ["ControlPlaneAddress", "ProcessView", "Supervisor"]

LOST: Final = "its process is gone, with the guard that ran it"
"""The reason of a supervised component whose process has vanished together with an earlier guard."""

_STARTING: Final = frozenset({ComponentState.REGISTERING, ComponentState.INITIALIZING, ComponentState.STARTING})
_STRAY_GRACE: Final = 5.0
_LAST_STEPS: Final = 10.0
"""Seconds for what a control plane does after its components have stopped."""

_logger = logging.getLogger("tekton.supervisor")


class ReplicaCount(NamedTuple):
    """Replicas that are to be up, that can be used, and whose start waits for room on the machine."""

    wanted: int
    ready: int
    waiting: int


class Supervisor:
    """Supervises the components of *config*; `prepare()` first.

    Logs are in `<data dir>/logs/<component>.log`. *redact* removes secrets from what they say (default: those that
    *config* holds). *changed* is called when `specs` has changed. *admission* is asked before
    starts; by default it looks at this machine.
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
        redact: Callable[[str], str] | None = None,
        changed: Callable[[], None] = lambda: None,
        admission: Admission | None = None,
    ) -> None:
        self._changed = changed
        self._registry = registry
        self._coordinator = coordinator
        self._recovery = recovery
        self._guard = guard
        self._units = coordinator.units
        self._admission = admission or Admission(ResourceMonitor(clock=clock).readings, clock=clock)
        around = Surroundings(
            registry,
            guard,
            clock,
            config.data_dir / "logs",
            redact or config.redact,
            recovery.restarts,
            self._units.instances,
            self._admission,
        )
        self.replicas = Replicas(coordinator)
        """Starts, stops and restarts components whole."""
        self._members = Members(
            config.components.values(),
            around,
            coordinator,
            recovery,
            self.replicas,
            changed=self._line_up_changed,
        )
        self.exits = around.exits
        """By component, how its processes ended; those that were asked to are `stopped`."""
        self.line_up = 0
        """A number that grows when it has changed who is supervised."""
        self._background = BackgroundGroup("supervisor")
        self._unlisten: list[Callable[[], None]] = []

    async def prepare(self, address: ControlPlaneAddress) -> None:
        """Make the components known to the coordinator, and take over what an earlier control plane left running.

        *address* is what components are told about us. To be called once, when the registry is loaded, before
        anything is started.
        """
        await self._members.introduce_all(address)
        self._unlisten = [
            self._guard.add_listener(self._on_exit),
            self._registry.feed.add_listener(self._on_change),
        ]
        # What still runs has a credential already, which must be known, and renewed in time.
        for component_id in {child.meta.get("component_id", "") for child in self._guard.children}:
            if (spec := self.specs.get(component_id)) is not None:
                await address.provide(spec)
        taken = [child.meta["instance_uuid"] for child in self._guard.children if self._take_over(child)]
        self._report_lost()
        await self._forget_removed(taken)

    def startable(self) -> dict[str, ComponentConfig]:
        """The components to start now, for `start_components`.

        All of them; but when we replace a control plane that has crashed, not those that had been stopped or were
        done.
        """
        wanted = (name for name in self.specs if not (self._guard.incarnation > 1 and self._is_stopped(name)))
        return {name: ComponentConfig() for name in wanted}

    async def stop(self) -> dict[str, StartResult]:
        """Stop all components, dependents first, and supervise no more; the verdict on each."""
        await self._members.stop()
        results = await self._coordinator.stop_components(self._members.units)
        for unlisten in self._unlisten:
            unlisten()
        self._unlisten = []
        await self._background.stop()
        await self._members.end()
        return results

    # Who is supervised

    @property
    def specs(self) -> Mapping[str, ComponentSpec]:
        """What is supervised, by id; it follows every change."""
        return self._members.specs

    async def add(self, spec: ComponentSpec) -> None:
        """Supervise another component from now on; nothing is started. Raises ComponentError if it is already."""
        await self._members.add(spec)

    async def remove(self, component_id: str) -> None:
        """Stop a component and forget it, whatever it is doing; it leaves the registry. Others are not touched.

        Raises ComponentNotFoundError. When its process cannot be stopped, that is logged, and it goes when it ends.
        """
        await self._members.remove(component_id)
        self.exits.pop(component_id, None)

    async def replace(self, spec: ComponentSpec) -> None:
        """Let another specification hold for a component, and return when it is up with that.

        What runs is restarted, replica by replica, only if the processes are concerned; one that is being started
        begins anew, one that has failed is started. More or fewer replicas are started or removed besides. What is
        stopped stays so. Raises ComponentNotFoundError, and what starting and restarting raise; *spec* holds then too.
        """
        await self._members.replace(spec)

    def is_outdated(self, component_id: str) -> bool:
        """True while a process of the component is that of an earlier specification."""
        return any(member.outdated for member in self._members.of(component_id))

    # What is known of the processes

    def replica_count(self, component_id: str) -> ReplicaCount:
        """How many replicas a component is to have, and has."""
        members = self._members.of(component_id)
        return ReplicaCount(
            self._members.wanted(component_id),
            sum(self._is_usable(member.unit) for member in members),
            sum(bool(member.unmet) for member in members),
        )

    @property
    def unkept_logs(self) -> int:
        """How many processes run whose output is not kept."""
        return sum(child.exit is None and child.log_problem is not None for child in self._guard.children)

    def view(self, component_id: str) -> ProcessView | None:
        """The process of a component; None for one that is not supervised.

        Of several replicas, that of the best; `restarts` are those of all, and `note` tells how many can be used.
        """
        members = self._members.of(component_id)
        if len(members) <= 1:
            return members[0].view() if members else None
        record = self._registry.find(component_id)
        best = self._members.get(self._units.unit_of(component_id, record.instance_uuid)) if record else None
        view = (best or members[0]).view()
        ready = sum(self._is_usable(member.unit) for member in members)
        short = f"{ready} of {len(members)} replicas can be used" if ready < len(members) else None
        restarts = sum(member.view().restarts for member in members)
        return msgspec.structs.replace(view, restarts=restarts, note=short or view.note)

    def process(self, record: ComponentRecord) -> ProcessView | None:
        """The process of an instance of a supervised component; None for others."""
        unit = self._units.unit_of(record.component_id, record.instance_uuid)
        member = self._members.get(unit) if record.supervised else None
        if member is None or member.owns(record.instance_uuid):
            return None if member is None else member.view()
        return msgspec.structs.replace(member.view(), pid=None, uptime=None, note=None)

    def pids(self, component_id: str) -> list[int]:
        """The processes that run for a component."""
        members = self._members.of(component_id)
        return [member.child.pid for member in members if member.child is not None and member.running]

    async def signal(self, component_id: str, signum: int) -> list[int]:
        """Send a signal to the process group of each process of a component; the pids of those that were there."""
        children = [child for child in self._guard.children if child.meta.get("component_id") == component_id]
        return [child.pid for child in children if child.exit is None and await self._guard.signal(child, signum)]

    def all_pids(self) -> list[int]:
        """The processes that run for any component."""
        return [child.pid for child in self._guard.children if child.exit is None]

    def evidence(self, component_id: str, lines: int = 10) -> Sequence[str]:
        """The last lines that a supervised component wrote since its last start; none for others.

        Of several replicas, those of one that has failed, if there is one.
        """
        members = self._members.of(component_id)
        failed = (member for member in members if self._state(member.unit) is ComponentState.FAILED)
        member = next(failed, next(iter(members), None))
        return () if member is None else member.evidence(lines)

    def probing(self, component_id: str) -> list[Health]:
        """How far the probes of those replicas have got that are starting."""
        members = self._members.of(component_id)
        starting = (member for member in members if self._state(member.unit) is ComponentState.STARTING)
        return [found for member in starting for found in member.probing()]

    def _state(self, unit: str) -> ComponentState | None:
        record = self._units.find(unit)
        return None if record is None else record.state

    def _is_usable(self, unit: str) -> bool:
        record = self._units.find(unit)
        return record is not None and record.usable

    def _line_up_changed(self) -> None:
        self.line_up += 1
        self._tell_guard()
        self._changed()

    def _tell_guard(self) -> None:
        """It may be asked to stop everything, and must not lose its patience before everything can have stopped."""
        with suppress(SupervisionError):
            self._guard.announce_patience(stop_time(self.specs) + _LAST_STEPS)

    # After a crash of the control plane

    def _take_over(self, child: ChildProcess) -> bool:
        """Go on with what an earlier control plane has started, or end it; False for who is not one of ours now."""
        component = self._owner(child)
        record = self._registry.instance(component.spec.name, child.meta["instance_uuid"]) if component else None
        if component is not None:
            self._units.claim(component.unit, child.meta["instance_uuid"])
        if component is None or record is None or record.state in ENDED:
            self._background.spawn(self._end_stray(child), f"stray {child.name}")
            return component is not None
        _logger.info("%s still runs as process %d", child.name, child.pid, extra={"component": child.name})
        component.adopt(child)
        if record.state is ComponentState.STOPPING:
            self._background.spawn(self._finish_stop(component, record), f"stop {child.name}")
        elif component.running and record.usable:
            # Nobody has seen it work.
            self._background.spawn(self._coordinator.check_health(component.unit, strict=True), f"probe {child.name}")
        return True

    def _owner(self, child: ChildProcess) -> SupervisedComponent | None:
        unit = unit_name(child.meta.get("component_id", ""), int(child.meta.get("replica", "0")))
        return self._members.get(unit)

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

    async def _forget_removed(self, taken: Sequence[str]) -> None:
        """What we ran once, but is not configured any more, leaves the registry; its history stays.

        *taken* are the instances whose processes are those of our components; others that run are too many replicas.
        """
        for record in self._registry.all_instances():
            surplus = record.state not in ENDED and record.instance_uuid not in taken
            if record.supervised and (record.component_id not in self.specs or surplus):
                await self._registry.deregister(record.component_id, record.instance_uuid)

    def _is_stopped(self, component_id: str) -> bool:
        record = self._registry.find(component_id)
        return record is not None and record.state is ComponentState.STOPPED and record.reason != RESTARTING

    # Events

    def _on_exit(self, child: ChildProcess) -> None:
        component = self._owner(child)
        if component is not None:
            component.on_exit(child)

    def _on_change(self, change: Change) -> None:
        if change.kind == "deregistered" or change.state not in _STARTING:
            self._admission.release(change.instance_uuid)
        component = self._members.get(self._units.unit_of(change.component_id, change.instance_uuid))
        if component is not None and change.state is ComponentState.FAILED and component.runs(change.instance_uuid):
            # It hangs. One that we have adopted has not been started by this coordinator.
            self._coordinator.owe_stop(component.unit)
            if (change.reason or "").startswith(LIVENESS):
                # Whether it is restarted or not: nobody believes in it any more.
                self._background.spawn(component.stop(), f"stop {component.unit}")
        if component is not None and change.record.usable:
            # Not from here: others have not heard of this change yet.
            asyncio.get_running_loop().call_soon(component.conclude)
