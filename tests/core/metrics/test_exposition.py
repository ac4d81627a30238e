"""Metrics as text: read by prometheus-client's own parsers, and checked by promtool."""

import asyncio
import math
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Counter as PrometheusCounter
from prometheus_client import Summary as PrometheusSummary
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from tekton.core.metrics import exposition as exposition_module
from tekton.core.metrics.exposition import MEDIA_TYPES, Exposition, Format, negotiate, refresh, render
from tekton.core.metrics.metrics import MetricsManager, MetricType, Reading
from tekton.testing.clock import ManualClock

COUNTER, GAUGE, HISTOGRAM, SUMMARY = MetricType
PROMTOOL = shutil.which("promtool")

PARSERS: dict[Format, Callable[[str], Any]] = {"prometheus": parse_prometheus, "openmetrics": parse_openmetrics}

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def of_every_type(registry: CollectorRegistry | None = None) -> MetricsManager:
    metrics = MetricsManager(registry, ManualClock())
    metrics.register_metric("app_jobs", "Jobs done.", COUNTER, labels=["queue"])
    metrics.register_metric("app_waiting", 'Of "them", in C:\\temp,\nthose that wait.', GAUGE)
    metrics.register_metric("app_job_time", "Time of a job.", HISTOGRAM, "seconds", ["queue"], buckets=(0.5, 10))
    metrics.register_metric("app_size", "Size of a job.", SUMMARY, "bytes")
    for value in (0.5, 2, 1e12):
        metrics.record("app_jobs", value, {"queue": 'a"b\\c\nd ä'})
        metrics.record("app_waiting", -value)
        metrics.record("app_job_time", value, {"queue": "mail"})
        metrics.record("app_size", value)
    return metrics


def parsed(text: bytes, wanted: Format) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in PARSERS[wanted](text.decode())
        for sample in family.samples
    }


@pytest.mark.parametrize("wanted", PARSERS)
def test_the_parser_of_prometheus_client_reads_what_its_own_text_says(wanted: Format) -> None:
    registry = CollectorRegistry()
    metrics = of_every_type(registry)

    text = render(metrics.snapshot(), wanted)

    theirs = parsed(generate_latest(registry), "prometheus")
    assert parsed(text, wanted) == theirs
    assert len(theirs) == 1 + 1 + 5 + 2


def test_the_text_is_this() -> None:
    metrics = of_every_type()

    assert render(metrics.snapshot(), "openmetrics").decode().splitlines() == [
        "# HELP app_job_time_seconds Time of a job.",
        "# TYPE app_job_time_seconds histogram",
        "# UNIT app_job_time_seconds seconds",
        'app_job_time_seconds_bucket{queue="mail",le="0.5"} 1',
        'app_job_time_seconds_bucket{queue="mail",le="10.0"} 2',
        'app_job_time_seconds_bucket{queue="mail",le="+Inf"} 3',
        'app_job_time_seconds_count{queue="mail"} 3',
        'app_job_time_seconds_sum{queue="mail"} 1000000000002.5',
        "# HELP app_jobs Jobs done.",
        "# TYPE app_jobs counter",
        'app_jobs_total{queue="a\\"b\\\\c\\nd ä"} 1000000000002.5',
        "# HELP app_size_bytes Size of a job.",
        "# TYPE app_size_bytes summary",
        "# UNIT app_size_bytes bytes",
        "app_size_bytes_count 3",
        "app_size_bytes_sum 1000000000002.5",
        '# HELP app_waiting Of \\"them\\", in C:\\\\temp,\\nthose that wait.',
        "# TYPE app_waiting gauge",
        "app_waiting -1000000000000",
        "# EOF",
    ]


@pytest.mark.parametrize("wanted", PARSERS)
def test_what_is_no_ordinary_number_is_exposed_as_prometheus_knows_it(wanted: Format) -> None:
    metrics = MetricsManager()
    metrics.register_metric("odd", "x", GAUGE, labels=["which"])
    metrics.add_reader(lambda: [Reading("odd", value, (repr(value),)) for value in (math.inf, -math.inf, 0.1, 2**60)])
    metrics.add_reader(lambda: [Reading("odd", math.nan, ("nan",))])

    list(metrics.refresh())
    (value,) = parsed(render(metrics.snapshot(), wanted), wanted).values()

    assert math.isnan(value)


