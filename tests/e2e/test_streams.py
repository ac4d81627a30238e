"""Streams of a real system: they outlive a kill, come and go with the configuration, and take nothing down."""

import json
import os
import signal
from typing import Any

SAID = {"message_type": "event", "content": {"order": 7}}


def configure(tekton: Any, streams: dict[str, Any]) -> None:
    tekton.configure({})
    file = tekton.directory / "tekton.json"
    settings = json.loads(file.read_text())
    settings["tekton"]["bus"] = {"streams": streams}
    file.write_text(json.dumps(settings))


def publish(tekton: Any, subject: str) -> tuple[int, Any]:
    status, answer = tekton.request("POST", f"/api/messages?subject={subject}", SAID)
    return status, answer


def names(tekton: Any) -> list[str]:
    return [stream["name"] for stream in tekton.get("/api/streams")["items"]]


def test_what_is_stored_outlives_a_kill_and_damage_takes_nothing_else_down(tekton: Any, eventually: Any) -> None:
    configure(tekton, {"orders": {"subjects": ["orders.>"]}})
    tekton.up()

    status, receipt = publish(tekton, "orders.new")
    assert (status, receipt["stream"], receipt["sequence"]) == (201, "orders", 1)
    before = tekton.control_pid
    os.kill(before, signal.SIGKILL)
    eventually(lambda: tekton.answers() and tekton.control_pid != before, "another control plane")
    [stored] = tekton.get("/api/streams/orders/messages")["items"]
    assert (stored["subject"], stored["message"]["content"]) == ("orders.new", {"order": 7})
    assert stored["message"]["context"]["sender"] == "owner"

    configure(tekton, {"orders": {"subjects": ["orders.>"]}, "jobs": {"subjects": ["jobs"]}})
    reloaded = tekton.request("POST", "/api/system/reload")[1]
    assert (reloaded["settings"], names(tekton)) == (["streams"], ["dead_letters", "jobs", "orders"])
    assert publish(tekton, "jobs")[1]["stream"] == "jobs"

    backup = tekton.request("POST", "/api/system/backup", {})[1]
    assert [path.split(".", 1)[1] for path in backup["also"]] == ["bus.db", "work.db"]
    assert tekton.stop() == 0
    good = (tekton.data_dir / "bus.db").read_bytes()
    (tekton.data_dir / "bus.db").write_bytes(b"damage" + good[6:])
    tekton.up()
    assert tekton.get("/api/ready") == {"ready": True, "reason": None, "impaired": ["streams: unreadable"]}
    assert publish(tekton, "orders.new")[1]["code"] == "storage"
    assert tekton.request("GET", "/api/streams")[0] == 503
    assert tekton.request("POST", "/api/components", {"component_id": "web"})[0] == 201

    assert tekton.stop() == 0
    assert tekton.run("restore", "--yes", backup["path"]).returncode == 0
    tekton.up()
    assert tekton.get("/api/ready")["impaired"] == []
    assert tekton.get("/api/streams/orders")["messages"] == 1
