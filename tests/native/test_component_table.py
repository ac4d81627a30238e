"""The component table against a dict, and shared between threads."""

import array
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tekton._native import TRANSITION_MASKS, ComponentTable
from tekton.core.lifecycle import ENDED, STATES, ComponentState, can_transition
from tekton.utils.tekton_errors import ComponentExistsError, IllegalTransitionError, StaleInstanceError

UNKNOWN, READY, DEGRADED = ComponentState.UNKNOWN.index, ComponentState.READY.index, ComponentState.DEGRADED.index
IDS = st.sampled_from(["hermes", "engram", "a-name-that-is-longer-than-what-fits-into-the-record-itself"])
UUIDS = [str(uuid.UUID(int=number * 0x0123_4567_89AB_CDEF_0123)) for number in range(1, 5)]
INSTANCES = st.sampled_from(UUIDS)
STATE_INDICES = st.integers(0, len(STATES) - 1)
NOT_UUIDS = ["", "hermes", UUIDS[0][:-1], UUIDS[0].replace("-", ""), f"{{{UUIDS[0]}}}", UUIDS[0][:-1] + "g", "é" * 18]


@dataclass(slots=True)
class Held:
    slot: int
    state: int
    timeout: int = 0
    deadline: int | None = None


class TableMachine(RuleBasedStateMachine):
    """Every operation on a table and on a dict, compared."""

    def __init__(self) -> None:
        super().__init__()
        self.table = ComponentTable()
        self.model: dict[tuple[str, str], Held] = {}
        self.now = 0

    def live(self, component_id: str) -> list[str]:
        return [
            instance
            for (name, instance), held in self.model.items()
            if name == component_id and STATES[held.state] not in ENDED
        ]

    def armed(self) -> list[Held]:
        return [held for held in self.model.values() if held.deadline is not None]

    @rule(component_id=IDS, instance=INSTANCES, state=STATE_INDICES, limit=st.integers(1, 3))
    def add(self, component_id: str, instance: str, state: int, limit: int) -> None:
        live = self.live(component_id)
        if (component_id, instance) in self.model:
            with pytest.raises(ValueError, match="in the table"):
                self.table.add(component_id, instance, state, limit)
        elif len(live) >= limit:
            with pytest.raises(ComponentExistsError) as caught:
                self.table.add(component_id, instance, state, limit)
            assert (caught.value.component_id, caught.value.instance_uuid) == (component_id, live[0])
        else:
            slot = self.table.add(component_id, instance, state, limit)
            assert slot not in {held.slot for held in self.model.values()}
            self.model[component_id, instance] = Held(slot, state)

    @rule(slot=st.integers(0, 6))
    def remove(self, slot: int) -> None:
        found = [key for key, held in self.model.items() if held.slot == slot]
        if found:
            self.table.remove(slot)
            del self.model[found[0]]
        else:
            with pytest.raises(IndexError):
                self.table.remove(slot)

    @rule(component_id=IDS, instance=INSTANCES, state=STATE_INDICES)
    def transition(self, component_id: str, instance: str, state: int) -> None:
        held = self.model.get((component_id, instance))
        if held is None:
            with pytest.raises(StaleInstanceError) as stale:
                self.table.transition(component_id, instance, state)
            assert (stale.value.component_id, stale.value.instance_uuid) == (component_id, instance)
        elif can_transition(STATES[held.state], STATES[state]):
            assert self.table.transition(component_id, instance, state) == (held.slot, held.state)
            held.state = state
        else:
            with pytest.raises(IllegalTransitionError) as illegal:
                self.table.transition(component_id, instance, state)
            error, current = illegal.value, STATES[held.state]
            assert (error.component_id, error.current, error.requested) == (
                component_id,
                current.value,
                STATES[state].value,
            )
            assert error.legal == [target.value for target in STATES if can_transition(current, target)]

    @rule(slot=st.integers(0, 6), state=STATE_INDICES)
    def set_state(self, slot: int, state: int) -> None:
        found = [held for held in self.model.values() if held.slot == slot]
        if found:
            assert self.table.set_state(slot, state) == found[0].state
            found[0].state = state
        else:
            with pytest.raises(IndexError):
                self.table.set_state(slot, state)

    @rule(slot=st.integers(0, 6), timeout=st.integers(0, 30))
    def arm(self, slot: int, timeout: int) -> None:
        found = [held for held in self.model.values() if held.slot == slot]
        if found:
            self.table.arm(slot, timeout, self.now)
            found[0].timeout, found[0].deadline = timeout, self.now + timeout
        else:
            with pytest.raises(IndexError):
                self.table.arm(slot, timeout, self.now)

    @rule(slot=st.integers(0, 6))
    def disarm(self, slot: int) -> None:
        self.table.disarm(slot)
        for held in self.model.values():
            if held.slot == slot:
                held.deadline = None

    @rule(component_id=IDS, instance=INSTANCES)
    def touch(self, component_id: str, instance: str) -> None:
        held = self.model.get((component_id, instance))
        if held is None:
            known = any(name == component_id for name, _ in self.model)
            assert self.table.touch(component_id, instance, self.now) == (-2 if known else -1)
        else:
            assert self.table.touch(component_id, instance, self.now) == held.state
            self._beat(held)

    @rule(slots=st.lists(st.integers(0, 6), unique=True))
    def touch_slots(self, slots: list[int]) -> None:
        armed = [held for held in self.armed() if held.slot in slots]
        data = array.array("I", slots).tobytes()
        assert self.table.touch_slots(memoryview(data), self.now) == len(armed)
        for held in armed:
            self._beat(held)

    def _beat(self, held: Held) -> None:
        if held.deadline is not None:
            held.deadline = max(held.deadline, self.now + held.timeout)

    @rule(ticks=st.integers(0, 10))
    def wait(self, ticks: int) -> None:
        self.now += ticks

    @rule(ticks=st.integers(0, 10))
    def extend(self, ticks: int) -> None:
        self.table.extend(ticks)
        for held in self.armed():
            held.deadline = (held.deadline or 0) + ticks

    @rule()
    def expire(self) -> None:
        due = [held for held in self.armed() if held.deadline is not None and held.deadline <= self.now]
        assert self.table.due(self.now) == len(due)
        assert self.table.expire(self.now) == sorted(held.slot for held in due)
        for held in due:
            held.deadline = None

    @invariant()
    def agrees(self) -> None:
        assert len(self.table) == len(self.model)
        for component_id in {name for name, _ in self.model}:
            slots = [held.slot for (name, _), held in self.model.items() if name == component_id]
            assert self.table.slots(component_id) == slots
        for (component_id, instance), held in self.model.items():
            assert self.table.find(component_id, instance) == held.slot
            assert self.table.identity(held.slot) == (component_id, instance)
            assert self.table.state(held.slot) == held.state
            assert self.table.armed(held.slot) == (held.deadline is not None)
        bound, deadlines = (
            self.table.next_deadline(),
            [held.deadline for held in self.armed() if held.deadline is not None],
        )
        assert not deadlines or (bound is not None and bound <= min(deadlines))


