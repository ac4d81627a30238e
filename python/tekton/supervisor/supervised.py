"""One supervised component: its process, from one start to the next.

The start-up coordinator calls `start`, waits for `readiness`, and calls `stop`; the states are its business. What is
said to the registry here is what nobody asked for: that the process has ended.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import msgspec

from tekton.clock import Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.healthcheck import HealthCheck
from tekton.core.component_lifecycle.readiness import CheckFailedError, ReadinessCondition
from tekton.core.lifecycle import ENDED, ComponentRecord, ComponentRegistration, ComponentState, new_instance_uuid
from tekton.core.startup.start_plan import COMPLETED
from tekton.failpoints import reach
from tekton.supervisor.guard_client import ChildProcess
from tekton.supervisor.logs import evidence
from tekton.supervisor.ports import check_port, describe_owner
from tekton.supervisor.probes import Probe, ProbeTarget, make_probe
from tekton.utils.tekton_config import ComponentSpec
from tekton.utils.tekton_errors import ComponentError

_REASON_CHARACTERS: Final = 300
_PROBE_MARGIN: Final = 1.0

_logger = logging.getLogger("tekton.supervisor")


class Spawner(Protocol):
    """What a component needs of the guard."""

    async def spawn(
        self,
        name: str,
        argv: list[str],
        *,
        cwd: str | Path,
        log: str | Path,
        env: Mapping[str, str] | None = None,
        meta: Mapping[str, str] | None = None,
    ) -> ChildProcess:
        """Start a process. Raises SpawnError."""
        ...

    async def stop(self, child: ChildProcess, grace: float) -> bool:
        """Ask a process to end, and have it killed after *grace* seconds."""
        ...

    def acknowledge(self, child: ChildProcess) -> None:
        """Forget a process that has ended."""
        ...


@dataclass(frozen=True, slots=True)
class ControlPlaneAddress:
    """How a component reaches the control plane."""

    url: str
    socket: Path | None = None
    credential_file: Path | None = None

    def environment(self) -> dict[str, str]:
        """The variables that tell it."""
        paths = {"TEKTON_SOCKET": self.socket, "TEKTON_CREDENTIAL_FILE": self.credential_file}
        return {"TEKTON_URL": self.url} | {name: str(path) for name, path in paths.items() if path is not None}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all supervised components share.

    `redact` removes secrets from text; `restarts` tells how often a component was restarted automatically.
    """

    registry: ComponentRegistry
    guard: Spawner
    clock: Clock
    log_dir: Path
    redact: Callable[[str], str]
    restarts: Callable[[str], int]


class ProcessView(msgspec.Struct, frozen=True, kw_only=True):
    """A supervised process for people.

    `restarts` is how often it was started again without anybody asking for it; `uptime` is that of the process, in
    seconds; `note` the one thing to know about it.
    """

    pid: int | None
    port: int | None
    restarts: int
    uptime: float | None
    log: Path
    note: str | None


