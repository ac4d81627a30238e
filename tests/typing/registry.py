"""What a type checker sees of registry, heartbeats and start-up. Checked by test_typing.py, never run."""

from typing import assert_type

from tekton.core.component_lifecycle import ComponentRegistry, Page, Registered, Result
from tekton.core.component_lifecycle.store import HistoryEntry
from tekton.core.dependency import DependencyResolver
from tekton.core.heartbeat_monitor import ComponentHeartbeat, HeartbeatMonitor, HeartbeatReply
from tekton.core.lifecycle import VALID_TRANSITIONS, Change, ComponentRecord, ComponentRegistration, ComponentState
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator, StartResult

assert_type(VALID_TRANSITIONS, dict[ComponentState, list[ComponentState]])
assert_type(ComponentState("ready"), ComponentState)
assert_type(ComponentState.READY.mask & ComponentState.FAILED.bit, int)


async def registering(registry: ComponentRegistry) -> None:
    registration = ComponentRegistration(
        component_id="memory", capabilities=("memory.read",), dependencies=("hermes",), metadata={"rank": 1}
    )
    assert_type(registration.instance_uuid, str)

    success, message = await registry.register_component(registration)
    assert_type(success, bool)
    assert_type(message, str)
    assert_type(await registry.mark_component_ready("memory", registration.instance_uuid), Result)
    assert_type(
        await registry.update_component_state("memory", registration.instance_uuid, ComponentState.READY.value), Result
    )
    assert_type(await registry.register(registration), Registered)
    assert_type((await registry.register(registration)).record, ComponentRecord)


async def reading(registry: ComponentRegistry) -> None:
    component = await registry.get_component("memory")
    assert_type(component, ComponentRecord | None)
    if component is not None:
        assert_type(component.state, ComponentState)
        assert_type(component.capabilities, tuple[str, ...])
        assert_type(component.reason, str | None)
    assert_type(await registry.get_components_by_capability("memory.read"), list[ComponentRecord])
    assert_type(await registry.list_components(state=ComponentState.READY), Page)
    assert_type(await registry.get_history("memory"), list[HistoryEntry])
    async for batch in registry.feed.subscribe():
        assert_type(batch, list[Change])


async def beating(registry: ComponentRegistry) -> None:
    async with HeartbeatMonitor(registry, interval=5.0) as monitor:
        assert_type(monitor, HeartbeatMonitor)
        reply = await monitor.process_heartbeat(ComponentHeartbeat(component_id="memory", instance_uuid="…"))
        assert_type(reply, HeartbeatReply)
        assert_type(reply.state, ComponentState | None)


async def start() -> None: ...


def start_blocking() -> bool:
    return True


async def starting(registry: ComponentRegistry) -> None:
    coordinator = EnhancedStartUpCoordinator(registry)
    await coordinator.register_component_handler("hermes", start_blocking)
    success, error = await coordinator.start_component("memory", start, ["hermes"], timeout=5)
    assert_type(success, bool)
    assert_type(error, str | None)
    results = await coordinator.start_components({"memory": {"start_func": start, "dependencies": ["hermes"]}})
    assert_type(results, dict[str, StartResult])


start_order, cycles = DependencyResolver.resolve_dependencies({"memory": ["hermes"], "hermes": []})
assert_type(start_order, list[str])
assert_type(cycles, list[list[str]])
