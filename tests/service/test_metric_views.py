"""Metrics as JSON."""

import json
import math
from typing import Any

import msgspec

from tekton.core.metrics.metrics import MetricsManager, MetricType, Reading
from tekton.service.metric_views import MetricView, encoded, view_of
from tekton.testing.clock import ManualClock


def filled(clock: ManualClock, label_sets: int = 2) -> MetricsManager:
    metrics = MetricsManager(clock=clock)
    metrics.register_metric("waiting", "Jobs that wait.", MetricType.GAUGE, labels=["queue"])
    metrics.register_metric("took", "Time.", MetricType.HISTOGRAM, "seconds", buckets=(0.5, 2))
    for number in range(label_sets):
        metrics.record("waiting", number, {"queue": str(number)})
        metrics.record("took", number)
    return metrics


def in_json(metrics: MetricsManager, name: str, clock: ManualClock | None = None) -> Any:
    return json.loads(b"".join(encoded(metrics.get_metric_values(name), clock)))


def test_a_gauge_has_values_and_a_histogram_counts_up_to_each_bound() -> None:
    metrics = filled(ManualClock())

    assert in_json(metrics, "waiting") == {
        "name": "waiting",
        "type": "gauge",
        "unit": "",
        "description": "Jobs that wait.",
        "labels": ["queue"],
        "samples": [{"labels": {"queue": "0"}, "value": 0.0}, {"labels": {"queue": "1"}, "value": 1.0}],
    }
    assert in_json(metrics, "took")["samples"] == [
        {"labels": {}, "count": 2, "sum": 1.0, "buckets": {"0.5": 1, "2.0": 2, "+Inf": 2}}
    ]


def test_what_is_no_finite_number_is_left_out() -> None:
    metrics = MetricsManager()
    metrics.register_metric("odd", "x", MetricType.GAUGE)
    metrics.add_reader(lambda: [Reading("odd", math.nan)])
    list(metrics.refresh())

    assert msgspec.to_builtins(view_of(metrics.get_metric_values("odd")))["samples"] == [{"labels": {}}]


def test_the_history_begins_with_the_first_sample_and_has_gaps() -> None:
    clock = ManualClock(monotonic=1000.0, wall=5000.0)
    metrics = filled(clock, 1)
    metrics.sample()
    clock.advance(20)
    metrics.record("waiting", 7, {"queue": "0"})
    metrics.sample()

    (sample,) = in_json(metrics, "waiting", clock)["samples"]

    slots = [0.0, None, 7.0]
    assert sample["history"] == {"since": 5000.0, "step": 10.0, "low": slots, "mean": slots, "high": slots}


def test_many_label_sets_are_the_same_in_pieces() -> None:
    metrics = filled(ManualClock(), 700)
    values = metrics.get_metric_values("waiting")

    pieces = list(encoded(values))

    assert len(pieces) == 1 + 3 + 1
    assert msgspec.json.decode(b"".join(pieces), type=MetricView) == view_of(values)


def test_a_metric_without_label_sets_has_no_samples() -> None:
    metrics = filled(ManualClock(), 0)

    assert in_json(metrics, "waiting")["samples"] == []
