"""The start of the system: all that starts by itself, at once and in the background, and a record of how it went."""

import logging
from collections.abc import Iterable

from tekton.background import BackgroundTask
from tekton.clock import Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.dependency import Dependency
from tekton.core.lifecycle import ENDED
from tekton.core.startup.recorder import StartRecorder
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator
from tekton.core.tracing.tracer import Tracer
from tekton.service.lineup import LineUp
from tekton.supervisor.supervisor import Supervisor

_logger = logging.getLogger("tekton.system")


class SystemStart:
    """See the module. `recorder` has the record of the last start."""

    def __init__(
        self,
        lineup: LineUp,
        registry: ComponentRegistry,
        coordinator: EnhancedStartUpCoordinator,
        supervisor: Supervisor,
        *,
        tracer: Tracer,
        clock: Clock,
    ) -> None:
        self.recorder = StartRecorder(registry, clock=clock, launched=self._launched)
        self._lineup = lineup
        self._registry = registry
        self._coordinator = coordinator
        self._supervisor = supervisor
        self._tracer = tracer
        self._clock = clock
        self._task = BackgroundTask("start-up")

    def begin(self) -> None:
        """Start all, in the background."""
        self._task.start(self._start_all())

    async def stop(self) -> None:
        """Give up what has not been started yet."""
        await self._task.stop()

    async def _start_all(self) -> None:
        startable = {name: one for name, one in self._supervisor.startable().items() if self._is_to_start(name)}
        self.recorder.begin(self._needs(startable))
        try:
            with self._tracer.begin_here("start the system", components=len(startable)):
                results = await self._coordinator.start_components(startable)
        finally:
            self.recorder.finish()
        for component_id, result in results.items():
            if not result.success:
                _logger.error("%s did not start: %s", component_id, result.error)

    def _is_to_start(self, component_id: str) -> bool:
        """What starts by itself, and what was running when the control plane before us went away."""
        record = self._registry.find(component_id)
        return self._lineup.starts(component_id) or (record is not None and record.state not in ENDED)

    def _needs(self, names: Iterable[str]) -> dict[str, list[Dependency]]:
        specs = self._supervisor.specs
        return {
            name: [Dependency(need.component, need.condition) for need in specs[name].dependencies] for name in names
        }

    def _launched(self, component_id: str) -> float | None:
        process = self._supervisor.view(component_id)
        return None if process is None or process.uptime is None else self._clock.time() - process.uptime
