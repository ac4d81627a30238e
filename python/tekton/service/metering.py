"""The metrics of the control plane: each subsystem is read when somebody looks, by the functions in `readings`.

What they read is counted anyway, or is an integer more where something happens: nobody pays for metrics that nobody
looks at. What takes a while to look at is measured once in an interval, in the background. The names are those of
`core.metrics.catalogue`.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sized
from functools import partial

from tekton.background import BackgroundTask
from tekton.clock import Clock
from tekton.core.metrics.catalogue import METRICS
from tekton.core.metrics.exposition import Exposition
from tekton.core.metrics.metrics import MetricsManager, Reader, Reading
from tekton.gateway.sockets import Sub
from tekton.gateway.topics import Conflated
from tekton.service.metric_views import MetricsView, view_of
from tekton.service.readings.measured import Measured, Measurement
from tekton.service.readings.process import process_reader
from tekton.service.request_meter import RequestMeter


class Metering:
    """The metrics of one control plane, sampled every *interval* seconds from `start` to `stop`, if *enabled*."""

    def __init__(self, clock: Clock, interval: float, *, enabled: bool = True) -> None:
        self.enabled = enabled
        self.metrics = MetricsManager(clock=clock, history_interval=interval)
        for described in METRICS:
            self.metrics.register(described.metric)
        self.exposition = Exposition(self.metrics)
        requests = RequestMeter()
        self.observers = [requests] if enabled else []
        """Those of the gateway."""
        self.topic = Conflated()
        self._interval = interval
        self._measured = Measured()
        self._task = BackgroundTask("metrics")
        self.read(requests.read, partial(_own, self.metrics), process_reader(), self._measured.read)

    def read(self, *readers: Reader) -> None:
        """Ask *readers* too, whenever somebody looks."""
        for reader in readers:
            self.metrics.add_reader(reader)

    def measure(self, *measurements: Measurement) -> None:
        """Make *measurements* too, once in an interval."""
        self._measured.add(*measurements)

    def read_streams(self, streams: Sized, most: int) -> None:
        """Tell how many *streams* are open, and that *most* may be."""
        limit = Reading("tekton_http_streams_limit", most)
        self.read(lambda: [Reading("tekton_http_streams_open", len(streams)), limit])

    def view(self) -> MetricsView:
        """All metrics as they were when somebody looked last."""
        return MetricsView(self.metrics.clock.time(), [view_of(each) for each in self.metrics.all_values()])

    def watch(self, operation: Sub) -> AsyncGenerator[str, None]:
        """The topic `metrics` of the socket: the view at once, and then after each sample."""
        self._bring_up_to_date()
        return self.topic.open(operation)

    def values(self) -> AsyncGenerator[tuple[int, str], None]:
        """The same without frames."""
        self._bring_up_to_date()
        return self.topic.values()

    def _bring_up_to_date(self) -> None:
        if not self.topic.watchers:
            self.topic.publish(self.view())

    def start(self) -> None:
        """Begin to take samples."""
        if self.enabled:
            self._task.start(self._run())

    async def stop(self) -> None:
        """Take no more samples. Stopping twice does nothing."""
        await self._task.stop()
        await self._measured.stop()
        await self.exposition.stop()

    async def _run(self) -> None:
        while True:
            self._measured.begin()
            await asyncio.sleep(self._interval)
            await self.exposition.refresh(kept=0.0)
            self.metrics.sample()
            if self.topic.watchers:
                self.topic.publish(self.view())


def _own(metrics: MetricsManager) -> Iterator[Reading]:
    for name, count in metrics.refused().items():
        yield Reading("tekton_metrics_label_sets_refused", count, (name,))
    yield Reading("tekton_metrics_reader_failures", metrics.reader_failures)