TestTableFollowsTheModel = TableMachine.TestCase
TestTableFollowsTheModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.uuids(), st.uuids())
def test_instances_are_told_apart_by_all_of_their_uuid(first: uuid.UUID, second: uuid.UUID) -> None:
    table = ComponentTable()
    slot = table.add("hermes", str(first).upper(), UNKNOWN)

    assert table.find("hermes", str(first)) == slot
    assert table.find("hermes", str(second)) == (slot if first == second else -1)
    assert table.identity(slot) == ("hermes", str(first))


@pytest.mark.parametrize("text", NOT_UUIDS)
def test_what_is_no_uuid_is_refused_by_add_and_unknown_elsewhere(text: str) -> None:
    table = ComponentTable()
    table.add("hermes", UUIDS[0], READY)

    with pytest.raises(ValueError, match="UUID"):
        table.add("engram", text, UNKNOWN)
    assert table.find("hermes", text) == -1
    assert table.touch("hermes", text, 0) == -2
    assert table.touch("engram", text, 0) == -1
    with pytest.raises(StaleInstanceError):
        table.transition("hermes", text, DEGRADED)
    assert len(table) == 1


def test_a_state_that_does_not_exist_is_a_value_error_and_changes_nothing() -> None:
    table = ComponentTable()
    slot = table.add("hermes", UUIDS[0], READY)

    with pytest.raises(ValueError, match="9"):
        table.transition("hermes", UUIDS[0], 9)
    with pytest.raises(ValueError, match="9"):
        table.set_state(slot, 9)
    with pytest.raises(ValueError, match="200"):
        table.add("engram", UUIDS[1], 200)
    assert table.state(slot) == READY
    assert len(table) == 1


def test_an_ended_instance_makes_room_for_a_new_one() -> None:
    table = ComponentTable()
    old = table.add("hermes", UUIDS[0], ComponentState.FAILED.index)

    new = table.add("hermes", UUIDS[1], UNKNOWN)

    assert table.slots("hermes") == [old, new]


