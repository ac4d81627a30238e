"""Configurations of pushes: what a message that is sent again makes of them."""

import asyncio
from typing import Any

import pytest
from a2a_site import Site, webhook
from aiohttp import web

from tekton.service.edge.a2a import push_delivery


class Webhook:
    """Takes what it is told while it *works*, and nothing else."""

    def __init__(self) -> None:
        self.works = True
        self.tried: asyncio.Queue[None] = asyncio.Queue()
        self.taken: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def hear(self, request: web.Request) -> web.Response:
        event = await request.json()
        self.tried.put_nowait(None)
        if self.works:
            self.taken.put_nowait(event)
        return web.Response(status=200 if self.works else 500)


def held(site: Site, url: str, **config: str) -> dict[str, Any]:
    """A message that begins a task, which waits, and a webhook for it."""
    configuration = {"returnImmediately": True, "taskPushNotificationConfig": {"url": url} | config}
    return site.message("hi", metadata={"skill": "hold"}) | {"configuration": configuration}


async def configs(site: Site, task_id: str) -> list[dict[str, Any]]:
    return (await site.ask("ListTaskPushNotificationConfigs", {"taskId": task_id}))["configs"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("named", [{}, {"id": "mine"}])
async def test_a_message_that_comes_again_leaves_its_webhook_as_it_is(
    site: Site, monkeypatch: pytest.MonkeyPatch, named: dict[str, str]
) -> None:
    monkeypatch.setattr(push_delivery, "BACKOFF", (0.01, 0.02))
    hook = Webhook()
    hook.works = False
    async with webhook(site, hook.hear) as url, asyncio.timeout(20):
        params = held(site, url, **named)
        task_id = (await site.ask("SendMessage", params))["task"]["id"]
        await site.agents.begun.wait()
        site.agents.go_on.set()
        await hook.tried.get()
        for _ in range(20):
            again = await site.ask("SendMessage", params)
        kept = await configs(site, task_id)
        hook.works = True
        told = [await hook.taken.get() for _ in range(4)]

    assert again["task"]["id"] == task_id
    assert [one["url"] for one in kept] == [url]
    assert [next(iter(one)) for one in told] == ["statusUpdate", "statusUpdate", "artifactUpdate", "statusUpdate"]
    assert hook.taken.empty()


async def test_a_webhook_that_a_crash_has_taken_is_there_when_the_message_comes_again(site: Site) -> None:
    hook = Webhook()
    async with webhook(site, hook.hear) as url, asyncio.timeout(20):
        params = held(site, url)
        task_id = (await site.ask("SendMessage", params))["task"]["id"]
        (config,) = await configs(site, task_id)
        site.plane.work.push.delete(task_id, config["id"])
        await site.ask("SendMessage", params)

    assert await configs(site, task_id) == [config]


async def test_a_configuration_that_is_changed_goes_on_where_it_is(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_delivery, "BACKOFF", (0.01, 0.02))
    hook = Webhook()
    hook.works = False
    async with webhook(site, hook.hear) as url, asyncio.timeout(20):
        task_id = (await site.ask("SendMessage", held(site, url, id="mine")))["task"]["id"]
        await hook.tried.get()
        changed = {"taskId": task_id, "id": "mine", "url": f"{url}?again"}
        await site.ask("CreateTaskPushNotificationConfig", changed)
        hook.works = True
        first = await hook.taken.get()
        site.agents.go_on.set()
        told = [await hook.taken.get() for _ in range(3)]

    assert first["statusUpdate"]["status"]["state"] == "TASK_STATE_WORKING"
    assert [next(iter(one)) for one in told] == ["statusUpdate", "artifactUpdate", "statusUpdate"]


async def test_an_answer_is_not_given_when_its_webhook_has_no_room(site: Site) -> None:
    hook = Webhook()
    async with webhook(site, hook.hear) as url, asyncio.timeout(20):
        task = (await site.ask("SendMessage", site.message("hi", metadata={"skill": "ask"})))["task"]
        for number in range(16):
            wanted = {"taskId": task["id"], "url": url, "id": f"c{number}"}
            await site.ask("CreateTaskPushNotificationConfig", wanted)
        answer = site.message("Ada", taskId=task["id"])
        configuration = {"taskPushNotificationConfig": {"url": url}}
        refused = await site.rpc("SendMessage", answer | {"configuration": configuration})
        taken = await site.ask("SendMessage", answer)

    assert refused["error"]["code"] == -32004
    assert taken["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
