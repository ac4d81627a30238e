"""Components as a registry gets to know them, without a process."""

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import Change, ComponentRegistration


def registration(component_id: str = "x", **fields: object) -> ComponentRegistration:
    return ComponentRegistration(component_id=component_id, **fields)  # type: ignore[arg-type]


async def registered(registry: ComponentRegistry, component_id: str = "x", **fields: object) -> ComponentRegistration:
    one = registration(component_id, **fields)
    await registry.register(one)
    return one


async def ready(registry: ComponentRegistry, component_id: str = "x", **fields: object) -> ComponentRegistration:
    one = await registered(registry, component_id, **fields)
    await registry.make_ready(component_id, one.instance_uuid)
    return one


def record_changes(registry: ComponentRegistry) -> list[Change]:
    """The changes from now on, in the list as they come."""
    changes: list[Change] = []
    registry.feed.add_listener(changes.append)
    return changes
