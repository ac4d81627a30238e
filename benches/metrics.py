"""Metrics: what a record costs beside prometheus-client's own, and how long a scrape holds the event loop.

    python benches/metrics.py [--full]

Records go through a child that is kept, in one process and side by side. A request that the control plane serves is
counted by route and status, on top of what it costs anyway. The scrape is one of 10,000 samples: half are recorded,
half read by a reader on the loop. The loop does nothing else meanwhile, and what is measured is the longest time that
it did not come round: that of the readers, and that for which the thread that makes the text has kept the interpreter.
The time is the CPU time of the process: that for which others have the processor is not ours. As in the control plane,
threads take turns every half millisecond, and the collector leaves alone what was there before. A scrape of a
control plane that runs 10,000 components, each of which has failed before, is measured in the same way. `--full`: more
scrapes, and one of a registry with 100,000 components.
"""

import asyncio
import dataclasses
import gc
import random
import statistics
import sys
import time
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import uvloop
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from _measure import compare, gate, parser, section, verdict
from tekton.clock import SYSTEM_CLOCK
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRegistration
from tekton.core.metrics.exposition import Exposition, render
from tekton.core.metrics.metrics import Counter as OurCounter
from tekton.core.metrics.metrics import Gauge as OurGauge
from tekton.core.metrics.metrics import Histogram as OurHistogram
from tekton.core.metrics.metrics import MetricsManager, MetricType, Reading
from tekton.core.recovery import Recovery
from tekton.core.resources.sample import ComponentUsage, ResourceSample
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator
from tekton.gateway.observers import Ended
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.service.metering import Metering
from tekton.service.readings.registry import components as components_reader
from tekton.service.readings.registry import feed, store
from tekton.service.readings.resources import resources
from tekton.service.readings.supervision import processes, restarts, starts
from tekton.service.request_meter import RequestMeter
from tekton.service.resources import SystemResources
from tekton.supervisor.guard_client import GuardClient
from tekton.supervisor.supervisor import Supervisor
from tekton.utils.tekton_config import ComponentSpec, TektonConfig

SAMPLES = 10_000
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
HOLD = 5.0
"""Milliseconds."""

MOST = 1.3
"""Times as long as prometheus-client a record may take."""

REQUEST = 1.0
"""Microseconds that a request may cost more for being counted."""

_SWITCH_INTERVAL = 0.0005
_COLLECTIONS = (10_000, 20, 50)


def records() -> None:
    registry = CollectorRegistry()
    labels = ("GET", "/api/components/{component_id}", "2xx")
    names = ["method", "route", "status"]
    counter = Counter("a", "x", names, registry=registry).labels(*labels)
    gauge = Gauge("b", "x", names, registry=registry).labels(*labels)
    histogram = Histogram("c_seconds", "x", names, registry=registry, buckets=BUCKETS).labels(*labels)
    metrics = MetricsManager()
    metrics.register_metric("a", "x", MetricType.COUNTER, labels=names)
    metrics.register_metric("b", "x", MetricType.GAUGE, labels=names)
    metrics.register_metric("c", "x", MetricType.HISTOGRAM, "seconds", names, buckets=BUCKETS)
    pairs = dict(zip(names, labels, strict=True))
    our_counter = metrics.child("a", pairs, OurCounter)
    our_gauge = metrics.child("b", pairs, OurGauge)
    our_histogram = metrics.child("c", pairs, OurHistogram)
    contenders = {
        "inc": (our_counter.inc, counter.inc, ()),
        "set": (our_gauge.set, gauge.set, (0.42,)),
        "observe": (our_histogram.observe, histogram.observe, (0.042,)),
    }
    section("a record through a child that is kept")
    for name, (ours, theirs, arguments) in contenders.items():
        outcome = compare({"theirs": lambda: theirs(*arguments), "ours": lambda: ours(*arguments)}, "theirs")["ours"]  # noqa: B023
        detail = f"{outcome.seconds * 1e9:.0f} ns"
        gate(
            f"{name}, Tekton / prometheus-client",
            outcome.ratio,
            MOST,
            better="lower",
            spread=outcome.spread,
            detail=detail,
        )


async def nobody(_: Request) -> None: ...


def requests() -> None:
    meter = RequestMeter()
    route = Route("GET", "/api/components/{component_id}", nobody, "")
    path = "/api/components/billing"
    request: Any = None
    contenders = {
        "nothing": lambda: None,
        "a request": lambda: meter.ended(Ended("GET", path, request, route, 200, 0.0003, False)),
    }
    outcomes = compare(contenders, "nothing")
    took = (outcomes["a request"].seconds - outcomes["nothing"].seconds) * 1e6
    section("a request of the control plane")
    gate("counting it, by route and status", took, REQUEST, unit="us", better="lower")


