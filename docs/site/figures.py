"""The figures of the documentation, drawn from the tables of the code.

python docs/site/figures.py     draw them anew, into docs/assets

Here is where the boxes stand. What leads where comes from the code, so that a state which is new there has no place
here, and is noticed by tests/docs/test_figures.py.
"""

from collections.abc import Iterator
from pathlib import Path

from svg import Arrow, Box, Mark, Point, drawing, matrix

from tekton.a2a.task import NEXT, TaskState
from tekton.auth.roles import PERMISSIONS, Grants, RoleTable
from tekton.bus.bus import Policy
from tekton.bus.dead_letters import NAME as DEAD_LETTERS
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
    return drawing("How data flows through the control plane", _parts(PARTS), FLOWS, (6.5, 6))


def _parts(parts: dict[str, tuple[str, Point]]) -> dict[str, Box]:
    """Boxes for classes, with the names of their files, and for what is no class."""
    return {
        name: Box(
            name,
            *place,
            note=Path(file).name,
            width=148 if file or len(name) < 20 else 216,
            tone="plain" if file else "end",
        )
        for name, (file, place) in parts.items()
    }


WAYS: dict[str, tuple[str, Point]] = {
    "publish": ("", (2.2, 0)),
    "request": ("", (4.1, 0)),
    "LocalBus": ("bus/local_bus.py", (3.15, 1)),
    "Inbox": ("bus/inbox.py", (5.4, 1)),
    "Streams": ("bus/streams/streams.py", (1.6, 2)),
    "LiveBus": ("bus/live.py", (4.4, 2)),
    "Consumer": ("bus/streams/consumer.py", (0.8, 3.2)),
    "Replay": ("bus/streams/replay.py", (2.4, 3.2)),
    "consume": ("", (1.3, 4.4)),
    "replay": ("", (2.4, 4.4)),
    "subscribe": ("", (4.4, 4.4)),
}
"""What one calls of a bus, and the classes that a message goes through."""
POLICIES = {
    Policy.DISCONNECT: ("it ends", 3.4),
    Policy.DROP_OLDEST: ("it misses some", 4.4),
    Policy.CONFLATE: ("only the newest", 5.4),
}
"""What becomes of a subscription that does not keep up, and where that stands."""

WAYS_BETWEEN = (
    Arrow("publish", "LocalBus"),
    Arrow("request", "LocalBus"),
    Arrow("LocalBus", "Streams", "what a stream takes"),
    Arrow("LocalBus", "LiveBus", "everything else, at once"),
    Arrow("Streams", "LiveBus", "when it is on the disk"),
    Arrow("LiveBus", "Inbox", "answers"),
    Arrow("Inbox", "request", "the first"),
    Arrow("Streams", "Consumer"),
    Arrow("Consumer", "consume", "until acknowledged"),
    Arrow("Consumer", DEAD_LETTERS, "given up"),
    Arrow("Streams", "Replay"),
    Arrow("Replay", "replay", "all, in order"),
)


def messages() -> str:
    """What becomes of a message that is published, or is a request."""
    boxes = _parts(WAYS) | {DEAD_LETTERS: Box(DEAD_LETTERS, 0.05, 4.4, tone="bad")}
    boxes |= {policy.value: Box(policy.value, column, 3.2, note=note) for policy, (note, column) in POLICIES.items()}
    ends = [(policy.value, "subscribe") for policy in Policy]
    through = [arrow for name, end in ends for arrow in (Arrow("LiveBus", name), Arrow(name, end))]
    return drawing("The ways of a message", boxes, [*WAYS_BETWEEN, *through], (6.4, 5.4))


def roles() -> str:
    """What each role that is built in may do: everywhere, or a component for itself alone."""
    table = RoleTable()
    grants = {name: table.grants([name], "billing") for name in table.roles}
    rows = {permission: [_held(grants[name], permission) for name in grants] for permission in PERMISSIONS}
    legend: dict[Mark, str] = {"full": "granted", "part": "granted for its own component"}
    return matrix("What the roles permit", list(grants), rows, legend)


def _held(grants: Grants, permission: str) -> Mark:
    if permission == "messages:publish" and grants.publish and ">" not in grants.publish:
        return "part"
    return "full" if permission in grants.everywhere else "part" if grants.allows(permission, "billing") else ""


REMOTE: dict[str, tuple[str, Point]] = {
    "TaskManager": ("a2a/task_manager.py", (0.5, 0)),
    "RemoteAgents": ("utils/remote_agents/remote_agents.py", (0.5, 1)),
    "RemoteTask": ("utils/remote_agents/remote_task.py", (0.5, 2)),
    "CircuitBreaker": ("core/degradation/circuit_breaker.py", (0.5, 3)),
    "A2AClient": ("utils/remote_agents/a2a_client.py", (0.5, 4)),
    "AgentRegistry": ("a2a/agent_registry.py", (3.7, 0)),
    "AgentCards": ("utils/remote_agents/cards.py", (3.7, 1)),
    "CardSource": ("utils/remote_agents/card_source.py", (3.7, 2)),
    "CardVerifier": ("utils/remote_agents/card_verifier.py", (3.7, 3)),
    "GuardedHttp": ("utils/guarded_http.py", (2.1, 4)),
    "an agent of somebody else": ("", (2.1, 5)),
}
"""The classes by which an agent that is somewhere else is known and asked."""

REMOTE_CALLS = (
    Arrow("TaskManager", "AgentRegistry", "who can do it"),
    Arrow("TaskManager", "RemoteAgents", "the task"),
    Arrow("RemoteAgents", "RemoteTask"),
    Arrow("RemoteAgents", "AgentCards", "where and how"),
    Arrow("RemoteTask", "CircuitBreaker", "step by step"),
    Arrow("CircuitBreaker", "A2AClient", "unless it keeps failing"),
    Arrow("A2AClient", "GuardedHttp"),
    Arrow("AgentCards", "AgentRegistry", "what it can do"),
    Arrow("AgentCards", "CardSource", "when it has grown old"),
    Arrow("CardSource", "CardVerifier", "signature"),
    Arrow("CardSource", "GuardedHttp"),
    Arrow("GuardedHttp", "an agent of somebody else", "public addresses only"),
)


def remote_agents() -> str:
    """How an agent that is somewhere else is known and asked."""
    return drawing("How an agent of somebody else is asked", _parts(REMOTE), REMOTE_CALLS, (5.2, 6))


_FIGURES = (
    ("lifecycle", lifecycle),
    ("task", task),
    ("breaker", breaker),
    ("data-flow", data_flow),
    ("messages", messages),
    ("roles", roles),
    ("remote-agents", remote_agents),
)


def figures() -> Iterator[tuple[Path, str]]:
    """The files, and what is in them."""
    for name, draw in _FIGURES:
        yield ASSETS / f"{name}.svg", draw()


if __name__ == "__main__":
    for path, text in figures():
        path.write_text(text)
