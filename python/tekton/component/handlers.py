"""The decorators with which a component says which messages it takes.

    @app.subscribe("engram.requests.search", queue="engram")
    async def search(message: Message) -> list[str]: ...

    @app.consume("orders")
    async def bill(message: Message) -> None: ...

A handler gets the `Message`; or, where its parameter is annotated so, the `Envelope` with subject and sequence, or the
`Delivery` of a stream, of which it may say more than that it is done. A plain function runs in a thread.
"""

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from tekton._native import is_valid_pattern
from tekton.bus.bus import DEFAULT_CONSUMER, ConsumerSettings, Delivery, Limits, Policy, at_least
from tekton.bus.envelope import Envelope
from tekton.bus.streams.subjects import check_consumer
from tekton.mcp.annotations import annotations_of, bare
from tekton.mcp.message import Message
from tekton.utils.tekton_errors import InvalidSubjectError
from tekton.utils.tekton_ids import check_id

__all__ = ["DROPPING", "MessageTable", "Subscriber", "Takes", "Worker"]

_HandlerT = TypeVar("_HandlerT", bound=Callable[..., Any])

Takes = type[Message] | type[Envelope] | type[Delivery]

DROPPING: Final = Limits(policy=Policy.DROP_OLDEST)
"""A handler that does not keep up misses the oldest, and goes on."""

LONGEST: Final = 600.0
"""Seconds for which a message may be worked on before it is handed to somebody else, unless the handler says more."""

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A handler of what is published."""

    handler: Callable[..., Any]
    takes: Takes
    concurrency: int
    pattern: str
    queue: str | None
    limits: Limits


@dataclass(frozen=True, slots=True)
class Worker:
    """A handler of what a stream hands out. Without a *consumer* it works under the name of its component."""

    handler: Callable[..., Any]
    takes: Takes
    concurrency: int
    stream: str
    consumer: str | None
    settings: ConsumerSettings
    longest: float


class MessageTable:
    """Which messages a component takes, in the order of the definitions."""

    def __init__(self) -> None:
        self.subscribers: list[Subscriber] = []
        self.workers: list[Worker] = []

    def subscribe(
        self, pattern: str, *, queue: str | None = None, concurrency: int = 1, limits: Limits = DROPPING
    ) -> Callable[[_HandlerT], _HandlerT]:
        """Call the decorated function, which stays as it is, with what is published to *pattern*, in order.

        Of all who name the same *queue*, one gets each message. Up to *concurrency* run at a time; with more than one
        they end in any order; a plain function keeps its place until its thread has ended. What it returns to a request
        is published as the answer; what it raises, and what cannot be sent, as an ERROR with the code of that. A
        message that it returns is the answer itself; one of another sender is passed on as said by the component, as a
        RESPONSE unless it is an ERROR. Nobody is told of what it raises otherwise, but the log. What waits for it at
        most is said by *limits*. It runs while the component is ready. One that ignores its cancellation, at the
        deadline of its message or at the end, is given up after half a second, and runs on by itself.

        Raises InvalidSubjectError, and TypeError for a function that does not take one message.
        """
        _check_given("subscribe", pattern)
        if not is_valid_pattern(pattern):
            raise InvalidSubjectError(pattern, "is no pattern of subjects")
        _check_concurrency(concurrency)

        def add(handler: _HandlerT) -> _HandlerT:
            takes = _taken(handler, (Message, Envelope))
            self.subscribers.append(Subscriber(handler, takes, concurrency, pattern, queue, limits))
            return handler

        return add

    def consume(
        self,
        stream: str,
        consumer: str | None = None,
        settings: ConsumerSettings = DEFAULT_CONSUMER,
        *,
        concurrency: int = 1,
        longest: float = LONGEST,
    ) -> Callable[[_HandlerT], _HandlerT]:
        """Call the decorated function, which stays as it is, with what *stream* hands out, at least once.

        All who work under the same name *consumer* (default: the id of the component) share the work. When the function
        returns, the message is acknowledged; when it raises, it is handed out again, as the *settings* say. One that is
        done, and is handed to this process once more, is acknowledged without a call (the last 10,000 are remembered),
        unless the handler settles its deliveries by itself. While it works its `ack_wait` is extended, for *longest*
        seconds; then somebody else gets the message. It runs while the component is ready. When that ends, what is in
        progress is finished, and the rest given back.

        Raises InvalidIdError, InvalidSubjectError, ValueError for a number that cannot be, and TypeError for a function
        that does not take one message.
        """
        _check_given("consume", stream)
        for name, field in ((stream, "stream"), (consumer, "consumer")):
            if name is not None:
                check_id(name, field)
        check_consumer(settings)
        _check_concurrency(concurrency)
        at_least("longest", longest, 0)

        def add(handler: _HandlerT) -> _HandlerT:
            takes = _taken(handler, (Message, Envelope, Delivery))
            self.workers.append(Worker(handler, takes, concurrency, stream, consumer, settings, longest))
            return handler

        return add


def _check_given(decorator: str, what: object) -> None:
    """Raise TypeError for `@app.subscribe` without brackets, to which the function itself is given."""
    if not isinstance(what, str):
        named = "subjects" if decorator == "subscribe" else "stream"
        raise TypeError(f'say which {named}: @app.{decorator}("orders")')


def _check_concurrency(concurrency: int) -> None:
    if concurrency < 1:
        raise ValueError(f"concurrency is at least 1, not {concurrency}")


def _taken(handler: Callable[..., Any], possible: tuple[Takes, ...]) -> Takes:
    """What the one parameter of *handler* is to get."""
    name = getattr(handler, "__name__", repr(handler))
    parameters = list(inspect.signature(handler).parameters.values())
    needed = [each for each in parameters if each.default is inspect.Parameter.empty]
    if not parameters or parameters[0].kind not in _POSITIONAL or len(needed) > 1:
        raise TypeError(f"{name} takes something else than one message")
    annotation = bare(annotations_of(handler).get(parameters[0].name, Message))
    if annotation is Any:
        return Message
    if annotation not in possible:
        names = " or ".join(each.__name__ for each in possible)
        raise TypeError(f"{name} takes {annotation!r}, where it can have a {names}")
    return typing.cast(Takes, annotation)
