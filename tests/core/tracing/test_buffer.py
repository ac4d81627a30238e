from concurrent.futures import ThreadPoolExecutor

from tekton.core.tracing.buffer import SpanBuffer
from tekton.core.tracing.span import Span


def made(name: str = "work") -> Span:
    return Span(trace_id="a" * 32, span_id="b" * 16, name=name, component="x", started_at=1.0, duration=0.5)


def test_spans_are_taken_in_the_order_in_which_they_came() -> None:
    buffer = SpanBuffer()
    for name in "abc":
        buffer.add(made(name))

    assert [one.name for one in buffer.take(2)] == ["a", "b"]
    assert len(buffer) == 1


def test_what_there_is_no_room_for_is_let_go_and_counted() -> None:
    buffer = SpanBuffer(2)
    for name in "abcd":
        buffer.add(made(name))

    assert buffer.dropped == 2
    assert [one.name for one in buffer.take()] == ["a", "b"]
    assert buffer.take() == []


def test_long_spans_take_the_room_of_many() -> None:
    buffer = SpanBuffer(room=1000)
    for name in ("a" * 500, "b" * 500, "c"):
        buffer.add(made(name))

    assert ([one.name[0] for one in buffer.take()], buffer.dropped) == (["a", "c"], 1)
    buffer.add(made("d" * 800))
    assert len(buffer) == 1


def test_so_many_are_taken_as_there_is_room_for_and_one_at_least() -> None:
    buffer = SpanBuffer()
    for name in ("a" * 500, "b" * 500, "c" * 5000, "d"):
        buffer.add(made(name))

    taken = [[one.name[0] for one in buffer.take(room=1500)] for _ in range(4)]

    assert taken == [["a", "b"], ["c"], ["d"], []]


def test_what_was_given_back_comes_first() -> None:
    buffer = SpanBuffer()
    for name in "abc":
        buffer.add(made(name))

    buffer.put_back(buffer.take(2))

    assert [one.name for one in buffer.take()] == ["a", "b", "c"]


def test_any_thread_may_add() -> None:
    buffer = SpanBuffer(10_000)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: [buffer.add(made()) for _ in range(500)], range(8)))

    assert (len(buffer.take()), buffer.dropped) == (4000, 0)
