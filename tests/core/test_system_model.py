"""Registry, heartbeat monitor and coordinator together, against a short model, in virtual time.

Hypothesis draws what clients, components, people, the disk and the clock do, and reduces what fails.
`TEKTON_MODEL_RUNS` is how many systems are tried (default 40), `TEKTON_MODEL_LENGTH` how many steps each has at most.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tekton.core.leases.lease_clock import LeaseClock
from tekton.core.lifecycle import (
    ENDED,
    PATH_TO_READY,
    STATES,
    USABLE,
    Change,
    ComponentRecord,
    ComponentRegistration,
    ComponentState,
    can_transition,
)
from tekton.core.recovery import RestartPolicy
from tekton.testing import VirtualTimeLoop, watches
from tekton.testing.simulated_core import SimulatedCore
from tekton.testing.watches import Seen, Watch
from tekton.utils.tekton_errors import (
    ComponentError,
    ComponentExistsError,
    ComponentNotFoundError,
    CursorExpiredError,
    DependencyError,
    IllegalTransitionError,
    StaleInstanceError,
    StartTimeoutError,
    StorageFullError,
    TooManyHeartbeatsError,
)

RUNS = int(os.environ.get("TEKTON_MODEL_RUNS", "40"))
LENGTH = int(os.environ.get("TEKTON_MODEL_LENGTH", "50"))

TIMEOUT, INTERVAL, START_TIMEOUT = 30.0, 10.0, 8.0
TICK = LeaseClock(TIMEOUT, 0.0).tick
FREE = ("a", "b")
MANAGED = ("base", "user")
NEEDS = {"base": (), "user": ("base",)}
KINDS = ("fine", "slow", "raises", "refuses", "hangs")
REGISTERING, READY = ComponentState.REGISTERING, ComponentState.READY
FAILED, STOPPED = ComponentState.FAILED, ComponentState.STOPPED

Key = tuple[str, str]
_T = TypeVar("_T")


def instance(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


KEYS = [("a", instance(1)), ("a", instance(2)), ("b", instance(1))]


# The model: what should be known after each step.


@dataclass(frozen=True)
class Known:
    state: ComponentState
    generation: int


@dataclass
class Lease:
    """When silence may first, and must at last, have its consequence."""

    first: float
    last: float


@dataclass
class Model:
    known: dict[Key, Known] = field(default_factory=dict)
    durable: dict[Key, Known] = field(default_factory=dict)
    leases: dict[Key, Lease] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    full: bool = False

    def of(self, name: str) -> list[Key]:
        return [key for key in self.known if key[0] == name]

    def usable(self, name: str) -> bool:
        return any(self.known[key].state in USABLE for key in self.of(name))

    def held(self, key: Key) -> Known:
        if key not in self.known:
            raise (StaleInstanceError(*key) if self.of(key[0]) else ComponentNotFoundError(key[0]))
        return self.known[key]

    def commit(self) -> None:
        """The disk is asked for something new."""
        if self.full:
            raise StorageFullError("")

    def register(self, key: Key) -> None:
        others = self.of(key[0])
        if key in self.known and self.known[key].state not in ENDED:
            return
        if any(self.known[other].state not in ENDED for other in others):
            raise ComponentExistsError(key[0], "")
        self.commit()
        generation = max((self.known[other].generation for other in others), default=0) + 1
        for other in others:
            del self.known[other]
        self.known[key] = Known(REGISTERING, generation)

    def move(self, key: Key, state: ComponentState, now: float, *, supervised: bool = False) -> None:
        """What happens when *key* is *state*, whoever said so."""
        self.known[key] = replace(self.known[key], state=state)
        if state in ENDED or state is ComponentState.STOPPING:
            self.leases.pop(key, None)
        elif state in USABLE and not supervised and key not in self.leases:
            self.arm(key, now)

    def set_state(self, key: Key, state: ComponentState, now: float) -> None:
        if not can_transition(self.held(key).state, state):
            raise IllegalTransitionError(key[0], "", "", [])
        self.commit()
        self.move(key, state, now)

    def make_ready(self, key: Key, now: float) -> None:
        path = PATH_TO_READY.get(self.held(key).state)
        if path is None:
            raise IllegalTransitionError(key[0], "", "", [])
        if path:
            self.commit()
            self.move(key, READY, now)

    def deregister(self, key: Key, now: float) -> None:
        self.held(key)
        try:
            self.commit()
        except StorageFullError:
            # What was removed for a moment comes back with a new lease.
            if self.leases.pop(key, None):
                self.arm(key, now)
            raise
        del self.known[key]
        self.leases.pop(key, None)

    def beat(self, key: Key, now: float) -> bool:
        if key not in self.known:
            if self.of(key[0]):
                raise StaleInstanceError(*key)
            return False
        alive = self.known[key].state not in ENDED
        if alive and self.known[key].state is not ComponentState.STOPPING:
            self.arm(key, now)
        return alive

    def arm(self, key: Key, now: float) -> None:
        self.leases[key] = Lease(now + TIMEOUT, now + TIMEOUT + TICK + 0.001)

    def pause(self, seconds: float) -> None:
        for lease in self.leases.values():
            lease.first += max(0.0, seconds - 2 * TICK)
            lease.last += seconds + INTERVAL + 2 * TICK

    def expire(self, now: float, actual: dict[Key, Known]) -> None:
        """Silence until *now*; what could have gone either way went as in *actual*."""
        for key, lease in list(self.leases.items()):
            failed = key in actual and actual[key].state is FAILED
            if now > lease.last or (now >= lease.first and failed):
                self.move(key, FAILED, now)

    def start(self, key: Key, kind: str, now: float) -> None:
        """A start of a managed component that is not usable, as a new instance."""
        name = key[0]
        failed = [need for need in NEEDS[name] if not self.usable(need)]
        if failed:
            raise DependencyError(name, failed)
        self.register(key)
        if kind in ("fine", "slow"):
            return self.move(key, READY, now, supervised=True)
        self.move(key, FAILED, now)
        raise StartTimeoutError(name, START_TIMEOUT, "") if kind == "hangs" else ComponentError(name, "")

    def stop(self, name: str, now: float) -> None:
        if not self.of(name) and name not in self.kinds:
            raise ComponentNotFoundError(name)
        for key in self.of(name):
            self.move(key, STOPPED, now)

    def end(self, now: float) -> None:
        """The control plane ends, and another begins on what was saved."""
        self.known = dict(self.durable)
        self.leases.clear()
        self.kinds.clear()
        for key, known in self.known.items():
            if known.state in USABLE and key[0] in FREE:
                self.arm(key, now)


# What is compared with it.


class System(RuleBasedStateMachine):
    """The real thing beside the model; every rule does the same to both."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.model = Model()
        self.calls: list[str] = []
        self.running: set[str] = set()
        self.instances = iter(range(100, 10**6))
        self.revision = -1
        self.log, self.watch = Watch("listener"), Watch("subscriber")

    @initialize()
    def begin(self) -> None:
        async def begin() -> SimulatedCore:
            policy = RestartPolicy(policy="no")
            core = SimulatedCore(interval=INTERVAL, timeout=TIMEOUT, start_timeout=START_TIMEOUT, policy=policy)
            core.add_listener(self.hear)
            return await core.__aenter__()

        self.core = self.run(begin())
        self.log.begin(0)

    def teardown(self) -> None:
        if hasattr(self, "core"):
            self.resume()
            mistakes = watches.check([self.log, self.watch])
            assert not mistakes, mistakes
            self.run(self.core.kill())
        self.loop.close()

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return self.loop.run_until_complete(coroutine)

    @property
    def now(self) -> float:
        return self.loop.clock.monotonic()

    def hear(self, change: Change) -> None:
        self.log.change(Seen.of(change))

    def both(self, real: Coroutine[Any, Any, Any], expected: Callable[[], object]) -> None:
        """*real* must end as *expected* does. Time may pass in it: then the model is told first who ran out."""
        error = self.run(_outcome(real))
        self.look()
        wanted: BaseException | None = None
        try:
            expected()
        except Exception as refusal:
            wanted = refusal
        assert type(error) is type(wanted), f"{error!r} instead of {wanted!r}"
        self.settle()

    def look(self) -> None:
        self.model.expire(self.now, self.actual())

    def settle(self) -> None:
        self.run(_turns())
        if not self.model.full:
            self.model.durable = dict(self.model.known)

    def actual(self) -> dict[Key, Known]:
        return {_key(r): Known(r.state, r.generation) for r in self.core.registry.all_instances()}

    # Components that register themselves.

    @rule(key=st.sampled_from(KEYS))
    def register(self, key: Key) -> None:
        registration = ComponentRegistration(component_id=key[0], instance_uuid=key[1])
        self.both(self.core.registry.register(registration), lambda: self.model.register(key))

    @rule(key=st.sampled_from(KEYS))
    def bring_up(self, key: Key) -> None:
        self.register(key)
        self.make_ready(key)

    @rule(key=st.sampled_from(KEYS), state=st.sampled_from(STATES))
    def set_state(self, key: Key, state: ComponentState) -> None:
        self.both(self.core.registry.set_state(*key, state), lambda: self.model.set_state(key, state, self.now))

    @rule(key=st.sampled_from(KEYS))
    def make_ready(self, key: Key) -> None:
        self.both(self.core.registry.make_ready(*key), lambda: self.model.make_ready(key, self.now))

    @rule(key=st.sampled_from(KEYS))
    def deregister(self, key: Key) -> None:
        self.both(self.core.registry.deregister(*key), lambda: self.model.deregister(key, self.now))

    @rule(key=st.sampled_from(KEYS))
    def remove_in_vain(self, key: Key) -> None:
        self.fill_or_free_the_disk(True)
        self.deregister(key)
        self.fill_or_free_the_disk(False)

    @rule(key=st.sampled_from(KEYS))
    def beat(self, key: Key) -> None:
        try:
            known = self.core.monitor.beat(*key).known
        except StaleInstanceError:
            with pytest.raises(StaleInstanceError):
                self.model.beat(key, self.now)
        except TooManyHeartbeatsError:
            pass
        else:
            assert known == self.model.beat(key, self.now)

    # People, who start and stop.

    @rule(name=st.sampled_from(MANAGED), kind=st.sampled_from(KINDS))
    def start(self, name: str, kind: str) -> None:
        key = self.prepare(name, kind)
        self.model.kinds[name] = kind
        if self.model.usable(name):
            self.both(self.core.coordinator.start_component(name), lambda: None)
            return
        self.both(self.core.coordinator.start_component(name), lambda: self.model.start(key, kind, self.now))

    @rule(base=st.sampled_from(KINDS), user=st.sampled_from(KINDS))
    def start_all(self, base: str, user: str) -> None:
        kinds = {"base": base, "user": user}
        keys = {name: self.prepare(name, kind) for name, kind in kinds.items()}
        self.model.kinds |= kinds
        results = self.run(self.core.coordinator.start_components())
        self.look()
        assert set(results) == set(MANAGED)
        for name, kind in kinds.items():
            with suppress(DependencyError, ComponentError, StorageFullError):
                if not self.model.usable(name):
                    self.model.start(keys[name], kind, self.now)
            assert results[name].success == self.model.usable(name), results
        self.settle()

    @rule(name=st.sampled_from(MANAGED))
    def cancel_a_start(self, name: str) -> None:
        key = self.prepare(name, "hangs")
        self.model.kinds[name] = "hangs"
        if self.model.usable(name) or self.model.full or not all(map(self.model.usable, NEEDS[name])):
            return
        error = self.run(_outcome(asyncio.wait_for(self.core.coordinator.start_component(name), 1.0)))
        assert isinstance(error, TimeoutError)
        self.look()
        self.model.register(key)
        self.model.move(key, FAILED, self.now)
        self.settle()

    @rule(name=st.sampled_from(MANAGED))
    def stop(self, name: str) -> None:
        self.both(self.core.coordinator.stop_component(name), lambda: self.model.stop(name, self.now))

    @precondition(lambda self: not self.model.full)
    @rule(name=st.sampled_from(MANAGED))
    def restart(self, name: str) -> None:
        kind = self.model.kinds.get(name)
        if kind is None or not all(map(self.model.usable, NEEDS[name])):
            return
        key = self.prepare(name, kind)

        def expected() -> None:
            self.model.stop(name, self.now)
            self.model.start(key, kind, self.now)

        self.both(self.core.coordinator.restart_component(name), expected)

    def prepare(self, name: str, kind: str) -> Key:
        """Say how the next start of *name* goes; the instance that it will be."""
        key = (name, instance(next(self.instances)))

        async def start() -> object:
            assert all(map(self.usable, NEEDS[name])), "started too early"
            self.running.add(name)
            # A start that is cancelled here leaves something behind, which the stop function has to end.
            await asyncio.sleep({"slow": 5.0, "hangs": 3600.0}.get(kind, 0.0))
            if kind in ("raises", "refuses"):
                self.running.discard(name)
            if kind == "raises":
                raise RuntimeError("no luck")
            return kind != "refuses"

        async def stop() -> None:
            self.running.discard(name)

        handler = self.core.coordinator.register_component_handler(
            name,
            start,
            NEEDS[name],
            stop_func=stop,
            registration=lambda: ComponentRegistration(component_id=name, instance_uuid=key[1]),
            supervised=True,
        )
        self.run(handler)
        return key

    def usable(self, name: str) -> bool:
        record = self.core.registry.find(name)
        return record is not None and record.usable

    # The clock, the disk, the process.

    @rule(seconds=st.sampled_from((0.3, 4.0, 9.0, 15.0, 29.0, 31.0)))
    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))
        self.look()
        self.settle()

    @rule(seconds=st.sampled_from((1.0, 20.0, 300.0)))
    def pause(self, seconds: float) -> None:
        self.core.pause(seconds)
        self.model.pause(seconds)
        self.run(asyncio.sleep(0.01))
        self.look()
        self.settle()

    @rule(full=st.booleans())
    def fill_or_free_the_disk(self, full: bool) -> None:
        self.core.store.full = self.model.full = full
        self.run(self.core.registry.flush())
        self.settle()

    @rule(killed=st.booleans())
    def end_and_begin(self, killed: bool) -> None:
        self.run(self.core.restart(killed=killed))
        self.running.clear()
        self.model.end(self.now)
        self.log.snapshot(self.core.registry.revision, self.states())
        self.settle()

    @rule()
    def resume(self) -> None:
        """A watcher comes back to where it was, reads what it has missed, and goes."""
        feed = self.core.registry.feed
        try:
            subscription = feed.subscribe(-1 if self.watch.position is None else self.watch.position)
        except CursorExpiredError:
            self.watch.snapshot(feed.revision, self.states())
            return
        self.watch.resume(self.watch.position or 0)

        async def read() -> None:
            async with subscription:
                for change in await anext(subscription):
                    self.watch.change(Seen.of(change))

        if feed.revision > (self.watch.position or 0):
            self.run(read())

    def states(self) -> dict[Key, str]:
        return {key: known.state.value for key, known in self.actual().items()}

    # What must hold after every step.

    @invariant()
    def what_is_known_is_what_should_be_known(self) -> None:
        if hasattr(self, "core"):
            assert self.actual() == self.model.known
            assert self.core.registry.revision >= self.revision
            self.revision = self.core.registry.revision

    @invariant()
    def leases_are_where_they_should_be(self) -> None:
        if hasattr(self, "core"):
            leased = {key for key in {*KEYS, *self.model.known} if self.core.monitor.leased(*key)}
            assert leased == set(self.model.leases)
            table = self.core.registry.table
            assert all(table.armed(table.find(*key)) for key in leased)

    @invariant()
    def what_runs_has_a_live_component(self) -> None:
        for name in self.running:
            assert any(self.model.known[key].state not in ENDED for key in self.model.of(name)), name


async def _outcome(real: Coroutine[Any, Any, Any]) -> BaseException | None:
    try:
        await real
    except Exception as error:
        return error
    return None


async def _turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def _key(record: ComponentRecord) -> Key:
    return record.component_id, record.instance_uuid


TestSystem = System.TestCase
TestSystem.settings = settings(
    max_examples=RUNS,
    stateful_step_count=LENGTH,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
