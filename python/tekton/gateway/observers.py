"""Who is told of requests: of each one that was let in, and of each one that has ended.

An observer runs in the task of the request, so what it costs every caller waits for; it does not wait itself and does
not raise. A gateway without observers asks nothing and keeps nothing for them.
"""

from typing import NamedTuple

from tekton.gateway.request import Request
from tekton.gateway.router import Route


class Ended(NamedTuple):
    """A request, or the conversation on a socket, that has ended.

    `route` is None where it was refused before that was known: by its rate, its frame, or because there is no such
    route. `status` is that of the answer, 101 for a socket, 0 where the server has ended before there was one.
    `seconds` are those from its arrival here to its answer; to the end of the stream or socket where it was one
    (`streamed`).
    """

    method: str
    path: str
    request: Request
    route: Route | None
    status: int
    seconds: float
    streamed: bool


class Observer:
    """Takes no notice; observers override what they want to know."""

    def began(self, request: Request, route: Route) -> None:
        """The request was let in; its body has still to be read.

        What is put into a context variable here, the handler finds there: each request is a task of its own.
        """

    def ended(self, ended: Ended) -> None:
        """The request has been answered, or the stream or socket has ended."""
