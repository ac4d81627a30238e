"""What the gateway has served, counted: one table of buckets for each route and class of status.

It stands in the way of every request, so it does one look-up and one count, without a lock: all requests end on the
event loop.
"""

from collections.abc import Iterator

from tekton.core.metrics.catalogue import REQUEST_SECONDS
from tekton.core.metrics.metrics import Reading
from tekton.core.metrics.tally import Tally
from tekton.gateway.observers import Ended, Observer
from tekton.gateway.router import Route

_NO_ROUTE = ("none", "none")
"""The labels of what was refused before its route was known: a method or path could be anything."""


class RequestMeter(Observer):
    """Observes a gateway; `read` is a reader of metrics."""

    def __init__(self) -> None:
        self._served: dict[tuple[Route | None, int], Tally] = {}
        self._errors: dict[int, int] = {}
        self._forbidden: dict[str, int] = {}
        self._streams_ended = 0

    def ended(self, ended: Ended) -> None:
        """Count a request. A stream says by its length nothing about how long callers wait."""
        if ended.streamed:
            self._streams_ended += 1
            return
        status = ended.status
        key = ended.route, status // 100
        tally = self._served.get(key)
        if tally is None:
            tally = self._served[key] = Tally(REQUEST_SECONDS)
        tally.observe(ended.seconds)
        if status >= 400:
            self._errors[status] = self._errors.get(status, 0) + 1
            if status == 403 and ended.route is not None:
                permission = ended.route.permission
                self._forbidden[permission] = self._forbidden.get(permission, 0) + 1

    def read(self) -> Iterator[Reading]:
        """What was counted so far."""
        for (route, kind), tally in list(self._served.items()):
            method, path = _NO_ROUTE if route is None else (route.method, route.path)
            yield Reading("tekton_http_request_duration", tally.read(), (method, path, f"{kind}xx"))
        for status, count in list(self._errors.items()):
            yield Reading("tekton_http_errors", count, (str(status),))
        for permission, count in list(self._forbidden.items()):
            yield Reading("tekton_permissions_refused", count, (permission,))
        yield Reading("tekton_http_streams_ended", self._streams_ended)
