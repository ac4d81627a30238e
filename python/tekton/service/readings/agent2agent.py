"""The readings of what goes out over Agent2Agent: questions to remote agents, and news for webhooks."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from tekton.core.degradation.breaker_states import BreakerState
from tekton.core.metrics.metrics import Reading
from tekton.service.edge.a2a.push_delivery import PushDelivery
from tekton.utils.remote_agents import RemoteAgents

_STATES: Final = (BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN)


def remote_agents(remote: RemoteAgents) -> Iterator[Reading]:
    """How those fare that were asked. O(remote agents)."""
    counted = Counter(breaker.state for breaker in remote.breakers())
    for state in _STATES:
        yield Reading("tekton_remote_agent_breakers", counted[state], (state.value,))


def pushes(delivery: PushDelivery) -> Iterator[Reading]:
    """What webhooks were told."""
    yield Reading("tekton_push_deliveries", delivery.delivered, ("delivered",))
    yield Reading("tekton_push_deliveries", delivery.failed, ("failed",))
    yield Reading("tekton_push_waiting", delivery.waiting)
    yield Reading("tekton_push_given_up", delivery.dropped)
