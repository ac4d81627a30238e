"""What leases promise, tried on many components in virtual time: no live one ever fails, a dead one soon does.

TEKTON_LEASES sets how many components there are, TEKTON_DEATHS how many of others die.
"""

import asyncio
import heapq
import os
import random

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.heartbeat_monitor import HeartbeatMonitor
from tekton.core.lifecycle import ComponentRegistration
from tekton.testing import ManualClock

LEASES = int(os.environ.get("TEKTON_LEASES", "1000"))
DEATHS = int(os.environ.get("TEKTON_DEATHS", "1000"))
TIMEOUT = 30.0
TICK = 0.25
INTERVAL = 10.0

Key = tuple[str, str]


class Crowd:
    """Components that beat every ten seconds, each at a moment of its own, until they die. The clock is the test's."""

    def __init__(self, registry: ComponentRegistry, seed: int) -> None:
        self.rng = random.Random(seed)
        self.registry = registry
        self.clock = ManualClock()
        self.monitor = HeartbeatMonitor(registry, clock=self.clock, interval=INTERVAL)
        self.beats: list[tuple[float, Key]] = []
        self.last: dict[Key, float] = {}
        self.dead: set[Key] = set()
        self.failed: dict[Key, float] = {}

    async def arrive(self, count: int) -> list[Key]:
        keys = []
        for start in range(0, count, 500):
            size = range(start, min(start + 500, count))
            keys += await asyncio.gather(*(self._one(f"c{len(self.last)}-{number}") for number in size))
        now = self.clock.monotonic()
        for key in keys:
            self.last[key] = now
            heapq.heappush(self.beats, (now + self.rng.uniform(0, INTERVAL), key))
        return keys

    async def _one(self, name: str) -> Key:
        registration = ComponentRegistration(component_id=name)
        await self.registry.register(registration)
        await self.registry.make_ready(name, registration.instance_uuid)
        return name, registration.instance_uuid

    def until(self, end: float) -> None:
        """Let time pass. Heartbeats are taken at their very moment, steps when they are due."""
        lease = self.monitor._lease
        assert lease is not None
        while (now := self.clock.monotonic()) < end:
            goal = now + max(lease.until_next(now), 1e-6)
            while self.beats[0][0] <= min(goal, end):
                self._beat()
            self._move(min(goal, end))
            if goal <= end:
                now = self.clock.monotonic()
                self.failed.update((key, now) for key in self.monitor.tick(now))

    def pause(self, seconds: float, *, beats_first: bool) -> None:
        """Run nothing for so long. What was sent meanwhile waits; it comes before or after the first step."""
        end = self.clock.advance(seconds)
        if not beats_first:
            self.failed.update((key, end) for key in self.monitor.tick(end))
        while self.beats[0][0] <= end:
            due, key = heapq.heappop(self.beats)
            if key not in self.dead:
                self.monitor.beat(*key)
                self.last[key] = end
                # However many were due in the pause, a component has one under way.
                heapq.heappush(self.beats, (max(due + INTERVAL, end + self.rng.uniform(0, INTERVAL)), key))

    def _beat(self) -> None:
        due, key = heapq.heappop(self.beats)
        if key in self.dead:
            return
        self._move(due)
        assert self.monitor.beat(*key).known
        self.last[key] = due
        heapq.heappush(self.beats, (due + INTERVAL, key))

    def _move(self, to: float) -> None:
        self.clock.advance(max(0.0, to - self.clock.monotonic()))


async def make_crowd(registry: ComponentRegistry, count: int, seed: int) -> Crowd:
    crowd = Crowd(registry, seed)
    await crowd.monitor.start_monitoring(TIMEOUT)
    # The test ticks by itself.
    await crowd.monitor._task.stop()
    await crowd.arrive(count)
    return crowd


