"""Why a component is in its state: what the coordinator, recovery, the logs and the history know, in one answer."""

from collections.abc import Sequence

import msgspec

from tekton.core.component_lifecycle.healthcheck import Health
from tekton.core.component_lifecycle.store import HistoryEntry
from tekton.core.lifecycle import ComponentState
from tekton.core.startup_coordinator import Why


class RestartPlan(msgspec.Struct, frozen=True):
    """Automatic restarts: the attempt, how many are allowed, seconds until the next, whether they have ended."""

    attempt: int
    max: int
    next_in: float | None
    gave_up: bool


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a component is in its state, since when (wall-clock seconds), and what depends on it, directly or not.

    `phase` is what its start is doing, if it is being started; `waiting_for` are dependencies on their way,
    `failed_dependencies` those that cannot be used, `cycle` the circle of dependencies that it is part of;
    `evidence` are the last lines of its log, when it failed; `history` its last changes, newest first. `health` is what
    its health checks say, `leaked` what was abandoned of it in the control plane and still runs there.
    """

    component_id: str
    state: ComponentState
    reason: str | None
    since: float | None
    phase: str | None
    waiting_for: Sequence[str]
    failed_dependencies: Sequence[str]
    cycle: Sequence[str]
    restart: RestartPlan | None
    evidence: Sequence[str]
    dependents: Sequence[str]
    history: Sequence[HistoryEntry]
    health: Sequence[Health] = ()
    leaked: Sequence[str] = ()


def explain(
    why: Why,
    restart: RestartPlan | None,
    evidence: Sequence[str],
    history: Sequence[HistoryEntry],
    note: str | None = None,
) -> Explanation:
    """Put together what is known; *note* is the reason where there is no other."""
    return Explanation(
        component_id=why.component_id,
        state=why.state or ComponentState.UNKNOWN,
        reason=why.reason or why.last_error or note,
        since=why.since,
        phase=why.phase,
        waiting_for=why.waiting_for,
        failed_dependencies=why.failed_dependencies,
        cycle=why.cycle,
        restart=restart,
        evidence=evidence if why.state is ComponentState.FAILED else (),
        dependents=why.dependents,
        history=history,
        health=why.health,
        leaked=why.leaked,
    )
