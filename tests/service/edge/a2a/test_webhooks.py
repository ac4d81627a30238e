"""Webhooks over a real network that hang, redirect and fail, beside one that works, with the work on a real disk."""

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from a2a_site import Site, serve, webhook
from aiohttp import web
from leaps import Leaps

from tekton.service.edge.a2a import push_delivery
from tekton.service.work import Work

EVERYTHING = ["working", "going on", "result", "completed"]
FAULTS = ("hang", "redirect", "fail")


class Webhooks:
    """One server: what comes with a query is dealt with as that says, until all is *well*; *over* ends what hangs."""

    def __init__(self) -> None:
        self.well = False
        self.over = asyncio.Event()
        self.taken: defaultdict[str, list[str]] = defaultdict(list)
        self.refused: defaultdict[str, int] = defaultdict(int)
        self.news = asyncio.Condition()

    async def hear(self, request: web.Request) -> web.Response:
        """Be a webhook."""
        event, fault = await request.json(), request.query_string
        if fault in FAULTS and not self.well:
            self.refused[fault] += 1
            await self._tell()
            return await self._answer(fault)
        self.taken[fault].append(what(event))
        await self._tell()
        return web.Response()

    async def until(self, condition: Any) -> None:
        """Wait until *condition* holds."""
        async with self.news:
            await self.news.wait_for(condition)

    async def _answer(self, fault: str) -> web.Response:
        if fault == "hang":
            await self.over.wait()
        if fault == "redirect":
            return web.Response(status=307, headers={"location": "/hook?elsewhere"})
        return web.Response(status=500)

    async def _tell(self) -> None:
        async with self.news:
            self.news.notify_all()


def what(event: dict[str, Any]) -> str:
    """What was told, in a word."""
    if "artifactUpdate" in event:
        return str(event["artifactUpdate"]["artifact"]["name"])
    status = event["statusUpdate"]["status"]
    parts = status.get("message", {}).get("parts", [])
    return str(parts[0]["text"] if parts else status["state"].removeprefix("TASK_STATE_").lower())


def once(events: list[str]) -> list[str]:
    """*events* without those that came twice in a row: a restart may repeat the last one."""
    return [event for event, before in zip(events, ["", *events], strict=False) if event != before]


async def begin(site: Site, url: str) -> str:
    """A task that is held up; returns its id."""
    configuration = {"returnImmediately": True, "taskPushNotificationConfig": {"url": url}}
    params = site.message("hi", metadata={"skill": "hold"}) | {"configuration": configuration}
    return str((await site.ask("SendMessage", params))["task"]["id"])


async def test_webhooks_that_hang_redirect_or_fail_are_told_everything_once_they_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setattr(push_delivery, "BACKOFF", (0.01, 0.05))
    hooks, leaps = Webhooks(), Leaps()
    work = await Work.open(tmp_path)
    async with asyncio.timeout(50), serve(work) as site, webhook(site, hooks.hear, port=free_port) as url:
        for name in (*FAULTS, "good"):
            await begin(site, f"{url}?{name}")
        await hooks.until(lambda: hooks.taken["good"] == ["working"])
        site.agents.go_on.set()
        await hooks.until(lambda: hooks.taken["good"] == EVERYTHING)
        await hooks.until(lambda: hooks.refused["hang"])
        leaps.leap(push_delivery.TIMEOUT)
        await hooks.until(lambda: all(hooks.refused[fault] > 1 for fault in FAULTS))
        assert [*hooks.taken] == ["good"]
        hooks.over.set()
    hooks.well = True
    await work.stop()

    work = await Work.open(tmp_path)
    async with asyncio.timeout(30), serve(work) as site, webhook(site, hooks.hear, port=free_port):
        await hooks.until(lambda: all(hooks.taken[fault] == EVERYTHING for fault in FAULTS))
        tasks = (await site.ask("ListTasks", {}))["tasks"]
        shown = [await site.ask("ListTaskPushNotificationConfigs", {"taskId": task["id"]}) for task in tasks]
    await work.stop()

    assert {name: once(taken) for name, taken in hooks.taken.items()} == dict.fromkeys((*FAULTS, "good"), EVERYTHING)
    assert [len(one["configs"]) for one in shown] == [1] * 4
