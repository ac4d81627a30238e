"""How the dependencies of components stand: met, on their way, failed, or going round in circles."""

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from itertools import chain
from typing import Final

from tekton import _native
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.healthcheck import Health
from tekton.core.dependency import Dependency, DependencyResolver
from tekton.core.lifecycle import ComponentRecord, ComponentState
from tekton.core.startup.failures import StartFailures
from tekton.core.startup.start_plan import Handler, Standing, Why, cycle_through, describe_cycle, is_met, may_still_meet
from tekton.core.units import Units, component_of
from tekton.utils.tekton_errors import DependencyError


class DependencyView:
    """Reads the registry and what the coordinator knows; changes neither.

    *in_flight* tells which units are being started, *passed_over* which dependencies the last start of a unit was
    forced past. A dependency is met by any unit of its component.
    """

    def __init__(
        self,
        registry: ComponentRegistry,
        handlers: Mapping[str, Handler],
        failures: StartFailures,
        units: Units,
        in_flight: Callable[[str], bool],
        *,
        passed_over: Callable[[str], Collection[str]],
    ) -> None:
        self._registry = registry
        self._handlers = handlers
        self._failures = failures
        self._units = units
        self._in_flight = in_flight
        self._passed_over = passed_over

    def graph(self) -> dict[str, list[str]]:
        """Component or unit -> ids it depends on, of everything known; handlers count before registrations."""
        return self._registry.graph() | {name: handler.needs for name, handler in self._handlers.items()}

    def standing(self, dependency: Dependency) -> Standing:
        """How *dependency* stands now."""
        name, condition = dependency.component, dependency.condition
        record = self._registry.find(name)
        in_flight = any(self._in_flight(unit) for unit in self._units.of(name))
        # A one-shot that is being run again has not completed, whatever it did before.
        if record is not None and is_met(condition, record) and not (in_flight and condition == "completed"):
            return Standing("met")
        if in_flight or (record is not None and may_still_meet(condition, record)):
            return Standing("awaited")
        return Standing("failed", self._why_failed(name, record))

    def awaited(self, handler: Handler, among: Container[str] | None = None) -> list[str]:
        """The dependencies that are not met but on their way. Raises DependencyError when one has failed.

        *among* limits the question to some of them.
        """
        needs = [need for need in handler.dependencies if among is None or need.component in among]
        standings = [(dependency.component, self.standing(dependency)) for dependency in needs]
        failed = {name: standing.why for name, standing in standings if standing.verdict == "failed"}
        if failed:
            raise DependencyError(handler.unit, list(failed), "; ".join(failed.values()))
        return [name for name, standing in standings if standing.verdict == "awaited"]

    def unmet(self, handler: Handler) -> list[str]:
        """The dependencies that are not met, on their way or not."""
        return [need.component for need in handler.dependencies if self.standing(need).verdict != "met"]

    def _forced_past(self, component_id: str) -> list[str]:
        """The dependencies that the last start of a component, or of any of its replicas, was forced past."""
        return list(dict.fromkeys(chain.from_iterable(map(self._passed_over, self._units.of(component_id)))))

    def cycle_error(self, component_id: str) -> DependencyError | None:
        """The error for a component that is part of a dependency cycle, else None. O(what it depends on)."""
        cycle = cycle_through(self._needed_by, component_id)
        if not cycle:
            return None
        return DependencyError(component_id, cycle[1:] or cycle, describe_cycle(cycle), cycle)

    def cycle_errors(self, component_ids: Iterable[str]) -> dict[str, DependencyError]:
        """The error of each of *component_ids* that is part of a dependency cycle."""
        graph = self.graph()
        order, cycles = DependencyResolver.resolve_dependencies(graph)
        if not cycles:
            return {}
        # Nor can those be part of a cycle on which none in a cycle depends.
        ruled_out = {*order, *DependencyResolver.resolve_dependencies(_turned_round(graph))[0]}
        errors = ((name, self.cycle_error(name)) for name in component_ids if name not in ruled_out)
        return {name: error for name, error in errors if error is not None}

    def waiting_for(self, component_id: str) -> list[str]:
        """The dependencies that a component is short of but that are on their way. Cheap, for lists."""
        return self._short_of(component_id, "awaited")

    def last_error(self, component_id: str) -> str | None:
        """What the last start of a component failed with; None while another one goes on."""
        failure = None if self._in_flight(component_id) else self._failures.of(component_id)
        return str(failure) if failure else None

    def explain(
        self, component_id: str, phase: str | None, leaked: Sequence[str] = (), health: Sequence[Health] = ()
    ) -> Why:
        """Why a component is where it is; *phase* is what its start is doing, *leaked* what was abandoned of it."""
        record = self._best(component_id)
        graph = self.graph()
        cycle = cycle_through(self._needed_by, component_id)
        return Why(
            component_id=component_id,
            state=record.state if record else None,
            reason=record.reason if record else None,
            since=record.changed_at if record else None,
            phase=phase,
            waiting_for=tuple(self._short_of(component_id, "awaited")),
            failed_dependencies=tuple(self._short_of(component_id, "failed")),
            cycle=tuple(cycle),
            dependents=tuple(_dependents(graph, component_id)),
            last_error=self.last_error(component_id),
            leaked=tuple(leaked),
            health=tuple(health),
            forced_past=tuple(self._forced_past(component_id)),
        )

    def _short_of(self, component_id: str, verdict: str) -> list[str]:
        record = self._best(component_id)
        if record is not None and record.usable:
            return []
        needs = self._needs(self._handlers.get(component_id), record)
        # A start that was forced past a dependency is not short of it.
        done_without = self._passed_over(component_id) if self._in_flight(component_id) else ()
        names = (need.component for need in needs if self.standing(need).verdict == verdict)
        return [name for name in names if name not in done_without]

    def _best(self, component_id: str) -> ComponentRecord | None:
        """The best instance: of a component, whichever replica it is, or of a further replica by its name."""
        return self._registry.find(component_id) or self._units.find(component_id)

    def _needed_by(self, component_id: str) -> Iterable[str]:
        """What a component depends on, as in `graph`."""
        handler = self._handlers.get(component_id)
        if handler is not None:
            return handler.needs
        record = self._registry.find(component_id)
        return () if record is None else record.dependencies

    def _needs(self, handler: Handler | None, record: ComponentRecord | None) -> Iterable[Dependency]:
        if handler is not None:
            return handler.dependencies
        return [Dependency(name) for name in record.dependencies] if record else []

    def _why_failed(self, name: str, record: ComponentRecord | None) -> str:
        failure = self._failures.of(name)
        if record is not None:
            verb = "failed" if record.state is ComponentState.FAILED else f"is {record.state.value}"
            return f"{name} {verb}" + (f" ({record.reason})" if record.reason else "")
        if failure is not None:
            return _shortened(str(failure))
        return f"{name} has not been started" if name in self._handlers else f"{name} is unknown"


_CANNOT: Final = " cannot start: "


def _shortened(text: str) -> str:
    """*text* of a failed start without what is between its dependency and the cause at the end of a long chain."""
    name, _, why = text.partition(_CANNOT)
    if _CANNOT not in why:
        return text
    return f"{name}{_CANNOT}… {why.rpartition(_CANNOT)[2].removeprefix('… ')}"


def _turned_round(graph: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Component id -> ids that depend on it."""
    turned: dict[str, list[str]] = {name: [] for name in graph}
    for name, needs in graph.items():
        for need in needs:
            turned.setdefault(need, []).append(name)
    return turned


def _dependents(graph: dict[str, list[str]], component_id: str) -> list[str]:
    if component_id not in graph:
        return []
    dependents = _native.DependencyGraph({**graph}).dependents(component_id, transitive=True)
    return [name for name in dict.fromkeys(map(component_of, dependents)) if name != component_id]
