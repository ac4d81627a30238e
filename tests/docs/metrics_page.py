"""Keeps docs/reference/metrics.md and alerts.md, the dashboard and the alert rules true.

They are made from the catalogue, and from alerts.toml beside it.

python tests/docs/metrics_page.py      write them anew
"""

import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tekton.core.metrics.catalogue import METRICS, Described
from tekton.core.metrics.described import Alert
from tekton.core.metrics.metrics import MetricType

_ROOT = Path(__file__).resolve().parents[2]
_DOCS = _ROOT / "docs"
_SITE = "https://github.com/tekton-core/tekton/blob/main/docs"
PAGE = _DOCS / "reference" / "metrics.md"
ALERTS = _DOCS / "reference" / "alerts.md"
DASHBOARD = _ROOT / "deploy" / "grafana" / "tekton.json"
EXPLAINED = _ROOT / "python" / "tekton" / "core" / "metrics" / "alerts.toml"
RULES = _ROOT / "deploy" / "prometheus" / "alerts.yml"

_BEGIN = "## What there is\n"
_COLUMNS = 3
_WIDTH, _HEIGHT = 24 // _COLUMNS, 7
_UNITS = {
    "seconds": "s",
    "bytes": "bytes",
    "bytes_per_second": "Bps",
    "ratio": "percentunit",
    "celsius": "celsius",
}
_RATES = {"seconds": "percentunit", "bytes": "Bps"}


_INTRODUCTION = """\
# Alerts

Each alert of the rules in `deploy/prometheus/alerts.yml`: what it means, what usually causes it, and what to type
first. The `runbook_url` of an alert leads to its section here. NAME is the component that the alert names; commands are
typed on the machine of the control plane, or with `--url`. The metrics that they are about are in
[metrics](metrics.md#alerts); how a system is looked at in general is in [operations](../operations.md#looking).
"""


class Explanation(NamedTuple):
    """What the rule of an alert cannot say."""

    meaning: str
    causes: list[str]
    steps: list[str]


def parts() -> dict[str, list[Described]]:
    """The metrics by chapter, in the order of the catalogue."""
    found: dict[str, list[Described]] = {}
    for described in METRICS:
        found.setdefault(described.part, []).append(described)
    return found


def with_current_tables(text: str) -> str:
    """*text*, the page, with all that is made anew."""
    introduction, heading, _ = text.partition(_BEGIN)
    return "".join((introduction, heading, *_tables()))


def _tables() -> Iterator[str]:
    for part, metrics in parts().items():
        yield f"\n### {part}\n\n| Metric | Labels | What it is, and why to look at it |\n|---|---|---|\n"
        for one in metrics:
            metric = one.metric
            labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
            name = f"`{metric.exposed}` ({metric.metric_type.value})"
            yield f"| {name} | {labels} | {metric.description} {one.why} |\n"
    yield "\n## Alerts\n\nWhat causes each, and what to type first, is on [a page of their own](alerts.md).\n\n"
    yield "| Alert | Severity | Fires when | For | What it says |\n|---|---|---|---|---|\n"
    for one in METRICS:
        if (alert := one.alert) is not None:
            when = alert.when.replace("|", "\\|")
            name = f"[{alert.name}]({ALERTS.name}#{alert.name.lower()})"
            yield f"| {name} | {alert.severity} | `{when}` | {alert.lasting} | {_without_labels(alert.summary)} |\n"


def alerts_page() -> str:
    """docs/reference/alerts.md."""
    return "".join(_alerts())


def _alerts() -> Iterator[str]:
    yield _INTRODUCTION
    explained = explanations()
    for part, metrics in parts().items():
        alerts = [one.alert for one in metrics if one.alert is not None]
        yield f"\n## {part}\n" if alerts else ""
        for alert in alerts:
            yield from _alert(alert, explained[alert.name])


def _alert(alert: Alert, explained: Explanation) -> Iterator[str]:
    lasting = f", for {alert.lasting}" if alert.lasting != "0m" else ""
    yield f"\n### {alert.name}\n\n{alert.severity.capitalize()}: `{alert.when}`{lasting}.\n\n{explained.meaning}\n\n"
    yield "Usual causes:\n\n" + "".join(f"- {cause}\n" for cause in explained.causes)
    yield "\nFirst:\n\n" + "".join(f"{number}. {step}\n" for number, step in enumerate(explained.steps, 1))
    yield f"\nMore: [{_title(alert.see)}]({os.path.relpath(_DOCS / alert.see, ALERTS.parent)}).\n"


