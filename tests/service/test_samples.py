"""What is sampled once a minute."""

from types import SimpleNamespace
from typing import cast

from tekton.core.metrics.metrics import MetricsManager, MetricType
from tekton.core.resource_monitor import ResourceMonitor
from tekton.core.series import Window
from tekton.service.samples import MOST_LABEL_SETS, component_samples, machine_samples, metric_samples
from tekton.supervisor.supervisor import Supervisor
from tekton.testing.clock import ManualClock


class Measured:
    """A resource monitor that has measured this."""

    def __init__(self, **measured: tuple[float | None, ...]) -> None:
        self._measured = {name.replace("_", "."): values for name, values in measured.items()}

    def history(self, names: list[str] | None, *, since: float, until: float) -> dict[str, Window]:
        assert until - since == 60
        wanted = self._measured if names is None else [name for name in names if name in self._measured]
        return {name: Window(since, 1.0, self._measured[name], (), ()) for name in wanted}


def monitor(**measured: tuple[float | None, ...]) -> ResourceMonitor:
    return cast(ResourceMonitor, Measured(**measured))


def test_of_the_machine_the_means_of_a_minute_are_kept() -> None:
    found = dict(machine_samples(monitor(cpu=(1.0, None, 4.0), gpu_0=(None,)), ManualClock()))

    assert found == {"machine": {"cpu": 2.5}}


def test_of_a_machine_that_was_not_measured_nothing_is_kept() -> None:
    assert dict(machine_samples(monitor(), ManualClock())) == {}


def test_of_components_use_and_restarts_are_kept() -> None:
    processes = {"rhetor": SimpleNamespace(restarts=2), "engram": SimpleNamespace(restarts=0), "planned": None}
    supervisor = cast(Supervisor, SimpleNamespace(specs=processes, view=processes.get))
    measured = monitor(rhetor_cpu=(50.0, 150.0), rhetor_memory=(0.5, 0.5))

    found = dict(component_samples(supervisor, measured, ManualClock()))

    assert found == {
        "component/rhetor": {"restarts": 2, "cpu": 1.0, "memory": 1 << 29},
        "component/engram": {"restarts": 0},
    }


def test_of_metrics_those_of_few_label_sets_are_kept() -> None:
    metrics = MetricsManager()
    metrics.register_metric("plain", "d", MetricType.GAUGE)
    metrics.register_metric("few", "d", MetricType.GAUGE, labels=["state"])
    metrics.register_metric("many", "d", MetricType.GAUGE, labels=["name"])
    metrics.register_metric("seconds", "d", MetricType.HISTOGRAM, buckets=[1.0])
    metrics.record("plain", 1.5)
    metrics.record("few", 2.0, {"state": "ready"})
    for number in range(MOST_LABEL_SETS + 1):
        metrics.record("many", 1.0, {"name": str(number)})
    metrics.record("seconds", 0.5)
    metrics.register_metric("tekton_machine_cpu_usage", "d", MetricType.GAUGE)
    metrics.record("tekton_machine_cpu_usage", 0.5)

    ((name, numbers),) = metric_samples(metrics)

    assert name == "metrics"
    assert numbers == {"plain": 1.5, 'few{state="ready"}': 2.0, "seconds_count": 1, "seconds_sum": 0.5}
