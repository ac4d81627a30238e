"""The figures of the documentation, drawn from the tables of the code.

python docs/site/figures.py     draw them anew, into docs/assets

Here is where the boxes stand. What leads where comes from the code, so that a state which is new there has no place
here, and is noticed by tests/docs/test_figures.py.
"""

from collections.abc import Iterator
from pathlib import Path

from svg import Arrow, Box, Point, drawing

from tekton.a2a.task import NEXT, TaskState
from tekton.core.degradation.breaker_states import TRANSITIONS
from tekton.core.lifecycle import ENDED, USABLE, VALID_TRANSITIONS, ComponentState

ASSETS = Path(__file__).resolve().parents[1] / "assets"

LIFECYCLE = {
    "unknown": (0, 0),
    "registering": (1, 0),
    "initializing": (2, 0),
    "starting": (3, 0),
    "ready": (4, 0),
    "degraded": (4, 1),
    "failed": (2, 1),
    "stopped": (1, 2),
    "stopping": (3, 2),
}
"""Where the states of a component stand."""

TASK = {
    "submitted": (2, 0),
    "input_required": (0.9, 1),
    "working": (2, 1),
    "auth_required": (3.1, 1),
    "completed": (2, 2),
}
"""Where the states of a task stand, but for those in which it was not done."""
BENDS = {("submitted", "not done"): (-0.5, 0.3), ("working", "not done"): (1.45, 1.9)}


def lifecycle() -> str:
    """The states of a component, and where each leads."""
    boxes = {state.value: Box(state.value, *LIFECYCLE[state.value], tone=_tone(state)) for state in VALID_TRANSITIONS}
    arrows = [Arrow(state.value, after.value) for state, targets in VALID_TRANSITIONS.items() for after in targets]
    return drawing("The lifecycle of a component", boxes, arrows, (5, 3))


def _tone(state: ComponentState) -> str:
    if state in USABLE:
        return "good"
    return {ComponentState.FAILED: "bad"}.get(state, "end" if state in ENDED else "plain")


def task() -> str:
    """The states of a task, and where each leads. Those that the same states lead to are one box."""
    steps = {(before, after) for changes in NEXT.values() for before, after in changes.items() if before != after}
    sources = {state: frozenset(one for one, after in steps if after is state) for state in TaskState}
    undone = [state for state in TaskState if state.over and sources[state] == sources[TaskState.FAILED]]
    names = {state: "not done" if state in undone else state.value for state in TaskState}
    boxes = {
        name: Box(name, *TASK[name], tone=_task_tone(state)) for state, name in names.items() if state not in undone
    }
    boxes["not done"] = Box(" · ".join(undone), 2, 3, width=560, tone="bad")
    arrows = sorted({(names[before], names[after]) for before, after in steps})
    return drawing("The states of a task", boxes, (Arrow(*pair, via=BENDS.get(pair)) for pair in arrows), (5, 4))


def _task_tone(state: TaskState) -> str:
    return "good" if state is TaskState.COMPLETED else "end" if state.waiting else "plain"


BREAKER = {"closed": (0, 0.2), "open": (3.2, 0.2), "half_open": (1.6, 2.0), "forced_open": (1.6, 3.6)}
"""Where the states of a circuit breaker stand."""
BREAKER_TONES = {"closed": "good", "half_open": "end", "open": "bad", "forced_open": "bad"}


def breaker() -> str:
    """The states of a circuit breaker, and what leads from one to the next."""
    events: dict[tuple[str, str], list[str]] = {}
    for (before, event), after in TRANSITIONS.items():
        events.setdefault((before.value, after.value), []).append(event.value)
    boxes = {name: Box(name, *BREAKER[name], tone=BREAKER_TONES[name]) for name in dict.fromkeys(sum(events, ()))}
    arrows = [Arrow(*pair, text=", ".join(names)) for pair, names in events.items()]
    return drawing("The states of a circuit breaker", boxes, arrows, (4.2, 4.5))


PARTS: dict[str, tuple[str, Point]] = {
    "tekton, components, programs": ("", (1.0, 0)),
    "Ingress": ("gateway/ingress.py", (0.4, 1)),
    "Router": ("gateway/router.py", (1.7, 1)),
    "ComponentRegistry": ("core/component_lifecycle/registry.py", (3.3, 1)),
    "Ledger": ("core/component_lifecycle/ledger.py", (3.3, 2)),
    "CommitQueue": ("core/component_lifecycle/commit.py", (3.3, 3)),
    "SqliteStore": ("core/component_lifecycle/sqlite_store.py", (3.3, 4)),
    "CommittedView": ("core/component_lifecycle/view.py", (1.7, 3)),
    "ChangeFeed": ("core/events.py", (1.7, 4)),
    "watchers, callers, discovery": ("", (1.7, 5)),
    "Supervisor": ("supervisor/supervisor.py", (4.9, 1)),
    "guard": ("supervisor/guard.py", (4.9, 2)),
    "processes": ("", (4.9, 3)),
    "Recovery": ("core/recovery.py", (4.9, 4)),
}
"""Each class (the guard is a program) that data goes through with its file, whoever is outside, and where it stands."""

FLOWS = (
    Arrow("tekton, components, programs", "Ingress", "one port"),
    Arrow("Ingress", "Router"),
    Arrow("Router", "ComponentRegistry", "command"),
    Arrow("ComponentRegistry", "Ledger", "checks, applies"),
    Arrow("Ledger", "CommitQueue", "batches"),
    Arrow("CommitQueue", "SqliteStore", "transaction, fsync"),
    Arrow("CommitQueue", "CommittedView", "durable"),
    Arrow("CommittedView", "Router", "reads"),
    Arrow("CommittedView", "ChangeFeed"),
    Arrow("ChangeFeed", "watchers, callers, discovery"),
    Arrow("ChangeFeed", "Recovery", "what has failed", (3.3, 5.3)),
    Arrow("Router", "Supervisor", "start, stop", (3.3, -0.3)),
    Arrow("Supervisor", "ComponentRegistry", "states"),
    Arrow("Supervisor", "guard", "spawn, signal"),
    Arrow("guard", "processes", "owns"),
    Arrow("Recovery", "Supervisor", "restart", (6.6, 2.5)),
)


def data_flow() -> str:
    """What becomes of a request, and of a process."""
    boxes = {
        name: Box(
            name,
            *place,
            note=Path(file).name,
            width=148 if file or len(name) < 20 else 216,
            tone="plain" if file else "end",
        )
        for name, (file, place) in PARTS.items()
    }
    return drawing("How data flows through the control plane", boxes, FLOWS, (6.5, 6))


_FIGURES = (("lifecycle", lifecycle), ("task", task), ("breaker", breaker), ("data-flow", data_flow))


def figures() -> Iterator[tuple[Path, str]]:
    """The files, and what is in them."""
    for name, draw in _FIGURES:
        yield ASSETS / f"{name}.svg", draw()


if __name__ == "__main__":
    for path, text in figures():
        path.write_text(text)