def _title(see: str) -> str:
    """The heading that *see* leads to."""
    name, _, anchor = see.partition("#")
    headings = re.findall(r"^#+ (.+)$", (_DOCS / name).read_text(), re.MULTILINE)
    found = (each for each in headings if re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") == anchor)
    return next(found, headings[0])


def explanations() -> dict[str, Explanation]:
    """Alert -> what it means, what usually causes it, and what to do first."""
    return {name: Explanation(**texts) for name, texts in tomllib.loads(EXPLAINED.read_text()).items()}


def _without_labels(summary: str) -> str:
    """*summary* before anything has fired: labels are their names in capitals, of components NAME; the value is N."""
    summary = summary.replace("{{ $labels.component }}", "NAME").replace("{{ $value }}", "N")
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: found[1].upper(), summary)


def rules() -> str:
    """The alert rules, for `rule_files` of Prometheus. Strings are quoted as JSON has them, which YAML takes."""
    lines = ["# Made from python/tekton/core/metrics/catalogue.py by tests/docs/metrics_page.py", "groups:"]
    for part, metrics in parts().items():
        alerts = [one.alert for one in metrics if one.alert is not None]
        if not alerts:
            continue
        lines += [f"  - name: {json.dumps(f'Tekton: {part}')}", "    rules:"]
        for alert in alerts:
            lines += [
                f"      - alert: {alert.name}",
                f"        expr: {json.dumps(alert.when)}",
                f"        for: {alert.lasting}",
                "        labels:",
                f"          severity: {alert.severity}",
                "        annotations:",
                f"          summary: {json.dumps(alert.summary)}",
                f"          runbook_url: {runbook(alert)}",
            ]
    return "\n".join([*lines, ""])


def runbook(alert: Alert) -> str:
    """Where whoever is woken by *alert* reads on."""
    return f"{_SITE}/{ALERTS.relative_to(_DOCS)}#{alert.name.lower()}"


def dashboard() -> str:
    """The dashboard: a row for each chapter, a graph for each metric. To be imported into Grafana."""
    panels: list[dict[str, Any]] = []
    y = 0
    for part, metrics in parts().items():
        panels.append({"type": "row", "title": part, "collapsed": False, "gridPos": _place(0, y, 24, 1), "panels": []})
        y += 1
        for place, one in enumerate(metrics):
            x, row = place % _COLUMNS * _WIDTH, place // _COLUMNS * _HEIGHT
            panels.append(_panel(one, _place(x, y + row, _WIDTH, _HEIGHT)))
        y += -(-len(metrics) // _COLUMNS) * _HEIGHT
    for number, panel in enumerate(panels, 1):
        panel["id"] = number
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}
    board = {
        "title": "Tekton",
        "uid": "tekton",
        "tags": ["tekton"],
        "schemaVersion": 39,
        "editable": True,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [source]},
        "panels": panels,
    }
    return json.dumps(board, indent=2) + "\n"


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(one: Described, place: dict[str, int]) -> dict[str, Any]:
    metric = one.metric
    unit = _UNITS.get(metric.unit, "short")
    if metric.metric_type is MetricType.COUNTER:
        unit = _RATES.get(metric.unit, "cps")
    return {
        "type": "timeseries",
        "title": metric.exposed,
        "description": f"{metric.description} {one.why}",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [{"refId": "A", "expr": one.query, "legendFormat": _legend(one)}],
    }


def _legend(one: Described) -> str:
    labels = [f"{{{{{label}}}}}" for label in _drawn_labels(one)]
    if one.metric.metric_type is MetricType.HISTOGRAM:
        labels.append("p99")
    return " ".join(labels) or one.metric.exposed


def _drawn_labels(one: Described) -> list[str]:
    """The labels that the lines of a graph are told apart by."""
    summed = re.search(r"\bby \(([^)]*)\)", one.query)
    if summed is None:
        return list(one.metric.labels)
    return [label for label in summed[1].split(", ") if label != "le"]


if __name__ == "__main__":
    PAGE.write_text(with_current_tables(PAGE.read_text()))
    for path, content in ((ALERTS, alerts_page()), (DASHBOARD, dashboard()), (RULES, rules())):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
