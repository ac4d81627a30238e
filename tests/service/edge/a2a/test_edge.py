"""The edge as a whole: its routes, what outlasts a restart, and webhooks over a real network."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from a2a_site import Site, serve, webhook
from aiohttp import web

from tekton.core.lifecycle import ComponentRegistration
from tekton.gateway.router import PUBLIC
from tekton.service.edge.a2a import push_delivery
from tekton.service.work import Work

MESSAGE = {"messageId": "first", "role": "ROLE_USER", "parts": [{"text": "hi"}], "metadata": {"skill": "ask"}}


async def test_only_the_root_card_and_its_keys_are_open_to_everybody(site: Site) -> None:
    routes = site.plane.a2a.routes()
    public = [route.path for route in routes if route.permission == PUBLIC]

    assert public == ["/.well-known/agent-card.json", "/a2a/jwks.json"]
    assert {route.permission for route in routes if route.permission != PUBLIC} == {"agents:read", "tasks:run"}
    assert all(route.permission == "tasks:run" for route in routes if route.method != "GET")
    assert all(route.summary for route in routes)
    assert max(route.max_body for route in routes) == 1024 * 1024


async def test_a_task_its_history_and_its_webhook_outlast_a_restart(tmp_path: Path, free_port: int) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()

    async def hear(request: web.Request) -> web.Response:
        heard.put_nowait(await request.json())
        return web.Response()

    work = await Work.open(tmp_path)
    async with serve(work) as site, webhook(site, hear, port=free_port) as url:
        config = {"taskPushNotificationConfig": {"url": url}}
        before = (await site.ask("SendMessage", {"message": MESSAGE, "configuration": config}))["task"]
        for _ in range(2):
            await heard.get()
    await work.stop()

    work = await Work.open(tmp_path)
    async with serve(work) as site, webhook(site, hear, port=free_port):
        again = (await site.ask("SendMessage", {"message": MESSAGE}))["task"]
        done = (await site.ask("SendMessage", site.message("Ada", taskId=before["id"])))["task"]
        async with asyncio.timeout(10):
            told = [await heard.get() for _ in range(3)]
    await work.stop()

    assert again["id"] == before["id"]
    assert done["artifacts"][0]["parts"][0]["text"] == "Hello Ada"
    assert [one["parts"][0]["text"] for one in done["history"]] == ["hi", "What is your name?", "Ada"]
    states = [one["statusUpdate"]["status"]["state"] for one in told if "statusUpdate" in one]
    assert states == ["TASK_STATE_WORKING", "TASK_STATE_COMPLETED"]


async def test_a_file_that_cannot_be_used_is_said_and_takes_nothing_else_down(tmp_path: Path) -> None:
    (tmp_path / "work.db").write_bytes(b"no database at all" * 1000)
    work = await Work.open(tmp_path)

    async with serve(work) as site:
        card, _ = await site.send("GET", "/.well-known/agent-card.json", None)
        rpc = await site.rpc("SendMessage", {"message": MESSAGE})
        status, rest = await site.post("/a2a/rest/message:send", {"message": MESSAGE})

    assert card == 200
    assert (rpc["error"]["code"], rpc["error"]["data"][0]["reason"]) == (-32000, "STORAGE")
    assert (status, rest["error"]["status"]) == (503, "UNAVAILABLE")


async def test_a_webhook_is_tried_again_and_never_followed_elsewhere(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_delivery, "BACKOFF", (0.01, 0.02))
    tried: list[str] = []
    done = asyncio.Event()
    answers = iter([web.Response(status=307, headers={"location": "/elsewhere"}), web.Response(status=500)])

    async def hear(request: web.Request) -> web.Response:
        body = await request.json()
        tried.append(next(iter(body)))
        if body.get("statusUpdate", {}).get("status", {}).get("state") == "TASK_STATE_COMPLETED":
            done.set()
        return next(answers, web.Response())

    async with webhook(site, hear) as url:
        config = {"taskPushNotificationConfig": {"url": url}}
        params = site.message("hi", metadata={"skill": "echo"}) | {"configuration": config}
        await site.ask("SendMessage", params)
        async with asyncio.timeout(10):
            await done.wait()

    assert tried == ["statusUpdate"] * 3 + ["artifactUpdate", "statusUpdate"]


async def test_our_own_port_is_no_webhook_whoever_says_to_be_there(site: Site) -> None:
    impostor = ComponentRegistration(component_id="impostor", endpoint=site.url)
    await site.plane.registry.register(impostor)
    await site.plane.registry.make_ready("impostor", impostor.instance_uuid)
    config = {"taskPushNotificationConfig": {"url": f"{site.url}/api/components"}}

    answer = await site.rpc("SendMessage", {"message": MESSAGE, "configuration": config})

    assert answer["error"]["code"] == -32602


async def test_where_a_webhook_may_be_is_asked_at_each_delivery(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_delivery, "BACKOFF", (0.01, 0.02))
    heard: asyncio.Queue[str] = asyncio.Queue()
    registry, pushes = site.plane.registry, site.plane.a2a.pushes

    async def hear(request: web.Request) -> web.Response:
        heard.put_nowait(next(iter(await request.json())))
        return web.Response()

    async with webhook(site, hear) as url:
        wanted = site.message("hi", metadata={"skill": "hold"})
        config = {"taskPushNotificationConfig": {"url": url}, "returnImmediately": True}
        await site.ask("SendMessage", wanted | {"configuration": config})
        await heard.get()
        (hooks,) = registry.instances("hooks")
        await registry.deregister("hooks", hooks.instance_uuid)
        refused = asyncio.Queue[None]()
        put_off = pushes._put_off
        monkeypatch.setattr(pushes, "_put_off", lambda *of: (put_off(*of), refused.put_nowait(None)))
        site.agents.go_on.set()
        async with asyncio.timeout(10):
            for _ in range(3):
                await refused.get()
        assert heard.empty()

    assert pushes.waiting == 1