class SupervisedComponent:
    """See the module. *one_shot*: another component waits for its completion."""

    def __init__(self, spec: ComponentSpec, around: Surroundings, *, one_shot: bool) -> None:
        self.spec = spec
        self.log = around.log_dir / f"{spec.name}.log"
        self.address: ControlPlaneAddress | None = None
        self.child: ChildProcess | None = None
        self.probe: Probe | None = None
        self._around = around
        self._registry = around.registry
        self._one_shot = one_shot
        self._fingerprint = fingerprint(spec)
        self._restarts_before = 0
        self._log_offset = 0
        self._announced: str | None = None
        self._stopping: ChildProcess | None = None
        self._has_completed = False

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
            endpoint=f"http://127.0.0.1:{spec.port}" if spec.port else None,
            metadata=spec.metadata,
        )

    async def start(self) -> None:
        """Start the process of the live instance; one that runs already (of an earlier control plane) is kept.

        Raises PortInUseError, SpawnError, and ComponentError when there is no live instance.
        """
        record = self._live()
        if record is None:
            raise ComponentError(self.spec.name, "there is no live instance to start")
        if self.runs(record.instance_uuid):
            return
        await self.stop()
        if self.spec.port is not None:
            await check_port(self.spec.port)
        await self._spawn(record.instance_uuid)

    @property
    def readiness(self) -> ReadinessCondition:
        """What the coordinator waits for after the start."""
        return ReadinessCondition(self._make_probe("").name, self._is_ready)

    @property
    def health(self) -> list[HealthCheck]:
        """What it is asked after it has become ready: its probe again, if that can be repeated.

        A process that hangs does not exit. It is degraded, not restarted: a busy component would be hit when it can
        least afford it. (One that sends heartbeats has its lease besides.)
        """
        probe = self._make_probe("")
        if self.spec.ready is None or not probe.repeatable:
            return []
        # The probe has the same patience, and knows better what to say.
        return [HealthCheck(probe.name, self._is_healthy, timeout=self.spec.ready.timeout + _PROBE_MARGIN)]

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
        """A process has ended: tell the registry, unless it was meant to."""
        if child is not self.child or child is self._stopping:
            return
        _logger.info("%s ended: %s", self.spec.name, child.exit, extra={"component": self.spec.name, "pid": child.pid})
        record = self._registry.instance(self.spec.name, child.meta["instance_uuid"])
        if record is None or child.exit is None:
            return
        if child.exit.clean and (record.usable or self.spec.ready is None):
            self._has_completed = True
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
        reason = COMPLETED if self._one_shot else "exit 0"
        self._observe(record, ComponentState.STOPPING, reason)
        self._observe(record, ComponentState.STOPPED, reason)

    # What is known of it

    @property
    def running(self) -> bool:
        """True while its process has not ended."""
        return self.child is not None and self.child.exit is None

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
            port=self.spec.port,
            restarts=self._restarts,
            uptime=max(0.0, self._around.clock.time() - child.started_at) if child else None,
            log=self.log,
            note=self._note(child),
        )

    def evidence(self, lines: int = 10) -> list[str]:
        """The last lines that the process wrote since its start, without secrets."""
        return [self._around.redact(line) for line in evidence(self.log, self._log_offset, lines)]

    # Inside

    async def _spawn(self, instance_uuid: str) -> None:
        self._stopping, self._has_completed = None, False
        meta = {
            "component_id": self.spec.name,
            "instance_uuid": instance_uuid,
            "spec": self._fingerprint,
            "restarts": str(self._restarts),
        }
        reach("start.before_spawn")
        child = await self._around.guard.spawn(
            self.spec.name,
            self.spec.command,
            cwd=self.spec.cwd,
            log=self.log,
            env=self._environment(instance_uuid),
            meta=meta,
        )
        reach("start.after_spawn")
        self._take(child)
        if child.exit is not None:
            self.on_exit(child)

    def _take(self, child: ChildProcess) -> None:
        self.child = child
        self._log_offset = child.log_offset
        self.probe = self._make_probe(child.meta["instance_uuid"])

    def _environment(self, instance_uuid: str) -> dict[str, str]:
        address = self.address.environment() if self.address else {}
        port = {"PORT": str(self.spec.port)} if self.spec.port is not None else {}
        identity = {"TEKTON_COMPONENT_ID": self.spec.name, "TEKTON_INSTANCE_UUID": instance_uuid}
        # A log is a file, and Python would keep what is written to a file back until there is a lot of it.
        return {"PYTHONUNBUFFERED": "1", **self.spec.env, **port, **address, **identity}

    async def _is_ready(self) -> bool:
        if self.probe is None:
            return False
        await self.probe.wait()
        return self.running or self._has_completed

    async def _is_healthy(self) -> bool:
        probe = self.probe
        if probe is None or not self.running:
            # That it has ended is told by others.
            return True
        if (finding := await probe.check()) is not None:
            raise CheckFailedError(finding)
        return True

    @property
    def _restarts(self) -> int:
        return self._restarts_before + self._around.restarts(self.spec.name)

    def _make_probe(self, instance_uuid: str) -> Probe:
        target = ProbeTarget(
            log=self.log,
            log_offset=self._log_offset,
            port=self.spec.port,
            cwd=self.spec.cwd,
            env=self._environment(instance_uuid),
            marked=self._wait_marked,
        )
        return make_probe(self.spec.ready, target)

    async def _wait_marked(self) -> None:
        await self._registry.wait_until(self.spec.name, lambda record: record is not None and record.usable)

    def _live(self) -> ComponentRecord | None:
        """The instance that is being started: the one announced last, else the best."""
        records = [record for record in self._registry.instances(self.spec.name) if record.state not in ENDED]
        ours = (record for record in records if record.instance_uuid == self._announced)
        return next(ours, next(iter(records), None))

    def _observe(self, record: ComponentRecord, state: ComponentState, reason: str) -> None:
        self._registry.observe(record.component_id, record.instance_uuid, state, reason)

    def _early_end(self, child: ChildProcess) -> str:
        """Why it ended before it was ready; the last thing that it said tells most, or who has taken its port."""
        last = next(iter(self.evidence(1)), "")
        owner = describe_owner(self.spec.port) if self.spec.port is not None else None
        taken = f" (port {self.spec.port} was taken meanwhile by {owner})" if owner else ""
        text = f"{child.exit} before it was ready{': ' if last else ''}{last}"
        return text[: _REASON_CHARACTERS - len(taken)] + taken

    def _note(self, child: ChildProcess | None) -> str | None:
        if child is None:
            return None
        if self.probe is not None and self.probe.finding is not None:
            record = self._registry.instance(self.spec.name, child.meta["instance_uuid"])
            lead = "" if record is not None and record.usable else "waiting for "
            return f"{lead}{self.probe.name}: {self.probe.finding}"
        if child.meta.get("spec") != self._fingerprint:
            return "runs with an earlier configuration; a restart applies the new one"
        return None


def fingerprint(spec: ComponentSpec) -> str:
    """Tells whether a specification has changed."""
    return hashlib.sha256(msgspec.json.encode(spec)).hexdigest()[:16]
