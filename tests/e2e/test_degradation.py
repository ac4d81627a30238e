"""How a system recovers, each way on real processes: tried again, in a chain, degraded, cut off, found well."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tekton.testing import free_port
from tekton.utils.component_client import ControlPlane, Discovery
from tekton.utils.retries import Retries
from tekton.utils.tekton_errors import CircuitOpenError, ProblemError, TektonError

Eventually = Callable[..., Any]

SLEEP = {"command": ["sleep", "1000000"]}
QUICK = {"policy": "on-failure", "max": 5, "reset_after": 60, "backoff": [0.01, 0.02]}
# Fails when it is started the first and the second time.
FLAKY = 'echo >>starts; [ "$(wc -l <starts)" -gt 2 ] || exit 1; echo up; exec sleep 1000000'
# Says who it is and what it was sent. While NAME.sick is there it answers 500, while NAME.unready is it is not ready.
SERVER = """
import http.server, json, os, pathlib

name = os.environ["TEKTON_COMPONENT_ID"]

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(503 if pathlib.Path(name + ".unready").exists() else 200, {})

    def do_POST(self):
        data = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with open(name + ".calls", "a") as calls:
            calls.write(self.path + "\\n")
        self.answer(500 if pathlib.Path(name + ".sick").exists() else 200, {"from": name, "data": data})

    def answer(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass

# Not HTTPServer, which asks for the name of the machine.
server = http.server.socketserver.ThreadingTCPServer
server.allow_reuse_address = server.daemon_threads = True
server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def served(port: int, *capabilities: str, **spec: Any) -> dict[str, Any]:
    return {
        "command": [sys.executable, "-c", SERVER],
        "port": port,
        "capabilities": list(capabilities),
        "ready": {"http": "/", "interval": 0.05, "timeout": 20, "failures": 1},
        "restart": QUICK,
        **spec,
    }


@pytest.fixture(scope="module")
def tekton(start_tekton: Any, tmp_path_factory: pytest.TempPathFactory, eventually: Eventually) -> Iterator[Any]:
    """One system for all of them; each test has components of its own."""
    system = start_tekton(tmp_path_factory.mktemp("degradation"))
    ports = [free_port() for _ in range(4)]
    components = {
        "flaky": {"command": ["sh", "-c", FLAKY], "ready": {"log": "up"}, "restart": QUICK},
        "base": {**SLEEP, "restart": QUICK},
        "middle": {**SLEEP, "dependencies": ["base"], "on_dependency_failure": "restart"},
        "top": {**SLEEP, "dependencies": ["middle"], "on_dependency_failure": "restart"},
        "rhetor": served(ports[0], "chat"),
        "local": served(ports[1]),
        "user": {**SLEEP, "dependencies": ["rhetor"], "on_dependency_failure": "degrade"},
        "sick": served(ports[2], "lookup", breaker={"failure_threshold": 3, "reset_timeout": 3600}),
        "engram": served(ports[3], "memory"),
    }
    system.configure(components)
    local = {"component": "local", "parameters": {"model": "small"}}
    fallbacks = {"chat": [local], "memory": [local]}
    text = json.dumps({"components": components, "fallbacks": fallbacks})
    (system.directory / "components.json").write_text(text)
    system.up()
    for name in components:
        system.until(name)
    yield system
    system.kill()


def states(tekton: Any, name: str) -> list[str]:
    """Every state that the component has had, the first one first."""
    history = tekton.get(f"/api/components/{name}/history?limit=100")["items"]
    return [entry["state"] for entry in reversed(history) if entry["kind"] == "state"]


def serving(tekton: Any, capability: str) -> list[str]:
    found = tekton.get(f"/api/capabilities/{capability}/components")["items"]
    return [record["component_id"] for record in found]


def mark(tekton: Any, name: str, *, there: bool) -> None:
    """Make a server behave as the file says, or as ever."""
    file = Path(tekton.directory) / name
    file.touch() if there else file.unlink()


def log_says(tekton: Any, text: str) -> bool:
    return text in Path(tekton.data_dir / "logs" / "tekton.log").read_text()


def calls_of(tekton: Any, name: str) -> list[str]:
    return Path(tekton.directory / f"{name}.calls").read_text().splitlines()


async def first_answer(caller: Discovery, name: str) -> Any:
    """The answer of a component that is being restarted, as soon as it gives one."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await caller.call_api(name, "/x", "POST", {})
            except TektonError:
                await asyncio.sleep(0.01)


def discovery(tekton: Any) -> Discovery:
    return Discovery(ControlPlane(f"http://127.0.0.1:{tekton.port}"), retries=Retries(attempts=1))


def test_what_fails_is_tried_again_after_growing_delays(tekton: Any) -> None:
    flaky = tekton.component("flaky")

    assert (flaky["state"], flaky["restarts"]) == ("ready", 2)
    assert states(tekton, "flaky").count("failed") == 2
    assert (tekton.directory / "starts").read_text().count("\n") == 3


def test_a_chain_of_dependencies_recovers_from_its_root(tekton: Any, eventually: Eventually) -> None:
    before = {name: tekton.component(name)["instance_uuid"] for name in ("base", "middle", "top")}

    os.kill(tekton.component("base")["pid"], signal.SIGKILL)

    for name, instance in before.items():
        eventually(
            lambda name=name, instance=instance: (
                tekton.component(name)["instance_uuid"] != instance and tekton.state(name) == "ready"
            ),
            f"another {name} is ready",
        )


async def test_while_a_component_is_down_its_fallback_serves_and_who_needs_it_is_degraded(
    tekton: Any, eventually: Eventually
) -> None:
    async with discovery(tekton) as caller:

        async def served_by() -> tuple[str, Any]:
            answer = await caller.call_capability("chat", "/x", "POST", {"text": "a", "model": "large"})
            return answer["from"], answer["data"]["model"]

        normal = await served_by()
        status, _ = await asyncio.to_thread(
            tekton.request, "POST", "/api/components/rhetor/kill", {"signal": "KILL", "hold": True}
        )
        user = await asyncio.to_thread(tekton.until, "user", "degraded")
        meanwhile = await served_by()
        rhetor, offered = tekton.component("rhetor"), serving(tekton, "chat")
        explained = await asyncio.to_thread(tekton.run, "why", "rhetor")

        await asyncio.to_thread(tekton.request, "POST", "/api/components/rhetor/start?wait=1")
        await asyncio.to_thread(tekton.until, "user")
        async with asyncio.timeout(20):
            while (again := await served_by())[0] != "rhetor":  # noqa: ASYNC110 (the picture of the caller may be behind)
                await asyncio.sleep(0.01)

    assert status == 200
    assert (normal, meanwhile, again) == (("rhetor", "large"), ("local", "small"), ("rhetor", "large"))
    assert user["reason"] == "dependency: rhetor failed"
    assert user["note"] == "dependency: rhetor failed; chat is served by local"
    assert (rhetor["state"], rhetor["note"].endswith("; held; fallback: local")) == ("failed", True)
    assert offered == ["local"]
    assert "chat is served by local" in explained.stdout
    # What is noticed first, the exit or the probe, is the reason that stands behind it.
    for said in ("is served by local: rhetor ", "is served by rhetor again"):
        eventually(lambda said=said: log_says(tekton, f"capability chat {said}"), f"the log says that it {said}")


async def test_a_component_that_keeps_failing_is_cut_off_until_there_is_a_new_one(tekton: Any) -> None:
    async with discovery(tekton) as caller:
        await caller.find_components_by_capability("lookup")
        mark(tekton, "sick.sick", there=True)
        errors = []
        for _ in range(10):
            with pytest.raises((CircuitOpenError, ProblemError)) as caught:
                await caller.call_api("sick", "/x", "POST", {})
            errors.append(caught.type)
        arrived = len(calls_of(tekton, "sick"))
        mark(tekton, "sick.sick", there=False)
        os.kill(tekton.component("sick")["pid"], signal.SIGKILL)
        answer = await first_answer(caller, "sick")

    assert errors == [ProblemError] * 3 + [CircuitOpenError] * 7
    assert arrived == 3
    assert answer["from"] == "sick"


def test_health_that_fails_takes_the_traffic_away_and_brings_it_back(tekton: Any, eventually: Eventually) -> None:
    instance = tekton.component("engram")["instance_uuid"]

    mark(tekton, "engram.unready", there=True)
    eventually(lambda: serving(tekton, "memory") == ["local"], "the fallback serves")
    unwell = tekton.component("engram")
    mark(tekton, "engram.unready", there=False)
    eventually(lambda: serving(tekton, "memory") == ["engram"], "it serves again")

    assert (unwell["state"], unwell["serving"], unwell["instance_uuid"]) == ("ready", False, instance)
    assert tekton.component("engram")["instance_uuid"] == instance
