import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tekton.utils.server_sent_events import EventStreamParser, EventTooLargeError, ServerSentEvent

_STREAM = (
    ": comment\nid: 1\nevent: change\ndata: a\ndata: b\n\n"
    "data\n\n"
    "retry: 2500\nretry: soon\n\n"
    "id: ü\r\ndata:no space\r\n\r\n"
    "id\rdata:  two spaces\r\r"
    "unknown: x\nevent: empty\n\n"
    "data: last\n\n"
    "data: unfinished"
).encode()
_EVENTS = [
    ServerSentEvent("change", "a\nb", "1"),
    ServerSentEvent("message", "", "1"),
    ServerSentEvent("message", "no space", "ü"),
    ServerSentEvent("message", " two spaces", ""),
    ServerSentEvent("message", "last", ""),
]


def test_a_stream_is_read_as_the_standard_says() -> None:
    parser = EventStreamParser()

    assert parser.feed(_STREAM) == _EVENTS
    assert parser.retry == 2.5


@given(st.lists(st.integers(0, len(_STREAM)), max_size=20))
def test_it_does_not_matter_where_the_stream_is_cut(cuts: list[int]) -> None:
    parser = EventStreamParser()
    edges = [0, *sorted(cuts), len(_STREAM)]

    events = [event for start, end in itertools.pairwise(edges) for event in parser.feed(_STREAM[start:end])]

    assert events == _EVENTS


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_an_event_is_complete_at_its_empty_line_and_not_later(end: bytes) -> None:
    parser = EventStreamParser()

    assert parser.feed(b"data: x" + end + end) == [ServerSentEvent("message", "x", "")]
    assert parser.feed(b"data: y" + end + end) == [ServerSentEvent("message", "y", "")]


def test_a_byte_order_mark_is_skipped_at_the_start_only() -> None:
    parser = EventStreamParser()

    events = parser.feed("\ufeffdata: a\n\n\ufeffdata: b\n\ndata: c\n\n".encode())

    assert [event.data for event in events] == ["a", "c"]


def test_an_event_without_end_is_refused() -> None:
    parser = EventStreamParser(most=100)
    parser.feed(b"data: " + b"x" * 90 + b"\n\n")

    parser.feed(b"data: " + b"x" * 80 + b"\n")
    with pytest.raises(EventTooLargeError):
        parser.feed(b"data: " + b"x" * 80)


def test_an_event_of_nothing_but_empty_lines_is_refused_as_well() -> None:
    parser = EventStreamParser(most=100)

    parser.feed(b"data:\n" * 100)
    with pytest.raises(EventTooLargeError):
        parser.feed(b"data\n")


def test_each_event_may_be_as_large_as_the_one_before() -> None:
    parser = EventStreamParser(most=100)

    events = [event for _ in range(5) for event in [*parser.feed(b"data:\n" * 90), *parser.feed(b"\n")]]

    assert [event.data for event in events] == ["\n" * 89] * 5
