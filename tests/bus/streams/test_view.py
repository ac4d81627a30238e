"""What is known of a stream without asking the disk: its newest messages, beside a model that keeps all of them."""

from random import Random

import pytest
from stream_owner import said

from tekton.bus.bus import StreamSettings
from tekton.bus.envelope import Envelope
from tekton.bus.streams.store import StreamState
from tekton.bus.streams.view import TAIL_BYTES, TAIL_MESSAGES, StreamView

ORDERS = StreamSettings(("orders.>",), work_queue=True)
MESSAGE = said(1).message


def shown(view: StreamView, count: int, size: int = 100) -> list[int]:
    """Show *count* new messages; their sequences."""
    begin = view.state.last
    sequences = list(range(begin + 1, begin + count + 1))
    new = [(Envelope("orders.new", MESSAGE, sequence=one, stream="orders"), size) for one in sequences]
    view.show(StreamState(0, 0, begin + count, 0), new)
    return sequences


def test_what_is_off_the_disk_is_passed_over() -> None:
    view = StreamView("orders", ORDERS, StreamState())
    shown(view, 5)

    for sequence in (1, 2, 4, 5):
        view.removed(sequence)

    page = view.page(0, 10, TAIL_BYTES)
    assert page is not None
    assert ([one.sequence for one in page.envelopes], page.through) == ([3], 5)
    assert view.page(3, 10, TAIL_BYTES) == ([], 5, 0)


@pytest.mark.parametrize("seed", range(10))
def test_the_newest_ones_are_those_that_are_left_of_all(seed: int) -> None:
    rng = Random(seed)
    view = StreamView("orders", ORDERS, StreamState())
    left: set[int] = set()
    for _ in range(200):
        left.update(shown(view, rng.choice((1, 5, 300)), rng.choice((10, 1000, TAIL_BYTES // 4))))
        for sequence in rng.sample(sorted(left), rng.randrange(min(len(left), 50))):
            view.removed(sequence)
            left.remove(sequence)
        last = view.state.last
        for after in (last, last - 1, rng.randrange(max(0, last - TAIL_MESSAGES), last), 0):
            most = rng.choice((1, 256, 5000))
            if (page := view.page(after, most, TAIL_BYTES)) is not None:
                assert [one.sequence for one in page.envelopes] == [
                    one for one in range(after + 1, page.through + 1) if one in left
                ]
                assert after < page.through <= after + most or page.through == last == after
