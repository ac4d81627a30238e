"""The registry's head (`ComponentTable`) beside the same steps in Python and in libraries.

    python benches/table.py

*tuned Python* is a dict of slotted records whose states carry bit masks, checked by `mask & bit`: what one writes
when speed matters. *seed style* is the obvious way: states as text, `ComponentState(text)`, a dict of lists. Every
contender finds the instance by id, compares its UUID, and does the step; times are per step, over 10,000 components.
*transitions* is the library of that name, one model per component. Timers as heartbeats are cancelled and started again
by each beat, in uvloop, or moved in a SortedSet of deadlines.
"""

import array
import random
import sys
import timeit
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import uvloop
from sortedcontainers import SortedSet  # type: ignore[import-untyped]
from transitions import Machine

from _measure import Contender, Gate, Outcome, compare, parser, report, verdict
from tekton import _native
from tekton.core.lifecycle import STATES, VALID_TRANSITIONS, ComponentState, can_transition

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


def per_step(outcomes: dict[str, Outcome], steps: int = COMPONENTS) -> dict[str, Outcome]:
    return {name: Outcome(outcome.seconds / steps, outcome.ratio, outcome.spread) for name, outcome in outcomes.items()}


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


def library_transitions(pairs: list[tuple[str, str]]) -> bool:
    """Beside `transitions`, whose models are too heavy for ten thousand of them."""
    few = pairs[:100]
    table, models = make_table(few), make_models(few)
    calls = received(few)

    def native() -> None:
        step, target = table.transition, DEGRADED.index if table.state(0) == READY.index else READY.index
        for name, instance in calls:
            step(name, instance, target)

    def library() -> None:
        ready = next(iter(models.values()))[1].state == "ready"
        for name, instance in calls:
            held, model = models[name]
            if held == instance:
                (model.to_degraded if ready else model.to_ready)()

    contenders = {"tekton transition": native, "transitions": library}
    outcomes = per_step(compare(contenders, "tekton transition"), len(calls))
    return report(f"fused transition, {len(few)} components", outcomes, (Gate("transitions", 80),))


def make_models(pairs: list[tuple[str, str]]) -> dict[str, tuple[str, Any]]:
    """By name: the instance, and an object that the library has given a state and a method per transition."""
    models = {name: (instance, type("Model", (), {})()) for name, instance in pairs}
    steps = [
        {"trigger": f"to_{target.value}", "source": state.value, "dest": target.value}
        for state, targets in VALID_TRANSITIONS.items()
        for target in targets
    ]
    Machine(
        [model for _, model in models.values()],
        states=[state.value for state in STATES],
        transitions=steps,
        initial="ready",
        auto_transitions=False,
    )
    return models


def single_checks() -> bool:
    """One check of two states that are at hand: no call into the extension could be faster than the first of these."""
    lists = {state: list(targets) for state, targets in VALID_TRANSITIONS.items()}

    def fifty(statement: str, **names: object) -> Contender:
        setup = "".join(f"{name} = {name}_\n" for name in names)
        timer = timeit.Timer("\n".join([statement] * 50), setup, globals={f"{k}_": v for k, v in names.items()})
        return lambda: timer.timeit(200)

    contenders = {
        "tekton mask & bit": fifty("a.mask & b.bit", a=READY, b=DEGRADED),
        "Enum in a dict of lists": fifty("b in legal[a]", a=READY, b=DEGRADED, legal=lists),
        "can_transition": fifty("can(a, b)", a=READY, b=DEGRADED, can=can_transition),
    }
    outcomes = per_step(compare(contenders, "tekton mask & bit"), 50 * 200)
    return report("one check", outcomes, (Gate("Enum in a dict of lists", 5),))


def heartbeats(pairs: list[tuple[str, str]]) -> None:
    """Each peer by itself: the memory that others walk through is not theirs to pay for."""
    table, tuned, seed = make_table(pairs), TunedPython(pairs), SeedStyle(pairs)
    calls = received(pairs)

    def beat_all(touch: Callable[[str, str, int], object]) -> Callable[[], None]:
        def run() -> None:
            for name, instance in calls:
                touch(name, instance, 7)

        return run

    for others, gates in (
        ({"tuned Python": beat_all(tuned.touch), "seed style": beat_all(seed.touch)}, (Gate("tuned Python", 1.3),)),
        ({"uvloop call_later": uvloop_timers(pairs, calls)}, (Gate("uvloop call_later", 15),)),
        ({"SortedSet": sorted_deadlines(pairs, calls)}, (Gate("SortedSet", 40),)),
    ):
        outcomes = compare({"tekton touch": beat_all(table.touch), **others}, "tekton touch")
        report(f"heartbeat by name and instance, {len(pairs):,} components", per_step(outcomes, len(pairs)), gates)


def uvloop_timers(pairs: list[tuple[str, str]], calls: list[tuple[str, str]]) -> Contender:
    """A timer per name; the turn of the loop at the end of each run is what frees the cancelled ones."""
    loop = uvloop.new_event_loop()
    timers = {name: loop.call_later(30, print, name) for name, _ in pairs}

    async def beat() -> None:
        for name, _ in calls:
            timers[name].cancel()
            timers[name] = loop.call_later(30, print, name)

    return lambda: loop.run_until_complete(beat())


def sorted_deadlines(pairs: list[tuple[str, str]], calls: list[tuple[str, str]]) -> Contender:
    deadlines = {name: 0 for name, _ in pairs}
    by_deadline = SortedSet((0, name) for name, _ in pairs)

    def beat() -> None:
        for name, _ in calls:
            deadline = deadlines[name]
            by_deadline.remove((deadline, name))
            by_deadline.add((deadline + 1, name))
            deadlines[name] = deadline + 1

    return beat


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


def bulk_checks(count: int) -> bool:
    """The peer of last resort is the copy of the pairs: what any answer costs that reads and writes memory once."""
    import numpy as np

    pairs = bytes(random.Random(4).choices(range(len(STATES)), k=2 * count))
    masks = np.array([[bool(a.mask & b.bit) for b in STATES] for a in STATES]).ravel()
    flat = np.frombuffer(pairs, dtype=np.uint8)
    contenders = {
        "tekton transitions_legal": lambda: _native.ComponentTable.transitions_legal(pairs),
        "numpy take": lambda: masks.take(flat[::2] * np.uint8(len(STATES)) + flat[1::2]),
        "copy of the pairs": lambda: pairs[1:],
    }
    outcomes = per_step(compare(contenders, "tekton transitions_legal"), count)
    return report(f"bulk transition checks, {count:,} pairs, each", outcomes, (Gate("numpy take", 30),))


def main() -> int:
    parser(__doc__).parse_args()
    pairs = make_pairs()
    single_checks()
    transitions(pairs)
    library_transitions(pairs)
    heartbeats(pairs[:1000])
    heartbeats(pairs)
    bulk_heartbeats(pairs)
    ticks(pairs)
    for count in (100_000, 1_000_000):
        bulk_checks(count)
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
