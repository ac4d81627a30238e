"""What the state of a component says of the agents that are part of it."""

from tekton.a2a.agent import AgentHealth
from tekton.core.lifecycle import ComponentRecord, ComponentState

__all__ = ["health_of", "trouble_of"]


def health_of(record: ComponentRecord | None) -> AgentHealth:
    """The health of agents of the component of which *record* is the best instance; None where it has none.

    Usable while it is READY and takes traffic; impaired while it is DEGRADED, or READY and takes none.
    """
    if record is None or not record.usable:
        return AgentHealth.UNUSABLE
    ready = record.state is ComponentState.READY and record.serving
    return AgentHealth.USABLE if ready else AgentHealth.IMPAIRED


def trouble_of(component_id: str, record: ComponentRecord | None) -> str | None:
    """Why the agents of a component are not usable, in a sentence; None where they are."""
    if record is None:
        return f"its component {component_id} is not registered"
    if health_of(record) is AgentHealth.USABLE:
        return None
    if record.state is ComponentState.READY:
        return f"its component {component_id} takes no traffic"
    because = f": {record.reason}" if record.reason else ""
    return f"its component {component_id} is {record.state.value}{because}"
