"""The readings of supervision: starts, restarts and ends of the components that Tekton runs."""

from collections.abc import Iterator, Mapping
from typing import TypeVar, get_args

from tekton.core.metrics.metrics import Reading
from tekton.core.recovery import Recovery
from tekton.core.startup.start_tally import Outcome
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator
from tekton.service.readings.per_component import PerComponent
from tekton.supervisor.supervisor import Supervisor

_Label = TypeVar("_Label", bound=str)


def starts(coordinator: EnhancedStartUpCoordinator) -> Iterator[Reading | None]:
    """What starts have come to, and what health checks have found. O(components that failed one)."""
    tally = coordinator.tally
    for outcome in get_args(Outcome):
        yield Reading("tekton_starts", tally.outcomes[outcome], (outcome,))
    yield Reading("tekton_start_duration", tally.seconds.read())
    yield Reading("tekton_starts_running", coordinator.starting)
    yield Reading("tekton_drains", tally.drained)
    yield from _counted("tekton_probe_failures", coordinator.failed_checks)


def restarts(recovery: Recovery) -> Iterator[Reading | None]:
    """What was restarted, and how far that may go. O(components that failed)."""
    yield Reading("tekton_restarts_given_up", recovery.given_up)
    yield from _counted("tekton_restarts", recovery.causes)
    waiting = given_up = 0
    each = PerComponent()
    for unit, status in recovery.courses():
        waiting += status.next_at is not None
        given_up += status.gave_up
        left = max(0, status.max - status.attempt)
        yield each("tekton_component_restarts_left", unit, left) if status.attempt else None
    yield from each.rest()
    yield Reading("tekton_restarts_waiting", waiting)
    yield Reading("tekton_components_given_up", given_up)


def processes(supervisor: Supervisor) -> Iterator[Reading | None]:
    """What runs of the supervised components. O(components)."""
    yield Reading("tekton_component_logs_not_kept", supervisor.unkept_logs)
    yield from _counted("tekton_component_exits", supervisor.exits)
    waiting = 0
    each = PerComponent()
    for component in list(supervisor.specs):
        count = supervisor.replica_count(component)
        waiting += count.waiting
        yield each("tekton_component_replicas", component, count.wanted)
        yield each("tekton_component_replicas_ready", component, count.ready)
    yield from each.rest()
    yield Reading("tekton_starts_waiting_for_room", waiting)


def _counted(name: str, counts: Mapping[str, Mapping[_Label, int]]) -> Iterator[Reading | None]:
    each = PerComponent()
    for component, by_label in list(counts.items()):
        for label, count in list(by_label.items()):
            yield each(name, component, count, label)
    yield from each.rest()
