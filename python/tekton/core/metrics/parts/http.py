"""Requests, streams and sockets, and what is refused of them."""

from typing import Final

from tekton.core.metrics.described import COUNTER, GAUGE, HISTOGRAM, Alert, Described, about

PART: Final = "HTTP"

REQUEST_SECONDS: Final = (0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 5.0)
"""The bounds between which requests are counted."""

METRICS: Final[tuple[Described, ...]] = (
    about(
        PART,
        "tekton_http_request_duration",
        HISTOGRAM,
        "Time from the arrival of a request to its answer, by route and class of the status (2xx, 4xx, 5xx).",
        "Its count is the number of requests. A route `none` is what was refused before its route was known.",
        unit="seconds",
        labels=("method", "route", "status"),
        buckets=REQUEST_SECONDS,
        panel="histogram_quantile(0.99, sum by (route, le) (rate(tekton_http_request_duration_seconds_bucket[5m])))",
        alert=Alert(
            name="TektonServerErrors",
            # A tool that fails is its component's business: see TektonToolFails.
            when=(
                'sum(rate(tekton_http_request_duration_seconds_count{status="5xx", route!="/api/tools/{tool_id}"}[5m]))'
                " > 0.1"
            ),
            lasting="5m",
            severity="warning",
            summary="The control plane answers requests with 5xx: `tekton logs tekton` has the errors",
        ),
    ),
    about(
        PART,
        "tekton_http_errors",
        COUNTER,
        "Requests that were answered with an error, by the status of the answer.",
        "401 and 403: who calls may not. 429: he calls too often. 503: too many at once, or the store is full.",
        labels=("status",),
        alert=Alert(
            name="TektonOverloaded",
            when='rate(tekton_http_errors_total{status=~"429|503"}[5m]) > 1',
            lasting="5m",
            severity="warning",
            summary=(
                "Requests are refused because there are too many ({{ $labels.status }}): the rate by route shows which"
            ),
            see="reference/http-api.md#limits",
        ),
    ),
    about(
        PART,
        "tekton_http_streams_open",
        GAUGE,
        "Event streams and sockets that are open.",
        "A saw tooth is a client that connects again and again.",
        alert=Alert(
            name="TektonStreamsNearLimit",
            when="tekton_http_streams_open > 0.9 * tekton_http_streams_limit",
            lasting="5m",
            severity="warning",
            summary=(
                "Nearly as many streams and sockets are open as are taken: find the clients that do not close theirs, "
                "or set max_streams higher"
            ),
            see="reference/http-api.md#limits",
        ),
    ),
    about(
        PART,
        "tekton_http_streams_limit",
        GAUGE,
        "Event streams and sockets that are taken at most.",
        "It is `tekton.security.max_streams`.",
    ),
    about(
        PART,
        "tekton_http_streams_ended",
        COUNTER,
        "Event streams and sockets that have ended.",
        "With few open and many ended, somebody does not keep his connection.",
    ),
    about(
        PART,
        "tekton_http_requests_shed",
        COUNTER,
        "Requests that were refused under load, by what they were: `look`, `change`; or for want of room "
        "for large bodies (`bodies`).",
        "The control plane has too much to do; what is vital is served.",
        labels=("priority",),
        alert=Alert(
            name="TektonShedsLoad",
            when="sum(rate(tekton_http_requests_shed_total[5m])) > 0.1",
            lasting="5m",
            severity="warning",
            summary=(
                "Requests are refused because they wait too long: find who sends so many (the rate by route), "
                "or give the control plane a core"
            ),
            see="reference/http-api.md#limits",
        ),
    ),
    about(
        PART,
        "tekton_http_requests_limited",
        COUNTER,
        "Requests that were refused because of who sent them: the rate of his `address`, his own "
        "(`principal`), his `requests` at a time, his `streams`.",
        "Somebody asks for more than is his.",
        labels=("limit",),
    ),
    about(
        PART,
        "tekton_http_pressure",
        GAUGE,
        "How much is refused under load: nothing below 0, what is only looked at from 0 to 1, changes too from 1 to 2.",
        "It grows as long as requests wait for more than 0.25 s.",
    ),
    about(
        PART,
        "tekton_http_queue_delay",
        GAUGE,
        "Seconds that the request which was asked last had waited for its turn.",
        "What callers wait before anybody looks at what they want.",
        unit="seconds",
    ),
    about(
        PART,
        "tekton_socket_subscriptions",
        GAUGE,
        "Subscriptions on sockets, by topic.",
        "Who watches what; a topic that nobody watches costs nothing.",
        labels=("topic",),
    ),
)
