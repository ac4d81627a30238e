"""The status codes of the specification, each from a real process over a real port."""

import http.client
import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tekton.testing import free_port

FAULTY = """
import sys
from tekton.component import Component, Request

component = Component("faulty", port=int(sys.argv[1]), register=False)

@component.get("/api/broken")
async def broken(_: Request) -> str:
    raise ZeroDivisionError("a secret")

@component.ready_when
def never() -> bool:
    return False

component.run()
"""
OTHER = {"component_id": "web", "instance_uuid": "7f1f7c9e-6a55-4b8a-9e5c-0f6e5e8f3a11"}

Ask = Callable[..., tuple[int, Any]]


def ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        sent = {} if body is None else {"content-type": "application/json"}
        connection.request(method, path, body, sent | headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def control_plane(start_tekton: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a control plane in which `web` is registered."""
    system = start_tekton(tmp_path_factory.mktemp("codes"))
    system.configure({})
    system.up()
    assert (
        system.request("POST", "/api/components", {"component_id": "web", "instance_uuid": str(uuid.uuid4())})[0] == 201
    )
    yield system.port
    system.kill()


@pytest.fixture(scope="module")
def faulty(eventually: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a component that has a defect, and is never ready."""
    port = free_port()
    script = Path(tmp_path_factory.mktemp("faulty")) / "faulty.py"
    script.write_text(FAULTY)
    process = subprocess.Popen([sys.executable, str(script), str(port)], stderr=subprocess.DEVNULL)

    def serves() -> bool:
        try:
            return ask(port, "GET", "/api/broken")[0] == 500
        except OSError:
            return False

    eventually(serves, "the component serves")
    yield port
    process.kill()
    process.wait()


@pytest.mark.parametrize(
    ("status", "method", "path", "body", "headers", "code"),
    [
        (200, "GET", "/api/components/web", None, {}, None),
        (201, "POST", "/api/components", b'{"component_id":"new"}', {}, None),
        (400, "POST", "/api/components", b'{"component_id":', {}, "malformed"),
        (401, "POST", "/api/system/stop", b"{}", {}, "unauthenticated"),
        (403, "POST", "/api/components", b"{}", {"origin": "https://evil.example"}, "foreign_origin"),
        (404, "GET", "/api/components/nobody", None, {}, "component_not_found"),
        (409, "POST", "/api/components", json.dumps(OTHER).encode(), {}, "component_exists"),
        (422, "POST", "/api/components", b'{"component_id":"UPPER CASE"}', {}, "invalid_id"),
    ],
)
def test_the_control_plane_answers_with_the_codes_of_the_specification(
    control_plane: int,
    status: int,
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
    code: str | None,
) -> None:
    found, answer = ask(control_plane, method, path, body, **headers)

    assert (found, answer.get("code")) == (status, code)


def test_a_defect_is_a_500_and_what_is_not_ready_a_503(faulty: int) -> None:
    broken, unready = ask(faulty, "GET", "/api/broken"), ask(faulty, "GET", "/api/ready")

    assert (broken[0], broken[1]["code"]) == (500, "internal")
    assert "secret" not in json.dumps(broken[1])
    assert unready[0] == 503
