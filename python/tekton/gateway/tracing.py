"""The spans of requests: one for each that is let in, from there to its answer, or to the end of its stream or socket.

A request that brings a `traceparent` belongs to that trace; for the others one begins. What is asked all the time
(health, heartbeats: the routes that are `vital`), and what only watches (streams, sockets), has a span only if its
caller has one. The query and the headers of a request are not in its span. What is public is open to whoever has shown
nothing: the traces that those claim to belong to count among the ones that begin here, of which fewer are recorded.
"""

from collections.abc import Container
from typing import Final

from tekton.core.tracing.tracer import OpenSpan, Tracer
from tekton.gateway.observers import Ended, Observer
from tekton.gateway.request import Request
from tekton.gateway.router import PUBLIC, Route
from tekton.gateway.rsgi import Headers
from tekton.gateway.sockets import SOCKET, SocketQuery
from tekton.gateway.sse import EventStream
from tekton.utils.trace_context import TRACEPARENT, TRACESTATE, TraceContext, parse

_FAILED: Final = 500
_ASKED_ALL_THE_TIME: Final = frozenset({"/api/health", "/api/ready", "/metrics"})


class RequestSpans(Observer):
    """Makes the spans of requests with *tracer*; none for the routes whose paths are *quiet*.

    Without *reads*, GET and HEAD count among what is asked all the time.
    """

    def __init__(self, tracer: Tracer, quiet: Container[str] = (), *, reads: bool = True) -> None:
        self._tracer = tracer
        self._quiet = quiet
        self._reads = reads

    def began(self, request: Request, route: Route) -> None:
        """Be in the trace of the request from here on; its task is its own."""
        if route.path in self._quiet:
            return
        parent = received(request.headers) or _asked_for(request)
        if parent is None and self._is_asked_all_the_time(route):
            return
        if parent is not None and route.permission == PUBLIC and not self._tracer.sampler.may_begin():
            parent = parent._replace(sampled=False)
        made = self._tracer.begin(f"{request.method} {route.path}", "server", parent)
        made.activate()
        if isinstance(made, OpenSpan):
            request.span = made

    def _is_asked_all_the_time(self, route: Route) -> bool:
        if route.method == "GET" and not self._reads:
            return True
        return route.vital or route.path in _ASKED_ALL_THE_TIME or _watches(route)

    def ended(self, ended: Ended) -> None:
        """The span is over."""
        made = ended.request.span
        if made is None:
            return
        made.put(
            {
                "http.request.method": ended.method,
                "http.route": "" if ended.route is None else ended.route.path,
                "http.response.status_code": ended.status,
                "url.path": ended.path,
                "user.name": ended.request.principal.subject,
            }
        )
        if ended.status >= _FAILED:
            made.fail(f"answered with {ended.status}")
        made.end()


def _asked_for(request: Request) -> TraceContext | None:
    return parse(request.query.traceparent) if isinstance(request.query, SocketQuery) else None


def _watches(route: Route) -> bool:
    return route.response is EventStream or route.or_stream or route.path == SOCKET.path


def received(headers: Headers) -> TraceContext | None:
    """The context that a request has brought along; None for none, for what is none, and for more than one."""
    if TRACEPARENT not in headers:
        return None
    values = headers.get_all(TRACEPARENT)
    return parse(values[0], headers.get_all(TRACESTATE)) if len(values) == 1 else None
