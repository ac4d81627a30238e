"""The list of the metrics of the control plane is in good order."""

import re

import pytest

from tekton.core.metrics.catalogue import METRICS, Described
from tekton.core.metrics.metrics import MetricsManager, MetricType

each = pytest.mark.parametrize("one", METRICS, ids=lambda one: one.metric.name)


def test_no_two_metrics_expose_samples_under_one_name() -> None:
    metrics = MetricsManager()

    for one in METRICS:
        metrics.register(one.metric)

    assert len(metrics.metrics()) == len(METRICS)


@each
def test_a_metric_says_what_it_is_and_why_to_look_at_it(one: Described) -> None:
    for text in (one.metric.description, one.why):
        assert text[0].isupper() or text[0].isdigit() or text[0] == "`"
        assert text.endswith(".")
        assert "|" not in text


@each
def test_the_name_begins_with_whose_metric_it_is(one: Described) -> None:
    assert one.metric.name.startswith(("tekton_", "process_"))
    assert not one.metric.name.endswith("_total"), "it is added by itself"


@each
def test_what_is_drawn_and_alerted_on_names_the_metric(one: Described) -> None:
    expressions = [one.query, *([one.alert.when] if one.alert else [])]

    assert all(one.metric.exposed in expression for expression in expressions)


def test_an_alert_names_only_samples_that_there_are() -> None:
    known = {name for one in METRICS for name in one.metric.sample_names}
    named = {
        name
        for one in METRICS
        for text in (one.query, one.alert.when if one.alert else "")
        for name in re.findall(r"\b(?:tekton|process)_[a-z_]+", text)
    }

    assert named <= known


def test_alerts_have_names_of_their_own_and_say_what_is_the_matter() -> None:
    alerts = [one.alert for one in METRICS if one.alert is not None]

    assert len({alert.name for alert in alerts}) == len(alerts)
    assert {alert.severity for alert in alerts} == {"warning", "critical"}
    assert all(re.fullmatch(r"\d+[mh]", alert.lasting) and not alert.summary.endswith(".") for alert in alerts)


def test_the_default_graph_follows_from_the_type() -> None:
    queries = {one.metric.metric_type: one.query for one in METRICS if one.panel is None}

    assert queries[MetricType.GAUGE].isidentifier()
    assert "rate(" in queries[MetricType.COUNTER]
    assert queries[MetricType.HISTOGRAM].startswith("histogram_quantile(0.99, sum by (le)")
