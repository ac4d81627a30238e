"""Asks components again and again whether they still answer, after they have become ready.

A supervised process that hangs does not exit. One whose probe (http, tcp or exec) fails three times in a row becomes
DEGRADED, with what was found as the reason; when the probe succeeds again it is READY. It is not restarted for that:
a busy component would be hit when it can least afford it. (One that sends heartbeats has its lease besides.)
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from tekton.background import BackgroundTask
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRecord, ComponentState
from tekton.supervisor.supervised import SupervisedComponent

FAILURES: Final = 3
_REASON: Final = "not ready: "


class ReadinessWatch:
    """Probes the running components among those that *components* gives, every *interval* seconds."""

    def __init__(
        self,
        registry: ComponentRegistry,
        components: Callable[[], Iterable[SupervisedComponent]],
        *,
        interval: float = 5.0,
    ) -> None:
        self._registry = registry
        self._components = components
        self._interval = interval
        self._failures: dict[str, int] = {}
        self._task = BackgroundTask("readiness watch")

    def start(self) -> None:
        """Begin to ask."""
        self._task.start(self._run())

    async def stop(self) -> None:
        """Ask no more."""
        await self._task.stop()

    async def round(self) -> None:
        """Ask every component once, all at the same time."""
        async with asyncio.TaskGroup() as group:
            for component in self._components():
                group.create_task(self._ask(component))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self.round()

    async def verify(self, component: SupervisedComponent) -> None:
        """Ask a component that was taken over: one failure is enough, nobody has seen it work."""
        await self._ask(component, tolerance=1)

    async def _ask(self, component: SupervisedComponent, tolerance: int = FAILURES) -> None:
        probe, record = component.probe, self._registry.find(component.spec.name)
        if not component.running or probe is None or not probe.repeatable or record is None or not record.usable:
            # A start asks by itself.
            return
        finding = await probe.check()
        if component.probe is not probe:
            # A late answer of an earlier process says nothing about this one.
            return
        if finding is None:
            self._failures.pop(record.instance_uuid, None)
            self._recovered(record)
            return
        failures = self._failures[record.instance_uuid] = self._failures.get(record.instance_uuid, 0) + 1
        if failures >= tolerance and record.state is ComponentState.READY:
            self._observe(record, ComponentState.DEGRADED, f"{_REASON}{finding}")

    def _recovered(self, record: ComponentRecord) -> None:
        # Not what somebody else has degraded.
        if record.state is ComponentState.DEGRADED and (record.reason or "").startswith(_REASON):
            self._observe(record, ComponentState.READY, "answers again")

    def _observe(self, record: ComponentRecord, state: ComponentState, reason: str) -> None:
        self._registry.observe(record.component_id, record.instance_uuid, state, reason)
