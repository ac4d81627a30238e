"""What the event streams of numbered things share."""

from types import SimpleNamespace
from typing import cast

import pytest

from tekton.gateway.request import Request
from tekton.service.event_streams import PIECE, in_pieces, position


def test_events_are_sent_together_up_to_a_size_and_large_ones_alone() -> None:
    events = [b"a" * 10, b"b" * (PIECE - 20), b"c" * 10, b"d" * (3 * PIECE), b"e", b"f"]

    pieces = list(in_pieces(events))

    assert b"".join(pieces) == b"".join(events)
    assert [len(piece) for piece in pieces] == [PIECE, 3 * PIECE, 2]
    assert list(in_pieces([])) == []


@pytest.mark.parametrize(
    ("sent", "found"), [("7", 7), ("0", 0), ("-1", 3), ("x", 3), ("", 3), ("9" * 16, 3), (None, 3)]
)
def test_a_position_that_is_none_is_as_if_it_had_not_been_sent(sent: str | None, found: int) -> None:
    # It asks of a request no more than what is here.
    request = SimpleNamespace(headers={} if sent is None else {"last-event-id": sent})

    assert position(cast(Request, request), 3) == found
