"""Events: the changes of the components, and what is published to the subjects of the bus, as server-sent events."""

from typing import Annotated, Final

import msgspec

from tekton.gateway.bus.access import READ
from tekton.gateway.bus.events import SubjectEvents
from tekton.gateway.changes import ChangeSource
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.gateway.sse import ChangeEvents, EventStream
from tekton.service.system import System
from tekton.utils.tekton_errors import InvalidSubjectError, TooManySubscriptionsError

_IN_PATH: Final = "abc"
"""A name for each token of a subject that is a path. Longer ones are in the query."""


class SubjectQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A subject, or a pattern of subjects."""

    subject: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


def routes(system: System) -> list[Route]:
    """The event streams."""
    changes = ChangeEvents(change_source(system))

    async def components(request: Request) -> EventStream:
        return changes.stream(request.headers.get("last-event-id"))

    async def of_query(request: Request) -> EventStream:
        return await SubjectEvents(system.bus_port).stream(request, request.query.subject)

    async def of_path(request: Request) -> EventStream:
        return await SubjectEvents(system.bus_port).stream(request, ".".join(request.params.values()))

    summary = "What is published to a subject; Last-Event-ID resumes"
    errors = (InvalidSubjectError, TooManySubscriptionsError)
    paths = ["/events" + "".join(f"/{{{name}}}" for name in _IN_PATH[:depth]) for depth in range(1, len(_IN_PATH) + 1)]
    return [
        Route(
            "GET",
            "/events/components",
            components,
            summary="Component changes; Last-Event-ID resumes after a revision",
            permission="components:read",
            response=EventStream,
        ),
        Route("GET", "/events", of_query, summary, READ, query=SubjectQuery, response=EventStream, errors=errors),
        *(Route("GET", path, of_path, summary, READ, response=EventStream, errors=errors) for path in paths),
    ]


def change_source(system: System) -> ChangeSource:
    """The records of all instances, and the feed of their changes."""
    registry = system.registry
    return ChangeSource(registry.feed, registry.all_instances)
