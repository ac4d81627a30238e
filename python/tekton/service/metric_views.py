"""Metrics as the API shows them."""

import math
from collections.abc import Iterator
from itertools import islice

import msgspec

from tekton.clock import Clock
from tekton.core.metrics.children import Distribution
from tekton.core.metrics.metrics import Metric, MetricValue, MetricValues
from tekton.core.series import Window, wall_time
from tekton.gateway.request import encode

_PIECE = 300
_PIECE_WITH_HISTORY = 15


class HistoryView(msgspec.Struct, frozen=True):
    """Slots of `step` seconds from `since` (seconds since 1970) on; null where there is no value.

    In the finest slots `low`, `mean` and `high` are the same.
    """

    since: float
    step: float
    low: list[float | None]
    mean: list[float | None]
    high: list[float | None]


class SampleView(msgspec.Struct, frozen=True, omit_defaults=True):
    """One label set. A counter or gauge has a `value` (left out where it is no finite number).

    A histogram or summary has `count` and `sum`, a histogram also `buckets`: upper bound -> how many were not above it.
    `history` is that of the value, or of the count.
    """

    labels: dict[str, str]
    value: float | None = None
    count: int | None = None
    sum: float | None = None
    buckets: dict[str, int] | None = None
    history: HistoryView | None = None


class MetricView(msgspec.Struct, frozen=True):
    """A metric under the name by which Prometheus knows it, with all its label sets."""

    name: str
    type: str
    unit: str
    description: str
    labels: list[str]
    samples: list[SampleView]


class MetricsView(msgspec.Struct, frozen=True):
    """Metrics `at` a time (seconds since 1970), in the order of their names."""

    at: float
    metrics: list[MetricView]


def view_of(values: MetricValues) -> MetricView:
    """*values* as they are shown, without their history."""
    return _view(values.metric, [_sample(values.metric, value, None) for value in values])


def encoded(values: MetricValues, clock: Clock | None = None) -> Iterator[bytes]:
    """`view_of` in JSON, in pieces, each of them a millisecond's work; with the history if a *clock* can date it."""
    metric, wanted = values.metric, iter(values)
    begin, _, end = encode(_view(metric, [])).rpartition(b"[]")
    yield begin + b"["
    separator = b""
    while piece := list(islice(wanted, _PIECE if clock is None else _PIECE_WITH_HISTORY)):
        yield separator + encode([_sample(metric, value, clock) for value in piece])[1:-1]
        separator = b","
    yield b"]" + end


def _view(metric: Metric, samples: list[SampleView]) -> MetricView:
    return MetricView(
        metric.exposed, metric.metric_type.value, metric.unit, metric.description, list(metric.labels), samples
    )


def _sample(metric: Metric, each: MetricValue, clock: Clock | None) -> SampleView:
    history = None if clock is None or each.history is None else _history(each.history, clock)
    value = each.value
    if not isinstance(value, Distribution):
        return SampleView(each.labels, value=value if math.isfinite(value) else None, history=history)
    return SampleView(
        each.labels, count=value.count, sum=value.sum, buckets=_buckets(metric, value) or None, history=history
    )


def _buckets(metric: Metric, value: Distribution) -> dict[str, int]:
    found, seen = {}, 0
    for bound, count in zip((*metric.buckets, math.inf), value.buckets, strict=False):
        seen += count
        found["+Inf" if bound == math.inf else repr(bound)] = seen
    return found


def _history(window: Window, clock: Clock) -> HistoryView:
    # What was before the first value is no gap.
    first = next((place for place, value in enumerate(window.mean) if value is not None), len(window.mean))
    since = wall_time(clock, window.since + first * window.step)
    low, mean, high = (list(values[first:]) for values in (window.low, window.mean, window.high))
    return HistoryView(round(since, 3), window.step, low, mean, high)
