"""Declaring, recording and reading metrics."""

import logging
import math
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from types import FrameType
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tekton.core.metrics import children, family
from tekton.core.metrics.metrics import (
    MAX_METRICS,
    Counter,
    Distribution,
    Gauge,
    Histogram,
    MetricsManager,
    MetricType,
    MetricValues,
    Reading,
)
from tekton.testing.clock import ManualClock
from tekton.utils.tekton_errors import InvalidMetricError, MetricError, MetricExistsError, MetricNotFoundError

COUNTER, GAUGE, HISTOGRAM, SUMMARY = MetricType


@pytest.fixture
def metrics() -> MetricsManager:
    manager = MetricsManager(clock=ManualClock())
    manager.register_metric("jobs", "Jobs done", COUNTER, labels=["queue"])
    manager.register_metric("waiting", "Jobs that wait", GAUGE)
    manager.register_metric("job_time", "Time of a job", HISTOGRAM, "seconds", ["queue"], buckets=(1.0, 10.0))
    manager.register_metric("size", "Of a job", SUMMARY, "bytes")
    return manager


def values(found: MetricValues) -> dict[tuple[str, ...], Any]:
    return {tuple(each.labels.values()): each.value for each in found}


# Declaring


def test_the_same_declaration_twice_is_one_metric(metrics: MetricsManager) -> None:
    metrics.record("jobs", 1, {"queue": "mail"})

    again = metrics.register_metric("jobs", "Jobs done", COUNTER, labels=["queue"])

    assert again is metrics.find("jobs")
    assert values(metrics.get_metric_values("jobs")) == {("mail",): 1}


@pytest.mark.parametrize(
    "other",
    [
        {"metric_type": GAUGE},
        {"description": "Other"},
        {"unit": "jobs"},
        {"labels": ["queue", "host"]},
        {"labels": []},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_declaration_of_the_same_name_is_refused(metrics: MetricsManager, other: dict[str, Any]) -> None:
    declaration = {"description": "Jobs done", "metric_type": COUNTER, "labels": ["queue"], **other}

    with pytest.raises(MetricExistsError):
        metrics.register_metric("jobs", **declaration)

    assert metrics.find("jobs").metric_type is COUNTER


@pytest.mark.parametrize("name", ["jobs_total", "job_time_seconds", "job_time_seconds_bucket", "size_bytes_sum"])
def test_a_name_under_which_another_metric_exposes_samples_is_refused(metrics: MetricsManager, name: str) -> None:
    with pytest.raises(MetricExistsError, match="samples of the same name"):
        metrics.register_metric(name, "x", GAUGE)


def test_one_string_for_labels_is_refused(metrics: MetricsManager) -> None:
    with pytest.raises(InvalidMetricError, match=r"labels=\['queue'\]"):
        metrics.register_metric("x", "x", GAUGE, labels="queue")


def test_a_metric_is_found_by_its_own_name_and_by_the_exposed_one(metrics: MetricsManager) -> None:
    metrics.record("job_time_seconds", 3, {"queue": "mail"})

    assert metrics.find("job_time") is metrics.find("job_time_seconds")
    assert values(metrics.get_metric_values("job_time")) == {("mail",): Distribution(1, 3.0, (0, 1, 0))}


def test_an_unknown_metric_is_refused_with_the_nearest_name(metrics: MetricsManager) -> None:
    with pytest.raises(MetricNotFoundError) as caught:
        metrics.record("job_tme", 1)

    assert caught.value.nearest == "job_time"


# Recording


def test_each_type_records_in_its_way(metrics: MetricsManager) -> None:
    for value in (1, 2.5, 20):
        metrics.record("jobs", value, {"queue": "mail"})
        metrics.record("waiting", value)
        metrics.record("job_time", value, {"queue": "mail"})
        metrics.record("size", value)

    assert values(metrics.get_metric_values("jobs")) == {("mail",): 23.5}
    assert values(metrics.get_metric_values("waiting")) == {(): 20}
    assert values(metrics.get_metric_values("job_time")) == {("mail",): Distribution(3, 23.5, (1, 1, 1))}
    assert values(metrics.get_metric_values("size")) == {(): Distribution(3, 23.5)}


def test_a_value_on_the_bound_belongs_to_the_bucket(metrics: MetricsManager) -> None:
    metrics.record("job_time", 1.0, {"queue": "mail"})

    assert values(metrics.get_metric_values("job_time"))["mail",].buckets == (1, 0, 0)


def test_a_child_is_the_same_for_the_same_labels(metrics: MetricsManager) -> None:
    child = metrics.child("jobs", {"queue": "mail"}, Counter)

    child.inc()
    child.inc(2)

    assert metrics.child("jobs", {"queue": "mail"}) is child
    assert child.read() == 3


def test_a_gauge_goes_up_and_down(metrics: MetricsManager) -> None:
    waiting = metrics.child("waiting", None, Gauge)

    waiting.set(5)
    waiting.inc(2)
    waiting.dec(3)

    assert waiting.read() == 4


def test_a_child_of_another_type_than_asked_for_is_refused(metrics: MetricsManager) -> None:
    with pytest.raises(InvalidMetricError, match="Gauge, no Histogram"):
        metrics.child("waiting", None, Histogram)


WRONG = [math.nan, math.inf, -math.inf, True, False, 10**400, "1x", None, [1]]


@pytest.mark.parametrize("name", ["jobs", "waiting", "job_time", "size"])
@pytest.mark.parametrize("value", [*WRONG, Decimal("NaN")], ids=lambda value: repr(value)[:12])
def test_what_is_no_finite_number_is_refused_and_changes_nothing(
    metrics: MetricsManager, name: str, value: Any
) -> None:
    labels = {"queue": "mail"} if metrics.find(name).labels else {}
    metrics.record(name, 1, labels)
    before = metrics.get_metric_values(name)

    with pytest.raises(InvalidMetricError, match=name):
        metrics.record(name, value, labels)

    assert metrics.get_metric_values(name) == before


def test_a_counter_refuses_to_go_down(metrics: MetricsManager) -> None:
    with pytest.raises(InvalidMetricError, match="counts up only"):
        metrics.record("jobs", -0.5, {"queue": "mail"})


def test_a_number_of_another_library_is_taken(metrics: MetricsManager) -> None:
    metrics.record("waiting", Decimal("2.5"))  # type: ignore[arg-type]

    assert values(metrics.get_metric_values("waiting")) == {(): 2.5}


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ({}, "'queue' is missing"),
        ({"queue": "a", "host": "b"}, "no label 'host'"),
        ({"queue": 3}, "no text"),
        ({"queue": None}, "no text"),
        ({"queue": ["a"]}, "no text"),
        ({"queue": "x" * 513}, "more than 512"),
        ({"queue": "\ud800"}, "half a character"),
    ],
)
def test_labels_that_do_not_fit_are_refused_and_add_nothing(
    metrics: MetricsManager, labels: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidMetricError, match=problem):
        metrics.record("jobs", 1, labels)

    assert len(metrics.get_metric_values("jobs")) == 0


