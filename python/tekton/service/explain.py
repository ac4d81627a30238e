"""Why a component is in its state: what the coordinator, recovery, the logs and the history know, in one answer."""

import math
import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from tekton.core.capability_service import Service
from tekton.core.component_lifecycle.healthcheck import Health
from tekton.core.component_lifecycle.store import HistoryEntry
from tekton.core.lifecycle import ComponentState
from tekton.core.startup_coordinator import Why

MOST_CAUSES = 32
"""A chain of causes ends here: whoever reads on has lost the thread long ago."""


class RestartPlan(msgspec.Struct, frozen=True):
    """Automatic restarts: the attempt, how many are allowed, seconds until the next, whether they have ended.

    `held`: somebody has killed it and wants it to stay down until it is started.
    """

    attempt: int
    max: int
    next_in: float | None
    gave_up: bool
    held: bool = False

    @property
    def note(self) -> str | None:
        """What is to come, for a list: `retry in 8 s`, `gave up after 5 restarts`, `held`."""
        if self.held:
            return "held"
        if self.gave_up:
            return f"gave up after {self.attempt} restart{'' if self.attempt == 1 else 's'}"
        return None if self.next_in is None else f"retry in {math.ceil(self.next_in)} s"


def forgotten_in(seconds: float) -> str:
    """What is to come of an instance that is forgotten that soon, for a list: `forgotten in 41 s`, `… in 3 h`."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds > 2 * length:
            return f"forgotten in {math.ceil(seconds / length)} {unit}"
    return f"forgotten in {math.ceil(seconds)} s"


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """A component that another one fails for, or waits for; `because` are those that it fails or waits for itself.

    `state` is null for one that nobody has registered or configured; `phase` is what its start is doing.
    """

    component_id: str
    state: ComponentState | None
    reason: str | None
    since: float | None
    phase: str | None
    because: Sequence[str]
    restart: RestartPlan | None = None
    evidence: Sequence[str] = ()


class Affected(msgspec.Struct, frozen=True):
    """A component that needs another one: directly, or (`through`) by way of a third."""

    component_id: str
    through: str | None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a component is in its state, since when (wall-clock seconds), and what depends on it, directly or not.

    `phase` is what its start is doing, if it is being started; `waiting_for` are dependencies on their way,
    `failed_dependencies` those that cannot be used, `cycle` the circle of dependencies that it is part of; `causes` are
    those dependencies and what is behind them, the first cause first. `evidence` are the last lines of its log;
    `history` its last changes, newest first. `affected` is what is without something it needs if the component stops,
    nearest first; `awaited_by` waits for it now. `health` is what its health checks say, `leaked` what was abandoned of
    it in the control plane and still runs there. `forced_past` are the dependencies that its last start was forced
    past, until it is stopped or started anew. In `forget_in` seconds it is forgotten; null: it is not going to be.
    `served` tells who serves those capabilities with fallbacks that it offers, is a fallback for, or has to do without.
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
    causes: Sequence[Cause] = ()
    affected: Sequence[Affected] = ()
    awaited_by: Sequence[str] = ()
    forced_past: Sequence[str] = ()
    forget_in: float | None = None
    served: Sequence[Service] = ()


_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def explain(
    why: Why,
    restart: RestartPlan | None,
    evidence: Sequence[str],
    history: Sequence[HistoryEntry],
    note: str | None = None,
    *,
    causes: Sequence[Cause] = (),
    affected: Sequence[Affected] = (),
    awaited_by: Sequence[str] = (),
    forget_in: float | None = None,
    served: Sequence[Service] = (),
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
        evidence=evidence,
        dependents=why.dependents,
        history=history,
        health=why.health,
        leaked=why.leaked,
        causes=causes,
        affected=affected,
        awaited_by=awaited_by,
        forced_past=why.forced_past,
        forget_in=forget_in,
        served=served,
    )


def with_evidence_of(found: Explanation, may_read: Callable[[str], bool]) -> Explanation:
    """*found* with what components have written to their logs only where the reader *may_read* the log of that one."""
    causes = [one if may_read(one.component_id) else msgspec.structs.replace(one, evidence=()) for one in found.causes]
    evidence = found.evidence if may_read(found.component_id) else ()
    return msgspec.structs.replace(found, evidence=evidence, causes=causes)


def chain(why: Why, look_up: Callable[[str], Why | None]) -> list[tuple[str, Why | None]]:
    """What is behind *why*, the first cause first, each component once; None for one that nobody knows."""
    found: dict[str, Why | None] = {}
    seen = {why.component_id}

    def follow(effect: Why) -> None:
        for name in blockers(effect):
            if name in seen or len(seen) > MOST_CAUSES:
                continue
            seen.add(name)
            cause = look_up(name)
            if cause is not None:
                follow(cause)
            found[name] = cause

    follow(why)
    return list(found.items())


def blockers(why: Why) -> list[str]:
    """The dependencies that keep a component from where it is to be: the failed ones first.

    What has failed by itself is not told to have failed because of a dependency that is down as well: then the reason,
    or the error of the last start, names it.
    """
    short_of = list(dict.fromkeys([*why.failed_dependencies, *why.waiting_for]))
    told = " ".join(filter(None, (why.reason, why.last_error)))
    if why.state is not ComponentState.FAILED or not told:
        return short_of
    words = set(_NAME.findall(told))
    return [name for name in short_of if name in words]


def affected_by(graph: Mapping[str, Sequence[str]], component_id: str) -> list[Affected]:
    """What needs *component_id* in *graph* (component -> its dependencies), nearest first. O(graph)."""
    needed_by: dict[str, list[str]] = {}
    for name, needs in graph.items():
        for need in needs:
            needed_by.setdefault(need, []).append(name)
    found: dict[str, Affected] = {}
    queue = [component_id]
    for name in queue:
        for dependent in needed_by.get(name, ()):
            if dependent != component_id and dependent not in found:
                found[dependent] = Affected(dependent, None if name == component_id else name)
                queue.append(dependent)
    return list(found.values())
