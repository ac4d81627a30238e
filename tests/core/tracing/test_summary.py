import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tekton.core.tracing.span import Span, Status
from tekton.core.tracing.summary import in_tree_order, summarize


def span(
    name: str, parent: str = "", at: float = 0.0, duration: float = 1.0, component: str = "x", status: Status = "unset"
) -> Span:
    return Span(
        trace_id="a" * 32, span_id=name, parent_id=parent, name=name, component=component, started_at=at,
        duration=duration, status=status,
    )  # fmt: skip


def shown(spans: list[Span]) -> list[tuple[str, int]]:
    return [(one.name, one.depth) for one in in_tree_order(spans)]


def test_a_trace_is_called_as_the_span_with_which_it_began() -> None:
    found = summarize(
        [
            span("inner", "root", 1.0, 5.0, "engram", "error"),
            span("root", "", 0.5, 2.0, "rhetor"),
            span("b", "root", 2.0),
        ]
    )

    assert (found.name, found.component, found.started_at, found.duration) == ("root", "rhetor", 0.5, 5.5)
    assert (found.status, found.spans, found.errors, found.components) == ("error", 3, 1, ["rhetor", "engram", "x"])


def test_a_trace_whose_beginning_is_not_known_is_called_as_what_is() -> None:
    assert summarize([span("b", "gone", 2.0), span("c", "b", 1.0)]).name == "b"


def test_a_trace_without_errors_is_well() -> None:
    assert summarize([span("a"), span("b", "a", status="ok")]).status == "ok"


def test_spans_stand_before_those_that_belong_to_them() -> None:
    spans = [span("a"), span("a1", "a", 1.0), span("a2", "a", 2.0), span("a11", "a1", 1.5), span("b", "gone", 0.5)]

    assert shown(random.Random(1).sample(spans, len(spans))) == [
        ("a", 0), ("a1", 1), ("a11", 2), ("a2", 1), ("b", 0),
    ]  # fmt: skip


def test_spans_that_somebody_has_made_up_are_shown_once_each() -> None:
    circle = [span("a", "b"), span("b", "a"), span("c", "c"), span("a", "b")]

    assert sorted(shown(circle)) == [("a", 0), ("b", 1), ("c", 0)]


def test_a_trace_may_be_as_deep_as_it_has_spans() -> None:
    deep = [span(f"s{n}", f"s{n - 1}" if n else "", float(n)) for n in range(5000)]

    assert shown(deep)[-1] == ("s4999", 4999)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.floats(0, 10)), min_size=1, max_size=20))
def test_whatever_belongs_to_what_nothing_is_lost(edges: list[tuple[int, int, float]]) -> None:
    spans = [span(f"s{one}", f"s{parent}", at) for one, parent, at in edges]

    ordered = in_tree_order(spans)

    assert sorted(one.span_id for one in ordered) == sorted({one.span_id for one in spans})
    assert summarize(spans).spans == len(spans)