def test_time_records_the_seconds_of_a_block_also_of_one_that_raises() -> None:
    clock = ManualClock()
    metrics = MetricsManager(clock=clock)
    metrics.register_metric("job_time", "x", HISTOGRAM, "seconds", buckets=(1.0,))

    with metrics.time("job_time"):
        clock.advance(0.5)
    with suppress(LookupError), metrics.time("job_time"):
        clock.advance(2)
        raise LookupError

    assert values(metrics.get_metric_values("job_time")) == {(): Distribution(2, 2.5, (1, 1))}


def test_nothing_is_lost_when_many_threads_record(metrics: MetricsManager) -> None:
    def work() -> None:
        child = metrics.child("job_time", {"queue": "mail"})
        for number in range(2000):
            metrics.record("jobs", 1, {"queue": str(number % 50)})
            child.record(number % 20)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert values(metrics.get_metric_values("jobs")) == {(str(number),): 160 for number in range(50)}
    assert values(metrics.get_metric_values("job_time"))["mail",].count == 8000


# Cardinality


def test_a_label_explosion_ends_in_one_overflow_child_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    metrics = MetricsManager(max_label_sets=100)
    metrics.register_metric("logins", "x", COUNTER, labels=["user", "host"])

    for number in range(100_000):
        metrics.record("logins", 1, {"user": f"user-{number}", "host": "a"})

    found = values(metrics.get_metric_values("logins"))
    assert len(found) == 101
    assert found["overflow", "overflow"] == 99_900
    assert found["user-0", "a"] == 1
    assert metrics.refused() == {"logins": 99_900}
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "the metric logins has more than 100 label sets: new ones are counted together as 'overflow'"
    ]


def test_a_label_explosion_takes_bounded_memory() -> None:
    metrics = MetricsManager(max_label_sets=100)
    metrics.register_metric("logins", "x", COUNTER, labels=["user"])
    for number in range(200):
        metrics.record("logins", 1, {"user": f"user-{number}"})

    tracemalloc.start()
    try:
        for number in range(20_000):
            metrics.record("logins", 1, {"user": f"other-{number}"})
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < 64 * 1024


