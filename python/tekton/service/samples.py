"""What is sampled for the history, once a minute: the machine, the supervised components, the metrics."""

from collections.abc import Iterable, Iterator
from statistics import fmean
from typing import Final

from tekton.clock import Clock
from tekton.core.history.sampler import INTERVAL, Numbers
from tekton.core.metrics.children import Distribution
from tekton.core.metrics.metrics import MetricsManager, MetricValues
from tekton.core.resource_monitor import ResourceMonitor
from tekton.supervisor.supervisor import Supervisor

MACHINE: Final = "machine"
METRICS: Final = "metrics"
COMPONENT: Final = "component/"
"""What the samples of a component are called is this and its id."""

MOST_LABEL_SETS: Final = 8
"""Metrics of more label sets than these are left out: they are what a Prometheus is for."""

_SAMPLED_ALREADY: Final = ("tekton_machine_", "tekton_component_")
_MOST_VALUES: Final = 200
_GIB: Final = 1 << 30


def machine_samples(monitor: ResourceMonitor, clock: Clock) -> Iterator[tuple[str, Numbers]]:
    """Everything that is measured of the machine: the means of the last minute."""
    if means := _means(monitor, None, clock):
        yield MACHINE, means


def component_samples(supervisor: Supervisor, monitor: ResourceMonitor, clock: Clock) -> Iterator[tuple[str, Numbers]]:
    """What each supervised component uses: `cpu` in cores, `memory` in bytes, `restarts` so far."""
    supervised = [name for name in supervisor.specs if supervisor.view(name) is not None]
    means = _means(monitor, [f"{name}.{what}" for name in supervised for what in ("cpu", "memory")], clock)
    for name in supervised:
        process = supervisor.view(name)
        numbers: dict[str, float] = {} if process is None else {"restarts": process.restarts}
        if (percent := means.get(f"{name}.cpu")) is not None:
            numbers["cpu"] = percent / 100
        if (memory := means.get(f"{name}.memory")) is not None:
            numbers["memory"] = round(memory * _GIB)
        yield f"{COMPONENT}{name}", numbers


def metric_samples(metrics: MetricsManager) -> Iterator[tuple[str, Numbers]]:
    """The metrics as they were read last, of distributions count and sum.

    Without those of many label sets, and those of the machine and of components, which are sampled by themselves.
    """
    numbers: dict[str, float] = {}
    for values in metrics.all_values():
        if values.metric.exposed.startswith(_SAMPLED_ALREADY):
            continue
        if len(values) <= MOST_LABEL_SETS and len(numbers) < _MOST_VALUES:
            numbers |= _numbers_of(values)
    if numbers:
        yield METRICS, numbers


def _numbers_of(values: MetricValues) -> Iterator[tuple[str, float]]:
    name = values.metric.exposed
    for each in values:
        labels = ",".join(f'{label}="{text}"' for label, text in each.labels.items())
        suffix = f"{{{labels}}}" if labels else ""
        if isinstance(each.value, Distribution):
            yield from ((f"{name}_count{suffix}", each.value.count), (f"{name}_sum{suffix}", each.value.sum))
        else:
            yield f"{name}{suffix}", each.value


def _means(monitor: ResourceMonitor, names: Iterable[str] | None, clock: Clock) -> dict[str, float]:
    now = clock.time()
    windows = monitor.history(names, since=now - INTERVAL, until=now)
    known = {name: [value for value in window.mean if value is not None] for name, window in windows.items()}
    return {name: round(fmean(values), 4) for name, values in known.items() if values}
