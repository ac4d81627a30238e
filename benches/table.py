"""The registry's head (`ComponentTable`) beside the same steps in Python.

    python benches/table.py

*tuned Python* is a dict of slotted records whose states carry bit masks, checked by `mask & bit`: what one writes
when speed matters. *seed style* is the obvious way: states as text, `ComponentState(text)`, a dict of lists. Every
contender finds the instance by id, compares its UUID, and does the step; times are per step, over 10,000 components.
Exits with 1 when a gate is missed.
"""

import array
import random
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from _measure import Gate, Outcome, compare, report
from tekton import _native
from tekton.core.lifecycle import STATES, VALID_TRANSITIONS, ComponentState

COMPONENTS = 10_000
TIMEOUT = 120  # ticks
READY, DEGRADED = ComponentState.READY, ComponentState.DEGRADED


@dataclass(slots=True)
class Record:
    """An instance, as tuned Python keeps it."""

    slot: int
    instance_uuid: str
    state: ComponentState
    deadline: int = 0


class TunedPython:
    """The table in Python, written for speed."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.records = {name: Record(slot, instance, READY) for slot, (name, instance) in enumerate(pairs)}

    def transition(self, component_id: str, instance_uuid: str, state: ComponentState) -> tuple[int, ComponentState]:
        record = self.records.get(component_id)
        if record is None or record.instance_uuid != instance_uuid:
            raise KeyError(component_id)
        previous = record.state
        if not previous.mask & state.bit:
            raise ValueError(state)
        record.state = state
        return record.slot, previous

    def touch(self, component_id: str, instance_uuid: str, now: int) -> int:
        record = self.records.get(component_id)
        if record is None:
            return -1
        if record.instance_uuid != instance_uuid:
            return -2
        record.deadline = now + TIMEOUT
        return record.state.index


class SeedStyle:
    """The table in Python, written without a thought for speed."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.components = {
            name: {"instance_uuid": instance, "state": READY.value, "last_heartbeat": 0} for name, instance in pairs
        }

    def transition(self, component_id: str, instance_uuid: str, state: str) -> tuple[bool, str]:
        if component_id not in self.components:
            return False, f"component {component_id} not found"
        component = self.components[component_id]
        if component["instance_uuid"] != instance_uuid:
            return False, f"instance {instance_uuid} not found"
        current = ComponentState(component["state"])
        target = ComponentState(state)
        if target not in VALID_TRANSITIONS[current]:
            return False, f"illegal transition {current.value} -> {target.value}"
        component["state"] = target.value
        return True, "updated"

    def touch(self, component_id: str, instance_uuid: str, now: int) -> bool:
        if component_id not in self.components:
            return False
        component = self.components[component_id]
        if component["instance_uuid"] != instance_uuid:
            return False
        component["last_heartbeat"] = now
        return True


def make_pairs() -> list[tuple[str, str]]:
    rng = random.Random(1)
    pairs = [(f"component-{number}", str(uuid.UUID(int=rng.getrandbits(128)))) for number in range(COMPONENTS)]
    return rng.sample(pairs, len(pairs))


def make_table(pairs: list[tuple[str, str]]) -> _native.ComponentTable:
    table = _native.ComponentTable()
    for name, instance in pairs:
        table.arm(table.add(name, instance, READY.index), TIMEOUT, 0)
    return table


def received(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs as they come out of a parser: equal, but not the objects that were registered."""
    return [
        ("".join(list(name)), "".join(list(instance))) for name, instance in random.Random(2).sample(pairs, len(pairs))
    ]


def per_step(outcomes: dict[str, Outcome]) -> dict[str, Outcome]:
    return {name: Outcome(outcome.seconds / COMPONENTS, outcome.ratio) for name, outcome in outcomes.items()}


def transitions(pairs: list[tuple[str, str]]) -> bool:
    table, tuned, seed = make_table(pairs), TunedPython(pairs), SeedStyle(pairs)
    calls = received(pairs)

    def native() -> None:
        step, target = table.transition, DEGRADED.index if table.state(0) == READY.index else READY.index
        for name, instance in calls:
            step(name, instance, target)

    def python() -> None:
        step = tuned.transition
        target = DEGRADED if next(iter(tuned.records.values())).state is READY else READY
        for name, instance in calls:
            step(name, instance, target)

    def naive() -> None:
        step = seed.transition
        target = "degraded" if next(iter(seed.components.values()))["state"] == "ready" else "ready"
        for name, instance in calls:
            step(name, instance, target)

    outcomes = compare({"tekton transition": native, "tuned Python": python, "seed style": naive}, "tekton transition")
    return report("fused transition", per_step(outcomes), (Gate("tuned Python", 2), Gate("seed style", 15)))


def heartbeats(pairs: list[tuple[str, str]]) -> bool:
    table, tuned, seed = make_table(pairs), TunedPython(pairs), SeedStyle(pairs)
    calls = received(pairs)

    def beat_all(touch: Callable[[str, str, int], object]) -> Callable[[], None]:
        def run() -> None:
            for name, instance in calls:
                touch(name, instance, 7)

        return run

    contenders = {
        "tekton touch": beat_all(table.touch),
        "tuned Python": beat_all(tuned.touch),
        "seed style": beat_all(seed.touch),
    }
    outcomes = compare(contenders, "tekton touch")
    return report("heartbeat by name and instance", per_step(outcomes), (Gate("tuned Python", 1.3),))


def bulk_heartbeats(pairs: list[tuple[str, str]]) -> bool:
    import numpy as np

    table = make_table(pairs)
    slots = array.array("I", random.Random(3).sample(range(COMPONENTS), COMPONENTS))
    numbers = np.frombuffer(slots, dtype=np.uint32)
    deadlines = np.zeros(COMPONENTS, dtype=np.uint32)

    def by_numpy() -> None:
        deadlines[numbers] = 7 + TIMEOUT

    data = slots.tobytes()
    contenders = {"tekton touch_slots": lambda: table.touch_slots(data, 7), "numpy store": by_numpy}
    outcomes = compare(contenders, "tekton touch_slots")
    return report("heartbeats in bulk", per_step(outcomes), (Gate("numpy store", 1.2),))


def ticks(pairs: list[tuple[str, str]]) -> bool:
    table, tuned = make_table(pairs), TunedPython(pairs)

    def sweep() -> list[str]:
        return [name for name, record in tuned.records.items() if record.deadline < 0]

    outcomes = compare({"tekton expire": lambda: table.expire(1), "Python sweep": sweep}, "tekton expire")
    return report(f"a tick in which nothing is due, {COMPONENTS:,} leases", outcomes, (Gate("Python sweep", 40),))


def bulk_checks() -> bool:
    import numpy as np

    pairs = bytes(random.Random(4).choices(range(len(STATES)), k=2_000_000))
    masks = np.array([[bool(a.mask & b.bit) for b in STATES] for a in STATES]).ravel()
    flat = np.frombuffer(pairs, dtype=np.uint8)
    contenders = {
        "tekton transitions_legal": lambda: _native.ComponentTable.transitions_legal(pairs),
        "numpy take": lambda: masks.take(flat[::2] * np.uint8(len(STATES)) + flat[1::2]),
    }
    outcomes = compare(contenders, "tekton transitions_legal")
    scaled = {name: Outcome(outcome.seconds / 1_000_000, outcome.ratio) for name, outcome in outcomes.items()}
    return report("bulk transition checks, a million pairs, each", scaled)


def main() -> int:
    pairs = make_pairs()
    parts = (transitions, heartbeats, bulk_heartbeats, ticks)
    verdicts = [part(pairs) for part in parts] + [bulk_checks()]
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
