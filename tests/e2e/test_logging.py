"""The logs of a running system as one: read page by page, followed, and by whom."""

import http.client
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

SPEAKS = """
import json, time
for number in range(5):
    said = {"time": time.time(), "level": "warn" if number == 3 else "info", "msg": "step", "n": number}
    print(json.dumps(said), flush=True)
time.sleep(1000)
"""
SECURITY = {
    "roles": {"web-reader": {"permissions": ["read_logs", "read_components"], "components": ["web-*"]}},
    "principals": {"wanda": ["web-reader"]},
}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, start_tekton: Any) -> Iterator[Any]:
    """One control plane for all tests of this file."""
    tekton = start_tekton(tmp_path_factory.mktemp("logging"))
    command = ["python3", "-c", SPEAKS]
    tekton.configure({name: {"command": command, "ready": {"log": '"n": 4'}} for name in ("web-1", "store")})
    (tekton.directory / "security.json").write_text(json.dumps(SECURITY))
    try:
        tekton.up()
        tekton.until("web-1")
        tekton.until("store")
        yield tekton
    finally:
        tekton.kill()


def credential(system: Any) -> str:
    return str((system.data_dir / "run" / "credential").read_text()).strip()


def ask(system: Any, token: str, path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=20)
    try:
        connection.request("GET", path, headers={"authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_all_logs_are_one_in_pages_and_for_the_command_line(system: Any) -> None:
    whole = system.get(f"/api/logs?limit=1000&query={quote('n>=0')}")
    pages: list[Any] = []
    cursor = ""
    while True:
        page = system.get(f"/api/logs?limit=3&query={quote('n>=0')}{cursor}")
        pages = page["items"] + pages
        if page["cursor"] is None:
            break
        cursor = f"&cursor={page['cursor']}"
    shown = system.run("logs", "--query", "level:warning n=3 comp:web-1,store", "-o", "jsonl")
    wrong = system.request("GET", "/api/logs?query=levle:warn")

    assert pages == whole["items"]
    assert sorted((item["component"], item["fields"]["n"]) for item in pages) == [
        (name, number) for name in ("store", "web-1") for number in range(5)
    ]
    assert [item["time"] for item in pages] == sorted(item["time"] for item in pages)
    assert sorted(json.loads(line)["component"] for line in shown.stdout.splitlines()) == ["store", "web-1"]
    assert system.get(f"/api/logs?query={quote('comp:tekton serving')}")["items"]
    assert (wrong[0], wrong[1]["code"], wrong[1]["hint"]) == (422, "invalid_parameter", "did you mean 'level'?")


def test_who_may_read_some_logs_reads_these_and_no_others(system: Any) -> None:
    status, made = system.request("POST", "/api/auth/token", {"subject": "wanda"})
    assert status == 201

    status, page = ask(system, made["token"], "/api/logs?limit=1000")

    assert status == 200
    assert {item["component"] for item in page["items"]} == {"web-1"}
    assert ask(system, made["token"], "/api/log-levels")[0] == 403


async def test_new_lines_are_events_and_frames(system: Any) -> None:
    log = system.data_dir / "logs" / "store.log"
    headers = {"authorization": f"Bearer {credential(system)}"}
    base = f"http://127.0.0.1:{system.port}"
    line = json.dumps({"time": time.time(), "level": "error", "msg": "added"})
    async with (
        aiohttp.ClientSession(base, headers=headers, timeout=aiohttp.ClientTimeout(total=30)) as session,
        session.get("/api/logs", params={"follow": "1", "limit": "1", "query": "comp:store -n>4"}) as events,
        session.ws_connect("/ws") as socket,
    ):
        await socket.send_json({"op": "sub", "id": 1, "topic": "logs", "query": "level:error comp:store"})
        begun = await socket.receive_json()
        past = [await events.content.readuntil(b"\n\n") for _ in range(2)][-1]
        with log.open("a") as file:
            file.write(f"{line}\n")
        frame = await socket.receive_json()
        event = await events.content.readuntil(b"\n\n")

    assert json.loads(past.removeprefix(b"data: "))["fields"] == {"n": 4}
    assert json.loads(event.removeprefix(b"data: "))["message"] == "added"
    assert begun == {"id": 1, "t": "lines", "data": []}
    assert [(item["component"], item["message"]) for item in frame["data"]] == [("store", "added")]


def test_the_level_of_a_logger_is_changed_for_a_while_and_that_is_audited(system: Any) -> None:
    changed = system.run("log-level", "tekton.gateway", "debug", "--for", "10m", "-o", "json")
    refused = system.run("log-level", "tekton.gatewya", "debug")
    back = system.run("log-level", "tekton.gateway", "--reset", "-o", "json")

    assert json.loads(changed.stdout)["levels"]["tekton.gateway"] == "debug"
    assert "did you mean 'tekton.gateway'?" in refused.stderr
    assert json.loads(back.stdout)["changed"] == {}
    entries = system.get("/api/audit?action=system.log_level")["items"]
    assert [(entry["target"], entry["detail"]) for entry in entries] == [
        ("tekton.gateway", "restored"),
        ("tekton.gateway", "debug"),
    ]
