"""A metric as the reference, the dashboard and the alert rules have it."""

from dataclasses import dataclass

from tekton.core.metrics.declaration import Metric, MetricType

COUNTER, GAUGE, HISTOGRAM, _ = MetricType


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A rule of Prometheus: it fires when *when* (PromQL) has given something for *lasting*.

    *summary* says what is the matter, and what to do; *see* is where docs/ says more: a file, and a heading of it.
    """

    name: str
    when: str
    lasting: str
    severity: str
    summary: str
    see: str = "operations.md#looking"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A metric, why one looks at it, and the alert that goes with it.

    `part` is the chapter of the reference and the row of the dashboard; `panel` is what the dashboard draws (PromQL),
    where that is not what the type suggests.
    """

    part: str
    metric: Metric
    why: str
    panel: str | None = None
    alert: Alert | None = None

    @property
    def query(self) -> str:
        """What the dashboard draws."""
        name, by = self.metric.exposed, ", ".join(self.metric.labels)
        if self.panel is not None:
            return self.panel
        if self.metric.metric_type is MetricType.HISTOGRAM:
            return f"histogram_quantile(0.99, sum by ({', '.join(filter(None, (by, 'le')))}) (rate({name}_bucket[5m])))"
        if self.metric.metric_type is MetricType.COUNTER:
            return f"sum by ({by}) (rate({name}[5m]))" if by else f"rate({name}[5m])"
        return name


def about(
    part: str,
    name: str,
    kind: MetricType,
    description: str,
    why: str,
    *,
    unit: str = "",
    labels: tuple[str, ...] = (),
    buckets: tuple[float, ...] = (),
    panel: str | None = None,
    alert: Alert | None = None,
) -> Described:
    """An entry of the list: a metric, why to look at it, and what goes with it."""
    metric = Metric(name, description, kind, unit, labels, buckets)
    return Described(part=part, metric=metric, why=why, panel=panel, alert=alert)
