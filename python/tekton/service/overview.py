"""What is known of the components, put together for who looks: lists, single components, and explanations.

Nothing here changes anything. `refresh` first where CPU and memory matter: they are those of the last look.
"""

from dataclasses import dataclass

import msgspec

from tekton.clock import Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.flapping import FLAPPING, Flapping
from tekton.core.forgetting import Forgetting
from tekton.core.heartbeat_monitor import SUSPECTED, HeartbeatMonitor
from tekton.core.lifecycle import ENDED, ComponentRecord, ComponentState
from tekton.core.recovery import Recovery
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator, Why
from tekton.core.uptime import Uptime
from tekton.service.degradation import Degradation
from tekton.service.explain import (
    Cause,
    Explanation,
    RestartPlan,
    affected_by,
    blockers,
    chain,
    explain,
    forgotten_in,
)
from tekton.service.lineup import LineUp
from tekton.service.views import (
    NOT_SERVING,
    ComponentView,
    InstanceView,
    health_mark,
    show,
    show_instance,
    total,
    unregistered,
)
from tekton.supervisor.supervisor import Supervisor
from tekton.supervisor.usage import Usage

_HISTORY = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """See the module."""

    lineup: LineUp
    registry: ComponentRegistry
    coordinator: EnhancedStartUpCoordinator
    recovery: Recovery
    monitor: HeartbeatMonitor
    flapping: Flapping
    uptime: Uptime
    forgetting: Forgetting
    supervisor: Supervisor
    usage: Usage
    degradation: Degradation
    clock: Clock

    async def refresh(self) -> None:
        """Look what the processes use, unless somebody has just looked."""
        await self.usage.refresh()

    def views(self) -> list[ComponentView]:
        """Every component, registered or configured, in order of their ids."""
        return [self.view(component_id) for component_id in self._ids()]

    def view(self, component_id: str) -> ComponentView:
        """One component with what is known about its process."""
        record = self.registry.find(component_id) or self._configured(component_id)
        process = self.supervisor.view(component_id)
        since = self.uptime.since(record)
        uptime = None if since is None else max(0.0, self.clock.time() - since)
        doubt = self._doubt(record)
        note = self._with_plan(record, record.reason or self._note(record, doubt))
        note = "; ".join(filter(None, (note, self.degradation.note(component_id)))) or None
        instances = self.registry.instances(component_id)
        ready = sum(instance.usable for instance in instances)
        health = health_mark(record, doubt)
        groups = self.lineup.groups(component_id)
        if process is None:
            live = sum(instance.state not in ENDED for instance in instances)
            forget_in = self.forgetting.due_in(record)
            to_come = None if forget_in is None else forgotten_in(forget_in)
            return show(
                record,
                uptime=uptime,
                note="; ".join(filter(None, (note, to_come))) or None,
                health=health,
                replicas=max(live, 1),
                ready_replicas=ready,
                groups=groups,
                forget_in=forget_in,
            )
        replicas = self.supervisor.specs[component_id].replicas
        pids = [process.pid] if replicas == 1 else self.supervisor.pids(component_id)
        cpu, memory = total([self.usage.of(pid) for pid in pids])
        return show(
            record,
            uptime=uptime,
            note=note or process.note or (None if record.serving else NOT_SERVING),
            health=health,
            cpu=cpu,
            memory=memory,
            replicas=replicas,
            ready_replicas=ready,
            groups=groups,
            pid=process.pid,
            port=process.port,
            restarts=process.restarts,
            log=str(process.log),
        )

    def instance_view(self, record: ComponentRecord) -> InstanceView:
        """One instance with what is known about its process."""
        process = self.supervisor.process(record)
        if process is None:
            return show_instance(record)
        cpu, memory = total([self.usage.of(process.pid)] if process.pid is not None else [])
        return show_instance(
            record,
            pid=process.pid,
            port=process.port,
            replica=process.replica,
            restarts=process.restarts,
            cpu=cpu,
            memory=memory,
        )

    async def why(self, component_id: str) -> Explanation:
        """Why a component is in its state."""
        history = await self.registry.get_history(component_id, _HISTORY)
        evidence = self.supervisor.evidence(component_id)
        record = self.registry.find(component_id)
        doubt = None if record is None else self._doubt(record)
        why = self.coordinator.explain(component_id)
        why = msgspec.structs.replace(why, health=(*why.health, *self.supervisor.probing(component_id)))
        affected = affected_by(self._needed_while_running(), component_id)
        return explain(
            why,
            self._restart_plan(component_id),
            evidence,
            history,
            doubt or self._unborn(component_id, why.state),
            causes=[self._cause(name, cause) for name, cause in chain(why, self._why_or_none)],
            affected=affected,
            awaited_by=[name for name in self._direct_dependents(component_id) if self._waits_for(name, component_id)],
            forget_in=None if record is None else self.forgetting.due_in(record),
            served=self.degradation.services(component_id),
        )

    def graph(self) -> dict[str, list[str]]:
        """Component -> what it depends on, from the configuration and from what registered itself."""
        graph = {name: [need.component for need in spec.dependencies] for name, spec in self.supervisor.specs.items()}
        return graph | self.registry.graph()

    def _why_or_none(self, component_id: str) -> Why | None:
        return self.coordinator.explain(component_id) if self._knows(component_id) else None

    def _cause(self, component_id: str, why: Why | None) -> Cause:
        if why is None:
            return Cause(component_id=component_id, state=None, reason="unknown", since=None, phase=None, because=())
        return Cause(
            component_id=component_id,
            state=why.state or ComponentState.UNKNOWN,
            reason=why.reason or why.last_error,
            since=why.since,
            phase=why.phase,
            because=blockers(why),
            restart=self._restart_plan(component_id),
            evidence=self.supervisor.evidence(component_id),
        )

    def _needed_while_running(self) -> dict[str, list[str]]:
        """The graph without those dependencies that need a component only to have completed once."""
        return {name: [need for need in needs if not self._once(name, need)] for name, needs in self.graph().items()}

    def _once(self, name: str, need: str) -> bool:
        spec = self.supervisor.specs.get(name)
        conditions = [one.condition for one in spec.dependencies if one.component == need] if spec else []
        return conditions == ["completed"]

    def _direct_dependents(self, component_id: str) -> list[str]:
        return [name for name, needs in self.graph().items() if component_id in needs and name != component_id]

    def _waits_for(self, dependent: str, component_id: str) -> bool:
        return component_id in self.coordinator.waiting_for(dependent)

    def _restart_plan(self, component_id: str) -> RestartPlan | None:
        # Of several replicas, the one that is worst off.
        units = self.coordinator.units.of(component_id)
        status = max(
            map(self.recovery.status, units),
            key=lambda one: (one.held, one.gave_up, one.next_at is not None, one.attempt),
        )
        if not (status.attempt or status.gave_up or status.held) and status.next_at is None:
            return None
        next_in = None if status.next_at is None else max(0.0, status.next_at - self.clock.monotonic())
        return RestartPlan(status.attempt, status.max, next_in, status.gave_up, status.held)

    def _with_plan(self, record: ComponentRecord, note: str | None) -> str | None:
        """*note*, and when a component that has failed is restarted."""
        plan = self._restart_plan(record.component_id) if record.state is ComponentState.FAILED else None
        return "; ".join(filter(None, (note, plan.note if plan else None))) or None

    def _note(self, record: ComponentRecord, doubt: str | None) -> str | None:
        if record.usable:
            return doubt
        waiting = self.coordinator.waiting_for(record.component_id)
        if waiting:
            return f"waiting for {', '.join(waiting)}"
        if doubt:
            return doubt
        return self.coordinator.last_error(record.component_id) or self._unborn(record.component_id, record.state)

    def _unborn(self, component_id: str, state: ComponentState | None) -> str | None:
        """Why a component that has not been started was left out."""
        return self.lineup.why_not(component_id) if state in (None, ComponentState.UNKNOWN) else None

    def _doubt(self, record: ComponentRecord) -> str | None:
        """What its state does not say of a component."""
        if self.monitor.suspects(record.component_id, record.instance_uuid):
            return SUSPECTED
        return FLAPPING if record.component_id in self.flapping else None

    def _configured(self, component_id: str) -> ComponentRecord:
        spec = self.supervisor.specs[component_id]
        needs = tuple(need.component for need in spec.dependencies)
        return unregistered(component_id, needs, tuple(spec.capabilities))

    def _ids(self) -> list[str]:
        registered = (record.component_id for record in self.registry.components())
        return sorted({*self.supervisor.specs, *registered})

    def _knows(self, component_id: str) -> bool:
        return component_id in self.supervisor.specs or self.registry.find(component_id) is not None
