"""The route of reports: whose they are, and what is taken at all."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import msgspec
import pytest

from tekton.a2a.task import Task
from tekton.a2a.task_reports import MOST_REPORT
from tekton.auth.principal import OWNER
from tekton.core.lifecycle import ComponentRegistration
from tekton.core.offered_agents import OfferedAgent
from tekton.testing.control_plane import InMemoryControlPlane


class Wire:
    """Somebody who is a component that never takes its notices, and reports all the same."""

    def __init__(self, plane: InMemoryControlPlane, http: aiohttp.ClientSession) -> None:
        self.plane = plane
        self.http = http
        self.task_id = ""

    async def begin(self) -> Task:
        agent = OfferedAgent(agent_id="reviewer", capabilities=("review",))
        shop = ComponentRegistration(component_id="shop", endpoint="http://127.0.0.1:1", agents=(agent,))
        await self.plane.registry.register(shop)
        await self.plane.registry.make_ready("shop", shop.instance_uuid)
        task = await self.plane.tasks.create(OWNER, "review", {})
        self.task_id = task.task_id
        while not self.plane.component_agents.working:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.001)
        return task

    async def send(self, body: Any, *, as_: str | None = None, task_id: str = "") -> tuple[int, Any]:
        headers = {} if as_ is None else {"Authorization": f"Bearer {await self.plane.token(as_, 'component')}"}
        url = f"{self.plane.address.url}/api/tasks/{task_id or self.task_id}/reports"
        headers["Content-Type"] = "application/json"
        data = io.BytesIO(body if isinstance(body, bytes) else msgspec.json.encode(body))
        async with self.http.post(url, headers=headers, data=data) as answer:
            return answer.status, await answer.json(content_type=None)


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with InMemoryControlPlane() as plane, aiohttp.ClientSession() as http:
        wire = Wire(plane, http)
        async with asyncio.timeout(20):
            await wire.begin()
        yield wire


def report(*changes: Any, **more: Any) -> dict[str, Any]:
    return {"epoch": 1, "worker": "w", "changes": list(changes), **more}


BEGINS = report(begins=True)


async def test_the_component_that_has_the_task_reports_it(wire: Wire) -> None:
    begun = await wire.send(BEGINS, as_="shop")
    done = await wire.send(report({"event": "completed", "result": 7}), as_="shop")

    assert (begun[0], begun[1]["assignment"]["task_type"]) == (200, "review")
    assert (done[0], done[1]["state"]) == (200, "completed")
    assert wire.plane.tasks.manager.get_task_status(wire.task_id).result == 7


async def test_for_another_component_there_is_no_such_task(wire: Wire) -> None:
    stranger = await wire.send(BEGINS, as_="thief")
    unknown = await wire.send(BEGINS, as_="thief", task_id="01a21790-0d6d-70ef-958b-f9cd86893501")

    assert (stranger[0], unknown[0]) == (404, 404)
    assert stranger[1]["code"] == unknown[1]["code"] == "task_not_found"


async def test_who_may_speak_for_no_component_may_not_report(wire: Wire) -> None:
    token = await wire.plane.token("mona", "monitor")
    url = f"{wire.plane.address.url}/api/tasks/{wire.task_id}/reports"
    async with wire.http.post(url, json=BEGINS, headers={"Authorization": f"Bearer {token}"}) as answer:
        status = answer.status

    assert status == 403


async def test_a_task_that_no_component_does_is_nobody_s_to_report(wire: Wire) -> None:
    local = wire.plane.tasks.manager.create_task("review")

    assert (await wire.send(BEGINS, as_="shop", task_id=local.task_id))[0] == 404


async def test_who_is_late_is_told_that_his_lease_is_over(wire: Wire) -> None:
    await wire.send(BEGINS, as_="shop")
    await wire.plane.tasks.cancel(OWNER, wire.task_id)
    status, problem = await wire.send(report({"event": "completed", "result": 7}), as_="shop")

    assert (status, problem["code"]) == (409, "stale_lease")
    assert (await wire.send(report(), as_="thief"))[0] == 404
    assert wire.plane.component_agents.refused == 1


async def test_of_a_task_that_nobody_waits_for_yet_one_asks_again(wire: Wire) -> None:
    await wire.send(BEGINS, as_="shop")
    wire.plane.component_agents._attempts.clear()
    status, problem = await wire.send(report(), as_="shop")

    assert (status, problem["code"]) == (503, "unavailable")


GARBAGE = [
    b"{",
    b"[]",
    b"\xff\xfe",
    b'{"epoch":1}',
    b'{"epoch":"one","worker":"w"}',
    b'{"epoch":1,"worker":"w","changes":[{"event":"input_given","step":"ask","answer":1}]}',
    b'{"epoch":1,"worker":"w","changes":[{"event":"leased","worker":"me"}]}',
    b'{"epoch":1,"worker":"w","changes":[{"event":"spent","units":-1}]}',
    b'{"epoch":1,"worker":"w","changes":[{"event":"spent","units":1e999}]}',
    b'{"epoch":1,"worker":"w","first":7,"changes":[]}',
    b'{"epoch":1,"worker":"w","changes":[{"event":"step_completed","step":"a","result":"\\ud800"}]}',
    b'{"epoch":1,"worker":"w","changes":[{"event":"step_completed","step":"a","result":' + b"[" * 5000 + b"]}]}",
    b'{"epoch":1,"worker":"w","changes":[{"event":"step_completed","step":"a","result":'
    + b"[" * 100
    + b"]" * 100
    + b"}]}",
]


async def test_garbage_is_refused_and_changes_nothing(wire: Wire) -> None:
    await wire.send(BEGINS, as_="shop")
    before = wire.plane.tasks.manager.get_task_status(wire.task_id)
    statuses = [(await wire.send(body, as_="shop"))[0] for body in GARBAGE]

    assert set(statuses) == {400, 422}, dict(zip(GARBAGE, statuses, strict=True))
    assert wire.plane.tasks.manager.get_task_status(wire.task_id) == before


async def test_more_than_a_report_can_be_is_not_read(wire: Wire) -> None:
    await wire.send(BEGINS, as_="shop")
    status = 413
    with suppress(aiohttp.ClientError):  # the answer comes, and the connection ends, before all is sent
        status, _ = await wire.send(report({"event": "completed", "result": "x" * MOST_REPORT}), as_="shop")

    assert status == 413
    assert wire.plane.tasks.manager.get_task_status(wire.task_id).number == 2
