"""What may be published."""

from collections.abc import Callable

import pytest

from tekton.bus.admission import admit, check
from tekton.bus.envelope import Envelope
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.utils.tekton_errors import (
    InvalidSubjectError,
    MessageExpiredError,
    MessageTooLargeError,
    TooManyHopsError,
)

NOW = 1000.0


def envelope(
    content: object = None, *, deadline: float | None = None, hops: int = 0, reply: str | None = None
) -> Envelope:
    context = MessageContext("engram", deadline=deadline, hops=hops)
    return Envelope("a", Message(MessageType.EVENT, content, context), reply)


EMPTY = envelope("").size

REFUSED: list[tuple[Callable[[], Envelope], type[Exception]]] = [
    (lambda: envelope("x" * (1024 * 1024 - EMPTY + 1)), MessageTooLargeError),
    (lambda: envelope(hops=17), TooManyHopsError),
    (lambda: envelope(hops=16, reply="a.b"), TooManyHopsError),
    (lambda: envelope(hops=255, reply="a.b"), TooManyHopsError),
    (lambda: envelope(deadline=NOW), MessageExpiredError),
    (lambda: envelope(deadline=0.0), MessageExpiredError),
    (lambda: envelope(reply=""), InvalidSubjectError),
    (lambda: envelope(reply="a.>"), InvalidSubjectError),
]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(("make", "error"), REFUSED, ids=range(len(REFUSED)))
def test_one_that_may_not_be_published_refuses_all(
    make: Callable[[], Envelope], error: type[Exception], place: int
) -> None:
    envelopes = [envelope(), envelope()]
    envelopes.insert(place, make())

    refused = envelopes[place]
    with pytest.raises(error):
        check(refused.message, refused.reply, refused.size, NOW)
    with pytest.raises(error):
        admit(envelopes, 1, NOW)


def test_what_may_be_published_gets_its_place_and_the_time() -> None:
    largest = envelope("x" * (1024 * 1024 - EMPTY))
    envelopes = [envelope(1), envelope(deadline=NOW + 1, hops=15, reply="a.b"), envelope(hops=16), largest]

    placed, size, alike = admit(envelopes, 7, NOW)

    assert [(one.sequence, one.time) for one in placed] == [(7, NOW), (8, NOW), (9, NOW), (10, NOW)]
    assert [one.message for one in placed] == [one.message for one in envelopes]
    assert [one.reply for one in placed] == [None, "a.b", None, None]
    assert size == sum(one.size for one in envelopes)
    assert alike
    assert admit([], 1, NOW) == ([], 0, True)


def test_content_that_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError):
        admit([envelope(object())], 1, NOW)
