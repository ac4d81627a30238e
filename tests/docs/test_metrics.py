"""docs/reference/metrics.md, the dashboard and the alert rules are those of the catalogue."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from load_script import load_script

from tekton.core.metrics.catalogue import METRICS
from tekton.core.metrics.described import Alert

metrics_page = load_script(Path(__file__).with_name("metrics_page.py"))
PROMTOOL = shutil.which("promtool")
DOCS = Path(__file__).resolve().parents[2] / "docs"
ALERTS = [one.alert for one in METRICS if one.alert is not None]
AGAIN = "run python tests/docs/metrics_page.py"


def test_the_page_is_made_from_the_catalogue() -> None:
    text = metrics_page.PAGE.read_text()

    assert metrics_page.with_current_tables(text) == text, AGAIN


def test_the_dashboard_is_made_from_the_catalogue() -> None:
    assert metrics_page.DASHBOARD.read_text() == metrics_page.dashboard(), AGAIN


def test_the_alert_rules_are_made_from_the_catalogue() -> None:
    assert metrics_page.RULES.read_text() == metrics_page.rules(), AGAIN


def test_the_page_of_the_alerts_is_made_from_the_catalogue() -> None:
    assert metrics_page.ALERTS.read_text() == metrics_page.alerts_page(), AGAIN


def test_each_alert_is_explained_and_nothing_else_is() -> None:
    assert sorted(metrics_page.explanations()) == sorted(alert.name for alert in ALERTS)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_the_runbook_of_an_alert_says_what_it_means_why_it_comes_and_what_to_type(alert: Alert) -> None:
    _, _, anchor = metrics_page.runbook(alert).partition("alerts.md#")
    sections = re.split(r"^### ", metrics_page.ALERTS.read_text(), flags=re.MULTILINE)
    (section,) = (text for text in sections if text.partition("\n")[0].lower() == anchor)
    explained = metrics_page.explanations()[alert.name]

    assert explained.meaning in section
    assert explained.causes
    assert any(re.search(r"`(tekton|curl|df|ls) [^`]+`", step) for step in explained.steps)
    assert f"`{alert.when}`" in section


def test_the_dashboard_has_a_graph_for_each_metric_and_no_two_in_one_place() -> None:
    panels = json.loads(metrics_page.dashboard())["panels"]
    graphs = [panel for panel in panels if panel["type"] == "timeseries"]
    covered = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert [panel["title"] for panel in graphs] == [one.metric.exposed for one in METRICS]
    assert len(set(covered)) == len(covered)


def test_the_lines_of_a_graph_are_told_apart_by_the_labels_of_what_is_drawn() -> None:
    panels = json.loads(metrics_page.dashboard())["panels"]

    legends = {panel["title"]: panel["targets"][0]["legendFormat"] for panel in panels if panel["type"] != "row"}

    assert legends["tekton_components"] == "{{state}}"
    assert legends["tekton_capability_service"] == "{{capability}} {{state}}"
    assert legends["tekton_restarts_total"] == "{{component}} {{cause}}"
    assert legends["tekton_http_request_duration_seconds"] == "{{route}} p99"
    assert legends["tekton_event_loop_lag_seconds"] == "p99"
    assert legends["tekton_ready"] == "tekton_ready"


def test_graphs_have_the_units_of_what_is_drawn() -> None:
    panels = json.loads(metrics_page.dashboard())["panels"]
    units = {panel["title"]: panel["fieldConfig"]["defaults"]["unit"] for panel in panels if panel["type"] != "row"}

    assert units["tekton_machine_disk_free_bytes"] == "bytes"
    assert units["tekton_machine_disk_read_bytes_per_second"] == "Bps"
    assert units["tekton_machine_network_sent_bytes_total"] == "Bps"
    assert units["tekton_machine_cpu_usage_ratio"] == "percentunit"
    assert units["process_cpu_seconds_total"] == "percentunit"
    assert units["tekton_heartbeats_total"] == "cps"


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_leads_to_a_heading_that_there_is(alert: Alert) -> None:
    name, _, anchor = alert.see.partition("#")
    headings = re.findall(r"^#+ (.+)$", (DOCS / name).read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}

    assert not anchor or anchor in anchors


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (it is in Debian's package prometheus)")
def test_promtool_accepts_the_alert_rules() -> None:
    assert PROMTOOL is not None

    result = subprocess.run(
        [PROMTOOL, "check", "rules", metrics_page.RULES], capture_output=True, text=True, timeout=30, check=False
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(ALERTS)} rules found" in result.stdout


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (it is in Debian's package prometheus)")
def test_promtool_accepts_what_the_dashboard_draws(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    rules = tmp_path / "drawn.yml"
    drawn = [{"record": f"drawn:{one.metric.name}", "expr": one.query} for one in METRICS]
    rules.write_text(json.dumps({"groups": [{"name": "drawn", "rules": drawn}]}))

    result = subprocess.run(
        [PROMTOOL, "check", "rules", rules], capture_output=True, text=True, timeout=30, check=False
    )

    assert result.returncode == 0, result.stdout + result.stderr


LATER = "9m"
FIRES: list[tuple[str, str, dict[str, str], dict[str, str]]] = [
    (
        "TektonReplicasMissing",
        "critical",
        {
            'tekton_component_replicas{component="llm"}': "2+0x10",
            'tekton_component_replicas_ready{component="llm"}': "1+0x10",
            'tekton_component_replicas{component="well"}': "1+0x10",
            'tekton_component_replicas_ready{component="well"}': "1+0x10",
        },
        {"component": "llm"},
    ),
    (
        "TektonRestartsComponents",
        "warning",
        {
            'tekton_restarts_total{component="llm",cause="failure"}': "0+1x10",
            'tekton_restarts_total{component="well",cause="failure"}': "1+0x10",
        },
        {"component": "llm"},
    ),
    (
        "TektonCapabilityUnavailable",
        "critical",
        {
            'tekton_capability_service{capability="chat",state="unavailable"}': "1+0x10",
            'tekton_capability_service{capability="chat",state="fallback"}': "0+0x10",
        },
        {"capability": "chat", "state": "unavailable"},
    ),
    (
        "TektonAuditUnsigned",
        "warning",
        {"tekton_audit_entries_unsigned": "1+0x10", "tekton_audit_head_age_seconds": "301+60x10"},
        {},
    ),
    (
        "TektonDiskNearlyFull",
        "warning",
        {
            'tekton_machine_disk_bytes{path="/"}': "100+0x10",
            'tekton_machine_disk_free_bytes{path="/"}': "4+0x10",
        },
        {"path": "/"},
    ),
    (
        "TektonAgentsFail",
        "warning",
        {
            'tekton_task_attempts_failed_total{code="agent_lost"}': "0+5x10",
            'tekton_task_attempts_failed_total{code="garbage"}': "7+0x10",
        },
        {"code": "agent_lost"},
    ),
    (
        "TektonTasksFail",
        "warning",
        {
            'tekton_tasks_ended_total{type="code_review",outcome="failed"}': "0+1x10",
            'tekton_tasks_ended_total{type="code_review",outcome="timeout"}': "0+1x10",
            'tekton_tasks_ended_total{type="translation",outcome="completed"}': "0+9x10",
        },
        {"type": "code_review"},
    ),
    ("TektonWorkFull", "critical", {"tekton_work_full": "1+0x10"}, {}),
]
"""Alerts, and series of ten minutes with which they fire, and for what."""


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (it is in Debian's package prometheus)")
def test_alerts_fire_after_a_while_for_what_is_the_matter_and_say_for_what(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    rules = {alert.name: alert for alert in ALERTS}
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "alert_rule_test": [
                {"eval_time": "0m", "alertname": name, "exp_alerts": []},
                {"eval_time": LATER, "alertname": name, "exp_alerts": [expected(rules[name], severity, labels)]},
            ],
        }
        for name, severity, series, labels in FIRES
    ]
    file = tmp_path / "tests.yml"
    file.write_text(json.dumps({"rule_files": [str(metrics_page.RULES)], "evaluation_interval": "1m", "tests": tests}))

    result = subprocess.run([PROMTOOL, "test", "rules", file], capture_output=True, text=True, timeout=30, check=False)

    assert result.returncode == 0, result.stdout + result.stderr


def expected(alert: Alert, severity: str, labels: dict[str, str]) -> dict[str, dict[str, str]]:
    """The alert as promtool expects it."""
    summary = alert.summary
    for name, value in labels.items():
        summary = summary.replace(f"{{{{ $labels.{name} }}}}", value)
    see = f"https://github.com/tekton-core/tekton/blob/main/docs/reference/alerts.md#{alert.name.lower()}"
    return {"exp_labels": {"severity": severity, **labels}, "exp_annotations": {"summary": summary, "runbook_url": see}}
