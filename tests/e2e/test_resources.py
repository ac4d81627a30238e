"""What the machine and components use, of a real system: at the API, on the socket, in the log."""

import asyncio
import json
from typing import Any

import aiohttp


def configured(tekton: Any, **monitoring: Any) -> None:
    tekton.configure({"web": {"command": ["sleep", "600"]}})
    file = tekton.directory / "tekton.json"
    settings = json.loads(file.read_text())
    settings["tekton"]["monitoring"] = monitoring
    file.write_text(json.dumps(settings))


async def frames(tekton: Any, count: int) -> list[Any]:
    """The first frames of the topic `resources`."""
    connector = aiohttp.UnixConnector(str(tekton.data_dir / "run" / "control.sock"))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.ws_connect("http://localhost/ws") as socket,
    ):
        await socket.send_str('{"op":"sub","id":1,"topic":"resources"}')
        return [json.loads(await socket.receive_str(timeout=20)) for _ in range(count)]


def test_what_is_used_is_told_now_and_before_and_live(tekton: Any, eventually: Any) -> None:
    configured(tekton, collection_interval=0.1, thresholds={"memory_percent": 0})
    tekton.up()
    tekton.until("web")
    eventually(lambda: "web" in tekton.get("/api/resources")["components"], "web is seen")
    eventually(lambda: tekton.get("/api/resources")["alerts"], "an alert")

    now = tekton.get("/api/resources?history=memory,web.*&resolution=0.1")
    assert 0 < now["memory"]["used"] <= now["memory"]["total"]
    assert now["components"]["web"]["processes"] == 1
    assert {disk["path"] for disk in now["disks"]} == {"/", str(tekton.data_dir)}
    assert set(now["history"]) == {"memory", "web.cpu", "web.memory"}
    assert now["history"]["memory"]["step"] == 0.1
    assert any(value is not None for value in now["history"]["web.memory"]["mean"])
    assert (now["alerts"][0]["resource"], now["alerts"][0]["until"]) == ("memory", None)
    assert "memory at " in (tekton.data_dir / "logs" / "tekton.log").read_text()

    first, second = asyncio.run(frames(tekton, 2))
    assert first["t"] == second["t"] == "snap"
    assert first["seq"] < second["seq"]
    assert set(second["data"]) == set(now) - {"history", "measured"}

    configured(tekton, collection_interval=0.2, thresholds={"memory_percent": 100})
    assert tekton.run("reload").returncode == 0
    eventually(lambda: tekton.get("/api/resources")["interval"] == 0.2, "another interval")
    assert all(alert["until"] for alert in tekton.get("/api/resources")["alerts"])
    assert tekton.stop() == 0