def filled() -> MetricsManager:
    """As many samples as are looked for, in ten metrics; half of them are read when somebody looks."""
    metrics = MetricsManager(max_label_sets=SAMPLES)
    for number in range(5):
        metrics.register_metric(f"recorded_{number}", "x", MetricType.COUNTER, labels=["route", "status"])
        metrics.register_metric(f"read_{number}", "x", MetricType.GAUGE, labels=["component", "state"])
        for each in range(SAMPLES // 10):
            metrics.record(f"recorded_{number}", each, {"route": f"/api/things/{each}", "status": "2xx"})

    def read() -> Iterator[Reading]:
        for number in range(5):
            for each in range(SAMPLES // 10):
                yield Reading(f"read_{number}", each * 0.5, (f"component-{each}", "ready"))

    metrics.add_reader(read)
    return metrics


async def longest_gap(exposition: Exposition, samples: int = SAMPLES) -> float:
    """Milliseconds for which the loop did not come round while a text was made."""
    scrape, longest = asyncio.ensure_future(exposition.scrape()), 0.0
    last = time.process_time()
    while not scrape.done():
        await asyncio.sleep(0)
        now = time.process_time()
        longest, last = max(longest, now - last), now
    assert scrape.result().body.count(b"\n") >= samples
    return longest * 1e3


async def gaps(rounds: int) -> list[float]:
    metrics = filled()
    await Exposition(metrics).scrape()
    gc.collect()
    gc.freeze()
    return [await longest_gap(Exposition(metrics, kept=0.0)) for _ in range(rounds)]


def scrapes(rounds: int) -> None:
    sys.setswitchinterval(_SWITCH_INTERVAL)
    gc.set_threshold(*_COLLECTIONS)
    held = uvloop.run(gaps(rounds))
    section(f"a scrape of {SAMPLES:,} samples")
    spread = (min(held), max(held))
    gate("longest hold of the event loop", max(held), HOLD, unit="ms", better="lower", spread=spread)
    gate("the same, median of the scrapes", statistics.median(held), unit="ms", better="lower")


async def of_many(components: int) -> tuple[float, float]:
    """Milliseconds that a scrape takes, and for which it holds the loop, when so many components are registered."""
    async with ComponentRegistry() as registry:
        for number in range(components):
            await registry.register(ComponentRegistration(component_id=f"c{number}"))
        gc.collect()
        gc.freeze()
        metering = Metering(SYSTEM_CLOCK, 10.0)
        metering.read(partial(components_reader, registry, ()))
        return await cost_of(metering)


async def cost_of(metering: Metering) -> tuple[float, float]:
    """Milliseconds that a scrape takes, and for which it holds the loop at most."""
    await metering.exposition.scrape()
    taken, held = [], []
    for _ in range(10):
        exposition = Exposition(metering.metrics, kept=0.0)
        began = time.process_time()
        held.append(await longest_gap(exposition, 1))
        taken.append((time.process_time() - began) * 1e3)
    return statistics.median(taken), max(held)


async def of_supervised(components: int) -> tuple[float, float]:
    """The same, when so many are supervised, measured, and have used up restarts."""
    async with ComponentRegistry() as registry:
        coordinator = EnhancedStartUpCoordinator(registry)
        recovery = Recovery(registry, coordinator, rng=random.Random(1))
        specs = {f"c{number}": ComponentSpec(name=f"c{number}", command=["x"]) for number in range(components)}
        config = dataclasses.replace(TektonConfig.load(environ={}), components=specs)
        guard = cast(GuardClient, SimpleNamespace(children=[]))
        supervisor = Supervisor(
            config=config, registry=registry, coordinator=coordinator, recovery=recovery, guard=guard
        )
        usage = {}
        for name in specs:
            registration = ComponentRegistration(component_id=name)
            await registry.register(registration, supervised=True)
            coordinator.units.claim(name, registration.instance_uuid)
            recovery._course(name).attempt = 1
            recovery._count(name, "failure")
            usage[name] = ComponentUsage(0.5, 0.25, 3, None, 7, 20)
        sample = ResourceSample(at=0.0, time=0.0, components=usage)
        machine = SimpleNamespace(monitor=SimpleNamespace(latest=sample), exceeded=frozenset())
        gc.collect()
        gc.freeze()
        metering = Metering(SYSTEM_CLOCK, 10.0)
        metering.read(
            partial(components_reader, registry, ()),
            partial(store, registry),
            partial(feed, registry),
            partial(starts, coordinator),
            partial(restarts, recovery),
            partial(processes, supervisor),
            partial(resources, cast(SystemResources, machine)),
        )
        return await cost_of(metering)


def supervised(components: int) -> None:
    taken, held = uvloop.run(of_supervised(components))
    section(f"a scrape of a control plane that runs {components:,} components")
    gate("CPU of the process", taken, unit="ms", better="lower")
    gate("longest hold of the event loop", held, HOLD, unit="ms", better="lower")


def many(components: int) -> None:
    taken, held = uvloop.run(of_many(components))
    section(f"a scrape with {components:,} components")
    gate("CPU of the process", taken, 50, unit="ms", better="lower")
    gate("longest hold of the event loop", held, HOLD, unit="ms", better="lower")


def texts() -> None:
    registry = CollectorRegistry()
    metrics = filled()
    list(metrics.refresh())
    for number in range(10):
        counter = Counter(f"recorded_{number}", "x", ["route", "status"], registry=registry)
        for each in range(SAMPLES // 10):
            counter.labels(f"/api/things/{each}", "2xx").inc(each)
    contenders = {
        "theirs": lambda: generate_latest(registry),
        "ours": lambda: render(metrics.snapshot(), "prometheus"),
    }
    outcomes = compare(contenders, "ours")
    detail = f"{outcomes['theirs'].seconds * 1e3:.1f} ms / {outcomes['ours'].seconds * 1e3:.1f} ms"
    gate("the text", outcomes["theirs"].ratio, against="prometheus-client", detail=detail)


def main() -> int:
    arguments = parser(__doc__).parse_args()
    records()
    requests()
    scrapes(200 if arguments.full else 30)
    supervised(10_000)
    texts()
    if arguments.full:
        many(100_000)
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
