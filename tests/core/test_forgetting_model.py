"""Forgetting against a naive model: any ends and returns, restarts of the control plane, and clocks that jump.

The model knows of each instance since when it has ended, in true time, and looks at all of them all the time. The real
one must forget nobody early, and nobody later than it promises. `TEKTON_FORGETTING_RUNS` sets how many runs are played
(30; more at night), each drawn from a seed of its own, from `TEKTON_FORGETTING_SEED` on.
"""

import asyncio
import os
from dataclasses import dataclass
from random import Random

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.store import MemoryStore
from tekton.core.forgetting import LOOK, TICK, Forgetting
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.testing import ManualClock, current_clock, virtual_time
from tekton.testing.faults import VirtualWorker

RUNS = int(os.environ.get("TEKTON_FORGETTING_RUNS", "30"))
SEED = int(os.environ.get("TEKTON_FORGETTING_SEED", "0"))
STEPS = 80

NAMES = tuple(f"c{number}" for number in range(6))
PERIODS = (None, 0.0, 0.3, 1.0, 7.5, 60.0, 600.0, 86400.0)
PAUSES = (0.0, 0.2, 1.0, 5.0, 59.0, 61.0, 599.0, 3600.0, 90_000.0)
JUMPS = (-400 * 86400.0, -3600.0, -30.0, 30.0, 3600.0, 400 * 86400.0)
HAIR = 2e-3
"""Seconds: the shortest sleep, and that by which sums of floats may differ."""


@dataclass
class Known:
    """One instance in the model: true times, but for `ended_at`, which is what the wall clock said."""

    instance: str
    forget_after: float | None
    ended_at: float | None = None
    due: float | None = None
    excused_until: float = 0.0

    def end(self, true: float, wall: float) -> None:
        self.ended_at = wall
        self.due = None if self.forget_after is None else true + self.forget_after

    def begin_anew(self, true: float, wall: float) -> None:
        """A control plane begins, and knows no more than what the wall clock says."""
        if self.ended_at is None or self.forget_after is None:
            return
        left = self.ended_at + self.forget_after - wall
        self.due = true + min(max(left, 0.0), self.forget_after)
        self.excused_until = 0.0
        if self.ended_at > wall + 1:
            self.ended_at = wall


class Run:
    """The real thing and the model side by side."""

    def __init__(self, rng: Random, clock: ManualClock) -> None:
        self.rng = rng
        self.clock = clock
        self.store = MemoryStore()
        self.model: dict[str, Known] = {}
        self.steps: list[str] = []
        self.begin()

    @property
    def true(self) -> float:
        return self.clock.monotonic() + self.clock.asleep()

    def begin(self) -> None:
        self.registry = ComponentRegistry(store=self.store, clock=self.clock, executor=VirtualWorker())
        self.forgetting = Forgetting(self.registry, clock=self.clock)
        for known in self.model.values():
            known.begin_anew(self.true, self.clock.time())
        self.forgetting.start()

    async def end(self) -> None:
        await self.forgetting.stop()
        await self.registry.close()

    async def step(self) -> None:
        name = self.rng.choice(NAMES)
        action = self.rng.choice((self.come, self.come, self.end_one, self.end_one, self.leave, self.wait, self.upset))
        self.steps.append(f"{action.__name__} {name} at {self.true:.3f}")
        await action(name)
        await settle()
        self.compare()

    async def come(self, name: str) -> None:
        """Register: the instance that is known, or another one if that has ended."""
        known = self.model.get(name)
        same = known is not None and (known.ended_at is None or self.rng.random() < 0.5)
        registration = ComponentRegistration(component_id=name, forget_after=self.rng.choice(PERIODS))
        if same and known is not None:
            registration = ComponentRegistration(
                component_id=name, instance_uuid=known.instance, forget_after=registration.forget_after
            )
        await self.registry.register(registration)
        self.model[name] = Known(registration.instance_uuid, registration.forget_after)

    async def end_one(self, name: str) -> None:
        known = self.model.get(name)
        if known is not None and known.ended_at is None:
            assert self.registry.observe(name, known.instance, ComponentState.FAILED, "exit 1")
            known.end(self.true, self.clock.time())

    async def leave(self, name: str) -> None:
        known = self.model.pop(name, None)
        if known is not None:
            await self.registry.deregister(name, known.instance)

    async def wait(self, _name: str) -> None:
        await asyncio.sleep(self.rng.choice(PAUSES))

    async def upset(self, _name: str) -> None:
        """The control plane is away for a while, the clock is set, the machine is suspended; or two of these."""
        for upset in self.rng.sample(("away", "jump", "suspend"), self.rng.choice((1, 1, 2))):
            self.steps.append(upset)
            match upset:
                case "away":
                    await self.end()
                    self.clock.advance(self.rng.choice(PAUSES))
                    if self.rng.random() < 0.5:
                        self.jump()
                    self.begin()
                case "jump":
                    self.jump()
                case _:
                    self.clock.suspend(self.rng.choice(PAUSES))
                    for known in self.model.values():
                        # No timer of the event loop knows of it.
                        known.excused_until = self.true + LOOK
            await settle()

    def jump(self) -> None:
        self.clock.set_wall(self.clock.time() + self.rng.choice(JUMPS))

    def compare(self) -> None:
        here = {record.component_id: record for record in self.registry.components()}
        for name, known in list(self.model.items()):
            late = -1.0 if known.due is None else self.true - known.due
            if name not in here:
                assert late >= -HAIR, f"{name} was forgotten {-late} s early: {self.steps}"
                del self.model[name]
                continue
            excused = self.true < known.excused_until
            assert late <= TICK + HAIR or excused, f"{name} should be gone for {late} s: {self.steps}"
            self.compare_told(here.pop(name).component_id, known)
        assert here.keys() <= self.model.keys(), self.steps

    def compare_told(self, name: str, known: Known) -> None:
        record = self.registry.find(name)
        assert record is not None
        told = self.forgetting.due_in(record)
        if known.due is None:
            assert told is None, self.steps
        else:
            assert told is not None
            assert -HAIR <= told - max(0.0, known.due - self.true) <= TICK + HAIR, self.steps


async def settle() -> None:
    """Let everything happen that takes no time."""
    for _ in range(30):
        await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(SEED, SEED + RUNS))
@virtual_time
async def test_nobody_is_forgotten_early_or_stays_too_long(seed: int) -> None:
    run = Run(Random(seed), current_clock())

    for _ in range(STEPS):
        await run.step()

    await run.end()
