"""Components that verify who calls them, run by a real control plane, through revocations and its crash."""

import http.client
import json
import os
import signal
import sys
import urllib.parse
from collections.abc import Callable, Iterator
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


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, start_tekton: Any) -> Iterator[Any]:
    """One control plane with both components for all tests of this file."""
    tekton = start_tekton(tmp_path_factory.mktemp("callers"))
    tekton.configure(
        {
            "backend": {"command": [sys.executable, "-c", BACKEND], "ready": {"heartbeat": True}},
            "proxy": {"command": [sys.executable, "-c", PROXY], "ready": {"heartbeat": True}},
        }
    )
    try:
        tekton.up()
        tekton.until("backend")
        tekton.until("proxy")
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