@given(
    st.dictionaries(st.text(max_size=20).filter(lambda text: text.isprintable()), st.floats(allow_nan=False)),
    st.sampled_from(list(PARSERS)),
)
def test_whatever_labels_say_is_read_as_it_was(values: dict[str, float], wanted: Format) -> None:
    metrics = MetricsManager()
    metrics.register_metric("any_thing", "x", GAUGE, labels=["text"])
    metrics.add_reader(lambda: [Reading("any_thing", value, (text,)) for text, value in values.items()])
    list(metrics.refresh())

    read = parsed(render(metrics.snapshot(), wanted), wanted)

    assert read == {("any_thing", frozenset({("text", text)})): value for text, value in values.items()}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (it is in Debian's package prometheus)")
def test_promtool_has_nothing_to_say_against_the_text() -> None:
    assert PROMTOOL is not None
    text = render(of_every_type().snapshot(), "prometheus")

    result = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, timeout=30, check=False)

    assert (result.returncode, result.stdout + result.stderr) == (0, b"")


# Which format


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, "prometheus"),
        ("", "prometheus"),
        ("*/*", "prometheus"),
        ("text/html, text/plain;q=0.5", "prometheus"),
        ("application/openmetrics-text", "openmetrics"),
        ("application/openmetrics-text; version=1.0.0", "openmetrics"),
        ("application/openmetrics-text; version=0.0.1", "prometheus"),
        ("application/openmetrics-text; version=2.0.0", "prometheus"),
        ("application/openmetrics-text;q=0.2, text/plain;q=0.3", "prometheus"),
        ("application/openmetrics-text;q=nonsense", "prometheus"),
        (PROMETHEUS_2, "openmetrics"),
        (PROMETHEUS_3, "openmetrics"),
    ],
)
def test_the_format_is_the_one_that_is_preferred(accept: str | None, wanted: Format) -> None:
    assert negotiate(accept) == wanted


# Scrapes


class Counted:
    """A reader that counts how often it is asked."""

    def __init__(self, metrics: MetricsManager) -> None:
        self.asked = 0
        metrics.register_metric("asked", "x", GAUGE)
        metrics.add_reader(self.read)

    def read(self) -> Sequence[Reading]:
        self.asked += 1
        return [Reading("asked", self.asked)]


async def test_those_who_ask_at_the_same_time_share_one_text() -> None:
    metrics = MetricsManager(clock=ManualClock())
    reader = Counted(metrics)
    exposition = Exposition(metrics)

    texts = await asyncio.gather(*(exposition.scrape() for _ in range(50)))

    assert reader.asked == 1
    assert {text.body for text in texts} == {b"# HELP asked x\n# TYPE asked gauge\nasked 1\n"}


async def test_a_text_is_kept_for_a_second() -> None:
    clock = ManualClock()
    metrics = MetricsManager(clock=clock)
    reader = Counted(metrics)
    exposition = Exposition(metrics)

    await exposition.scrape()
    clock.advance(0.9)
    await exposition.scrape()
    kept = reader.asked
    clock.advance(0.2)
    await exposition.scrape()

    assert (kept, reader.asked) == (1, 2)


async def test_one_who_goes_away_does_not_take_the_text_from_the_others() -> None:
    metrics = MetricsManager(clock=ManualClock())
    exposition = Exposition(metrics)
    Counted(metrics)

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        hasty = group.create_task(exposition.scrape())
        patient = group.create_task(exposition.scrape())
        await asyncio.sleep(0)
        hasty.cancel()

    assert patient.result().body.endswith(b"asked 1\n")


async def test_each_format_has_its_own_text() -> None:
    exposition = Exposition(of_every_type())

    texts = [await exposition.scrape(accept) for accept in (None, "application/openmetrics-text", None)]

    assert [text.media_type for text in texts] == [
        MEDIA_TYPES["prometheus"],
        MEDIA_TYPES["openmetrics"],
        MEDIA_TYPES["prometheus"],
    ]
    assert texts[1].body.endswith(b"# EOF\n")
    assert texts[0] is texts[2]


async def test_others_run_while_the_readers_are_asked() -> None:
    clock = ManualClock()
    metrics = MetricsManager(clock=clock)
    metrics.register_metric("slow", "x", GAUGE, labels=["number"])
    turns: list[str] = []

    def slow() -> Iterator[Reading]:
        for number in range(6):
            turns.append("reading")
            clock.advance(0.0006)
            yield Reading("slow", number, (str(number),))

    async def other() -> None:
        for _ in range(2):
            turns.append("other")
            await asyncio.sleep(0)

    metrics.add_reader(slow)
    async with asyncio.TaskGroup() as group:
        group.create_task(refresh(metrics))
        group.create_task(other())

    assert turns == ["reading", "reading", "other", "reading", "reading", "other", "reading", "reading"]


