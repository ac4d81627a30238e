"""Names of metrics, labels and units: what is taken, and what becomes of it."""

import pytest

from tekton.core.metrics.metrics import Metric, MetricType
from tekton.utils.tekton_errors import InvalidMetricError

COUNTER, GAUGE, HISTOGRAM, SUMMARY = MetricType


@pytest.mark.parametrize(
    ("kind", "name", "unit", "exposed"),
    [
        (HISTOGRAM, "component_startup_time", "seconds", "component_startup_time_seconds"),
        (GAUGE, "active_connections", "connections", "active_connections"),
        (GAUGE, "temperature", "", "temperature"),
        (COUNTER, "requests", "", "requests_total"),
        (COUNTER, "requests_total", "", "requests_total"),
        (COUNTER, "sent_total", "bytes", "sent_bytes_total"),
        (COUNTER, "sent_bytes", "bytes", "sent_bytes_total"),
        (SUMMARY, "size", "bytes", "size_bytes"),
    ],
)
def test_the_exposed_name_has_the_unit_and_what_the_type_asks_for(
    kind: MetricType, name: str, unit: str, exposed: str
) -> None:
    assert Metric(name, "x", kind, unit).exposed == exposed


@pytest.mark.parametrize("name", ["", "1st", "a-b", "a b", "a:b", "ä", "a\n", "x" * 129])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidMetricError, match="letters, digits"):
        Metric(name, "x", COUNTER)


@pytest.mark.parametrize("unit", ["Seconds", "m/s", "_s", "1", "total"])
def test_what_is_no_unit_is_refused(unit: str) -> None:
    with pytest.raises(InvalidMetricError, match="no unit"):
        Metric("a", "x", GAUGE, unit)


@pytest.mark.parametrize(
    ("kind", "labels", "problem"),
    [
        (GAUGE, ("a", "a"), "twice"),
        (GAUGE, ("__a",), "reserved"),
        (GAUGE, ("a-b",), "no name of a label"),
        (GAUGE, ("",), "no name of a label"),
        (HISTOGRAM, ("le",), "reserved"),
        (SUMMARY, ("quantile",), "reserved"),
        (GAUGE, tuple(f"l{number}" for number in range(17)), "at most 16"),
    ],
)
def test_labels_that_cannot_be_are_refused(kind: MetricType, labels: tuple[str, ...], problem: str) -> None:
    with pytest.raises(InvalidMetricError, match=problem):
        Metric("a", "x", kind, "", labels)


def test_a_label_of_another_type_of_metric_is_not_reserved() -> None:
    assert Metric("a", "x", GAUGE, "", ("le", "quantile")).labels == ("le", "quantile")


@pytest.mark.parametrize("buckets", [(1.0, 1.0), (2.0, 1.0), (1.0, float("inf")), (float("nan"), 1.0)])
def test_bounds_that_do_not_grow_or_are_not_finite_are_refused(buckets: tuple[float, ...]) -> None:
    with pytest.raises(InvalidMetricError, match="bounds"):
        Metric("a", "x", HISTOGRAM, buckets=buckets)


def test_only_a_histogram_has_buckets() -> None:
    with pytest.raises(InvalidMetricError, match="only a histogram"):
        Metric("a", "x", GAUGE, buckets=(1.0,))
