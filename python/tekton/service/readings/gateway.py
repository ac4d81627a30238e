"""The readings of the gateway: what it refuses, and who watches what on sockets."""

from collections.abc import Iterable, Iterator
from typing import Final, get_args

from tekton.core.metrics.metrics import Reading
from tekton.gateway.admission import Admission, Limited
from tekton.gateway.sockets import TopicSocket

_SHED: Final = ("look", "change", "bodies")


def refusals(admission: Admission) -> Iterator[Reading]:
    """Requests that were refused because there are too many."""
    for priority in _SHED:
        yield Reading("tekton_http_requests_shed", admission.shed_requests[priority], (priority,))
    for limit in get_args(Limited):
        yield Reading("tekton_http_requests_limited", admission.limited[limit], (limit,))
    yield Reading("tekton_http_pressure", admission.load.pressure)
    yield Reading("tekton_http_queue_delay", admission.load.waited)


def subscriptions(socket: TopicSocket, topics: Iterable[str]) -> Iterator[Reading]:
    """Subscriptions on sockets to *topics*, which are all that there are."""
    for topic in topics:
        yield Reading("tekton_socket_subscriptions", socket.subscriptions[topic], (topic,))
