"""The metrics of a real system: what is exposed is what is documented, and Prometheus takes it."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tekton.core.metrics.catalogue import METRICS
from tekton.testing import free_port

PROMTOOL = shutil.which("promtool")

NEEDS_AN_EVENT = {
    "tekton_metrics_label_sets_refused_total",
    "tekton_consumer_waiting",
    "tekton_consumer_in_flight",
    "tekton_consumer_redelivered_total",
    "tekton_consumer_dead_letters_total",
    "tekton_consumer_lost_total",
    "tekton_tool_calls_total",
    "tekton_tool_call_duration_seconds",
    "tekton_tasks_created_total",
    "tekton_tasks_ended_total",
    "tekton_task_duration_seconds",
    "tekton_task_attempts_failed_total",
}
"""Without any samples as long as nothing goes wrong, nobody consumes a stream, calls a tool, or has something done."""

NEEDS_A_GPU = {name for one in METRICS if "_gpu_" in (name := one.metric.exposed)}

NEEDS_DISKS = {"tekton_machine_disk_read_bytes_per_second", "tekton_machine_disk_written_bytes_per_second"}
"""What containers may not be told."""

SLEEP = {"command": ["sleep", "1000"], "restart": {"backoff": [0.01, 0.02]}}


class Observed:
    """A system in which a bit of everything has happened, and its metrics port."""

    def __init__(self, tekton: Any, port: int) -> None:
        self.tekton = tekton
        self.port = port

    def fetch(self, path: str, port: int | None = None, **headers: str) -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=10)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.headers["content-type"], answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory, start_tekton: Any) -> Iterator[Observed]:
    tekton = start_tekton(tmp_path_factory.mktemp("metrics"))
    tekton.configure(
        {
            "worker": {**SLEEP, "capabilities": ["work"]},
            "shaky": {**SLEEP, "port": free_port(), "liveness": {"exec": ["false"], "interval": 0.1, "failures": 1000}},
        }
    )
    components = tekton.directory / "components.json"
    fallbacks = {"work": [{"component": "shaky"}]}
    components.write_text(json.dumps({**json.loads(components.read_text()), "fallbacks": fallbacks}))
    port = free_port()
    file = tekton.directory / "tekton.json"
    settings = json.loads(file.read_text())
    settings["tekton"]["monitoring"] = {"metrics_port": port, "collection_interval": 0.1}
    file.write_text(json.dumps(settings))
    try:
        tekton.up()
        worker = tekton.until("worker")
        os.kill(worker["pid"], signal.SIGKILL)
        tekton.request("GET", "/api/components/nobody")
        observed = Observed(tekton, port)
        monitor = {"subject": "watcher", "roles": ["monitor"]}
        status, key = tekton.request("POST", "/api/keys", monitor)
        assert status == 201
        assert observed.fetch("/api/audit", tekton.port, authorization=f"Bearer {key['key']}")[0] == 403
        yield observed
    finally:
        tekton.kill()


def test_every_documented_metric_is_exposed_and_no_other(observed: Observed, eventually: Any) -> None:
    def missing() -> set[str]:
        nonlocal text
        status, media_type, body = observed.fetch("/metrics")
        assert (status, media_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
        text = body.decode()
        names = {one.metric.exposed for one in METRICS}
        found = {name for name in names if re.search(rf"^{name}(?:_count)?(?:\{{|\s)", text, re.MULTILINE)}
        return names - found - NEEDS_A_GPU - NEEDS_DISKS

    text = ""
    eventually(lambda: missing() == NEEDS_AN_EVENT, "a sample of every metric")

    assert re.findall(r"^# TYPE (\S+)", text, re.MULTILINE) == sorted(one.metric.exposed for one in METRICS)
    assert 'tekton_http_errors_total{status="404"} 1\n' in text
    assert 'tekton_component_exits_total{component="worker",how="signal"} 1\n' in text
    assert 'tekton_restarts_total{component="worker",cause="failure"} 1\n' in text
    assert 'tekton_permissions_refused_total{permission="audit:read"} 1\n' in text


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (it is in Debian's package prometheus)")
def test_promtool_has_nothing_to_say_against_what_is_exposed(observed: Observed) -> None:
    assert PROMTOOL is not None
    _, _, body = observed.fetch("/metrics")

    result = subprocess.run([PROMTOOL, "check", "metrics"], input=body, capture_output=True, timeout=30, check=False)

    assert (result.returncode, result.stdout + result.stderr) == (0, b"")


def test_the_metrics_port_has_the_metrics_and_nothing_else(observed: Observed) -> None:
    assert observed.fetch("/metrics", accept="application/openmetrics-text")[2].endswith(b"# EOF\n")
    assert observed.fetch("/api/health")[0] == 404
    assert observed.fetch("/metrics", observed.tekton.port)[0] == 200


def test_the_history_has_a_sample_for_each_interval(observed: Observed, eventually: Any) -> None:
    def samples() -> list[float]:
        (metric,) = observed.tekton.get("/api/metrics?name=tekton_heartbeats")["metrics"]
        history = metric["samples"][0].get("history")
        return [value for value in history["mean"] if value is not None] if history else []

    eventually(lambda: len(samples()) >= 3, "three samples")
