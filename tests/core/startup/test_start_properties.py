"""Random systems with random faults, started by the coordinator in virtual time.

`TEKTON_GRAPHS` is how many systems each test tries (default 1,000), `TEKTON_SEED` the first of them (default 0). A
system that fails is named by its seed: `TEKTON_GRAPHS=1 TEKTON_SEED=<seed>` runs it alone.
"""

import asyncio
import functools
import logging
import os
import random
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ENDED, USABLE, ComponentRecord, ComponentState
from tekton.core.startup_coordinator import ComponentConfig, EnhancedStartUpCoordinator
from tekton.testing import current_clock, virtual_time
from tekton.utils.tekton_errors import TektonError

GRAPHS = int(os.environ.get("TEKTON_GRAPHS", "1000"))
SEED = int(os.environ.get("TEKTON_SEED", "0"))
FAILED_BEFORE = (392_218, 489_872)
"""Start functions called as a dependency failed; one that started what `stop_components` had stopped already."""
TIMEOUT = 20.0
MARGIN = 10.0
FAULTS = ("plain", "raises", "refuses", "exits", "cancels itself", "hangs", "stubborn", "dies")
NEEDY = ("starts", "starts all", "waits")

pytestmark = pytest.mark.timeout(60 + GRAPHS // 5)

Make = Callable[[], ComponentRegistry]
Scenario = Callable[[random.Random], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Part:
    """One component of a random system: what it needs, what its start does, how long that takes, and with whom."""

    needs: tuple[str, ...]
    kind: str
    seconds: float
    others: tuple[str, ...] = ()


@dataclass
class World:
    """A random system that runs, with what was seen."""

    registry: ComponentRegistry
    parts: Mapping[str, Part]
    limit: int | None = None
    running: set[str] = field(default_factory=set)
    called: list[str] = field(default_factory=list)
    too_early: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.coordinator = EnhancedStartUpCoordinator(
            self.registry, clock=current_clock(), max_concurrent=self.limit, default_timeout=TIMEOUT
        )

    def configs(self, names: Iterable[str] | None = None) -> dict[str, ComponentConfig]:
        return {
            name: ComponentConfig(
                start_func=functools.partial(self._begin, name)
                if self.parts[name].kind == "plain"
                else functools.partial(self._start, name),
                stop_func=functools.partial(self._stop, name),
                dependencies=self.parts[name].needs,
            )
            for name in names or self.parts
        }

    def state(self, name: str) -> ComponentState | None:
        record = self.registry.find(name)
        return record.state if record else None

    def _begin(self, name: str) -> None:
        self.called.append(name)
        self.running.add(name)
        self.too_early += [(name, need) for need in self.parts[name].needs if self.state(need) not in USABLE]

    async def _start(self, name: str) -> object:
        self._begin(name)
        try:
            await asyncio.sleep(self.parts[name].seconds)
            return await misbehave(self, name, self.parts[name])
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                self.running.discard(name)
            raise

    async def _stop(self, name: str) -> None:
        self.running.discard(name)

    def check_at_rest(self, *, once: bool = True) -> None:
        """Nothing starts any more, what runs is what is usable, and nothing has started too early."""
        states = {name: self.state(name) for name in self.parts}
        assert not [name for name, state in states.items() if state not in {None, *USABLE, *ENDED}], states
        assert self.running == {name for name, state in states.items() if state in USABLE}
        assert not once or len(self.called) == len(set(self.called))
        assert self.too_early == []

    async def let_the_stubborn_end(self) -> None:
        await asyncio.sleep(120)
        await self.coordinator.close()


def usable(record: ComponentRecord | None) -> bool:
    return record is not None and record.usable


RAISES: dict[str, type[BaseException]] = {
    "raises": RuntimeError,
    "exits": SystemExit,
    "cancels itself": asyncio.CancelledError,
}


async def misbehave(world: World, name: str, part: Part) -> object:
    if part.kind in ("refuses", "cancels itself"):
        world.running.discard(name)
    if error := RAISES.get(part.kind):
        raise error
    if part.kind in NEEDY:
        await need_others(world, part)
    elif part.kind == "stubborn":
        await ignore_cancellation(seconds=60)
    elif part.kind in ("hangs", "dies"):
        if part.kind == "dies" and (record := world.registry.find(name)):
            world.registry.observe(name, record.instance_uuid, ComponentState.FAILED, "exited with code 1")
        await asyncio.Event().wait()
    return part.kind != "refuses"


async def need_others(world: World, part: Part) -> None:
    if part.kind == "starts":
        for other in part.others:
            await world.coordinator.start_component(other)
    elif part.kind == "starts all":
        await world.coordinator.start_components(world.configs(part.others))
    else:
        await asyncio.gather(*(world.registry.wait_until(other, usable) for other in part.others))


async def ignore_cancellation(seconds: float) -> None:
    end = current_clock().monotonic() + seconds
    while (left := end - current_clock().monotonic()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue


def system(rng: random.Random, *, needy: bool = False) -> dict[str, Part]:
    """A random system. *needy*: some start functions start, or wait for, other components."""
    names = [f"c{number}" for number in range(rng.randint(1, 12))]
    tangled = rng.random() < 0.2
    kinds = ("fine",) * 7 + FAULTS + (NEEDY * 2 if needy else ())
    parts: dict[str, Part] = {}
    for number, name in enumerate(names):
        choice = names if tangled else names[:number]
        needs = rng.sample(choice, rng.randint(0, min(3, len(choice))))
        if rng.random() < 0.06:
            needs.append("nowhere")
        others = rng.sample(names, rng.randint(1, min(3, len(names))))
        parts[name] = Part(tuple(needs), rng.choice(kinds), rng.choice((0.0, 0.0, 1.0, 7.0, 19.0)), tuple(others))
    rng.shuffle(names)
    return {name: parts[name] for name in names}


def should_start(parts: Mapping[str, Part], name: str, path: tuple[str, ...] = ()) -> bool:
    """The specification in a line: its own start succeeds, and all it needs starts."""
    if name in path or name not in parts or parts[name].kind not in {"fine", "plain"}:
        return False
    return all(should_start(parts, need, (*path, name)) for need in parts[name].needs)


def slowest_chain(parts: Mapping[str, Part], name: str, path: tuple[str, ...] = ()) -> float:
    if name in path or name not in parts:
        return 0.0
    return TIMEOUT + max((slowest_chain(parts, need, (*path, name)) for need in parts[name].needs), default=0.0)


def longest_start(parts: Mapping[str, Part]) -> float:
    """Within so many seconds, all of *parts* have started or failed."""
    return max(slowest_chain(parts, name) for name in parts) + MARGIN


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Tens of thousands of starts fail here, and each is logged."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def try_many(scenario: Scenario) -> None:
    """Run *scenario* on many systems, each on a loop of its own."""
    for seed in (*FAILED_BEFORE, *range(SEED, SEED + GRAPHS)):
        try:
            virtual_time(scenario)(random.Random(seed))
        except BaseException:
            print(f"TEKTON_SEED={seed}")
            raise


def test_every_component_gets_the_verdict_it_deserves_and_none_starts_too_early(new_inline_registry: Make) -> None:
    async def scenario(rng: random.Random) -> None:
        parts = system(rng)
        world = World(new_inline_registry(), parts, rng.choice((None, None, 1, 3)))
        began = current_clock().monotonic()

        results = await world.coordinator.start_components(world.configs())

        assert {name: result.success for name, result in results.items()} == {
            name: should_start(parts, name) for name in parts
        }
        assert list(results) == list(parts)
        assert all(success == (error is None) for success, error in results.values())
        if world.limit is None:
            assert current_clock().monotonic() - began <= longest_start(parts)
        world.check_at_rest()
        await world.let_the_stubborn_end()

    try_many(scenario)


def test_a_start_that_is_given_up_at_any_moment_leaves_no_orphan(new_inline_registry: Make) -> None:
    async def scenario(rng: random.Random) -> None:
        parts = system(rng, needy=True)
        world = World(new_inline_registry(), parts, rng.choice((None, None, 1, 3)))
        how, steps = rng.choice(("cancel", "stop", "close")), rng.randint(0, 30)
        caller = asyncio.ensure_future(world.coordinator.start_components(world.configs()))
        await asyncio.sleep(rng.choice((0.0, rng.uniform(0, 60))))
        for _ in range(steps):
            await asyncio.sleep(0)

        if how == "cancel":
            caller.cancel()
        elif how == "stop":
            await world.coordinator.stop_components()
        else:
            await world.coordinator.close()
        await asyncio.wait([caller])
        await world.registry.flush()

        assert caller.cancelled() or caller.result().keys() == parts.keys()
        world.check_at_rest(once=False)
        if how == "stop" and steps:
            assert world.running == set()
        await world.let_the_stubborn_end()

    try_many(scenario)


def test_callers_that_want_overlapping_sets_all_get_their_verdicts_in_time(new_inline_registry: Make) -> None:
    """Some of them give up, and start functions start or wait for components, also in circles."""

    async def scenario(rng: random.Random) -> None:
        parts = system(rng, needy=True)
        world = World(new_inline_registry(), parts, rng.choice((None, 1, 2)))
        for name, config in world.configs().items():
            await world.coordinator.register_component_handler(
                name, config["start_func"], config["dependencies"], stop_func=config["stop_func"]
            )
        callers = [asyncio.ensure_future(call_later(world, rng)) for _ in range(rng.randint(2, 5))]
        wanted = len(callers) * len(parts)
        given_up = [caller for caller in callers if rng.random() < 0.3]
        for caller in given_up:
            asyncio.get_running_loop().call_later(rng.uniform(0, 60), caller.cancel)

        # Each may have to wait for what another one has begun; with places, for everybody's starts, one by one.
        longest = (longest_start(parts) if world.limit is None else (TIMEOUT + MARGIN) * wanted) * len(callers)
        async with asyncio.timeout(longest + 30):
            await asyncio.wait(callers)
        await world.registry.flush()

        for caller in callers:
            assert caller.cancelled() or caller.result()
        world.check_at_rest(once=False)
        await world.let_the_stubborn_end()

    try_many(scenario)


async def call_later(world: World, rng: random.Random) -> bool:
    """After a while, ask for one component or several; True when the verdicts are complete."""
    names = rng.sample(list(world.parts), rng.randint(1, len(world.parts)))
    alone = rng.random() < 0.3
    await asyncio.sleep(rng.choice((0.0, rng.uniform(0, 30))))
    if alone:
        try:
            result = await world.coordinator.start_component(names[0])
        except TektonError:
            return True
        return result.success
    results = await world.coordinator.start_components(world.configs(names))
    return list(results) == names
