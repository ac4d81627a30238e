"""Tasks over the HTTP interface of the control plane."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from tekton.a2a.task_event import Budget, Canceled, Created
from tekton.a2a.task_steps import TaskContext
from tekton.a2a.work.work_store import FILE_NAME
from tekton.service.work import Work
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.control_plane import ControlPlane
from tekton.utils.server_sent_events import EventStreamParser
from tekton.utils.tekton_http import Answer, HttpClient


class Site:
    """A control plane with agents in it, and somebody who has them do something."""

    def __init__(self, plane: InMemoryControlPlane, address: ControlPlane, client: HttpClient) -> None:
        self.plane = plane
        self.address = address
        self.client = client
        self.go_on = asyncio.Event()
        agents = plane.agents.registry
        agents.register_agent("echo", ["echo"], handler=self.echo)
        agents.register_agent("asker", ["asking"], handler=self.ask)
        agents.register_agent("waiter", ["waiting"], handler=self.wait)
        agents.register_agent("failer", ["failing"], handler=self.fail)

    async def echo(self, context: TaskContext, text: str = "") -> str:
        return str(await context.step("say", lambda: text))

    async def ask(self, context: TaskContext) -> Any:
        return await context.ask("Really?", {"type": "string"})

    async def wait(self, context: TaskContext) -> str:
        context.progress(1, 3, "waiting")
        await self.go_on.wait()
        return "done"

    async def fail(self) -> None:
        raise ValueError("no")

    async def send(self, method: str, path: str, body: object = None, **query: Any) -> Any:
        answer = await self.client.send(method, path, body, query=query or None)
        return answer.status, msgspec.json.decode(answer.body)

    async def create(self, task_type: str, inputs: object = None, **more: Any) -> Any:
        wait = more.pop("wait", 20)
        status, task = await self.send(
            "POST", "/api/tasks", {"task_type": task_type, "inputs": inputs or {}, **more}, wait=wait
        )
        assert status == 201, task
        return task


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with InMemoryControlPlane() as plane:
        address = plane.address_of(await plane.token("ada", "operator"))
        async with address.client(20) as client:
            yield Site(plane, address, client)


def problem(answer: Answer) -> tuple[int, str]:
    return answer.status, msgspec.json.decode(answer.body)["code"]


async def test_a_task_is_created_done_and_its_result_is_the_answer(site: Site) -> None:
    task = await site.create("echo", {"text": "hello"})

    assert (task["state"], task["result"], task["steps"], task["owner"]) == ("completed", "hello", ["say"], "ada")
    assert task["agent_id"] == "echo"
    assert await site.send("GET", f"/api/tasks/{task['task_id']}") == (200, task)


async def test_a_task_that_was_created_shows_what_it_is(site: Site) -> None:
    task = await site.create("waiting", {"a": 1}, wait=0, timeout=100, conversation_id="")

    assert task["task_type"] == "waiting"
    assert (task["inputs"], task["conversation_id"], task["parent_id"], task["retry_of"]) == (
        {"a": 1},
        None,
        None,
        None,
    )
    assert (task["result"], task["failure"], task["question"], task["parts"]) == (None, None, None, [])
    assert task["deadline"] == pytest.approx(task["created_at"] + 100)
    async with asyncio.timeout(10):
        while site.plane.tasks.manager.get_task_status(task["task_id"]).progress is None:
            await site.plane.tasks.manager.next_change(task["task_id"])
    _, now = await site.send("GET", f"/api/tasks/{task['task_id']}")
    assert (now["state"], now["agent_id"], now["attempts"]) == ("working", "waiter", 1)
    assert now["progress"] == {"done": 1.0, "total": 3.0, "text": "waiting"}


async def test_what_failed_shows_who_has_tried_and_can_be_tried_again(site: Site) -> None:
    task = await site.create("failing")
    site.plane.agents.registry.register_agent("failer", ["failing"], handler=site.echo, replace=True)
    status, again = await site.send("POST", f"/api/tasks/{task['task_id']}/retry")

    assert (task["state"], task["failure"]["code"]) == ("failed", "agent_failed")
    assert [(one["agent_id"], one["code"]) for one in task["failures"]] == [("failer", "agent_failed")]
    assert (status, again["retry_of"]) == (201, task["task_id"])
    assert problem(await site.client.send("POST", f"/api/tasks/{again['task_id']}/retry")) == (409, "task_state")


async def test_a_task_that_asks_is_answered(site: Site) -> None:
    task = await site.create("asking")
    path = f"/api/tasks/{task['task_id']}"

    wrong = problem(await site.client.send("POST", f"{path}/answer", {}))
    status, _ = await site.send("POST", f"{path}/answer", {"answer": "yes"})

    assert task["question"] == {"step": "ask", "question": "Really?", "schema": {"type": "string"}, "kind": "input"}
    assert (wrong, status) == ((422, "invalid"), 200)
    await site.plane.tasks.wait(task["task_id"], 10)
    assert (await site.send("GET", path))[1]["result"] == "yes"
    assert problem(await site.client.send("POST", f"{path}/answer", {"answer": 1})) == (409, "task_state")


async def test_a_task_is_called_off_and_forgotten(site: Site) -> None:
    task = await site.create("waiting", wait=0)
    path = f"/api/tasks/{task['task_id']}"

    open_ = problem(await site.client.send("DELETE", path))
    _, canceled = await site.send("POST", f"{path}/cancel", {"reason": "enough"})
    again = problem(await site.client.send("POST", f"{path}/cancel"))
    deleted, _ = await site.send("DELETE", path)

    assert (open_, again, deleted) == ((409, "task_state"), (409, "task_state"), 200)
    assert (canceled["state"], canceled["failure"]) == ("canceled", {"code": "task_canceled", "reason": "enough"})
    assert problem(await site.client.send("GET", path)) == (404, "task_not_found")


async def test_a_task_has_parts(site: Site) -> None:
    parts = [
        {"name": "first", "task_type": "echo", "inputs": {"text": "a"}},
        {"name": "second", "task_type": "echo", "inputs": {"text": "b"}, "dependencies": ["first"]},
    ]
    task = await site.create("both", subtasks=parts)
    _, listed = await site.send("GET", "/api/tasks")
    _, of_it = await site.send("GET", "/api/tasks", parent=task["task_id"])

    assert task["result"] == {"first": "a", "second": "b"}
    assert [(part["name"], part["state"], part["dependencies"]) for part in task["parts"]] == [
        ("first", "completed", []),
        ("second", "completed", ["first"]),
    ]
    assert [one["task_id"] for one in listed["items"]] == [task["task_id"]]
    assert {one["task_id"] for one in of_it["items"]} == {part["task_id"] for part in task["parts"]}
    circle = [{"name": "a", "task_type": "echo", "dependencies": ["a"]}]
    refused = await site.client.send("POST", "/api/tasks", {"task_type": "both", "subtasks": circle})
    assert problem(refused) == (422, "task_cycle")


async def test_a_list_is_narrowed_and_turned_over(site: Site) -> None:
    made = [(await site.create("echo"))["task_id"] for _ in range(5)]
    waiting = (await site.create("waiting", wait=0))["task_id"]

    async def ids(**query: Any) -> list[str]:
        return [task["task_id"] for task in (await site.send("GET", "/api/tasks", **query))[1]["items"]]

    pages: list[list[str]] = []
    cursor: str | None = ""
    while cursor is not None and len(pages) < 5:
        _, page = await site.send("GET", "/api/tasks", limit=2, type="echo", **({"cursor": cursor} if cursor else {}))
        pages.append([task["task_id"] for task in page["items"]])
        cursor = page["cursor"]

    assert pages == [[made[4], made[3]], [made[2], made[1]], [made[0]]]
    assert await ids() == [waiting, *reversed(made)]
    assert await ids(state="open") == [waiting]
    assert await ids(state="completed,failed", limit=1) == [made[4]]
    assert await ids(conversation="none") == []
    assert await ids(all="true") == await ids()
    refused = await site.client.send("GET", "/api/tasks", query={"state": "completd"})
    assert problem(refused) == (422, "invalid_parameter")
    assert msgspec.json.decode(refused.body)["hint"] == "did you mean 'completed'?"


async def test_the_events_of_a_task_are_pages(site: Site) -> None:
    task = await site.create("echo", {"text": "hello"})
    path = f"/api/tasks/{task['task_id']}/events"

    _, all_ = await site.send("GET", path)
    _, some = await site.send("GET", path, after=1, limit=2)

    assert [(one["number"], one["event"]) for one in all_["items"]] == [
        (1, "created"),
        (2, "leased"),
        (3, "step_completed"),
        (4, "completed"),
    ]
    assert (all_["cursor"], some["cursor"]) == (None, 3)
    assert some["items"] == all_["items"][1:3]
    assert (all_["items"][2]["step"], all_["items"][3]["result"]) == ("say", "hello")
    assert all_["items"][1]["epoch"] == 1


async def streamed(site: Site, path: str, headers: dict[str, str] | None = None) -> list[Any]:
    parser = EventStreamParser()
    wanted = {"accept": "text/event-stream", "authorization": f"Bearer {site.address.credential}", **(headers or {})}
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession() as session,
        session.get(f"{site.address.url}{path}", headers=wanted) as answer,
    ):
        assert answer.status == 200, await answer.text()
        return [event async for piece in answer.content.iter_any() for event in parser.feed(piece)]


async def test_a_stream_has_all_events_and_ends_with_the_task(site: Site) -> None:
    task = await site.create("asking")
    path = f"/api/tasks/{task['task_id']}"
    async with asyncio.TaskGroup() as group:
        stream = group.create_task(streamed(site, f"{path}/events"))
        await site.send("POST", f"{path}/answer", {"answer": "yes"})

    events = stream.result()
    assert [(event.event, event.id) for event in events] == [
        ("created", "1"),
        ("leased", "2"),
        ("input_required", "3"),
        ("input_given", "4"),
        ("completed", "5"),
        ("bye", "5"),
    ]
    assert msgspec.json.decode(events[-1].data)["reason"] == "end"
    assert msgspec.json.decode(events[3].data)["answer"] == "yes"


async def test_a_stream_goes_on_behind_the_last_event_that_the_client_has(site: Site) -> None:
    task = await site.create("echo")
    path = f"/api/tasks/{task['task_id']}/events"

    behind = await streamed(site, path, {"Last-Event-ID": "2"})
    asked = await streamed(site, f"{path}?after=3")
    unknown = await streamed(site, path, {"Last-Event-ID": "99"})

    assert [event.id for event in behind[:-1]] == ["3", "4"]
    assert [event.id for event in asked[:-1]] == ["4"]
    assert [event.event for event in unknown] == ["reset", "created", "leased", "step_completed", "completed", "bye"]


async def test_a_task_with_a_key_is_created_once(site: Site) -> None:
    body = {"task_type": "waiting"}
    answers = [await site.client.send("POST", "/api/tasks", body, headers={"Idempotency-Key": "one"}) for _ in range(2)]

    assert [answer.status for answer in answers] == [201, 201]
    assert answers[0].body == answers[1].body
    assert site.plane.tasks.manager.count() == 1


async def test_what_was_refused_has_not_used_up_its_key(site: Site) -> None:
    key = {"Idempotency-Key": "one"}
    refused = await site.client.send("POST", "/api/tasks", {"task_type": "flying"}, headers=key)
    site.plane.agents.registry.register_agent("bird", ["flying"], handler=site.echo)

    created = await site.client.send("POST", "/api/tasks", {"task_type": "flying"}, headers=key)

    assert problem(refused) == (503, "no_agent_available")
    assert refused.headers["retry-after"] == "2"
    assert created.status == 201


async def test_what_was_perhaps_meant_is_said_where_nobody_can_do_it(site: Site) -> None:
    parts = [{"name": "p", "task_type": "ehco"}]
    for order in ({"task_type": "ehco"}, {"task_type": "both", "subtasks": parts}):
        status, refused = await site.send("POST", "/api/tasks", order)

        assert (status, refused["code"]) == (503, "no_agent_available")
        assert (refused["nearest"], refused["hint"]) == ("echo", "did you mean 'echo'?")
    assert site.plane.tasks.manager.count() == 0


async def test_types_are_declared_and_lead_to_agents(site: Site) -> None:
    first, declared = await site.send("PUT", "/api/task-types/shouting", {"capabilities": ["echo"]})
    second, _ = await site.send("PUT", "/api/task-types/shouting", {"capabilities": ["echo", "waiting"]})
    task = await site.create("shouting", {"text": "hello"})
    _, listed = await site.send("GET", "/api/task-types")
    _, forgotten = await site.send("DELETE", "/api/task-types/shouting")

    assert (first, second, task["state"]) == (201, 200, "completed")
    assert declared == {
        "task_type": "shouting",
        "capabilities": ["echo"],
        "subtasks": [],
        "result_schema": None,
        "attempt_timeout": None,
    }
    assert [one["task_type"] for one in listed["items"]] == ["code_optimization", "shouting"]
    assert forgotten["capabilities"] == ["echo", "waiting"]
    again = await site.client.send("DELETE", "/api/task-types/shouting")
    assert problem(again) == (404, "task_type_not_found")


async def test_who_lies_or_hangs_is_found_out_by_what_is_declared_of_the_type(site: Site) -> None:
    async def lies() -> str:
        return "done!"

    async def works() -> dict[str, str]:
        return {"verdict": "fine"}

    for name, handler in (("a-liar", lies), ("a-waiter", site.wait), ("b-worker", works)):
        site.plane.agents.registry.register_agent(name, ["audit"], handler=handler)
    order = {"result_schema": {"type": "object", "required": ["verdict"]}, "attempt_timeout": 0.05}

    status, declared = await site.send("PUT", "/api/task-types/audit", order)
    task = await site.create("audit")

    assert (status, declared["attempt_timeout"], declared["result_schema"]) == (201, 0.05, order["result_schema"])
    assert (task["state"], task["result"]) == ("completed", {"verdict": "fine"})
    assert [(one["agent_id"], one["code"]) for one in task["failures"]] == [
        ("a-liar", "garbage"),
        ("a-waiter", "agent_failed"),
    ]


async def test_a_type_is_done_by_its_parts_and_by_several_agents_each_as_is_wanted(site: Site) -> None:
    parts = [{"name": "say", "task_type": "echo"}, {"name": "again", "task_type": "echo", "dependencies": ["say"]}]

    _, declared = await site.send("PUT", "/api/task-types/twice", {"subtasks": parts})
    twice = await site.create("twice", {"text": "hello"})
    await site.send("PUT", "/api/task-types/echo", {"result_schema": {"type": "string"}})
    by_all = await site.create("echo", {"text": "hello"}, strategy="all")
    circle = await site.client.send("PUT", "/api/task-types/echo", {"subtasks": [{"name": "x", "task_type": "twice"}]})
    nothing = await site.client.send("PUT", "/api/task-types/echo", {})

    assert [(part["name"], part["dependencies"]) for part in declared["subtasks"]] == [("say", []), ("again", ["say"])]
    assert twice["result"] == {"say": "hello", "again": "hello"}
    assert by_all["result"] == {"echo": "hello"}
    assert (problem(circle), problem(nothing)) == ((422, "task_cycle"), (422, "invalid_task"))


async def test_what_a_part_asks_the_whole_asks(site: Site) -> None:
    parts = [{"name": "check", "task_type": "asking"}, {"name": "say", "task_type": "echo"}]

    asking = await site.create("whole", subtasks=parts)
    _, listed = await site.send("GET", "/api/tasks", state="input_required")
    answered, _ = await site.send("POST", f"/api/tasks/{asking['task_id']}/answer", {"answer": "yes"})
    done = await site.plane.tasks.wait(asking["task_id"], 20)

    assert (asking["state"], asking["question"]) == (
        "input_required",
        {"step": "check/ask", "question": "Really?", "schema": {"type": "string"}, "kind": "input"},
    )
    assert [one["task_id"] for one in listed["items"]] == [asking["task_id"]]
    assert (answered, done.result) == (200, {"check": "yes", "say": ""})


async def test_what_is_no_task_is_refused_and_says_why(site: Site) -> None:
    async def refused(**body: Any) -> tuple[int, str]:
        return problem(await site.client.send("POST", "/api/tasks", body))

    assert [
        await refused(task_type="echo", wings=2),
        await refused(task_type="echo", inputs=[]),
        await refused(task_type="echo", timeout=0),
        await refused(task_type="No Type"),
        await refused(task_type="echo", strategy="fastest"),
        await refused(task_type="echo", conversation_id="none"),
        await refused(),
    ] == [
        (422, "invalid"),
        (422, "invalid"),
        (422, "invalid"),
        (422, "invalid_id"),
        (422, "invalid_task"),
        (404, "conversation_not_found"),
        (422, "invalid"),
    ]
    assert site.plane.tasks.manager.count() == 0


async def test_a_page_ends_when_it_is_large_and_the_next_one_goes_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tekton.service.api.paging.PAGE_BYTES", 3_000)
    made = [(await site.create("echo", {"text": "x" * 1000}))["task_id"] for _ in range(5)]

    pages: list[list[str]] = []
    cursor: str | None = ""
    while cursor is not None and len(pages) < 10:
        _, page = await site.send("GET", "/api/tasks", **({"cursor": cursor} if cursor else {}))
        pages.append([task["task_id"] for task in page["items"]])
        cursor = page["cursor"]

    assert [one for page in pages for one in page] == list(reversed(made))
    assert [len(page) for page in pages] == [2, 2, 1]


async def test_what_is_shown_was_durable_before(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    for path in ("/api/tasks/{}", "/api/tasks", "/api/tasks/{}?wait"):
        task = await site.create("asking", wait=20)

        async def settle(task_id: str = task["task_id"]) -> None:
            """It takes its time, and meanwhile something happens."""
            monkeypatch.undo()
            site.plane.tasks.manager.cancel_task(task_id)

        if path.endswith("?wait"):
            monkeypatch.setattr(site.plane.tasks._work, "settle", settle)
            shown.append((await site.plane.tasks.wait(task["task_id"], 10)).state)
            continue
        monkeypatch.setattr(site.plane.tasks, "settle", settle)
        _, view = await site.send("GET", path.format(task["task_id"]))
        shown.append(view.get("state") or view["items"][0]["state"])

    assert shown == ["input_required"] * 3


async def test_a_damaged_page_takes_no_other_task_out_of_a_list(tmp_path: Path) -> None:
    work = await Work.open(tmp_path)
    for number in range(50):
        text = f"text of {number:03} " + "x" * 2000
        made = Created("echo", {"text": text}, 100.0, Budget(), f"t{number:03}", owner="ada")
        work.tasks.append(f"t{number:03}", [made, Canceled()], 1.0)
    await work.stop()
    damaged(tmp_path / FILE_NAME, b"text of 020")
    work = await Work.open(tmp_path)

    async with InMemoryControlPlane(work=work) as plane:
        address = plane.address_of(await plane.token("ada", "operator"))
        async with address.client(20) as client:
            site = Site(plane, address, client)
            found: list[str] = []
            cursor = ""
            while cursor is not None:
                status, page = await site.send("GET", "/api/tasks", limit=10, **({"cursor": cursor} if cursor else {}))
                assert status == 200
                found += [task["task_id"] for task in page["items"]]
                cursor = page["cursor"]

            assert (await site.send("GET", "/api/tasks/t020"))[1]["code"] == "storage_corrupt"
    assert found == [f"t{number:03}" for number in range(49, -1, -1) if f"t{number:03}" in found]
    assert "t020" not in found
    assert len(found) == 50 - work.damaged
    assert work.damaged <= 3  # those on the page
    assert work.problems == ["tasks: damaged"]
    await work.stop()


def damaged(path: Path, text: bytes) -> None:
    """Change one bit where *text* stands first."""
    content = bytearray(path.read_bytes())
    content[content.index(text)] ^= 1
    path.write_bytes(content)
