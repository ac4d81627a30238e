"""Random systems with random faults, started by the coordinator in virtual time.

`TEKTON_GRAPHS` is how many systems are tried (default 100).
"""

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ENDED, USABLE, ComponentState
from tekton.core.startup_coordinator import ComponentConfig, EnhancedStartUpCoordinator
from tekton.testing import current_clock, virtual_time

GRAPHS = int(os.environ.get("TEKTON_GRAPHS", "100"))
TIMEOUT = 20.0
KINDS = ("fine", "plain", "raises", "refuses", "exits", "cancels itself", "hangs", "stubborn", "dies")

Make = Callable[[], ComponentRegistry]


@dataclass(frozen=True)
class Part:
    """One component of a random system: what it needs, what its start does, and how long that takes."""

    needs: tuple[str, ...]
    kind: str
    seconds: float


@dataclass
class World:
    """A random system that runs, with what was seen."""

    registry: ComponentRegistry
    parts: Mapping[str, Part]
    running: set[str] = field(default_factory=set)
    called: list[str] = field(default_factory=list)
    too_early: list[tuple[str, str]] = field(default_factory=list)

    def configs(self) -> dict[str, ComponentConfig]:
        return {
            name: ComponentConfig(
                start_func=functools.partial(self._begin, name) if part.kind == "plain" else self._start(name),
                stop_func=self._stop(name),
                dependencies=part.needs,
                timeout=TIMEOUT,
            )
            for name, part in self.parts.items()
        }

    def state(self, name: str) -> ComponentState | None:
        record = self.registry.find(name)
        return record.state if record else None

    def _begin(self, name: str) -> None:
        self.called.append(name)
        self.running.add(name)
        self.too_early += [(name, need) for need in self.parts[name].needs if self.state(need) not in USABLE]

    def _start(self, name: str) -> Callable[[], Awaitable[object]]:
        part = self.parts[name]

        async def start() -> object:
            self._begin(name)
            try:
                await asyncio.sleep(part.seconds)
                return await misbehave(self, name, part.kind)
            except BaseException as error:
                if not isinstance(error, asyncio.CancelledError):
                    self.running.discard(name)
                raise

        return start

    def _stop(self, name: str) -> Callable[[], Awaitable[object]]:
        async def stop() -> None:
            self.running.discard(name)

        return stop


async def misbehave(world: World, name: str, kind: str) -> object:
    match kind:
        case "raises":
            raise RuntimeError("boom")
        case "exits":
            raise SystemExit(1)
        case "cancels itself":
            world.running.discard(name)
            raise asyncio.CancelledError
        case "refuses":
            world.running.discard(name)
            return False
        case "hangs":
            await asyncio.Event().wait()
        case "stubborn":
            await ignore_cancellation(seconds=60)
        case "dies":
            record = world.registry.find(name)
            assert record is not None
            world.registry.observe(name, record.instance_uuid, ComponentState.FAILED, "exited with code 1")
            await asyncio.Event().wait()
    return None


async def ignore_cancellation(seconds: float) -> None:
    end = current_clock().monotonic() + seconds
    while (left := end - current_clock().monotonic()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue


@st.composite
def systems(draw: st.DrawFn) -> dict[str, Part]:
    count = draw(st.integers(1, 12))
    names = [f"c{number}" for number in range(count)]
    tangled = draw(st.integers(0, 4)) == 0
    parts: dict[str, Part] = {}
    for number, name in enumerate(names):
        choice = names if tangled else names[:number]
        needs = draw(st.lists(st.sampled_from(choice), max_size=3, unique=True)) if choice else []
        if draw(st.integers(0, 15)) == 0:
            needs.append("nowhere")
        kind = draw(st.sampled_from(("fine",) * 6 + KINDS))
        parts[name] = Part(tuple(needs), kind, draw(st.sampled_from((0.0, 0.0, 1.0, 7.0, 19.0))))
    return {name: parts[name] for name in draw(st.permutations(names))}


def should_start(parts: Mapping[str, Part], name: str, path: tuple[str, ...] = ()) -> bool:
    """The specification in a line: its own start succeeds, and all it needs starts."""
    if name in path or name not in parts or parts[name].kind not in {"fine", "plain"}:
        return False
    return all(should_start(parts, need, (*path, name)) for need in parts[name].needs)


def slowest_chain(parts: Mapping[str, Part], name: str, path: tuple[str, ...] = ()) -> float:
    if name in path or name not in parts:
        return 0.0
    return TIMEOUT + max((slowest_chain(parts, need, (*path, name)) for need in parts[name].needs), default=0.0)


def check_at_rest(world: World) -> None:
    """Nothing starts any more, and what runs is what is usable."""
    states = {name: world.state(name) for name in world.parts}
    assert not [name for name, state in states.items() if state not in {None, *USABLE, *ENDED}], states
    assert world.running == {name for name, state in states.items() if state in USABLE}
    assert len(world.called) == len(set(world.called))
    assert world.too_early == []


many = settings(
    max_examples=GRAPHS,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@many
@given(parts=systems(), limit=st.sampled_from((None, None, 1, 3)))
def test_every_component_gets_the_verdict_it_deserves_and_none_starts_too_early(
    new_inline_registry: Make, parts: dict[str, Part], limit: int | None
) -> None:
    @virtual_time
    async def scenario() -> None:
        world = World(new_inline_registry(), parts)
        coordinator = EnhancedStartUpCoordinator(world.registry, clock=current_clock(), max_concurrent=limit)
        began = current_clock().monotonic()

        results = await coordinator.start_components(world.configs())

        assert {name: result.success for name, result in results.items()} == {
            name: should_start(parts, name) for name in parts
        }
        assert all(success == (error is None) for success, error in results.values())
        if limit is None:
            longest = max(slowest_chain(parts, name) for name in parts)
            assert current_clock().monotonic() - began <= longest + 10
        check_at_rest(world)
        await let_the_stubborn_end(coordinator)

    scenario()


@many
@given(
    parts=systems(), after=st.floats(0, 60), steps=st.integers(0, 20), how=st.sampled_from(("cancel", "stop", "close"))
)
def test_a_start_that_is_given_up_at_any_moment_leaves_no_orphan(
    new_inline_registry: Make, parts: dict[str, Part], after: float, steps: int, how: str
) -> None:
    @virtual_time
    async def scenario() -> None:
        world = World(new_inline_registry(), parts)
        coordinator = EnhancedStartUpCoordinator(world.registry, clock=current_clock())
        caller = asyncio.ensure_future(coordinator.start_components(world.configs()))
        await asyncio.sleep(after)
        for _ in range(steps):
            await asyncio.sleep(0)

        if how == "cancel":
            caller.cancel()
        elif how == "stop":
            await coordinator.stop_components()
        else:
            await coordinator.close()
        await asyncio.wait([caller])
        await world.registry.flush()

        assert caller.cancelled() or caller.result().keys() == parts.keys()
        check_at_rest(world)
        if how == "stop" and steps:
            assert world.running == set()
        await let_the_stubborn_end(coordinator)

    scenario()


async def let_the_stubborn_end(coordinator: EnhancedStartUpCoordinator) -> None:
    await asyncio.sleep(120)
    await coordinator.close()
