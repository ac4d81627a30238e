"""Metrics: declared once, recorded from anywhere, read by name.

    metrics = MetricsManager()
    metrics.register_metric("job_time", "Time that a job took", MetricType.HISTOGRAM, unit="seconds", labels=["queue"])
    metrics.record("job_time", 0.2, {"queue": "mail"})

    mail = metrics.child("job_time", {"queue": "mail"}, Histogram)     # where it happens often
    mail.observe(0.3)

Two ways to a value: it is *recorded* when something happens, or *read*, by a function that is asked when somebody looks
(`add_reader`), so that what is counted anyway costs nothing more. Everything but the readers may be used from any
thread; those are called where `refresh` is.

A manager is a collector of prometheus-client: given a `registry`, it registers itself there. None is global.
"""

import logging
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar, overload

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.metrics.children import Child, Counter, Distribution, Gauge, Histogram, Summary, Value, number
from tekton.core.metrics.declaration import Metric, MetricType
from tekton.core.metrics.family import Family, LabelValues
from tekton.core.metrics.history import History
from tekton.core.series import Window
from tekton.utils.tekton_errors import InvalidMetricError, MetricExistsError, MetricNotFoundError
from tekton.utils.tekton_ids import nearest_name

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as PrometheusFamily

__all__ = [
    "Counter",
    "Distribution",
    "Gauge",
    "Histogram",
    "Metric",
    "MetricType",
    "MetricValue",
    "MetricValues",
    "MetricsManager",
    "Reading",
    "Summary",
]

MAX_METRICS: Final = 2000
"""Of one manager: names are not for what differs from one request to the next."""
MAX_LABEL_SETS: Final = 2000
"""Of one metric, unless the manager is told otherwise."""

_C = TypeVar("_C", bound=Child)

_logger = logging.getLogger("tekton.metrics")


class Reading(NamedTuple):
    """What a reader has read: the metric, its value, and the values of its labels in the order of declaration."""

    name: str
    value: Value
    labels: LabelValues = ()


Reader = Callable[[], Iterable[Reading | None]]
"""Called at each refresh. Best a generator: after each reading others may run, and after a None, which is no reading.

All that it gives of a metric replaces what it gave before. A metric has one reader.
"""


