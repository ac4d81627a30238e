"""One metric with all its label sets, and the bound on how many there may be.

Above the bound, label sets that are new share one child, whose labels all say `overflow`: the sum stays right, the
memory bounded. How often that happens is counted, and logged the first time.
"""

import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from tekton.core.metrics.children import Child, Distribution, Value, add
from tekton.core.metrics.names import check_label_value
from tekton.utils.tekton_errors import InvalidMetricError

if TYPE_CHECKING:
    from tekton.core.metrics.declaration import Metric

OVERFLOW: Final = "overflow"
"""The value of every label of the child that stands for the label sets which are too many."""

LabelValues = tuple[str, ...]
"""The values of the labels, in the order in which the metric declares them."""

_logger = logging.getLogger("tekton.metrics")


class Family:
    """The children of *metric*, at most *limit* of them and one more, and what readers have read for it."""

    def __init__(self, metric: "Metric", limit: int) -> None:
        self.metric = metric
        self.refused = 0
        self._limit = limit
        self._lock = threading.RLock()  # see children
        self._children: dict[LabelValues, Child] = {}
        self._read: dict[LabelValues, Value] | None = None
        if not metric.labels:
            self._children[()] = metric.metric_type.child(metric)

    def child(self, labels: Mapping[str, str] | None) -> Child:
        """The child of these labels, made when it is new. Raises InvalidMetricError for labels that do not fit."""
        values = self._values(labels or {})
        try:
            child = self._children.get(values)
        except TypeError:  # no text, and not even hashable
            child = None
        return self._add(values) if child is None else child

    def add_reading(self, given: dict[LabelValues, Value], labels: LabelValues, value: Value) -> None:
        """Add to *given*, which is to be shown, one label set. Raises InvalidMetricError for what does not fit."""
        self._check(labels, value)
        if len(given) >= self._limit and labels not in given:
            self._refuse()
            labels = (OVERFLOW,) * len(labels)
            value = add(given[labels], value) if labels in given else value
        given[labels] = value

    def show(self, given: dict[LabelValues, Value] | None) -> None:
        """Have read *given* and nothing else; it is not changed any more. None: nobody reads it any more."""
        # Replaced and not changed: who takes a snapshot in another thread sees all of the old ones or of the new ones.
        self._read = given

    def snapshot(self) -> list[tuple[LabelValues, Value]]:
        """Every label set with its value now. May be called from any thread."""
        with self._lock:
            children = list(self._children.items())
        read = self._read
        if read is None:
            return [(values, child.read()) for values, child in children]
        recorded = [(values, child.read()) for values, child in children if values and values not in read]
        return [*recorded, *read.items()]

    def _values(self, labels: Mapping[str, str]) -> LabelValues:
        names = self.metric.labels
        try:
            values = tuple([labels[name] for name in names])
        except KeyError as error:
            raise InvalidMetricError(self.metric.name, f"the label {error.args[0]!r} is missing") from None
        if len(labels) > len(names):
            unknown = next(name for name in labels if name not in names)
            raise InvalidMetricError(self.metric.name, f"it has no label {unknown!r}")
        return values

    def _check(self, labels: LabelValues, value: Value) -> None:
        metric = self.metric
        try:
            "".join(labels)
        except TypeError:
            raise InvalidMetricError(metric.name, f"of the labels {labels!r} one is no text") from None
        if len(labels) != len(metric.labels):
            raise InvalidMetricError(metric.name, f"it has {len(metric.labels)} labels, not {len(labels)}")
        if isinstance(value, Distribution) is not metric.metric_type.distributed:
            raise InvalidMetricError(metric.name, f"a {metric.metric_type.value} cannot be {value!r}")
        if isinstance(value, Distribution) and len(value.buckets) != (len(metric.buckets) + 1 if metric.buckets else 0):
            raise InvalidMetricError(metric.name, f"it has other buckets than {len(value.buckets)}")

    def _add(self, values: LabelValues) -> Child:
        for label, value in zip(self.metric.labels, values, strict=True):
            check_label_value(self.metric.name, label, value)
        with self._lock:
            if len(self._children) >= self._limit and values not in self._children:
                self._refuse()
                values = (OVERFLOW,) * len(values)
            if (child := self._children.get(values)) is None:
                child = self._children[values] = self.metric.metric_type.child(self.metric)
            return child

    def _refuse(self) -> None:
        if not self.refused:
            _logger.warning(
                "the metric %s has more than %d label sets: new ones are counted together as %r",
                self.metric.name,
                self._limit,
                OVERFLOW,
            )
        self.refused += 1
