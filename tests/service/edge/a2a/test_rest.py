"""The binding HTTP+JSON: paths, queries, statuses."""

import json
from typing import Any

import pytest
from a2a_site import Site


async def test_an_operation_is_asked_for_by_its_path(site: Site) -> None:
    status, answer = await site.post("/a2a/rest/message:send", site.message("hi", metadata={"skill": "echo"}))
    task_id = answer["task"]["id"]
    async with site.session.get(f"{site.url}/a2a/rest/tasks/{task_id}", headers=site.headers()) as told:
        assert told.content_type == "application/a2a+json"
        task = await told.json(content_type=None)
    _, bare = await site.send("GET", f"/a2a/rest/tasks/{task_id}?historyLength=0&unknown=1")
    _, listed = await site.send("GET", "/a2a/rest/tasks?pageSize=1&includeArtifacts=true&status=TASK_STATE_COMPLETED")

    assert status == 200
    assert task == answer["task"]
    assert "history" not in bare
    assert [one["id"] for one in listed["tasks"]] == [task_id]
    assert listed["tasks"][0]["artifacts"]


async def test_a_body_may_be_of_the_media_type_of_the_protocol(site: Site) -> None:
    wanted = site.message("hi", metadata={"skill": "echo"})
    status, _ = await site.post("/a2a/rest/message:send", wanted, content_type="application/a2a+json; charset=utf-8")

    assert status == 200


async def test_a_subscription_is_asked_for_with_get_or_post(site: Site) -> None:
    wanted = site.message("hi", metadata={"skill": "hold"}) | {"configuration": {"returnImmediately": True}}
    _, answer = await site.post("/a2a/rest/message:send", wanted)
    path = f"{site.url}/a2a/rest/tasks/{answer['task']['id']}:subscribe"
    events: list[list[dict[str, Any]]] = []
    async with (
        site.session.get(path, headers=site.headers()) as got,
        site.session.post(path, headers=site.headers()) as posted,
    ):
        site.agents.go_on.set()
        for stream in (got, posted):
            lines = (await stream.text()).splitlines()
            events.append([json.loads(line[5:]) for line in lines if line.startswith("data:")])

    assert [*events[0][0]] == ["task"]
    assert events[0][-1] == events[1][-1]
    assert events[0][-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"


@pytest.mark.parametrize("at", ["/a2a/rest", "/a2a/agents/hold-agent/rest"])
async def test_a_slash_behind_a_path_makes_no_difference(site: Site, at: str) -> None:
    wanted = site.message("hi", metadata={"skill": "hold"}) | {"configuration": {"returnImmediately": True}}
    sent, answer = await site.post(f"{at}/message:send/", wanted)
    task = f"{at}/tasks/{answer['task']['id']}"
    made, config = await site.post(f"{task}/pushNotificationConfigs/", {"url": "https://1.1.1.1/"})
    canceled, _ = await site.post(f"{task}:cancel/", {})
    told = [await site.send("GET", f"{path}/") for path in (f"{at}/tasks", task, f"{task}/pushNotificationConfigs")]
    deleted, _ = await site.send("DELETE", f"{task}/pushNotificationConfigs/{config['id']}/")
    async with site.events(f"{at}/message:stream/", site.message("hi", metadata={"skill": "hold"})) as events:
        assert "task" in await anext(events)

    assert {sent, made, canceled, deleted, *(status for status, _ in told)} == {200}
    assert told[0][1]["tasks"][0]["id"] == told[1][1]["id"] == answer["task"]["id"]


WRONG = [
    ("GET", "/tasks/nothing", 404, "TASK_NOT_FOUND"),
    ("GET", "/tasks/nothing:cancel", 404, "ROUTE_NOT_FOUND"),
    ("GET", "/tasks/nothing:subscribe", 404, "TASK_NOT_FOUND"),
    ("POST", "/tasks/nothing", 404, "ROUTE_NOT_FOUND"),
    ("POST", "/tasks/nothing:cancel", 404, "TASK_NOT_FOUND"),
    ("POST", "/tasks/nothing:explode", 404, "ROUTE_NOT_FOUND"),
    ("GET", "/tasks?pageSize=x", 400, "INVALID_PARAMS"),
    ("GET", "/tasks?pageSize=101", 400, "INVALID_PARAMS"),
    ("GET", "/tasks?status=BUSY", 400, "INVALID_PARAMS"),
    ("GET", "/tasks?statusTimestampAfter=now", 400, "INVALID_PARAMS"),
    ("GET", "/tasks/x/pushNotificationConfigs", 404, "TASK_NOT_FOUND"),
    ("GET", "/tasks/x/pushNotificationConfigs/y", 404, "TASK_NOT_FOUND"),
    ("DELETE", "/tasks/x/pushNotificationConfigs/y", 404, "TASK_NOT_FOUND"),
    ("GET", "/nothing", 404, "ROUTE_NOT_FOUND"),
    ("DELETE", "/tasks", 405, "METHOD_NOT_ALLOWED"),
    ("POST", "/message:send", 415, "UNSUPPORTED_MEDIA_TYPE"),
]


@pytest.mark.parametrize("at", ["/a2a/rest", "/a2a/agents/echo-agent/rest"])
async def test_what_is_wrong_is_a_status_of_the_protocol(site: Site, at: str) -> None:
    for method, path, status, reason in WRONG:
        found, answer = await site.send(method, f"{at}{path}")

        error = answer["error"]
        told = (found, error["code"], error["details"][0]["reason"])
        assert told == (status, status, reason), f"{method} {path}"
        assert error["status"]
        assert error["message"]


async def test_a_body_that_is_no_request_is_refused(site: Site) -> None:
    for body in (b"{", b"[]", b"5", b'{"message":{"role":"x"}}', b'{"message":null}'):
        for path in ("/a2a/rest/message:send", "/a2a/rest/message:stream"):
            status, answer = await site.post(path, body)
            assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_another_version_is_refused(site: Site) -> None:
    status, answer = await site.send("GET", "/a2a/rest/tasks", a2a_version="0.3")

    assert (status, answer["error"]["details"][0]["reason"]) == (400, "VERSION_NOT_SUPPORTED")


async def test_an_agent_that_there_is_not_is_not_found(site: Site) -> None:
    status, _ = await site.send("GET", "/a2a/agents/nobody/rest/tasks")

    assert status == 404


async def test_the_path_says_of_which_task_a_configuration_is(site: Site) -> None:
    _, one = await site.post("/a2a/rest/message:send", site.message("hi", metadata={"skill": "ask"}))
    body = {"taskId": "another", "url": "https://1.1.1.1/hook", "id": "mine"}
    path = f"/a2a/rest/tasks/{one['task']['id']}/pushNotificationConfigs"

    status, made = await site.post(path, body)
    deleted = [await site.send("DELETE", f"{path}/mine") for _ in range(2)]

    assert (status, made) == (200, {"id": "mine", "taskId": one["task"]["id"], "url": "https://1.1.1.1/hook"})
    assert deleted == [(200, {})] * 2
