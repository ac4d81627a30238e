"""Records of components that no registry has made."""

from typing import Any

from tekton.core.lifecycle import ComponentRecord, ComponentState


def component_record(component_id: str = "x", instance_uuid: str = "i", **fields: Any) -> ComponentRecord:
    """A record of one that is READY, of the first generation, and says nothing of itself but what *fields* are."""
    plain: dict[str, Any] = {
        "component_name": component_id,
        "component_type": "service",
        "version": "1",
        "capabilities": (),
        "dependencies": (),
        "endpoint": None,
        "metadata": {},
        "max_instances": 1,
        "supervised": False,
        "state": ComponentState.READY,
        "reason": None,
        "generation": 1,
        "revision": 1,
        "registered_at": 0.0,
        "changed_at": 0.0,
    }
    return ComponentRecord(component_id=component_id, instance_uuid=instance_uuid, **(plain | fields))