# Collectors of prometheus-client


class Broken:
    """A collector that fails."""

    def collect(self) -> list[Any]:
        raise LookupError


@pytest.mark.parametrize("accept", [None, "application/openmetrics-text"])
async def test_what_a_registry_of_prometheus_client_has_is_exposed_too(accept: str | None) -> None:
    metrics = of_every_type()
    registry = CollectorRegistry()
    PrometheusCounter("theirs", "x", ["kind"], registry=registry).labels("a").inc(3)
    PrometheusCounter("app_jobs", "of ours there is one already", registry=registry).inc(99)
    metrics.add_collector(registry)

    text = await Exposition(metrics).scrape(accept)

    wanted: Format = "openmetrics" if accept else "prometheus"
    samples = parsed(text.body, wanted)
    assert samples["theirs_total", frozenset({("kind", "a")})] == 3
    assert 99 not in samples.values()


class Garbled:
    """A collector of which prometheus-client makes no text."""

    def collect(self) -> list[Any]:
        garbled, whole = GaugeMetricFamily("garbled", "x"), GaugeMetricFamily("whole", "x", value=1)
        garbled.add_metric([], "no number")
        return [garbled, whole]


@pytest.mark.parametrize("accept", [None, "application/openmetrics-text"])
async def test_a_family_of_which_no_text_can_be_made_hides_nothing_else(accept: str | None) -> None:
    metrics = of_every_type()
    metrics.add_collector(Garbled())

    text = await Exposition(metrics).scrape(accept)

    samples = parsed(text.body, "openmetrics" if accept else "prometheus")
    assert samples["whole", frozenset()] == 1
    assert samples["app_size_bytes_count", frozenset()] == 3
    assert metrics.reader_failures == 1


async def test_a_collector_that_hangs_is_waited_for_a_while_and_not_asked_again_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exposition_module, "PATIENCE", 0.01)
    go, asked = threading.Event(), []

    class Hanging:
        def collect(self) -> list[Any]:
            asked.append(1)
            go.wait(20)
            return [GaugeMetricFamily("late", "x", value=1)]

    metrics = of_every_type()
    metrics.add_collector(Hanging())
    exposition = Exposition(metrics, kept=0.0)
    try:
        for _ in range(2):
            text = await exposition.scrape()
            assert b"app_size" in text.body
            assert b"late" not in text.body
        assert (len(asked), metrics.reader_failures) == (1, 2)
    finally:
        go.set()

    async with asyncio.timeout(10):
        while b"late" not in (await exposition.scrape()).body:
            pass


async def test_a_family_whose_samples_would_be_called_as_one_of_ours_is_left_out() -> None:
    metrics = MetricsManager()
    metrics.register_metric("app_wait_count", "Of ours.", GAUGE)
    registry = CollectorRegistry()
    PrometheusSummary("app_wait", "Its count would be called so too", registry=registry).observe(9)
    metrics.add_collector(registry)

    text = await Exposition(metrics).scrape()

    assert parsed(text.body, "prometheus") == {("app_wait_count", frozenset()): 0}


def test_a_sum_that_may_go_down_is_not_in_openmetrics_which_would_take_it_for_a_counter() -> None:
    metrics = MetricsManager()
    metrics.register_metric("warmth", "x", HISTOGRAM, buckets=(-10, 0, 10))
    metrics.register_metric("late", "x", HISTOGRAM, buckets=(1,))
    metrics.register_metric("change", "x", SUMMARY)
    for name in ("warmth", "late", "change"):
        metrics.record(name, -3)

    found = {wanted: {name for name, _ in parsed(render(metrics.snapshot(), wanted), wanted)} for wanted in PARSERS}

    always = {"warmth_bucket", "late_bucket", "change_count"}
    assert found["openmetrics"] == always
    assert found["prometheus"] == {*always, "warmth_count", "late_count", "warmth_sum", "late_sum", "change_sum"}


async def test_a_collector_that_fails_hides_nothing_else_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    metrics = MetricsManager(clock=clock)
    Counted(metrics)
    take_away = metrics.add_collector(Broken())
    exposition = Exposition(metrics)

    for _ in range(2):
        text = await exposition.scrape()
        clock.advance(2)
    take_away()
    await exposition.scrape()

    assert text.body.endswith(b"asked 2\n")
    assert metrics.reader_failures == 2
    assert len(caplog.records) == 1
