"""One supervised component, or one replica of it: its process, from one start to the next.

The start-up coordinator calls `start`, waits for `readiness`, and calls `stop`; the states are its business. What is
said to the registry here is what nobody asked for: that the process has ended.
"""

import logging
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec

from tekton.core.component_lifecycle.healthcheck import Health, HealthCheck
from tekton.core.component_lifecycle.readiness import CheckFailedError, ReadinessCondition
from tekton.core.lifecycle import ENDED, ComponentRecord, ComponentRegistration, ComponentState, new_instance_uuid
from tekton.core.startup.start_plan import COMPLETED
from tekton.core.tracing.tracer import span
from tekton.core.units import unit_name
from tekton.failpoints import reach
from tekton.supervisor.component_probes import ComponentProbes
from tekton.supervisor.control_plane_address import ControlPlaneAddress
from tekton.supervisor.fingerprint import fingerprint
from tekton.supervisor.guard_client import ChildProcess
from tekton.supervisor.log_rotation import Rotation
from tekton.supervisor.logs import evidence
from tekton.supervisor.ports import check_port, describe_owner
from tekton.supervisor.privileges import Limits
from tekton.supervisor.probes import ProbeTarget
from tekton.supervisor.surroundings import Surroundings
from tekton.supervisor.telemetry import trace_variables
from tekton.utils.redaction import scrub
from tekton.utils.tekton_config import ComponentSpec
from tekton.utils.tekton_errors import ComponentError

__all__ = ["ControlPlaneAddress", "ProcessView", "SupervisedComponent", "Surroundings", "fingerprint"]

_LOOK: Final = 1.0
"""Seconds between two looks at whether there is room on the machine."""
_REASON_CHARACTERS: Final = 300

_logger = logging.getLogger("tekton.supervisor")


class ProcessView(msgspec.Struct, frozen=True, kw_only=True):
    """A supervised process for people.

    `restarts` is how often it was started again without anybody asking for it; `uptime` is that of the process, in
    seconds; `note` the one thing to know about it. `replica` is its number among those of the component, from 0.
    """

    pid: int | None
    port: int | None
    restarts: int
    uptime: float | None
    log: Path
    note: str | None
    replica: int = 0


