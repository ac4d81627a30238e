"""Events: the changes of the components, and what is published to the subjects of the bus, as server-sent events."""

from typing import Annotated, Final

import msgspec

from tekton.gateway.bus.access import READ
from tekton.gateway.bus.events import SubjectEvents
from tekton.gateway.changes import ChangeSource
from tekton.gateway.request import Request
from tekton.gateway.router import Handler, Route
from tekton.gateway.sse import ChangeEvents, EventStream, last_event_id
from tekton.service.system import System
from tekton.utils.tekton_errors import InvalidSubjectError, TooManySubscriptionsError

_IN_PATH: Final = "abc"
"""A name for each token of a subject that is a path. Longer ones are in the query."""


class SubjectQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A subject, or a pattern of subjects."""

    subject: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    ticket: str | None = None


class TicketQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ticket in the place of a credential."""

    ticket: str | None = None


def routes(system: System) -> list[Route]:
    """The event streams."""
    changes = ChangeEvents(change_source(system))

    async def components(request: Request) -> EventStream:
        return changes.stream(last_event_id(request.headers))

    async def of_query(request: Request) -> EventStream:
        return await SubjectEvents(system.bus_port).stream(request, request.query.subject)

    async def of_path(request: Request) -> EventStream:
        return await SubjectEvents(system.bus_port).stream(request, ".".join(request.params.values()))

    def subject(path: str, handler: Handler, query: type[msgspec.Struct]) -> Route:
        summary = "What is published to a subject; Last-Event-ID resumes"
        errors = (InvalidSubjectError, TooManySubscriptionsError)
        return Route(
            "GET", path, handler, summary, READ, query=query, response=EventStream, errors=errors, tickets=True
        )

    paths = ["/events" + "".join(f"/{{{name}}}" for name in _IN_PATH[:depth]) for depth in range(1, len(_IN_PATH) + 1)]
    return [
        Route(
            "GET",
            "/events/components",
            components,
            summary="Component changes; Last-Event-ID resumes after a revision",
            permission="components:read",
            query=TicketQuery,
            response=EventStream,
            tickets=True,
        ),
        subject("/events", of_query, SubjectQuery),
        *(subject(path, of_path, TicketQuery) for path in paths),
    ]


def change_source(system: System) -> ChangeSource:
    """The records of all instances, and the feed of their changes."""
    registry = system.registry
    return ChangeSource(registry.feed, registry.all_instances)
