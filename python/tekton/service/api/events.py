"""Events: the changes of the components as server-sent events."""

from tekton.gateway.changes import ChangeSource
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.gateway.sse import ChangeEvents, EventStream
from tekton.service.system import System


def routes(system: System) -> list[Route]:
    """The event streams."""
    changes = ChangeEvents(change_source(system))

    async def components(request: Request) -> EventStream:
        return changes.stream(request.headers.get("last-event-id"))

    return [
        Route(
            "GET",
            "/events/components",
            components,
            summary="Component changes; Last-Event-ID resumes after a revision",
            permission="components:read",
            response=EventStream,
        )
    ]


def change_source(system: System) -> ChangeSource:
    """The records of all instances, and the feed of their changes."""
    registry = system.registry
    return ChangeSource(registry.feed, registry.all_instances)
