"""The readings of agents, of what they have to do, and of what they say to one another."""

from collections import Counter
from collections.abc import Iterator

from tekton.a2a.agent import AgentHealth
from tekton.a2a.agent_registry import AgentRegistry
from tekton.clock import Clock
from tekton.core.metrics.metrics import Reading
from tekton.service.conversations import Conversations
from tekton.service.tasks import Tasks
from tekton.service.work import Work
from tekton.utils.tekton_errors import StorageError


def agents(registry: AgentRegistry) -> Iterator[Reading]:
    """How many there are, by health. O(agents)."""
    counted = Counter(registry.health(agent_id) for agent_id in registry)
    for health in AgentHealth:
        yield Reading("tekton_agents", counted[health], (health.name.lower(),))


def tasks(found: Tasks, clock: Clock) -> Iterator[Reading]:
    """What is to be done, and what came of it. O(types)."""
    yield from found.meter.read()
    yield Reading("tekton_task_late_answers", found.manager.late_answers)
    yield Reading("tekton_tasks_oldest_age", _oldest(found, clock))
    yield Reading("tekton_conversations_forgotten", found.talk_retention.forgotten)


def _oldest(found: Tasks, clock: Clock) -> float:
    try:
        oldest = found.manager.tasks(limit=1, open_only=True)
    except StorageError:  # `tekton_work_available` says so
        return 0.0
    return max(clock.time() - oldest[0].created_at, 0.0) if oldest else 0.0


def conversations(found: Conversations) -> Iterator[Reading]:
    """What was said since the start."""
    yield Reading("tekton_conversations_begun", found.begun)
    yield Reading("tekton_conversation_messages", found.said)


def work(store: Work) -> Iterator[Reading]:
    """How the file fares in which all of it is."""
    yield Reading("tekton_work_available", store.usable)
    yield Reading("tekton_work_full", store.full)
    yield Reading("tekton_work_damaged", store.damaged)
    yield Reading("tekton_work_waiting", store.waiting)
    yield Reading("tekton_tasks_open_size", store.open_bytes)
    if (seconds := store.commit_seconds) is not None:
        yield Reading("tekton_work_commit_duration", seconds.read())
