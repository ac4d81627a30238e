"""Tests of tekton.core.uptime: since when a component is usable."""

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRecord, ComponentRegistration, ComponentState
from tekton.core.uptime import Uptime
from tekton.testing import current_clock, virtual_time


async def ready(registry: ComponentRegistry) -> str:
    registration = ComponentRegistration(component_id="hermes")
    await registry.register(registration)
    await registry.make_ready("hermes", registration.instance_uuid)
    return registration.instance_uuid


def found(registry: ComponentRegistry) -> ComponentRecord:
    record = registry.find("hermes")
    assert record is not None
    return record


@virtual_time
async def test_degraded_is_no_break_and_failed_is_one() -> None:
    registry = ComponentRegistry(clock=current_clock())
    uptime = Uptime(registry)
    uptime.start()
    uptime.start()
    instance = await ready(registry)
    began = found(registry).changed_at
    for state in (ComponentState.DEGRADED, ComponentState.READY, ComponentState.DEGRADED):
        current_clock().advance(10)
        registry.observe("hermes", instance, state, "so it is")
        assert uptime.since(found(registry)) == began

    registry.observe("hermes", instance, ComponentState.FAILED, "exited")
    assert uptime.since(found(registry)) is None
    current_clock().advance(10)
    await ready(registry)
    assert uptime.since(found(registry)) == found(registry).changed_at >= began + 40
    uptime.stop()
    await registry.close()


@virtual_time
async def test_what_was_usable_before_counts_from_its_last_change() -> None:
    registry = ComponentRegistry(clock=current_clock())
    instance = await ready(registry)
    began = found(registry).changed_at
    current_clock().advance(100)
    uptime = Uptime(registry)
    uptime.start()
    current_clock().advance(10)
    registry.observe("hermes", instance, ComponentState.DEGRADED, "slow")

    assert uptime.since(found(registry)) == began
    await registry.deregister("hermes", instance)
    uptime.stop()
    await registry.close()
