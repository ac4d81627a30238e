"""The probes of one component: what its start waits for, what it is asked while it is usable, and what was found.

Conditions and checks are made once, when the component is introduced to the coordinator; the probes themselves belong
to a process, and are made anew for each.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, Literal

from tekton.core.component_lifecycle.healthcheck import Health, HealthCheck, Role
from tekton.core.component_lifecycle.readiness import CheckFailedError, ReadinessCondition
from tekton.supervisor.probes import RUNNING_INTERVAL, Probe, ProbeTarget, make_probe
from tekton.utils.tekton_config import ComponentSpec, ProbeSpec

LIVENESS: Final = "liveness: "
"""How the reason of a component begins that its liveness probe has failed."""

_MARGIN: Final = 1.0


class ComponentProbes:
    """See the module. *target* is the present process, which *runs* or not; *ended_well*: not, but all is fine."""

    def __init__(
        self,
        spec: ComponentSpec,
        target: Callable[[], ProbeTarget],
        *,
        runs: Callable[[], bool],
        ended_well: Callable[[], bool],
    ) -> None:
        self._spec = spec
        self._target = target
        self._runs = runs
        self._ended_well = ended_well
        self._probes: dict[Role, Probe] = {}

    def reconfigure(self, spec: ComponentSpec) -> None:
        """Go by *spec*: at once for liveness. The other probes belong to a start, and so to another process."""
        self._spec = spec
        if self._probes:
            self._probes.pop("liveness", None)
            self._probes |= {role: probe for role, probe in self._made().items() if role == "liveness"}

    def begin(self) -> None:
        """There is a new process to be asked."""
        self._probes = self._made()

    @property
    def decide(self) -> bool:
        """True when a start waits for more than that the process runs."""
        return self._spec.ready is not None or self._spec.startup is not None

    def conditions(self) -> list[ReadinessCondition]:
        """What a start waits for, one after the other."""
        return [
            ReadinessCondition(probe.name, partial(self._has_passed, role))
            for role, probe in self._made().items()
            if role != "liveness"
        ]

    def checks(self) -> list[HealthCheck]:
        """What is asked of the component while it is usable.

        Its readiness probe again, if that can be repeated: a component that is busy, or waits for somebody itself, gets
        no traffic; to restart it would hit it when it can least afford it. And its liveness probe: that is what tells
        a process that hangs, which does not exit, from a busy one.
        """
        probes, spec = self._made(), self._spec
        checks: list[HealthCheck] = []
        if spec.ready is not None and probes["ready"].repeatable:
            checks.append(self._check("ready", "withdraw", probes["ready"], spec.ready))
        if spec.liveness is not None:
            checks.append(self._check("liveness", "fail", probes["liveness"], spec.liveness))
        return checks

    def health(self) -> list[Health]:
        """What those probes have found last that have had an answer, for a process that is starting."""
        now = asyncio.get_running_loop().time()
        return [
            Health(
                name=probe.name,
                healthy=probe.finding is None,
                reason=probe.finding,
                finding=probe.finding,
                age=now - probe.answered_at,
                role=role,
                latency=probe.latency,
            )
            for role, probe in self._probes.items()
            if probe.answered_at is not None
        ]

    def note(self, *, usable: bool) -> str | None:
        """What is in the way of the component, or wrong with it; None when nothing is."""
        found = next((item for item in self._probes.items() if item[1].finding is not None), None)
        if found is None:
            return None
        role, probe = found
        lead = "waiting for " if not usable else LIVENESS if role == "liveness" else ""
        finding = probe.finding or ""
        return f"{lead}{finding}" if finding.startswith(probe.name) else f"{lead}{probe.name}: {finding}"

    def _check(self, role: Role, effect: Literal["withdraw", "fail"], probe: Probe, spec: ProbeSpec) -> HealthCheck:
        return HealthCheck(
            probe.name,
            partial(self._is_well, role),
            interval=spec.interval or RUNNING_INTERVAL,
            # The probe has the same patience, and knows better what to say.
            timeout=spec.timeout + _MARGIN,
            failures=spec.failures,
            successes=spec.successes,
            effect=effect,
            role=role,
        )

    async def _has_passed(self, role: Role) -> bool:
        probe = self._probes.get(role)
        if probe is None:
            return False
        await probe.wait()
        return self._runs() or self._ended_well()

    async def _is_well(self, role: Role) -> bool:
        probe = self._probes.get(role)
        if probe is None or not self._runs():
            # That it has ended is told by others.
            return True
        if (finding := await probe.check()) is not None:
            raise CheckFailedError(finding)
        return True

    def _made(self) -> dict[Role, Probe]:
        """In the order in which they are asked. Without any that decide, a process that runs is ready."""
        target, spec = self._target(), self._spec
        given: dict[Role, ProbeSpec | None] = {"startup": spec.startup, "ready": spec.ready, "liveness": spec.liveness}
        probes = {role: make_probe(probe, target) for role, probe in given.items() if probe is not None}
        return probes if self.decide else {"ready": make_probe(None, target), **probes}
