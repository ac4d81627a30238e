"""What a component says of the messages that it takes."""

import functools
from typing import Annotated, Any

import pytest

from tekton.bus.bus import Delivery
from tekton.bus.envelope import Envelope
from tekton.component.handlers import MessageTable
from tekton.mcp.message import Message
from tekton.utils.tekton_errors import InvalidIdError, InvalidSubjectError


async def takes_nothing() -> None: ...


async def takes_two(message: Message, more: str) -> None: ...


async def takes_text(message: str) -> None: ...


async def takes_by_name(*, message: Message) -> None: ...


def test_handlers_stay_as_they_are_and_are_kept_in_order() -> None:
    table = MessageTable()

    @table.subscribe("memory.>")
    async def remember(message: Message) -> None: ...

    @table.subscribe("engram.requests.search", queue="engram", concurrency=8)
    async def search(message: Any) -> None: ...

    @table.consume("orders", "billing")
    async def bill(message) -> None: ...  # type: ignore[no-untyped-def]

    assert [(each.handler, each.pattern, each.queue, each.concurrency) for each in table.subscribers] == [
        (remember, "memory.>", None, 1),
        (search, "engram.requests.search", "engram", 8),
    ]
    assert [(each.handler, each.stream, each.consumer) for each in table.workers] == [(bill, "orders", "billing")]


def test_the_annotation_of_the_parameter_says_what_a_handler_gets() -> None:
    table = MessageTable()

    @table.consume("orders")
    async def plain(message) -> None: ...  # type: ignore[no-untyped-def]

    @table.consume("orders")
    async def whole(envelope: Envelope) -> None: ...

    @table.consume("orders")
    async def handed_out(delivery: "Delivery", factor: float = 1.0) -> None: ...

    assert [each.takes for each in table.workers] == [Message, Envelope, Delivery]


class Biller:
    async def __call__(self, envelope: Envelope, factor: float = 1.0) -> None: ...


async def noted(envelope: Annotated[Envelope, "an order"]) -> None: ...


@pytest.mark.parametrize("handler", [Biller(), functools.partial(Biller(), factor=2.0), noted])
def test_the_annotation_is_found_at_an_object_behind_a_partial_and_in_annotated(handler: Any) -> None:
    table = MessageTable()

    table.consume("orders")(handler)

    assert [each.takes for each in table.workers] == [Envelope]


def test_a_decorator_without_brackets_says_what_is_missing() -> None:
    table = MessageTable()

    with pytest.raises(TypeError, match=r'say which subjects: @app.subscribe\("orders"\)'):
        table.subscribe(takes_nothing)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="say which stream"):
        table.consume(takes_nothing)  # type: ignore[arg-type]


@pytest.mark.parametrize("names", [("New Orders",), ("orders", "A b")])
def test_streams_and_consumers_have_ids(names: tuple[str, ...]) -> None:
    with pytest.raises(InvalidIdError):
        MessageTable().consume(*names)


@pytest.mark.parametrize("handler", [takes_nothing, takes_two, takes_text, takes_by_name])
def test_a_handler_takes_one_message(handler: Any) -> None:
    table = MessageTable()

    with pytest.raises(TypeError, match="takes"):
        table.subscribe("memory.>")(handler)
    with pytest.raises(TypeError, match="takes"):
        table.consume("orders")(handler)
    assert (table.subscribers, table.workers) == ([], [])


def test_only_a_stream_has_deliveries() -> None:
    async def handler(delivery: Delivery) -> None: ...

    with pytest.raises(TypeError, match="Message or Envelope"):
        MessageTable().subscribe("memory.>")(handler)


def test_what_is_no_pattern_is_refused() -> None:
    with pytest.raises(InvalidSubjectError):
        MessageTable().subscribe("memory..a")


def test_nothing_can_be_done_none_at_a_time() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        MessageTable().consume("orders", concurrency=0)


@pytest.mark.parametrize("longest", [-1.0, float("nan")])
def test_nothing_is_worked_on_for_less_than_no_time(longest: float) -> None:
    with pytest.raises(ValueError, match=r"longest is .* and has to be 0 or more"):
        MessageTable().consume("orders", longest=longest)
