"""Traces of a real system: its start, what components send by themselves and by OpenTelemetry; and they are kept."""

import json
import os
import signal
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

from tekton.testing import free_port

Eventually = Callable[..., Any]

GREETER = """
from tekton import Component
from tekton.core.tracing import span

app = Component("greeter")

@app.get("/api/greet/{name}")
async def greet(request):
    with span("think", password="canary-word"):
        return {"text": request.params["name"]}

app.run()
"""

# Any program with OpenTelemetry's SDK: nothing in it knows of Tekton.
INSTRUMENTED = """
import os, signal
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
launched = TraceContextTextMapPropagator().extract({"traceparent": os.environ["TRACEPARENT"]})
with provider.get_tracer("app").start_as_current_span("boot", context=launched):
    pass
signal.pause()
"""

PARENT = f"00-{'a' * 32}-{'b' * 16}-01"


def test_a_start_and_requests_are_traced_through_processes_and_kept(tekton: Any, eventually: Eventually) -> None:
    (tekton.directory / "greeter.py").write_text(GREETER)
    (tekton.directory / "instrumented.py").write_text(INSTRUMENTED)
    port = free_port()
    tekton.configure(
        {
            "greeter": {
                "command": [sys.executable, "greeter.py"],
                "port": port,
                "ready": {"http": "/api/ready"},
            },
            "instrumented": {"command": [sys.executable, "instrumented.py"], "dependencies": ["greeter"]},
        }
    )
    tekton.up()
    tekton.until("instrumented")

    def trace(name: str, *wanted: str) -> Any:
        """The newest trace of that name, once it has the spans that are wanted."""
        found = tekton.get(f"/api/traces?name={name}&limit=1")["items"]
        shown = tekton.get(f"/api/traces/{found[0]['trace_id']}") if found else {"spans": []}
        return shown if {*wanted} <= {one["name"] for one in shown["spans"]} else None

    start = eventually(
        lambda: trace("start%20the%20system", "start the system", "boot", "start component"), "the trace of the start"
    )
    spans = {(one["component"], one["name"]): one for one in start["spans"]}
    by_id = {one["span_id"]: one["name"] for one in start["spans"]}
    assert start["trace"]["components"] == ["tekton", "greeter", "instrumented"]
    assert by_id[spans["greeter", "start component"]["parent_id"]] == "spawn"
    assert by_id[spans["instrumented", "boot"]["parent_id"]] == "spawn"
    assert spans["instrumented", "boot"]["instance"] == tekton.component("instrumented")["instance_uuid"]
    assert {"start greeter", "start instrumented", "wait for dependencies"} <= {*by_id.values()}

    asked = urllib.request.Request(f"http://127.0.0.1:{port}/api/greet/ann", headers={"traceparent": PARENT})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        assert json.load(answer) == {"text": "ann"}
    request = eventually(lambda: trace("greet", "think"), "the trace of the request")
    assert [(one["name"], one["depth"]) for one in request["spans"]] == [("GET /api/greet/{name}", 0), ("think", 1)]
    assert request["trace"]["trace_id"] == "a" * 32
    assert "canary" not in json.dumps(request)

    # A control plane that replaces one that was killed has what was written down.
    pid = tekton.control_pid
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: tekton.control_pid != pid and tekton.answers(), "another control plane")
    kept = tekton.get(f"/api/traces/{start['trace']['trace_id']}")
    assert {one["span_id"] for one in start["spans"]} <= {one["span_id"] for one in kept["spans"]}

    listed = tekton.run("trace", "ls", "--component", "greeter")
    shown = tekton.run("trace", "show", "aaaa")
    assert "GET /api/greet/{name}" in listed.stdout
    assert shown.returncode == 0, shown.stderr
    assert "  think" in shown.stdout
