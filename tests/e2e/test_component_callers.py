"""Components that verify who calls them, and their tools: a real control plane, revocations, crashes."""

import http.client
import json
import os
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

BACKEND = """
import tekton
app = tekton.Component("backend", auth=True)

@app.get("/who")
async def who(request):
    return {"subject": request.principal.subject, "roles": request.principal.roles}

@app.tool(permission="components:control")
async def reset() -> str:
    return "done"

app.run()
"""

PROXY = """
import tekton
app = tekton.Component("proxy")

@app.get("/who")
async def who(request):
    shown = request.headers.get("authorization")
    headers = {} if shown is None else {"Authorization": shown}
    return await app.discovery.call_api("backend", "/who", headers=headers)

app.run()
"""


WORKER = """
import asyncio
import tekton
from tekton.mcp.tool_context import ToolContext
app = tekton.Component("worker")

@app.tool
async def who(context: ToolContext, excited: bool = False) -> str:
    return f"{context.caller}{'!' if excited else '.'}"

@app.tool
async def work(context: ToolContext) -> None:
    context.progress(1, 2, "halfway")
    await asyncio.Event().wait()

app.run()
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, start_tekton: Any) -> Iterator[Any]:
    """One control plane with the components for all tests of this file."""
    tekton = start_tekton(tmp_path_factory.mktemp("callers"))
    tekton.configure(
        {
            "backend": {"command": [sys.executable, "-c", BACKEND], "ready": {"heartbeat": True}},
            "proxy": {"command": [sys.executable, "-c", PROXY], "ready": {"heartbeat": True}},
            "worker": {
                "command": [sys.executable, "-c", WORKER],
                "ready": {"heartbeat": True},
                "restart": {"policy": "no"},
            },
        }
    )
    try:
        tekton.up()
        tekton.until("backend")
        tekton.until("proxy")
        tekton.until("worker")
        yield tekton
    finally:
        tekton.kill()


@pytest.fixture(scope="module")
def ask(system: Any) -> Callable[..., tuple[int, Any]]:
    """`ask("backend", "/who", token)`: the status and the content of an answer."""
    endpoints = {name: system.component(name)["endpoint"] for name in ("backend", "proxy")}

    def send(component_id: str, path: str, token: str | None = None, method: str = "GET") -> tuple[int, Any]:
        place = urllib.parse.urlsplit(endpoints[component_id])
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=10)
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        body = None if method == "GET" else "{}"
        try:
            connection.request(method, path, body, {**headers, "content-type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    return send


@pytest.fixture
def token(system: Any) -> Callable[..., str]:
    """`token("ada", "operator", audience="backend")`, as the command line prints it."""

    def make(subject: str, *roles: str, audience: str | None = None) -> str:
        options = [part for role in roles for part in ("--role", role)]
        options += [] if audience is None else ["--audience", audience]
        made = system.run("auth", "token", "--subject", subject, *options)
        assert made.returncode == 0, made.stderr
        return str(made.stdout.strip())

    return make


def test_a_token_is_accepted_by_the_component_that_it_was_made_for(ask: Any, token: Any) -> None:
    ada, mona = token("ada", "operator", audience="backend"), token("mona", "monitor", audience="backend")

    assert ask("backend", "/who", ada) == (200, {"subject": "ada", "roles": ["operator"]})
    assert ask("backend", "/api/tools/reset", ada, "POST") == (200, {"result": "done"})
    assert ask("backend", "/api/tools/reset", mona, "POST")[0] == 403
    assert ask("backend", "/who")[0] == 401
    assert ask("backend", "/who", token("ada", "operator"))[0] == 401
    assert ask("proxy", "/who", ada)[0] == 401
    assert ask("backend", "/api/health") == (200, {"status": "ok", "component_id": "backend"})


def test_a_component_calls_another_one_in_its_own_name(ask: Any, token: Any) -> None:
    assert ask("proxy", "/who", token("ada", "operator", audience="proxy")) == (
        200,
        {"subject": "proxy", "roles": ["component"]},
    )
    assert ask("proxy", "/who")[1]["subject"] == "proxy"


def test_tools_are_called_from_the_command_line_in_the_name_of_who_calls(
    system: Any, token: Any, tmp_path: Path
) -> None:
    def call(credential: str, *arguments: str) -> tuple[int, str]:
        (tmp_path / "credential").write_text(credential)
        elsewhere = {
            "TEKTON_URL": f"http://127.0.0.1:{system.port}",
            "TEKTON_CREDENTIAL_FILE": f"{tmp_path}/credential",
        }
        done = system.run("tool", "call", *arguments, env=elsewhere)
        return done.returncode, done.stdout or done.stderr.partition(":")[0]

    listed = system.run("tool", "ls", "-o", "name").stdout.split()
    here = system.run("tool", "call", "who", "excited=true")
    ada, mona, backend = token("ada", "operator"), token("mona", "monitor"), token("backend", "component")

    assert listed == ["backend.reset", "worker.who", "worker.work"]
    assert (here.returncode, here.stdout, here.stderr) == (0, '"owner!"\n', "")
    assert call(ada, "worker.who") == (0, '"ada."\n')
    assert call(ada, "backend.reset") == (0, '"done"\n')
    assert call(backend, "worker.who") == (0, '"backend."\n')
    assert call(backend, "backend.reset") == (7, "error[forbidden]")
    assert call(mona, "worker.who") == (7, "error[forbidden]")


def test_a_call_ends_at_once_when_the_component_is_killed_and_its_tools_are_gone(system: Any, eventually: Any) -> None:
    calling = subprocess.Popen(
        system.command("tool", "call", "worker.work"),
        cwd=system.directory,
        env=system.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert calling.stderr is not None
        assert calling.stderr.readline() == "50% (1 of 2) halfway\n"

        os.kill(system.component("worker")["pid"], signal.SIGKILL)
        stdout, stderr = calling.communicate(timeout=30)
    finally:
        calling.kill()

    assert (calling.returncode, stdout) == (1, "")
    assert stderr.startswith("error[tool_failed]: worker.work failed: ")
    eventually(lambda: not system.get("/api/tools?component=worker")["items"], "the tools to be gone")


def test_tools_are_there_when_another_control_plane_is(system: Any, eventually: Any) -> None:
    os.kill(system.control_pid, signal.SIGKILL)
    eventually(system.answers, "another control plane")

    found = eventually(lambda: system.get("/api/tools?component=backend")["items"], "the tools")

    assert [one["id"] for one in found] == ["backend.reset"]
    assert system.run("tool", "call", "backend.reset").stdout == '"done"\n'


def test_a_revocation_holds_also_while_there_is_no_control_plane(
    system: Any, ask: Any, token: Any, eventually: Any
) -> None:
    revoked, kept = (token(name, "operator", audience="backend") for name in ("eve", "ada"))
    assert (ask("backend", "/who", revoked)[0], ask("backend", "/who", kept)[0]) == (200, 200)

    assert system.run("auth", "revoke", "--subject", "eve").returncode == 0
    eventually(lambda: ask("backend", "/who", revoked)[0] == 401, "the revocation to be heard of")

    os.kill(system.control_pid, signal.SIGKILL)
    assert (ask("backend", "/who", revoked)[0], ask("backend", "/who", kept)[0]) == (401, 200)
    eventually(system.answers, "another control plane")
    assert (ask("backend", "/who", revoked)[0], ask("backend", "/who", kept)[0]) == (401, 200)