class SupervisedComponent:
    """See the module. `one_shot`: another component waits for its completion. *replica* is its number, from 0."""

    def __init__(self, spec: ComponentSpec, around: Surroundings, *, replica: int = 0) -> None:
        self.spec = spec
        self.replica = replica
        self.unit = unit_name(spec.name, replica)
        self.one_shot = False
        self.log = around.log_dir / f"{self.unit}.log"
        self.address: ControlPlaneAddress | None = None
        self.child: ChildProcess | None = None
        self._probes = ComponentProbes(
            spec, self._target, runs=lambda: self.running, ended_well=lambda: self._has_completed
        )
        self._around = around
        self._registry = around.registry
        self._fingerprint = fingerprint(spec)
        self._restarts_before = 0
        self._log_offset = 0
        self._announced: str | None = None
        self._stopping: ChildProcess | None = None
        self._counted: ChildProcess | None = None
        self._has_completed = False
        self._unmet: list[str] = []
        self._logged_waiting: str | None = None

    def reconfigure(self, spec: ComponentSpec) -> None:
        """Go by *spec* from the next start on; what runs goes on as it is."""
        self.spec = spec
        self._fingerprint = fingerprint(spec)
        self._probes.reconfigure(spec)

    @property
    def outdated(self) -> bool:
        """True while its process is that of an earlier specification."""
        return self.running and self.child is not None and self.child.meta.get("spec") != self._fingerprint

    @property
    def port(self) -> int | None:
        """The port that this replica listens on."""
        return None if self.spec.port is None else self.spec.port + self.replica

    # For the coordinator

    def registration(self) -> ComponentRegistration:
        """A new instance of the component."""
        spec = self.spec
        self._announced = new_instance_uuid()
        return ComponentRegistration(
            component_id=spec.name,
            instance_uuid=self._announced,
            component_name=spec.component_name,
            component_type=spec.component_type,
            version=spec.version,
            capabilities=tuple(spec.capabilities),
            dependencies=tuple(need.component for need in spec.dependencies),
            endpoint=f"http://127.0.0.1:{self.port}" if self.port else None,
            max_instances=spec.replicas,
            metadata=spec.metadata,
        )

    async def start(self) -> None:
        """Start the process of the live instance; one that runs already (of an earlier control plane) is kept.

        Raises PortInUseError, SpawnError, and ComponentError when there is no live instance.
        """
        record = self._live()
        if record is None:
            raise ComponentError(self.unit, "there is no live instance to start")
        if self.runs(record.instance_uuid):
            return
        await self.stop()
        if self.port is not None:
            await check_port(self.port)
        await self._spawn(record.instance_uuid)

    @property
    def admission(self) -> list[ReadinessCondition]:
        """What the coordinator waits for before the start: room on the machine."""
        return [ReadinessCondition("room on the machine", self._is_admitted, _LOOK)] if self.spec.constraints else []

    @property
    def readiness(self) -> list[ReadinessCondition]:
        """What the coordinator waits for after the start, one after the other."""
        return self._probes.conditions()

    @property
    def health(self) -> list[HealthCheck]:
        """What it is asked while it is usable."""
        return self._probes.checks()

    async def stop(self) -> None:
        """End the process, and everything that it started: SIGTERM, after `stop_timeout` seconds SIGKILL."""
        child = self.child
        if child is None:
            return
        self._stopping = child
        await self._around.guard.stop(child, self.spec.stop_timeout)
        await child.wait_cleared()
        self._around.guard.acknowledge(child)
        if self.child is child:
            self.child = None

    # What happens to the process

    def adopt(self, child: ChildProcess) -> None:
        """Go on with a process that an earlier control plane has started."""
        self._restarts_before = int(child.meta.get("restarts", "0"))
        self._take(child)
        if child.exit is not None:
            self.on_exit(child)

    def on_exit(self, child: ChildProcess) -> None:
        """A process has ended: tell the registry, unless it was meant to. Of one end this may be called twice."""
        self._count(child)
        if child is not self.child or child is self._stopping:
            return
        _logger.info("%s ended: %s", self.unit, child.exit, extra={"component": self.spec.name, "pid": child.pid})
        record = self._registry.instance(self.spec.name, child.meta["instance_uuid"])
        if record is None or child.exit is None:
            return
        if child.exit.clean and (record.usable or self.one_shot or not self._probes.decide):
            self._has_completed = True
            if self.one_shot and self._probes.decide:
                # No probe will find it any more.
                self._observe(record, ComponentState.READY, "it has ended well")
            self.conclude()
        elif record.usable:
            self._observe(record, ComponentState.FAILED, str(child.exit))
        else:
            self._observe(record, ComponentState.FAILED, self._early_end(child))

    def conclude(self) -> None:
        """Record that the process has ended well, as soon as the coordinator is done with its start."""
        child = self.child
        record = self._registry.instance(self.spec.name, child.meta["instance_uuid"]) if child else None
        if not self._has_completed or record is None or not record.usable:
            return
        self._has_completed = False
        reason = COMPLETED if self.one_shot else "exit 0"
        self._observe(record, ComponentState.STOPPING, reason)
        self._observe(record, ComponentState.STOPPED, reason)

    # What is known of it

    @property
    def running(self) -> bool:
        """True while its process has not ended."""
        return self.child is not None and self.child.exit is None

    def owns(self, instance_uuid: str) -> bool:
        """True when its process, which may have ended, is that of that very instance."""
        return self.child is not None and self.child.meta["instance_uuid"] == instance_uuid

    def runs(self, instance_uuid: str) -> bool:
        """True while the process of that very instance runs, and nobody has asked it to end."""
        child = self.child
        if child is None or child.exit is not None or child is self._stopping:
            return False
        return child.meta["instance_uuid"] == instance_uuid

    def view(self) -> ProcessView:
        """Its process for people."""
        child = self.child if self.running else None
        return ProcessView(
            pid=child.pid if child else None,
            port=self.port,
            restarts=self._restarts,
            uptime=max(0.0, self._around.clock.time() - child.started_at) if child else None,
            log=self.log,
            note=self._note(child),
            replica=self.replica,
        )

    @property
    def unmet(self) -> list[str]:
        """What the machine has no room for, while the start waits for it."""
        record = self._live() if self._unmet and not self.running else None
        return self._unmet if record is not None and record.state is ComponentState.STARTING else []

    def probing(self) -> list[Health]:
        """How far the probes of a process that is starting have got: those that have had an answer."""
        return self._probes.health()

    def evidence(self, lines: int = 10) -> list[str]:
        """The last lines that the process wrote since its start, without secrets."""
        return [self._around.redact(line) for line in evidence(self.log, self._log_offset, lines)]

    # Inside

    async def _spawn(self, instance_uuid: str) -> None:
        self._stopping, self._has_completed = None, False
        if self.address is not None:
            await self.address.provide(self.spec)
        meta = {
            "component_id": self.spec.name,
            "replica": str(self.replica),
            "instance_uuid": instance_uuid,
            "spec": self._fingerprint,
            "restarts": str(self._restarts),
        }
        reach("start.before_spawn")
        with span("spawn") as made:
            child = await self._around.guard.spawn(
                self.unit,
                self.spec.command,
                cwd=self.spec.cwd,
                log=self.log,
                env={**trace_variables(), **self._environment(instance_uuid)},
                meta=meta,
                user=self.spec.user,
                limits=Limits(**msgspec.structs.asdict(self.spec.limits)),
                rotation=Rotation(self.spec.log.max_size, self.spec.log.keep),
            )
            made.set(pid=child.pid)
        reach("start.after_spawn")
        self._take(child)
        if child.exit is not None:
            self.on_exit(child)

    def _take(self, child: ChildProcess) -> None:
        self.child = child
        self._log_offset = child.log_offset
        self._probes.begin()

    def _count(self, child: ChildProcess) -> None:
        if child.exit is not None and child is not self._counted:
            self._counted = child
            how = "stopped" if child is self._stopping else child.exit.kind
            self._around.exits.setdefault(self.spec.name, Counter())[how] += 1

    def _environment(self, instance_uuid: str) -> dict[str, str]:
        own_user = self.spec.user is None
        address = self.address.environment(self.spec.name, private=own_user) if self.address else {}
        port = {"PORT": str(self.port)} if self.port is not None else {}
        identity = {
            "TEKTON_COMPONENT_ID": self.spec.name,
            "TEKTON_INSTANCE_UUID": instance_uuid,
            "TEKTON_REPLICA": str(self.replica),
        }
        telemetry = self._telemetry(instance_uuid)
        # A log is a file, and Python would keep what is written to a file back until there is a lot of it.
        return {"PYTHONUNBUFFERED": "1", **telemetry, **self.spec.env, **port, **address, **identity}

    def _telemetry(self, instance_uuid: str) -> dict[str, str]:
        if self.address is None or self.address.telemetry is None:
            return {}
        return self.address.telemetry.variables(self.spec.name, instance_uuid, self.spec.env)

    def _is_admitted(self) -> bool:
        # In a thread: to measure takes its time.
        spec = self.spec
        verdict = self._around.admission.admit(self._announced or self.unit, spec.constraints, spec.cwd)
        reasons = "; ".join(verdict.reasons)
        if not verdict and self._logged_waiting != self._announced:
            self._logged_waiting = self._announced
            _logger.info("%s waits for room: %s", self.unit, reasons, extra={"component": self.spec.name})
        self._unmet = list(verdict.reasons)
        if not verdict:
            raise CheckFailedError(reasons)
        return True

    @property
    def _restarts(self) -> int:
        return self._restarts_before + self._around.restarts(self.unit)

    def _target(self) -> ProbeTarget:
        return ProbeTarget(
            log=self.log,
            log_offset=self._log_offset,
            port=self.port,
            cwd=self.spec.cwd,
            env=self._environment(self.child.meta["instance_uuid"] if self.child else ""),
            user=self.spec.user,
            redact=lambda text: scrub(self._around.redact(text)),
            marked=self._wait_marked,
        )

    async def _wait_marked(self) -> None:
        instances = self._around.instances
        await self._registry.wait_until(self.spec.name, lambda _: any(one.usable for one in instances(self.unit)))

    def _live(self) -> ComponentRecord | None:
        """The instance that is being started: the one announced last, else the best."""
        records = [record for record in self._around.instances(self.unit) if record.state not in ENDED]
        ours = (record for record in records if record.instance_uuid == self._announced)
        return next(ours, next(iter(records), None))

    def _observe(self, record: ComponentRecord, state: ComponentState, reason: str) -> None:
        self._registry.observe(record.component_id, record.instance_uuid, state, reason)

    def _early_end(self, child: ChildProcess) -> str:
        """Why it ended before it was ready; the last thing that it said tells most, or who has taken its port."""
        # Logs are for the owner; this is for everybody who may look.
        last = scrub(next(iter(self.evidence(1)), ""))
        owner = describe_owner(self.port) if self.port is not None else None
        taken = f" (port {self.port} was taken meanwhile by {owner})" if owner else ""
        text = f"{child.exit} before it was ready{': ' if last else ''}{last}"
        return text[: _REASON_CHARACTERS - len(taken)] + taken

    def _note(self, child: ChildProcess | None) -> str | None:
        if child is None:
            return f"waiting for {'; '.join(unmet)}" if (unmet := self.unmet) else None
        record = self._registry.instance(self.spec.name, child.meta["instance_uuid"])
        if note := self._probes.note(usable=record is not None and record.usable):
            return note
        if self.outdated:
            return "runs with an earlier configuration; a restart applies the new one"
        return None if child.log_problem is None else f"what it prints is not kept: {child.log_problem}"
