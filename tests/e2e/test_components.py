"""Components in Python under a real supervisor: replicas that another component finds and calls, while one dies."""

import http.client
import json
import os
import signal
import sys
from typing import Any

import pytest

from tekton.testing import free_port

GREETER = """
import os
import tekton

app = tekton.Component("something", capabilities=["greet"])

@app.tool
async def greet(name: str) -> str:
    "Greet someone by name."
    return f"Hello, {name}, from {os.environ['TEKTON_REPLICA']}."

app.run()
"""

ASKER = """
import tekton
from tekton.utils.component_client import find_component

app = tekton.Component("asker")

@app.post("/api/ask")
async def ask(request):
    greeter = await find_component("greeter")
    arguments = {"name": "Ada"}
    return [
        (await greeter.call_api("/api/tools/greet", "POST", arguments, idempotent=True))["result"] if greeter else None
        for _ in range(request.body["times"])
    ]

app.run()
"""


def python(directory: Any, name: str, source: str) -> list[str]:
    program = directory / f"{name}.py"
    program.write_text(source)
    return [sys.executable, str(program)]


def ask(port: int, times: int) -> list[str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    body = json.dumps({"times": times})
    connection.request("POST", "/api/ask", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    assert answer.status == 200, content
    return json.loads(content)  # type: ignore[no-any-return]


@pytest.fixture
def system(tekton: Any, eventually: Any) -> Any:
    first = free_port(4)
    asker = first + 3
    tekton.configure(
        {
            "greeter": {
                "command": python(tekton.directory, "greeter", GREETER),
                "port": first,
                "replicas": 3,
                "ready": {"heartbeat": True},
                "restart": {"backoff": [0.1, 0.2]},
            },
            "asker": {
                "command": python(tekton.directory, "asker", ASKER),
                "port": asker,
                "dependencies": ["greeter"],
                "ready": {"http": "/api/ready"},
            },
        }
    )
    tekton.up()
    tekton.until("asker")
    # It needs one of them only.
    eventually(lambda: tekton.component("greeter")["ready_replicas"] == 3, "all replicas are ready")
    return tekton, asker


def test_replicas_are_found_called_in_turn_and_replaced_when_one_dies(system: Any) -> None:
    tekton, asker = system
    instances = tekton.get("/api/components/greeter/instances")["items"]

    before = ask(asker, 60)
    os.kill(instances[0]["pid"], signal.SIGKILL)
    during = ask(asker, 60)

    assert {greeting.rpartition(" ")[2] for greeting in before} == {"0.", "1.", "2."}
    assert all(greeting.startswith("Hello, Ada, from ") for greeting in during)
    record = tekton.component("greeter")
    assert record["capabilities"] == ["greet"]
    assert record["max_instances"] >= 3