async def test_deaths_at_random_moments_are_found_within_a_tick_and_never_before_the_timeout(
    registry: ComponentRegistry,
) -> None:
    crowd = await make_crowd(registry, DEATHS * 2, seed=DEATHS)
    start = crowd.clock.monotonic()
    doomed = crowd.rng.sample(sorted(crowd.last), DEATHS)
    deaths = sorted((start + crowd.rng.uniform(20, 120), key) for key in doomed)

    for at, key in deaths:
        crowd.until(at)
        crowd.dead.add(key)
    crowd.until(crowd.clock.monotonic() + 2 * TIMEOUT)

    assert crowd.failed.keys() == crowd.dead
    silence = [crowd.failed[key] - crowd.last[key] for key in doomed]
    assert min(silence) >= TIMEOUT
    print(f"{DEATHS} deaths: found after {min(silence):.4f} to {max(silence):.4f} s")
    assert max(silence) <= TIMEOUT + TICK + 1e-5


@pytest.mark.timeout(300)
@pytest.mark.parametrize("beats_first", [True, False])
async def test_a_pause_of_any_length_fails_nobody_who_lives_and_hides_nobody_who_died(
    registry: ComponentRegistry, beats_first: bool
) -> None:
    crowd = await make_crowd(registry, LEASES, seed=LEASES)
    for pause in (0.5 * TIMEOUT, TIMEOUT, 2 * TIMEOUT, 10 * TIMEOUT):
        crowd.until(crowd.clock.monotonic() + 25)
        victims = set(crowd.rng.sample(sorted(crowd.last.keys() - crowd.dead), LEASES // 50))
        crowd.dead |= victims
        died = crowd.clock.monotonic()

        crowd.pause(pause, beats_first=beats_first)
        crowd.until(died + pause + TIMEOUT + INTERVAL + TICK)

        assert crowd.failed.keys() == crowd.dead


async def test_components_whose_machine_was_suspended_with_ours_have_an_interval_to_be_heard(
    registry: ComponentRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Those on other machines went on, and their heartbeats found nobody; our monotonic clock stood still."""
    crowd = await make_crowd(registry, 100, seed=1)
    crowd.until(crowd.clock.monotonic() + 40)
    dead = set(crowd.rng.sample(sorted(crowd.last), 5))
    crowd.dead |= dead
    for _ in range(3):
        # Nobody is heard until two seconds before the first lease runs out: then the machine goes to sleep.
        quiet, crowd.beats = crowd.beats, [(float("inf"), ("", ""))]
        crowd.until(crowd.clock.monotonic() + TIMEOUT - INTERVAL - 2)
        crowd.clock.suspend(3600)
        crowd.beats = [(crowd.clock.monotonic() + crowd.rng.uniform(2, 9.5), key) for _, key in quiet]
        heapq.heapify(crowd.beats)
        crowd.until(crowd.clock.monotonic() + 2 * INTERVAL)

    assert crowd.failed.keys() == dead
    assert "the machine was suspended for 3600.0 s" in caplog.text


async def test_a_pause_is_logged_with_its_length(registry: ComponentRegistry, caplog: pytest.LogCaptureFixture) -> None:
    crowd = await make_crowd(registry, 10, seed=1)
    crowd.until(crowd.clock.monotonic() + 5)

    crowd.pause(60, beats_first=True)
    crowd.until(crowd.clock.monotonic() + 1)

    assert "this process did not run for 5" in caplog.text


async def test_at_every_millisecond_around_the_deadline_a_heartbeat_saves_exactly_those_who_have_not_failed(
    registry: ComponentRegistry,
) -> None:
    """The heartbeat and the step race; whoever is first decides, and there is one FAILED at most."""
    crowd = await make_crowd(registry, 0, seed=1)
    crowd.beats = [(float("inf"), ("", ""))]
    for millisecond in range(-300, 301):
        (key,) = await crowd.arrive(1)
        crowd.beats = [(float("inf"), ("", ""))]
        deadline = crowd.last[key] + TIMEOUT
        changes: list[object] = []
        remove = registry.feed.add_listener(changes.append)
        crowd.until(deadline + millisecond / 1000)

        known = crowd.monitor.beat(*key).known

        assert known is (key not in crowd.failed)
        assert len(changes) == (key in crowd.failed)
        if key in crowd.failed:
            assert crowd.failed[key] >= deadline - 1e-6
        else:
            assert millisecond <= TICK * 1000 + 1
        remove()
        await registry.deregister(*key)
