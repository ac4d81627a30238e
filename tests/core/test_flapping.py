"""Tests of tekton.core.flapping: who flaps, for how long, and what discovery makes of it."""

import logging
from dataclasses import dataclass

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.flapping import FLAPS, WINDOW, Flapping
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.testing import ManualClock


@dataclass
class Watch:
    """Components that fail and come back when the test says so."""

    registry: ComponentRegistry
    clock: ManualClock
    flapping: Flapping

    async def up(self, name: str) -> None:
        registration = ComponentRegistration(component_id=name, capabilities=("llm",))
        await self.registry.register(registration)
        await self.registry.make_ready(name, registration.instance_uuid)

    def fail(self, name: str, reason: str = "no heartbeat for 30 s") -> None:
        record = self.registry.find(name)
        assert record is not None
        assert self.registry.observe(name, record.instance_uuid, ComponentState.FAILED, reason)

    async def flap(self, name: str, times: int = FLAPS, *, every: float = 20.0, reason: str = "exit 1") -> None:
        for _ in range(times):
            self.fail(name, reason)
            self.clock.advance(every)
            await self.up(name)

    def providers(self) -> list[str]:
        return [record.component_id for record in self.registry.by_capability("llm")]


@pytest.fixture
def watch(registry: ComponentRegistry) -> Watch:
    clock = ManualClock()
    flapping = Flapping(registry, clock)
    flapping.start()
    return Watch(registry, clock, flapping)


async def test_a_component_that_fails_and_comes_back_three_times_in_five_minutes_flaps(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    await watch.up("hermes")

    await watch.flap("hermes", FLAPS - 1)
    assert (list(watch.flapping), len(watch.flapping)) == ([], 0)
    with caplog.at_level(logging.WARNING):
        await watch.flap("hermes", 3)

    assert (list(watch.flapping), len(watch.flapping), "hermes" in watch.flapping) == (["hermes"], 1, True)
    assert caplog.text.count("hermes flaps") == 1


async def test_it_flaps_until_the_first_of_the_three_is_five_minutes_ago(watch: Watch) -> None:
    await watch.up("hermes")
    await watch.flap("hermes", every=20)

    watch.clock.advance(WINDOW - 40.001)
    assert "hermes" in watch.flapping
    watch.clock.advance(0.001)

    assert "hermes" not in watch.flapping


async def test_slower_than_that_is_no_flapping(watch: Watch) -> None:
    await watch.up("hermes")

    await watch.flap("hermes", 20, every=WINDOW / 2)

    assert "hermes" not in watch.flapping


async def test_discovery_prefers_others_even_degraded_ones(watch: Watch) -> None:
    for name in ("athena", "hermes", "rhetor"):
        await watch.up(name)
    rhetor = watch.registry.find("rhetor")
    assert rhetor is not None
    await watch.registry.set_state("rhetor", rhetor.instance_uuid, ComponentState.DEGRADED)

    await watch.flap("athena")
    assert watch.providers() == ["hermes", "rhetor", "athena"]
    watch.clock.advance(WINDOW)

    assert watch.providers() == ["athena", "hermes", "rhetor"]


@pytest.mark.parametrize("reason", ["stopped", "restarting", "cancelled"])
async def test_what_somebody_asked_for_does_not_count(watch: Watch, reason: str) -> None:
    await watch.up("hermes")

    await watch.flap("hermes", reason=reason)

    assert "hermes" not in watch.flapping


async def test_one_instance_that_fails_beside_another_does_not_count(watch: Watch) -> None:
    twins = [ComponentRegistration(component_id="hermes", max_instances=2) for _ in range(2)]
    for twin in twins:
        await watch.registry.register(twin)
        await watch.registry.make_ready("hermes", twin.instance_uuid)

    for _ in range(FLAPS):
        watch.registry.observe("hermes", twins[0].instance_uuid, ComponentState.FAILED, "exit 1")
        watch.clock.advance(20)
        twins[0] = ComponentRegistration(component_id="hermes", max_instances=2)
        await watch.registry.register(twins[0])
        await watch.registry.make_ready("hermes", twins[0].instance_uuid)

    assert "hermes" not in watch.flapping


async def test_a_deregistered_component_is_forgotten(watch: Watch) -> None:
    await watch.up("hermes")
    await watch.flap("hermes")

    for record in watch.registry.instances("hermes"):
        await watch.registry.deregister("hermes", record.instance_uuid)

    assert list(watch.flapping) == []


async def test_who_has_stopped_watching_knows_nobody(watch: Watch) -> None:
    await watch.up("hermes")
    await watch.flap("hermes")

    watch.flapping.stop()
    watch.flapping.stop()

    assert list(watch.flapping) == []