def test_label_sets_that_are_known_go_on_being_told_apart_after_an_explosion() -> None:
    metrics = MetricsManager(max_label_sets=2)
    metrics.register_metric("logins", "x", COUNTER, labels=["user"])

    for user in ("ada", "eve", "bob", "ada"):
        metrics.record("logins", 1, {"user": user})

    assert values(metrics.get_metric_values("logins")) == {("ada",): 2, ("eve",): 1, ("overflow",): 1}


def test_what_readers_give_is_bounded_too() -> None:
    metrics = MetricsManager(max_label_sets=2)
    metrics.register_metric("queued", "x", GAUGE, labels=["queue"])
    metrics.register_metric("took", "x", SUMMARY, labels=["queue"])

    def read() -> Iterator[Reading]:
        for number in range(5):
            yield Reading("queued", number, (str(number),))
            yield Reading("took", Distribution(1, number), (str(number),))

    metrics.add_reader(read)
    list(metrics.refresh())

    assert values(metrics.get_metric_values("queued")) == {("0",): 0, ("1",): 1, ("overflow",): 9}
    assert values(metrics.get_metric_values("took"))["overflow",] == Distribution(3, 9.0)


# Readers


def test_what_a_reader_no_longer_gives_is_gone(metrics: MetricsManager) -> None:
    present = {"mail": 1, "print": 2}
    metrics.register_metric("length", "x", GAUGE, labels=["queue"])
    metrics.add_reader(lambda: [Reading("length", value, (queue,)) for queue, value in present.items()])
    list(metrics.refresh())
    del present["print"]

    list(metrics.refresh())
    one = values(metrics.get_metric_values("length"))
    present.clear()
    list(metrics.refresh())

    assert one == {("mail",): 1}
    assert len(metrics.get_metric_values("length")) == 0


def test_a_reader_that_was_taken_away_takes_its_values_along(metrics: MetricsManager) -> None:
    metrics.register_metric("length", "x", GAUGE, labels=["queue"])
    take_away = metrics.add_reader(lambda: [Reading("length", 1, ("mail",))])
    list(metrics.refresh())

    take_away()
    list(metrics.refresh())

    assert len(metrics.get_metric_values("length")) == 0


def test_a_reader_may_give_what_could_not_be_recorded(metrics: MetricsManager) -> None:
    given = [10**400, math.nan, -math.inf]
    metrics.register_metric("odd", "x", GAUGE, labels=["which"])
    metrics.add_reader(lambda: [Reading("odd", value, (str(place),)) for place, value in enumerate(given)])

    list(metrics.refresh())

    huge, unknown, least = values(metrics.get_metric_values("odd")).values()
    assert (huge, math.isnan(unknown), least) == (math.inf, True, -math.inf)


def test_a_reader_that_fails_is_logged_once_until_it_works_and_the_others_are_read(
    metrics: MetricsManager, caplog: pytest.LogCaptureFixture
) -> None:
    broken = iter((True, True, False, True))

    def fail() -> Iterator[Reading]:
        yield Reading("waiting", 7)
        if next(broken):
            raise LookupError("gone")

    metrics.register_metric("length", "x", GAUGE)
    metrics.add_reader(fail)
    metrics.add_reader(lambda: [Reading("length", 3)])

    for _ in range(4):
        list(metrics.refresh())

    assert values(metrics.get_metric_values("length")) == {(): 3}
    assert values(metrics.get_metric_values("waiting")) == {(): 7}
    assert metrics.reader_failures == 3
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


@pytest.mark.parametrize(
    "reading",
    [
        Reading("nothing", 1),
        Reading("jobs", 1),
        Reading("waiting", Distribution(1, 1.0)),
        Reading("job_time", 1, ("mail",)),
        Reading("job_time", Distribution(1, 1.0, (1,)), ("mail",)),
    ],
)
def test_a_reading_that_does_not_fit_its_metric_fails_the_reader(metrics: MetricsManager, reading: Reading) -> None:
    metrics.add_reader(lambda: [reading])

    list(metrics.refresh())

    assert metrics.reader_failures == 1
    assert len(metrics.get_metric_values("job_time")) == 0


def test_refresh_pauses_between_readings(metrics: MetricsManager) -> None:
    metrics.register_metric("length", "x", GAUGE, labels=["queue"])
    metrics.add_reader(lambda: (Reading("length", number, (str(number),)) for number in range(10)))

    steps = metrics.refresh()

    assert sum(1 for _ in steps) == 10


# History


