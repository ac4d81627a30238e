"""Changes to the line-up while the system runs: a new configuration, components that are added and taken out.

One at a time, in the order in which they were asked for. What they start goes on in the background: a component that
never becomes ready does not keep the mistake that made it so from being corrected.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from tekton import _native
from tekton.background import BackgroundGroup
from tekton.core.attribution import TEKTON, Attribution, current
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.idempotency import Claim, carrying, current_claim
from tekton.core.lifecycle import ENDED, ComponentState
from tekton.core.startup.start_plan import RESTARTING
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator
from tekton.gateway.errors import UnavailableError
from tekton.service.lineup import LineUp
from tekton.service.reload import ReloadReport, applicable, compare_settings, compare_specs, refuse_lost_components
from tekton.supervisor.supervisor import Supervisor
from tekton.utils.tekton_config import ComponentSpec, TektonConfig
from tekton.utils.tekton_errors import (
    ComponentConfiguredError,
    ComponentError,
    ComponentExistsError,
    ComponentNotFoundError,
    ConfigurationError,
    StorageError,
    TektonError,
)
from tekton.utils.tekton_ids import nearest_name

_logger = logging.getLogger("tekton.system")


class Changes:
    """Changes *lineup* and what runs of it. *load* reads the configuration anew, *apply* makes new settings hold.

    *keep* (which blocks) keeps the new configuration for the control plane that replaces us if we crash.
    """

    def __init__(
        self,
        lineup: LineUp,
        registry: ComponentRegistry,
        coordinator: EnhancedStartUpCoordinator,
        supervisor: Supervisor,
        *,
        load: Callable[[], TektonConfig],
        apply: Callable[[TektonConfig], Awaitable[None]],
        keep: Callable[[TektonConfig], None],
    ) -> None:
        self._lineup = lineup
        self._registry = registry
        self._coordinator = coordinator
        self._supervisor = supervisor
        self._load = load
        self._apply = apply
        self._keep = keep
        self._one_at_a_time = asyncio.Lock()
        self._background = BackgroundGroup("changes")
        self._stopped = False

    async def stop(self) -> None:
        """Give up what is under way, and change nothing any more."""
        self._stopped = True
        await self._background.stop()

    # A new configuration

    async def reload(self) -> ReloadReport:
        """Read the configuration anew and make what runs agree with it; a caller that is cancelled does not stop it.

        Raises ConfigurationError when it is wrong; then the old one goes on to hold.
        """
        task = self.request_reload(current() or TEKTON, current_claim())
        await asyncio.wait([task])
        if task.cancelled():
            self._refuse_stopped()
        outcome = task.result()
        if isinstance(outcome, TektonError):
            raise outcome
        return outcome

    def request_reload(self, by: Attribution, claim: Claim | None = None) -> "asyncio.Task[ReloadReport | TektonError]":
        """Reload in the background, on behalf of *by*; what comes of it is logged, and the result of the task.

        *claim* is that of the request, if it has a key.
        """
        return self._background.spawn(self._attempt(by, claim), "reload")

    async def _attempt(self, by: Attribution, claim: Claim | None) -> ReloadReport | TektonError:
        try:
            with carrying(claim):
                intended = await self._registry.audit.intend("system.reload", by=by)
            with intended:
                report = await self._reload()
        except (ConfigurationError, ComponentExistsError) as error:
            _logger.error("the configuration was not reloaded, the old one holds: %s", error)
            return error
        except TektonError as error:
            _logger.error("the configuration was not reloaded completely: %s", error)
            return error
        _logger.info("configuration reloaded: %s", _summary(report))
        return report

    async def _reload(self) -> ReloadReport:
        async with self._one_at_a_time:
            self._refuse_stopped()
            lineup = self._lineup
            loaded = await asyncio.to_thread(self._load)
            refuse_lost_components(lineup.config, loaded)
            lineup.refuse_clash(loaded)
            settings, needs_restart = compare_settings(lineup.config, loaded)
            config = lineup.prepared(applicable(lineup.config, loaded))
            # Not with the old configuration: what did not come off the last time is done now.
            specs = self._supervisor.specs.items()
            present = {name: lineup.unscaled(spec) for name, spec in specs if name not in lineup.adhoc.specs}
            added, removed, changed, kept = compare_specs(present, config.components)
            # Adopted from a control plane that had crashed before it came to this.
            outdated = [name for name in kept if self._supervisor.is_outdated(name)]
            changed, kept = sorted([*changed, *outdated]), [name for name in kept if name not in outdated]
            for name in added:
                if name in lineup.adhoc.specs:
                    self._refuse_live(name)
            here = {name for name in config.components if lineup.starts(name) and not self._is_adrift(name)}
            awaited = [name for name in config.components if name in added or name not in here]
            lineup.adopt(config)
            await asyncio.to_thread(self._keep, loaded)
            if settings:
                await self._apply(config)
            await self._take_out(removed)
            await self._add([config.components[name] for name in added])
            self._background.spawn(self._bring_up([name for name in awaited if lineup.starts(name)], changed), "start")
        return ReloadReport(
            added=added, removed=removed, changed=changed, kept=kept, settings=settings, needs_restart=needs_restart
        )

    async def _take_out(self, names: list[str]) -> None:
        await self._coordinator.stop_components(names)
        for name in names:
            await self._supervisor.remove(name)

    async def _add(self, specs: list[ComponentSpec]) -> None:
        for spec in specs:
            if spec.name in self._lineup.adhoc.specs:
                # It has ended, and the configuration takes over its name.
                await self._supervisor.remove(spec.name)
                await self._saved(self._lineup.adhoc.forget(spec.name))
            await self._supervisor.add(spec)

    # Single components

    async def put(self, component_id: str, entry: bytes) -> None:
        """Add the component that the JSON object *entry* describes, as in components.json; it is not started yet.

        It takes the place of one that was added under this name and has ended. Raises ConfigurationError for what is
        wrong with it, ComponentConfiguredError, ComponentExistsError while something of that name lives, and
        StorageError.
        """
        async with self._one_at_a_time:
            self._refuse_stopped()
            if component_id in self._lineup.config.components:
                raise ComponentConfiguredError(component_id)
            self._refuse_live(component_id)
            ports = self._lineup.ports(component_id)
            spec = await asyncio.to_thread(self._lineup.config.read_component, component_id, entry, ports)
            with await self._registry.audit.intend("component.define", component_id):
                if component_id in self._supervisor.specs:
                    await self._supervisor.remove(component_id)
                await self._saved(self._lineup.adhoc.keep(spec))
                await self._supervisor.add(spec)

    async def delete(self, component_id: str) -> None:
        """Stop a component that was added, and forget it.

        Raises ComponentConfiguredError, ComponentError for one that registered itself, ComponentNotFoundError when
        there is no such component, and StorageError.
        """
        self._refuse_stopped()
        self._check_added(component_id)
        with await self._registry.audit.intend("component.undefine", component_id):
            await self._coordinator.stop_components([component_id])
            async with self._one_at_a_time:
                self._check_added(component_id)
                await self._supervisor.remove(component_id)
                await self._saved(self._lineup.adhoc.forget(component_id))

    def _check_added(self, component_id: str) -> None:
        if component_id in self._lineup.config.components:
            raise ComponentConfiguredError(component_id)
        if component_id not in self._lineup.adhoc.specs:
            if self._registry.find(component_id) is not None:
                raise ComponentError(component_id, "it registered itself, and leaves by deregistering itself")
            raise ComponentNotFoundError(component_id, nearest_name(component_id, self._lineup.adhoc.specs))

    # Inside

    def _refuse_stopped(self) -> None:
        if self._stopped:
            raise UnavailableError("the control plane is stopping")

    def _refuse_live(self, component_id: str) -> None:
        """Raise ComponentExistsError while a component of that name, whoever runs it, is there or on its way."""
        record = self._registry.find(component_id)
        if record is not None and record.state not in ENDED:
            error = ComponentExistsError(component_id, record.instance_uuid)
        elif self._coordinator.in_flight(component_id):
            error = ComponentExistsError(component_id, "")
        else:
            return
        error.hint = f"choose another name, or tekton stop {component_id} first"
        raise error

    async def _bring_up(self, awaited: list[str], changed: list[str]) -> None:
        """Start *awaited*, and let *changed* begin anew as far as its processes are concerned."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._start(awaited))
            # What has changed may need what is being started: it must be on its way by then.
            await asyncio.sleep(0)
            for wave in self._in_order(changed):
                async with asyncio.TaskGroup() as turn:
                    for name in wave:
                        turn.create_task(self._renew(name))

    async def _start(self, names: list[str]) -> None:
        if not names:
            return
        for name, result in (await self._coordinator.start_components({one: {} for one in names})).items():
            if not result.success:
                _logger.error("%s did not start: %s", name, result.error)

    async def _renew(self, component_id: str) -> None:
        # The specification that holds now: a later change may have come before our turn.
        spec = self._lineup.config.components.get(component_id)
        if spec is None or component_id not in self._supervisor.specs:
            return
        try:
            await self._supervisor.replace(spec)
            if self._supervisor.is_outdated(component_id):
                await self._supervisor.replicas.roll(component_id, afresh=True)
            if self._is_adrift(component_id) or (self._has_failed(component_id) and self._lineup.starts(component_id)):
                await self._supervisor.replicas.start(component_id)
        except TektonError as error:
            _logger.warning("%s did not come up with its new configuration: %s", component_id, error)

    def _in_order(self, names: list[str]) -> list[list[str]]:
        """*names* in groups, those that others depend on first."""
        specs = self._lineup.config.components
        needs = {name: [need.component for need in specs[name].dependencies] for name in names}
        waves = _native.waves({name: [need for need in theirs if need in needs] for name, theirs in needs.items()})
        placed = {name for wave in waves for name in wave}
        in_circles = [name for name in names if name not in placed]
        return [*waves, in_circles] if in_circles else waves

    def _is_adrift(self, component_id: str) -> bool:
        """True for what is not there, and nobody wanted that: never started, or lost in the middle of a restart."""
        record = self._registry.find(component_id)
        lost = record is None or (record.state is ComponentState.STOPPED and record.reason == RESTARTING)
        return lost and self._lineup.starts(component_id) and not self._coordinator.in_flight(component_id)

    def _has_failed(self, component_id: str) -> bool:
        record = self._registry.find(component_id)
        return record is not None and record.state is ComponentState.FAILED

    @staticmethod
    async def _saved(saving: Awaitable[None]) -> None:
        try:
            await saving
        except OSError as error:
            raise StorageError(f"{error.filename or 'run/adhoc.json'} cannot be written: {error.strerror}") from error


def _summary(report: ReloadReport) -> str:
    counts = {"added": report.added, "removed": report.removed, "changed": report.changed, "kept": report.kept}
    text = ", ".join(f"{len(names)} {what}" for what, names in counts.items())
    return f"{text}; {', '.join(report.needs_restart)} from the next start on" if report.needs_restart else text