def test_a_slot_is_used_again_without_the_lease_of_its_former_holder() -> None:
    table = ComponentTable()
    slot = table.add("hermes", UUIDS[0], READY)
    table.arm(slot, 1, 0)
    table.remove(slot)

    assert table.add("engram", UUIDS[1], READY) == slot
    assert not table.armed(slot)
    assert table.expire(100) == []


def test_a_deadline_is_due_at_its_tick_and_not_before() -> None:
    table = ComponentTable()
    slot = table.add("hermes", UUIDS[0], READY)
    table.arm(slot, 30, 100)

    assert table.expire(129) == []
    assert table.next_deadline() == 130
    assert table.expire(130) == [slot]
    assert table.next_deadline() is None


def test_a_late_touch_does_not_take_granted_time_away() -> None:
    table = ComponentTable()
    slot = table.add("hermes", UUIDS[0], READY)
    table.arm(slot, 10, 0)
    table.extend(100)

    table.touch("hermes", UUIDS[0], 5)

    assert table.due(109) == 0
    assert table.due(110) == 1


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_slots_come_in_any_contiguous_buffer(kind: type[bytes]) -> None:
    table = ComponentTable()
    slot = table.add("hermes", UUIDS[0], READY)
    table.arm(slot, 10, 0)
    data = slot.to_bytes(4, "little") + (99).to_bytes(4, "little") + b"\xff\xff\xff\xff" + b"\0"

    assert table.touch_slots(kind(data), 50) == 1
    assert table.next_deadline() == 10
    assert table.due(59) == 0
    assert table.due(60) == 1


def test_slots_come_in_a_buffer_of_numbers() -> None:
    table = ComponentTable()
    slot = table.add("hermes", UUIDS[0], READY)
    table.arm(slot, 10, 0)

    assert table.touch_slots(array.array("I", [slot, 7]), 50) == 1
    assert table.due(59) == 0


def test_what_is_no_buffer_of_slots_is_refused() -> None:
    table = ComponentTable()
    with pytest.raises(TypeError):
        table.touch_slots([1, 2], 0)  # type: ignore[arg-type]
    with pytest.raises(BufferError):
        table.touch_slots(array.array("d", [1.0]), 0)


def test_the_masks_are_those_of_the_lifecycle() -> None:
    assert tuple(state.mask for state in STATES) == TRANSITION_MASKS


def test_bulk_checks_agree_with_single_ones() -> None:
    indices = [*range(len(STATES)), 9, 15, 16, 255]
    pairs = bytes(index for a in indices for b in indices for index in (a, b))

    answers = ComponentTable.transitions_legal(pairs)

    legal = [
        a < len(STATES) and b < len(STATES) and can_transition(STATES[a], STATES[b]) for a in indices for b in indices
    ]
    assert list(answers) == legal
    assert ComponentTable.transitions_legal(pairs[:3]) == answers[:1]


@pytest.fixture
def busy_threads() -> int:
    """Threads that take turns often."""
    return 4


def test_threads_share_a_table(busy_threads: int) -> None:
    table = ComponentTable()
    shared = table.add("shared", UUIDS[0], READY)
    start = threading.Barrier(busy_threads)

    def flip(target: int) -> int:
        try:
            table.transition("shared", UUIDS[0], target)
        except IllegalTransitionError:
            return 0
        return 1

    def work(number: int) -> tuple[int, int]:
        start.wait(5)
        name, flips = f"own-{number}", [0, 0]
        for turn in range(300):
            instance = str(uuid.UUID(int=number << 64 | turn))
            slot = table.add(name, instance, READY)
            table.arm(slot, 10, turn)
            assert table.touch(name, instance, turn) == READY
            assert table.identity(slot) == (name, instance)
            flips[0] += flip(DEGRADED)
            flips[1] += flip(READY)
            table.expire(turn)
            if turn % 3:
                table.remove(slot)
            else:
                table.set_state(slot, ComponentState.FAILED.index)
        return flips[0], flips[1]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(busy_threads) as pool:
            flips = [future.result(20) for future in [pool.submit(work, n) for n in range(busy_threads)]]
    finally:
        sys.setswitchinterval(interval)

    down, up = sum(pair[0] for pair in flips), sum(pair[1] for pair in flips)
    assert down - up == (table.state(shared) == DEGRADED)
    assert len(table) == 1 + busy_threads * 100
    assert all(len(table.slots(f"own-{number}")) == 100 for number in range(busy_threads))
