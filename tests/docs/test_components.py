"""What docs/components.md shows is what happens: its calls with curl, its components, its table of paths."""

import asyncio
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tekton.auth.principal import OWNER
from tekton.clock import SYSTEM_CLOCK
from tekton.component.exposition import ComponentMetrics, RequestCounts
from tekton.core.lifecycle import ComponentRegistration, ComponentState, check_registration
from tekton.core.metrics.exposition import render
from tekton.gateway.server import GatewayServer
from tekton.testing import free_port
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.tekton_http import HttpClient

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "components.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def program(component_id: str) -> dict[str, Any]:
    """The first program of the page that defines the component, executed."""
    source = next(text for text in blocks("python") if f'Component("{component_id}"' in text)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(source, "components.md", "exec"), names)
    return names


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PORT", str(free_port()))
    monkeypatch.setenv("TEKTON_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.chdir(tmp_path)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_calls_with_curl_do_what_is_said(tmp_path: Path) -> None:
    run = tmp_path / ".tekton" / "data" / "run"
    run.mkdir(parents=True)
    states: list[tuple[ComponentState, bool]] = []
    async with InMemoryControlPlane() as plane:
        plane.registry.feed.add_listener(lambda change: states.append((change.state, change.record.serving)))
        socket = GatewayServer(plane._server._app, "127.0.0.1", 0, uds=run / "control.sock")
        await socket.start()
        script = "set -euo pipefail\n" + "\n".join(blocks("sh"))
        async with asyncio.timeout(30):
            shell = await asyncio.create_subprocess_exec(
                "bash", "-c", script, env={**os.environ, "HOME": str(tmp_path)}, stdout=-1, stderr=-1
            )
            output, mistakes = await shell.communicate()
        metrics = plane.monitor.metrics("billing")
        await socket.stop()

    assert shell.returncode == 0, mistakes.decode()
    assert states[-1] == (ComponentState.STOPPED, True)
    assert {(ComponentState.READY, False), (ComponentState.READY, True)} <= set(states)
    assert metrics == {"queue": 3}
    assert b'"known":true' in output
    assert b"event: snapshot" in output


async def test_the_first_program_is_found_and_called(monkeypatch: pytest.MonkeyPatch) -> None:
    app = program("greeter")["app"]
    async with InMemoryControlPlane() as plane:
        monkeypatch.setenv("TEKTON_URL", plane.address.url)
        async with app, HttpClient(app.endpoint) as client:
            await plane.registry.wait_until("greeter", lambda record: record is not None and record.usable)
            answer = await client.request("POST", "/api/tools/greet", {"name": "Ada", "excited": True})

    assert answer == {"result": "Hello, Ada!"}


async def test_the_memory_stores_publishes_and_recalls() -> None:
    app = program("engram")["app"]
    async with app, HttpClient(app.endpoint) as client:
        stored = await client.send("POST", "/api/memory/store", {"key": "a", "value": [1]})
        recalled = await client.request("GET", "/api/memory/a")
        lost = await client.send("GET", "/api/memory/b")

    assert (stored.status, recalled, lost.status) == (201, [1], 404)


async def test_every_path_of_the_table_is_served() -> None:
    section = PAGE.partition("On its port are")[2].partition("The port is")[0]
    named = set(re.findall(r"`(?:(?:GET|POST) )?(/[a-z./{}]+)`", section))
    app = program("greeter")["app"]
    async with app, HttpClient(app.endpoint) as client:
        served = set((await client.request("GET", "/openapi.json"))["paths"])

    assert {path.replace("{topic}", "{a}") for path in named} - {"/ws"} <= served


async def test_the_metrics_that_are_named_are_there() -> None:
    measured = ComponentMetrics(RequestCounts(), dict, SYSTEM_CLOCK)
    measured.route()
    list(measured.manager.refresh())
    text = render(measured.manager.snapshot(), "prometheus").decode()

    named = set(re.findall(r"`(tekton_component_\w+)`", PAGE))
    assert named == set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))


def test_the_event_frame_is_complete() -> None:
    frame, *_ = (json.loads(text) for text in blocks("json"))

    assert list(frame) == ["id", "t", "seq", "topic", "data"]


def test_the_registrations_in_other_languages_are_accepted() -> None:
    said = [msgspec.json.decode(text, type=ComponentRegistration) for text in blocks("json")[1:]]
    tools, agents = (msgspec.to_builtins(check_registration(one)) for one in said)

    assert [tool["name"] for tool in tools["tools"]] == ["invoice"]
    assert [agent["agent_id"] for agent in agents["agents"]] == ["auditor"]


async def test_the_agent_does_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    app = program("reading")["app"]
    async with InMemoryControlPlane() as plane:
        monkeypatch.setenv("TEKTON_URL", plane.address.url)
        async with app:
            await plane.registry.wait_until("reading", lambda record: record is not None and record.usable)
            task = await plane.tasks.create(OWNER, "code_reading", {"code": "a = 1\nb = 2"})
            done = await plane.tasks.wait(task.task_id, 20)

    assert done.result == {"lines": 2, "verdict": "short"}