def test_the_history_has_what_was_sampled() -> None:
    clock = ManualClock()
    metrics = MetricsManager(clock=clock)
    metrics.register_metric("waiting", "x", GAUGE)
    metrics.register_metric("took", "x", SUMMARY)

    for value in (1, 4, 2):
        metrics.record("waiting", value)
        metrics.record("took", value)
        metrics.sample()
        clock.advance(10)

    (waiting,) = metrics.get_metric_values("waiting")
    (took,) = metrics.get_metric_values("took")
    assert waiting.history is not None
    assert took.history is not None
    assert [value for value in waiting.history.mean if value is not None] == [1, 4, 2]
    assert [value for value in took.history.mean if value is not None] == [1, 2, 3]
    assert waiting.value == 2


def test_there_is_no_history_of_what_was_never_sampled(metrics: MetricsManager) -> None:
    metrics.record("waiting", 1)
    metrics.sample(["jobs"])

    (waiting,) = metrics.get_metric_values("waiting")

    assert waiting.history is None


def test_the_history_takes_bounded_memory() -> None:
    clock = ManualClock()
    metrics = MetricsManager(clock=clock)
    metrics.register_metric("length", "x", GAUGE, labels=["queue"])
    for number in range(1500):
        metrics.record("length", number, {"queue": str(number)})

    metrics.sample()
    clock.advance(10)
    metrics.sample()

    assert metrics.history.size_bytes < 16 * 2**20
    assert metrics.history.refused > 0


# prometheus-client


def test_a_manager_is_a_collector_of_the_registry_that_it_is_given() -> None:
    registry = CollectorRegistry()
    metrics = MetricsManager(registry)
    metrics.register_metric("jobs", "Jobs done", COUNTER, labels=["queue"])
    metrics.register_metric("job_time", "x", HISTOGRAM, "seconds", buckets=(1.0,))
    metrics.record("jobs", 3, {"queue": "mail"})
    metrics.record("job_time", 0.5)

    assert registry.get_sample_value("jobs_total", {"queue": "mail"}) == 3
    assert registry.get_sample_value("job_time_seconds_bucket", {"le": "1.0"}) == 1
    assert registry.get_sample_value("job_time_seconds_count") == 1


def test_every_refusal_is_of_one_base() -> None:
    assert {kind.__base__ for kind in (InvalidMetricError, MetricExistsError, MetricNotFoundError)} == {MetricError}


# What comes in the middle


@pytest.mark.parametrize("metric_type", MetricType)
def test_a_record_may_come_in_the_middle_of_another_one_of_the_same_thread(metric_type: MetricType) -> None:
    metrics = MetricsManager()
    metrics.register_metric("jobs", "x", metric_type, labels=["queue"])
    child = metrics.child("jobs", {"queue": "mail"})
    interrupted = 0

    def interrupt(frame: FrameType, *_: object) -> Any:
        # As a signal handler or a finalizer would: between any two lines, those behind a lock among them.
        nonlocal interrupted
        if frame.f_code.co_filename in (children.__file__, family.__file__):
            interrupted += 1
            child.record(1)
            metrics.record("jobs", 1, {"queue": str(interrupted)})
        return interrupt

    before = sys.gettrace()
    sys.settrace(interrupt)
    try:
        child.record(1)
        metrics.record("jobs", 1, {"queue": "other"})
        metrics.get_metric_values("jobs")
    finally:
        sys.settrace(before)

    assert interrupted > 10
    assert len(metrics.get_metric_values("jobs")) == 2 + interrupted


def test_there_is_an_end_to_how_many_metrics_are_declared() -> None:
    metrics = MetricsManager()
    for number in range(MAX_METRICS):
        metrics.register_metric(f"made_up_{number}", "x", MetricType.GAUGE)

    with pytest.raises(InvalidMetricError, match="2000 metrics"):
        metrics.register_metric("one_more", "x", MetricType.GAUGE)
    metrics.register_metric("made_up_0", "x", MetricType.GAUGE)


def test_a_description_is_a_text() -> None:
    with pytest.raises(InvalidMetricError, match="description"):
        MetricsManager().register_metric("jobs", None, MetricType.GAUGE)  # type: ignore[arg-type]


def test_a_reading_whose_labels_are_no_texts_is_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    metrics = MetricsManager()
    metrics.register_metric("jobs", "x", MetricType.GAUGE, labels=["queue"])
    metrics.add_reader(lambda: [Reading("jobs", 1, (5,))])  # type: ignore[arg-type]

    list(metrics.refresh())

    assert (len(metrics.get_metric_values("jobs")), metrics.reader_failures) == (0, 1)
