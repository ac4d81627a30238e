"""Backup and restore of a real system: while it runs, and on another machine."""

import hashlib
import http.client
import json
import os
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

from tekton.core.component_lifecycle import database

WRITERS = 4
SLEEP = {"command": ["sleep", "1000"]}


def register(tekton: Any, component_id: str) -> str:
    instance = str(uuid.uuid4())
    status, answer = tekton.request(
        "POST", "/api/components", {"component_id": component_id, "instance_uuid": instance}
    )
    assert status == 201, answer
    return instance


def registered(tekton: Any) -> dict[str, Any]:
    return {one["component_id"]: one for one in tekton.get("/api/system")["components"]}


def test_a_backup_under_load_is_restored_elsewhere_with_all_that_was_acknowledged_before_it(
    tekton: Any, start_tekton: Any, tmp_path: Path, eventually: Any
) -> None:
    tekton.configure({"worker": SLEEP})
    tekton.up()
    acknowledged: list[str] = []
    stop = threading.Event()

    def write(writer: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            register(tekton, f"w{writer}-{number}")
            acknowledged.append(f"w{writer}-{number}")

    writers = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    try:
        eventually(lambda: len(acknowledged) > 50, "writers make progress")
        before = set(acknowledged)
        made = tekton.run("backup", "-o", "json", str(tmp_path / "copy.db"))
        during = len(acknowledged) - len(before)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert made.returncode == 0, made.stderr
    assert during > 0, "registrations went on"

    (tmp_path / "elsewhere").mkdir()
    other = start_tekton(tmp_path / "elsewhere")
    other.configure({})
    restored = other.run("restore", "--yes", str(tmp_path / "copy.db"))
    assert restored.returncode == 0, restored.stderr
    other.up()
    try:
        found = registered(other)
        backup_revision = json.loads(made.stdout)["revision"]
        assert before <= set(found)
        # The worker does not run there, which is found some time after the start.
        assert max(one["revision"] for name, one in found.items() if name != "worker") <= backup_revision
        assert set(found) <= {*acknowledged, "worker"}
    finally:
        other.kill()


def test_after_a_restore_old_positions_are_reset_and_lost_instances_are_unknown(tekton: Any, tmp_path: Path) -> None:
    tekton.configure({})
    tekton.up()
    kept = register(tekton, "kept")
    assert tekton.run("backup", "copy.db").returncode == 0
    lost = register(tekton, "lost")
    seen = tekton.get("/api/system")
    assert tekton.stop() == 0

    restored = tekton.run("restore", "copy.db", "--yes", "-o", "json")

    assert restored.returncode == 0, restored.stderr
    assert "1 change will be lost" in restored.stderr
    facts = json.loads(restored.stdout)
    assert facts["lost_changes"] == 1
    assert Path(facts["kept"]).exists()
    tekton.up()
    now = tekton.get("/api/system")
    assert now["revision"] > seen["revision"]
    assert now["incarnation"] > seen["incarnation"]
    assert set(registered(tekton)) == {"kept"}
    assert events_after(tekton, seen["revision"])[:2] == ["reset", "snapshot"]
    for name, instance, known in (("kept", kept, True), ("lost", lost, False)):
        _, reply = tekton.request("POST", f"/api/components/{name}/heartbeat", {"instance_uuid": instance})
        assert reply["known"] is known


def events_after(tekton: Any, position: int) -> list[str]:
    """The names of the first events that a watcher gets which has seen all up to *position*."""
    connection = http.client.HTTPConnection("127.0.0.1", tekton.port, timeout=10)
    connection.request("GET", "/events/components", headers={"Last-Event-ID": str(position)})
    response = connection.getresponse()
    names: list[str] = []
    while len(names) < 2:
        line = response.fp.readline().decode()
        assert line, "the stream ended"
        if line.startswith("event: "):
            names.append(line.removeprefix("event: ").strip())
    response.close()
    connection.close()
    return names


def test_a_restore_is_refused_while_the_system_runs(tekton: Any) -> None:
    tekton.configure({})
    tekton.up()
    register(tekton, "kept")
    assert tekton.run("backup", "copy.db").returncode == 0

    refused = tekton.run("restore", "copy.db", "--yes")

    assert refused.returncode == 6
    assert str(tekton.guard_pid) in refused.stderr
    assert set(registered(tekton)) == {"kept"}


def test_a_backup_over_the_network_goes_where_backups_go(tekton: Any) -> None:
    tekton.configure({})
    tekton.up()
    credential = (tekton.data_dir / "run" / "credential").read_text()

    def order(body: dict[str, str], token: str | None = credential) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", tekton.port, timeout=10)
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        connection.request("POST", "/api/system/backup", json.dumps(body), headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        return response.status, answer

    assert order({}, None)[0] == 401
    assert order({"path": str(tekton.directory / "x.db")})[0] == 403
    assert not (tekton.directory / "x.db").exists()
    status, answer = order({})
    assert status == 201
    assert Path(answer["path"]).parent == tekton.data_dir / "backups"
    assert tekton.request("POST", "/api/system/backup", {"path": "x.db"})[0] == 422
    assert tekton.request("POST", "/api/system/backup", {"path": answer["path"]})[1]["code"] == "backup_exists"


def test_a_newer_schema_ends_the_start_with_78_and_both_versions(tekton: Any) -> None:
    tekton.configure({})
    tekton.data_dir.mkdir()
    newest = len(database.MIGRATIONS)
    connection = database.connect(tekton.data_dir / "tekton.db")
    database.prepare(connection, tekton.data_dir / "tekton.db", 0)
    connection.pragma("journal_mode", "delete")
    connection.pragma("user_version", newest + 1)
    connection.close()
    before = hashlib.sha256((tekton.data_dir / "tekton.db").read_bytes()).hexdigest()

    refused = subprocess.run(
        [sys.executable, "-m", "tekton.service.main"],
        cwd=tekton.directory,
        env=tekton.environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert refused.returncode == 78
    assert f"schema {newest + 1}" in refused.stderr
    assert f"up to {newest}" in refused.stderr
    assert hashlib.sha256((tekton.data_dir / "tekton.db").read_bytes()).hexdigest() == before


def test_a_truncated_database_is_refused_and_a_backup_brings_it_back(tekton: Any) -> None:
    tekton.configure({})
    tekton.up()
    register(tekton, "kept")
    assert tekton.run("backup", "copy.db").returncode == 0
    assert tekton.stop() == 0
    os.truncate(tekton.data_dir / "tekton.db", 0)

    refused = tekton.run("up", "--detach")
    restored = tekton.run("restore", "copy.db", "--yes")

    assert refused.returncode != 0
    assert restored.returncode == 0, restored.stderr
    tekton.up()
    assert set(registered(tekton)) == {"kept"}
