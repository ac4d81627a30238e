"""The topics of the control plane's socket: what can be watched at `/ws`, and the permission that each needs.

docs/reference/websocket-and-events.md says what they carry.
"""

from tekton.gateway.component_topic import component_topic
from tekton.gateway.topics import Topic, TopicTable
from tekton.service.api.events import change_source
from tekton.service.system import System
from tekton.service.task_topics import task_topics


def socket_topics(system: System) -> TopicTable:
    """The one table of topics."""
    return TopicTable(
        {
            "components": component_topic(change_source(system)),
            "call_settings": Topic("components:read", system.degradation.topic.open),
            "logs": system.logs.topic(),
            "spans": Topic("metrics:read", system.tracing.open),
            "metrics": Topic("metrics:read", system.metering.watch),
            "resources": Topic("metrics:read", system.resources.topic.open),
            **task_topics(system.tasks),
        }
    )
