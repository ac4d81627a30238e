"""What a metric is before anything is recorded: its name, type, unit, labels and buckets, checked."""

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from math import inf
from typing import Final

from tekton.core.metrics.children import Child, Counter, Gauge, Histogram, Summary, number
from tekton.core.metrics.names import check_labels, check_name, check_unit, family_name
from tekton.utils.tekton_errors import InvalidMetricError

DEFAULT_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds, in seconds, for what people wait for."""


class MetricType(Enum):
    """What a metric is: it counts up, goes up and down, or tells how values are distributed."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"

    @property
    def child(self) -> type[Child]:
        """The class of its children."""
        return _CHILDREN[self]

    @property
    def distributed(self) -> bool:
        """True when its values are Distributions."""
        return self in (MetricType.HISTOGRAM, MetricType.SUMMARY)


_CHILDREN: Final[dict[MetricType, type[Child]]] = {
    MetricType.COUNTER: Counter,
    MetricType.GAUGE: Gauge,
    MetricType.HISTOGRAM: Histogram,
    MetricType.SUMMARY: Summary,
}
_RESERVED: Final = {MetricType.HISTOGRAM: frozenset({"le"}), MetricType.SUMMARY: frozenset({"quantile"})}
_SUFFIXES: Final = {
    MetricType.COUNTER: ("_total", "_created"),
    MetricType.GAUGE: ("",),
    MetricType.HISTOGRAM: ("_bucket", "_count", "_sum", "_created"),
    MetricType.SUMMARY: ("", "_count", "_sum", "_created"),
}


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as it is declared. `labels` are names; `buckets` (histograms) are upper bounds, growing.

    Raises InvalidMetricError for a name, unit, label or bound that cannot be.
    """

    name: str
    description: str
    metric_type: MetricType
    unit: str = ""
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.name)
        if not isinstance(self.description, str):
            raise InvalidMetricError(self.name, f"the description {self.description!r} is no text")
        check_unit(self.name, self.unit)
        if not isinstance(self.metric_type, MetricType):
            raise InvalidMetricError(self.name, f"{self.metric_type!r} is no MetricType")
        check_labels(self.name, self.labels, _RESERVED.get(self.metric_type, frozenset()))
        if self.metric_type is MetricType.HISTOGRAM:
            bounds = self.buckets or DEFAULT_BUCKETS
            object.__setattr__(self, "buckets", tuple(map(number, bounds)))
            if not all(low < high for low, high in pairwise(self.buckets)) or not abs(self.buckets[-1]) < inf:
                raise InvalidMetricError(self.name, "the bounds of its buckets must grow, and be finite")
        elif self.buckets:
            raise InvalidMetricError(self.name, "only a histogram has buckets")

    @property
    def family(self) -> str:
        """The name of its family in OpenMetrics: with the unit, without `_total`."""
        return family_name(self.name, self.unit, counter=self.metric_type is MetricType.COUNTER)

    @property
    def exposed(self) -> str:
        """The name under which Prometheus knows it: with the unit, and `_total` for a counter."""
        return f"{self.family}_total" if self.metric_type is MetricType.COUNTER else self.family

    @property
    def sample_names(self) -> list[str]:
        """The names of all its samples, in any format."""
        return [self.family, *(f"{self.family}{suffix}" for suffix in _SUFFIXES[self.metric_type] if suffix)]