Snapshot = Sequence[tuple[Metric, Callable[[], Sequence[tuple[LabelValues, Value]]]]]
"""Metrics with functions that give their values, from any thread."""


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One label set: its value now, and how it was; see `MetricsManager.get_metric_values`."""

    labels: dict[str, str]
    value: Value
    history: Window | None = None


@dataclass(frozen=True, slots=True)
class MetricValues:
    """A metric with the values of all its label sets, over which it iterates."""

    metric: Metric
    values: tuple[MetricValue, ...]

    def __iter__(self) -> Iterator[MetricValue]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)


class Collector(Protocol):
    """A `Collector` or `CollectorRegistry` of prometheus-client."""

    def collect(self) -> "Iterable[PrometheusFamily]": ...


class _Registry(Protocol):
    """What of a `prometheus_client.CollectorRegistry` is used."""

    def register(self, collector: "MetricsManager") -> None: ...


class MetricsManager:
    """All metrics of one program, or of one part of it.

    At most *max_label_sets* label sets of each metric are told apart (see `family`). Whoever calls `sample` does so
    every *history_interval* seconds.
    """

    def __init__(
        self,
        registry: _Registry | None = None,
        clock: Clock = SYSTEM_CLOCK,
        *,
        max_label_sets: int = MAX_LABEL_SETS,
        history_interval: float = 10.0,
    ) -> None:
        self.clock = clock
        self.history = History(clock, history_interval)
        self.reader_failures = 0
        self._max_label_sets = max_label_sets
        self._lock = threading.Lock()
        self._families: dict[str, Family] = {}
        self._samples: dict[str, str] = {}
        self._readers: dict[Reader, frozenset[str]] = {}
        self._failing: set[object] = set()
        self._collectors: list[Collector] = []
        if registry is not None:
            registry.register(self)

    # Declaring

    def register_metric(
        self,
        name: str,
        description: str,
        metric_type: MetricType,
        unit: str = "",
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float] = (),
    ) -> Metric:
        """Declare a metric; doing so again in the same words changes nothing.

        The unit and the `_total` of a counter are added to the exposed name where they are missing. Raises
        InvalidMetricError, and MetricExistsError when the name, exposed or not, is that of another metric.
        """
        if isinstance(labels, str):
            raise InvalidMetricError(name, f"labels is a list: labels=[{labels!r}]")
        return self.register(Metric(name, description, metric_type, unit, tuple(labels), tuple(buckets)))

    def register(self, metric: Metric) -> Metric:
        """`register_metric`, of what is put together already."""
        with self._lock:
            known = self._families.get(metric.name)
            if known is not None and known.metric == metric:
                return known.metric
            if len(self._families) >= MAX_METRICS:
                raise InvalidMetricError(metric.name, f"there are {MAX_METRICS} metrics already")
            taken = {self._samples[name] for name in metric.sample_names if name in self._samples}
            if known is not None or taken:
                raise MetricExistsError(metric.name, next(iter(sorted(taken)), metric.name))
            self._samples |= dict.fromkeys(metric.sample_names, metric.name)
            self._families = {**self._families, metric.name: Family(metric, self._max_label_sets)}
            return metric

    def metrics(self) -> list[Metric]:
        """All metrics, in the order of their exposed names."""
        return sorted((family.metric for family in self._families.values()), key=lambda metric: metric.exposed)

    def find(self, name: str) -> Metric:
        """The metric of that name, its own or the exposed one. Raises MetricNotFoundError."""
        return self._family(name).metric

    # Recording

    def record(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        """Count *value* on (counter), set it (gauge) or observe it (histogram, summary).

        Raises MetricNotFoundError, and InvalidMetricError for a value or labels that do not fit; then nothing changes.
        """
        self._family(name).child(labels).record(value)

    @overload
    def child(self, name: str, labels: Mapping[str, str] | None = None) -> Child: ...
    @overload
    def child(self, name: str, labels: Mapping[str, str] | None, kind: type[_C]) -> _C: ...
    def child(self, name: str, labels: Mapping[str, str] | None = None, kind: type[Child] = Child) -> Child:
        """The child of one label set, to keep: `child("x", {}, Counter).inc()`. Raises as `record`."""
        child = self._family(name).child(labels)
        if not isinstance(child, kind):
            raise InvalidMetricError(name, f"it is a {type(child).__name__}, no {kind.__name__}")
        return child

    @contextmanager
    def time(self, name: str, labels: Mapping[str, str] | None = None) -> Iterator[None]:
        """Record the seconds that the block takes, also when it raises. Raises as `record`, before the block."""
        child = self.child(name, labels)
        began = self.clock.monotonic()
        try:
            yield
        finally:
            child.record(self.clock.monotonic() - began)

    def add_collector(self, collector: Collector) -> Callable[[], None]:
        """Expose what a collector or registry of prometheus-client has, too; returns what takes it away again.

        It is in the text only, without a history, and asked in a thread. What a metric here is called is left out.
        """
        self._collectors.append(collector)
        return lambda: self._collectors.remove(collector)

    # Reading

    def add_reader(self, reader: Reader) -> Callable[[], None]:
        """Ask *reader* at each refresh; returns the function that takes it away again.

        What it raises is logged, once until it works again, and the others are asked all the same.
        """
        self._readers[reader] = frozenset()
        return lambda: self._take_away(reader)

    def refresh(self) -> Generator[None, None, None]:
        """Ask all readers. Between two steps others may run; the values of a reader count when it has given all."""
        for reader in list(self._readers):
            try:
                yield from self._ask(reader)
            except Exception as error:
                self.has_failed(reader, error)
            else:
                self._failing.discard(reader)

    def get_metric_values(
        self, name: str, since: float | None = None, until: float | None = None, resolution: float | None = None
    ) -> MetricValues:
        """Every label set of a metric, with the value that was recorded, or read at the last refresh.

        The history is that of the samples that were taken (`sample`), from the position *since* to *until*
        (`core.series`; None: as far as it goes, until now) in steps of *resolution* seconds; None where there is none.
        That of a histogram or summary is the history of its count. Raises MetricNotFoundError.
        """
        family = self._family(name)
        values = family.snapshot()
        windows = self.history.windows(family.metric.name, [labels for labels, _ in values], since, until, resolution)
        return _values(family.metric, values, windows)

    def all_values(self) -> Iterator[MetricValues]:
        """Every metric as `get_metric_values` tells it, without its history, in the order of the exposed names."""
        return (_values(metric, read(), {}) for metric, read in self.snapshot())

    def sample(self, names: Iterable[str] | None = None) -> None:
        """Add the present values to the history; of the metrics called *names*, or of all."""
        wanted = self._families if names is None else [self.find(name).name for name in names]
        self.history.append((name, self._families[name].snapshot()) for name in wanted)

    def snapshot(self) -> Snapshot:
        """All metrics, in the order of their exposed names, each with the function that gives all its values."""
        families = sorted(self._families.values(), key=lambda family: family.metric.exposed)
        return [(family.metric, family.snapshot) for family in families]

    def refused(self) -> dict[str, int]:
        """By metric: how often a label set was one too many."""
        return {name: family.refused for name, family in self._families.items() if family.refused}

    def foreign_families(self) -> "list[PrometheusFamily]":
        """What the collectors of prometheus-client have that nothing here has the name of. Asks them."""
        found: list[PrometheusFamily] = []
        taken = set(self._samples)
        for collector in list(self._collectors):
            try:
                given = [family for family in collector.collect() if taken.isdisjoint(_names(family))]
            except Exception as error:
                self.has_failed(collector, error)
            else:
                self._failing.discard(collector)
                taken.update(*map(_names, given))
                found += given
        return found

    def collect(self) -> "Iterator[PrometheusFamily]":
        """Ask all readers and give everything as prometheus-client has it, for its registries."""
        from tekton.core.metrics.exposition import prometheus_families

        for _ in self.refresh():
            pass
        return prometheus_families(self.snapshot())

    def _family(self, name: str) -> Family:
        family = self._families.get(name) or self._families.get(self._samples.get(name, ""))
        if family is None:
            raise MetricNotFoundError(name, nearest_name(name, self._families))
        return family

    def _ask(self, reader: Reader) -> Iterator[None]:
        given: dict[str, dict[LabelValues, Value]] = {}
        for reading in reader():
            if reading is not None:
                name, value, labels = reading
                read = value if isinstance(value, Distribution) else number(value)
                self._family(name).add_reading(given.setdefault(name, {}), labels, read)
            yield
        for name in given.keys() | self._readers.get(reader, frozenset()):
            self._family(name).show(given.get(name, {}))
        if reader in self._readers:
            self._readers[reader] = frozenset(given)

    def has_failed(self, reader: object, error: Exception) -> None:
        """Count that *reader*, or whatever else was asked for metrics, has failed; log it, unless that was done."""
        self.reader_failures += 1
        if reader not in self._failing:
            self._failing.add(reader)
            _logger.error("a reader of metrics failed: %s", getattr(reader, "__qualname__", reader), exc_info=error)

    def _take_away(self, reader: Reader) -> None:
        for name in self._readers.pop(reader, frozenset()):
            self._family(name).show(None)
        self._failing.discard(reader)


def _names(family: "PrometheusFamily") -> set[str]:
    return {family.name, *(sample.name for sample in family.samples)}


def _values(
    metric: Metric, values: Sequence[tuple[LabelValues, Value]], windows: Mapping[LabelValues, Window]
) -> MetricValues:
    return MetricValues(
        metric,
        tuple(
            MetricValue(dict(zip(metric.labels, labels, strict=True)), value, windows.get(labels))
            for labels, value in values
        ),
    )
