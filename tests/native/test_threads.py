"""The native classes under many threads: every outcome is one that some serial order of the calls has."""

import random
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from tekton._native import ComponentTable, DependencyGraph, Message, MessageContext, SubjectTable, TimerWheel, uuid7
from tekton.core.lifecycle import STATES, ComponentState
from tekton.utils.tekton_errors import ComponentExistsError, IllegalTransitionError, StaleInstanceError

T = TypeVar("T")
THREADS = 8
STEPS = 400
READY, DEGRADED = ComponentState.READY.index, ComponentState.DEGRADED.index


@pytest.fixture(autouse=True)
def switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(work: Callable[[int], T]) -> list[T]:
    """Run `work(0)`, `work(1)`, ... in a thread each, all released at the same moment."""
    barrier = threading.Barrier(THREADS)

    def run(number: int) -> T:
        barrier.wait(timeout=30)
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


def instance_of(number: int) -> str:
    return str(uuid.UUID(int=number))


def add(table: ComponentTable, name: str, instance: str, rng: random.Random) -> object:
    try:
        table.add(name, instance, rng.randrange(len(STATES)), rng.randrange(1, 3))
    except (ComponentExistsError, ValueError) as error:
        return str(error)
    return "added"


def transition(table: ComponentTable, name: str, instance: str, rng: random.Random) -> object:
    try:
        return table.transition(name, instance, rng.randrange(len(STATES)))[1]
    except (StaleInstanceError, IllegalTransitionError) as error:
        return str(error)


def arm(table: ComponentTable, name: str, instance: str, _rng: random.Random) -> object:
    slot = table.find(name, instance)
    if slot < 0:
        return None
    table.arm(slot, 10, 0)
    return table.identity(slot), table.state(slot), table.armed(slot)


def remove(table: ComponentTable, name: str, instance: str, _rng: random.Random) -> object:
    slot = table.find(name, instance)
    if slot >= 0:
        table.remove(slot)
    return len(table.slots(name))


def play(table: ComponentTable, owner: int) -> list[object]:
    """A script of random steps on components that nobody else uses; slots, which others share, are left out."""
    rng = random.Random(owner)
    return [
        rng.choice((add, add, transition, arm, remove))(
            table, f"component-{owner}-{rng.randrange(5)}", instance_of(rng.randrange(1, 4)), rng
        )
        for _ in range(STEPS)
    ]


def test_each_thread_sees_its_own_components_as_if_it_were_alone() -> None:
    table = ComponentTable()

    seen = together(lambda number: play(table, number))

    assert seen == [play(ComponentTable(), number) for number in range(THREADS)]


def test_of_all_threads_that_add_the_only_instance_one_succeeds() -> None:
    table = ComponentTable()

    def add_all(number: int) -> int:
        added = 0
        for component in range(STEPS):
            try:
                table.add(f"component-{component}", instance_of(number + 1), READY)
                added += 1
            except ComponentExistsError:
                pass
        return added

    assert sum(together(add_all)) == STEPS
    assert len(table) == STEPS


def test_no_transition_happens_twice() -> None:
    table = ComponentTable()
    table.add("hermes", instance_of(1), READY)

    def step(number: int) -> int:
        target, done = (DEGRADED if number % 2 else READY), 0
        for _ in range(STEPS):
            try:
                table.transition("hermes", instance_of(1), target)
                done += 1
            except IllegalTransitionError:
                pass
        return done

    done = together(step)
    down, up = sum(done[1::2]), sum(done[::2])

    assert down - up == (table.state(0) == DEGRADED)


def test_each_lease_expires_in_one_thread_only() -> None:
    table = ComponentTable()
    for number in range(2000):
        table.arm(table.add(f"component-{number}", instance_of(1), READY), number % 50, 0)

    def expire(_number: int) -> list[int]:
        return [slot for now in range(50) for slot in table.expire(now)]

    assert sorted(slot for slots in together(expire) for slot in slots) == list(range(2000))


def test_each_node_is_handed_out_once_and_after_its_dependencies() -> None:
    rng = random.Random(1)
    names = [f"component-{number}" for number in range(600)]
    rows = {name: rng.sample(names[:place], min(place, 3)) for place, name in enumerate(names)}
    graph = DependencyGraph(rows)
    waiting, finished, lock = graph.ready(), list[str](), threading.Lock()

    def work(_number: int) -> None:
        while len(finished) < len(names):
            with lock:
                node = waiting.pop() if waiting else None
                if node is not None:
                    finished.append(node)
            if node is not None:
                released = graph.done(node)
                with lock:
                    waiting.extend(released)

    together(work)
    place = {name: number for number, name in enumerate(finished)}

    assert len(finished) == len(place) == len(names)
    assert all(place[dependency] < place[name] for name, row in rows.items() for dependency in row)


def test_what_a_failure_takes_down_is_reported_to_one_thread_only() -> None:
    rows = {f"leaf-{number}": [f"root-{number % THREADS}", f"root-{number % 3}"] for number in range(500)}
    graph = DependencyGraph(rows)

    lost = together(lambda number: graph.fail(f"root-{number}"))

    assert sorted(name for names in lost for name in names) == sorted(rows)


def test_lazy_answers_of_a_graph_are_the_same_in_all_threads() -> None:
    rows = {f"component-{number}": [f"component-{number // 2}"] for number in range(1, 500)}
    graph = DependencyGraph(rows)

    answers = together(lambda _: (graph.resolve(), graph.waves(), graph.dependents("component-1", transitive=True)))

    assert all(answer == answers[0] for answer in answers)


def test_each_timer_is_cancelled_or_given_back_once() -> None:
    wheel = TimerWheel()

    def work(number: int) -> tuple[list[object], list[object]]:
        rng = random.Random(number)
        handles: list[tuple[int, object]] = []
        cancelled, fired = list[object](), list[object]()
        for step in range(STEPS):
            timer = (number, step)
            handles.append((wheel.schedule(step + rng.randrange(3000), timer), timer))
            if rng.random() < 0.4:
                handle, chosen = rng.choice(handles)
                if wheel.cancel(handle):
                    cancelled.append(chosen)
            fired += wheel.advance(step)
        return cancelled, fired

    ended = together(work)
    timers = [timer for cancelled, fired in ended for timer in cancelled + fired] + wheel.advance(10_000)

    assert len(timers) == len(set(timers)) == THREADS * STEPS
    assert len(wheel) == 0


def test_what_a_thread_adds_is_in_its_next_answer_and_what_it_removes_is_not() -> None:
    table = SubjectTable(cache_size=64)
    table.add("shared.>", 1000)

    def work(number: int) -> None:
        rng = random.Random(number)
        patterns = ("shared.*", "shared.a", "*.a", ">", f"shared.a.{number}")
        for _ in range(STEPS):
            pattern = rng.choice(patterns)
            table.add(pattern, number)
            assert number in table.match(f"shared.a.{number}" if pattern.count(".") > 1 else "shared.a")
            table.remove(pattern, number)
            assert number not in table.match("shared.a")

    together(work)

    assert table.match("shared.a") == (1000,)
    assert len(table) == 1


def test_threads_see_one_content_of_a_message_and_make_no_id_twice() -> None:
    data = Message("event", {"a": [1, "x"]}, MessageContext("a"), {"b": 2}).to_json()
    for _ in range(STEPS // 8):
        message = Message.from_json(data)

        seen = together(lambda _, message=message: (message.content, message.metadata, message.context, uuid7()))  # type: ignore[misc]

        for place in range(3):
            assert len({id(each[place]) for each in seen}) == 1
        assert len({each[3] for each in seen}) == THREADS
