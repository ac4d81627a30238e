"""A histogram without a lock counts as the one with a lock does."""

from hypothesis import given
from hypothesis import strategies as st

from tekton.core.metrics.children import Distribution, Histogram
from tekton.core.metrics.metrics import Metric, MetricType
from tekton.core.metrics.tally import Tally

BOUNDS = (0.5, 1.0, 10.0)


@given(st.lists(st.floats(-100, 100)))
def test_it_sees_what_a_histogram_sees(values: list[float]) -> None:
    tally, histogram = Tally(BOUNDS), Histogram(Metric("x", "x", MetricType.HISTOGRAM, buckets=BOUNDS))

    for value in values:
        tally.observe(value)
        histogram.observe(value)

    assert tally.read() == histogram.read()


def test_it_begins_empty() -> None:
    assert Tally(BOUNDS).read() == Distribution(0, 0.0, (0, 0, 0, 0))
