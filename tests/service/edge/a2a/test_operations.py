"""What the operations do beyond what the client of the SDK asks for: repeated messages, contexts, modes, leaving."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from a2a_site import Site

from tekton.a2a.task_manager import TaskQuery
from tekton.service.conversation_limits import ConversationLimits
from tekton.service.edge.a2a.protojson import read
from tekton.service.edge.a2a.wire import Message
from tekton.utils.tekton_errors import ConversationNotFoundError


def wants(skill: str, **members: Any) -> dict[str, Any]:
    """The metadata of a message that wants *skill*."""
    return {"metadata": {"skill": skill}} | members


async def test_a_message_that_comes_again_begins_nothing_new(site: Site) -> None:
    message = site.message("hi", **wants("hold")) | {"configuration": {"returnImmediately": True}}

    answers = await asyncio.gather(*(site.ask("SendMessage", message) for _ in range(5)))
    site.agents.go_on.set()
    again = await site.ask("SendMessage", {"message": message["message"]})
    other = await site.ask("SendMessage", {"message": message["message"]}, "bob")

    assert len({answer["task"]["id"] for answer in [*answers, again]}) == 1
    assert again["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert other["task"]["id"] != again["task"]["id"]
    assert site.agents.calls == 2


async def test_another_message_with_the_same_id_is_refused(site: Site) -> None:
    first = await site.ask("SendMessage", site.message("hi", **wants("echo"), messageId="one"))
    asked = await site.ask("SendMessage", site.message("hi", **wants("ask")))
    task_id = asked["task"]["id"]
    for params in (
        site.message("ho", **wants("echo"), messageId="one"),
        site.message("hi", **wants("compute"), messageId="one"),
        site.message({"data": {"text": "hi"}}, **wants("echo"), messageId="one"),
        site.message("other", taskId=task_id, messageId="m-2"),
    ):
        answer = await site.rpc("SendMessage", params)
        assert (answer["error"]["code"], "messageId" in answer["error"]["message"]) == (-32602, True)

    again = await site.ask("SendMessage", site.message("hi", **wants("echo"), messageId="one"))
    assert again["task"]["id"] == first["task"]["id"]


async def test_an_answer_that_comes_again_answers_nothing_else(site: Site) -> None:
    asked = await site.ask("SendMessage", site.message("hi", **wants("ask")))
    answer = site.message("Ada", taskId=asked["task"]["id"])

    done = [await site.ask("SendMessage", answer) for _ in range(2)]

    assert done[0] == done[1]
    assert done[0]["task"]["artifacts"][0]["parts"][0]["text"] == "Hello Ada"
    assert len(done[0]["task"]["history"]) == 3


async def test_a_message_whose_task_was_created_before_a_crash_finds_it(site: Site) -> None:
    contexts = site.plane.a2a._contexts
    caller = site.plane.security.identify(site.tokens["ada"])
    message = site.message("hi", **wants("hold"))
    task = (await site.ask("SendMessage", message | {"configuration": {"returnImmediately": True}}))["task"]
    store = site.plane.work.conversations
    store.delete(task["contextId"])  # as if what was said had not been written any more
    await contexts.open(caller, contexts.known(caller, read(Message, message["message"])), None)
    site.agents.go_on.set()
    again = (await site.ask("SendMessage", message))["task"]

    assert again["id"] == task["id"]
    assert [one["messageId"] for one in again["history"]] == [message["message"]["messageId"]]


async def test_a_context_is_a_conversation_of_those_who_take_part(site: Site) -> None:
    first = (await site.ask("SendMessage", site.message("one", **wants("echo", contextId="talk"))))["task"]
    second = (await site.ask("SendMessage", site.message("two", **wants("ask", contextId="talk"))))["task"]
    await site.ask("SendMessage", site.message("Ada", taskId=second["id"]))

    async with site.session.get(f"{site.url}/api/conversations/talk/messages", headers=site.headers()) as answer:
        said = [(one["sender"], one["content"]) for one in (await answer.json())["items"]]

    assert first["contextId"] == second["contextId"] == "talk"
    assert said == [
        ("ada", "one"),
        ("echo-agent", "one"),
        ("ada", "two"),
        ("ask-agent", "What is your name?"),
        ("ada", "Ada"),
        ("ask-agent", "Hello Ada"),
    ]
    listed = await site.ask("ListTasks", {"contextId": "talk", "historyLength": 1})
    assert [[one["parts"][0]["text"] for one in task["history"]] for task in listed["tasks"]] == [["Ada"], ["one"]]


async def test_a_conversation_that_is_full_takes_no_message_and_all_that_agents_have_to_say(site: Site) -> None:
    site.plane.conversations.limits = ConversationLimits(messages=2)
    asked = (await site.ask("SendMessage", site.message("one", **wants("ask", contextId="talk"))))["task"]
    refused = [
        await site.rpc("SendMessage", site.message("two", **wants("echo", contextId="talk"))),
        await site.rpc("SendMessage", site.message("Ada", taskId=asked["id"])),
    ]

    assert [answer["error"]["data"][0]["reason"] for answer in refused] == ["CONVERSATION_FULL"] * 2
    assert (await site.ask("ListTasks", {}))["totalSize"] == 1
    site.plane.conversations.limits = ConversationLimits(messages=3)
    await site.ask("SendMessage", site.message("Ada", taskId=asked["id"]))
    assert site.plane.work.conversations.record("talk").last == 4

    site.plane.conversations.limits = ConversationLimits(per_owner=1)
    many = await site.rpc("SendMessage", site.message("one", **wants("echo")))
    assert many["error"]["data"][0]["reason"] == "CONVERSATION_LIMIT"


async def test_a_context_that_is_no_name_or_somebody_elses_is_refused_and_nothing_begins(site: Site) -> None:
    await site.ask("SendMessage", site.message("mine", **wants("echo", contextId="talk")))
    for context_id in ("talk", "two words", 'quo"te', "x" * 256):
        answer = await site.rpc("SendMessage", site.message("hi", **wants("echo", contextId=context_id)), "bob")
        assert answer["error"]["code"] == -32602, context_id

    assert (await site.ask("ListTasks", {}, "bob"))["totalSize"] == 0


async def test_what_cannot_be_kept_begins_nothing(site: Site) -> None:
    deep: Any = 1
    for _ in range(58):
        deep = [deep]
    answers = [
        await site.rpc("SendMessage", site.message({"data": {"deep": deep}}, **wants("compute"))),
        await site.rpc("SendMessage", site.message({"data": 10**30}, **wants("compute"))),
        await site.rpc("SendMessage", site.message("x", **wants("no such skill"))),
        await site.rpc("SendMessage", site.message("x", metadata={"skill": "echo", "timeout": -1})),
        await site.rpc("SendMessage", site.message({"raw": "AAAA", "mediaType": "x/y"}, **wants("echo"))),
    ]

    assert [answer["error"]["code"] for answer in answers] == [-32602, -32602, -32602, -32602, -32005]
    assert (await site.ask("ListTasks", {}))["totalSize"] == 0
    assert site.plane.work.conversations.of_participant("ada") == []


async def test_what_takes_more_when_it_is_written_out_is_done_and_not_kept(site: Site) -> None:
    numbers = b"1e15," * 30_000 + b"1"
    message = (
        b'{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"messageId":"large","role":"ROLE_USER",'
        b'"parts":[{"text":"' + b"x" * 600_000 + b'"}],"metadata":{"skill":"echo","n":1,'
        b'"numbers":[' + numbers + b"]}}}}"
    )
    _, answer = await site.post("/a2a", message)

    history = answer["result"]["task"]["history"]
    assert answer["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert [one["parts"] for one in history] == [[{"text": "(more than can be kept)", "mediaType": "text/plain"}]]


async def test_a_skill_that_nobody_has_is_refused_for_now(site: Site) -> None:
    answer = await site.rpc("SendMessage", site.message("x", **wants("translation")))

    assert (answer["error"]["code"], answer["error"]["data"][0]["reason"]) == (-32000, "NO_AGENT_AVAILABLE")
    assert (await site.ask("ListTasks", {}))["totalSize"] == 0
    assert site.plane.work.conversations.of_participant("ada") == []


async def test_results_are_as_the_caller_can_take_them(site: Site) -> None:
    message = site.message({"data": {"task_type": "compute"}})
    whole = await site.ask("SendMessage", message)
    texts = await site.ask("SendMessage", message | {"configuration": {"acceptedOutputModes": ["text/plain"]}})

    assert whole["task"]["artifacts"][1]["parts"] == [{"data": {"got": {}}, "mediaType": "application/json"}]
    assert texts["task"]["artifacts"][1]["parts"] == [{"text": '{"got":{}}', "mediaType": "text/plain"}]


async def test_a_task_of_the_api_is_seen_here_and_the_other_way_round(site: Site) -> None:
    body = {"task_type": "ask"}
    status, made = await site.post("/api/tasks?wait=10", body)
    assert (status, made["state"]) == (201, "input_required")

    done = await site.ask("SendMessage", site.message("Bob", taskId=made["task_id"]))
    status, shown = await site.send("GET", f"/api/tasks/{made['task_id']}")

    assert done["task"]["artifacts"][0]["parts"][0]["text"] == "Hello Bob"
    assert "history" not in done["task"]
    assert (shown["state"], shown["owner"]) == ("completed", "ada")


async def test_what_a_part_asks_is_asked_and_answered_here(site: Site) -> None:
    order = {"task_type": "whole", "subtasks": [{"name": "hello", "task_type": "ask"}]}
    _, task = await site.post("/api/tasks?wait=20", order)

    listed = await site.ask("ListTasks", {"status": "TASK_STATE_INPUT_REQUIRED"})
    shown = await site.ask("GetTask", {"id": task["task_id"]})
    answered = await site.ask("SendMessage", site.message("Ada", taskId=task["task_id"]))

    assert task["task_id"] in [one["id"] for one in listed["tasks"]]
    assert shown["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert shown["status"]["message"]["parts"][0]["text"] == "What is your name?"
    assert answered["task"]["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_who_leaves_does_not_end_the_task(site: Site) -> None:
    message = site.message("hi", **wants("hold"))
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": message}
    async with aiohttp.ClientSession() as session:
        sending = asyncio.ensure_future(session.post(f"{site.url}/a2a", json=body, headers=site.headers()))
        await site.agents.begun.wait()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    site.agents.go_on.set()

    done = await site.ask("SendMessage", message)

    assert done["task"]["artifacts"][0]["parts"][0]["text"] == "held"
    assert site.agents.calls == 1


async def test_who_waits_is_answered_when_the_control_plane_stops(site: Site) -> None:
    waiting = asyncio.ensure_future(site.ask("SendMessage", site.message("hi", **wants("hold"))))
    await site.agents.begun.wait()

    await site.plane.tasks.stop()

    assert (await waiting)["task"]["status"]["state"] == "TASK_STATE_WORKING"


async def test_a_stream_ends_when_the_control_plane_stops(site: Site) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": site.message("x", **wants("hold"))}
    async with site.events("/a2a", body) as events:
        first = [await anext(events), await anext(events)]
        await site.plane._server._app.drain()  # type: ignore[attr-defined]
        rest = [event async for event in events]

    assert ["task" in first[0]["result"], "statusUpdate" in first[1]["result"]] == [True, True]
    assert rest == []


async def test_a_stream_ends_when_its_owner_loses_the_right_to_it(site: Site) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": site.message("x", **wants("hold"))}
    async with site.events("/a2a", body) as events:
        await anext(events)
        await site.plane.revoke("ada")
        async with asyncio.timeout(5):
            rest = [event async for event in events]

    assert all("statusUpdate" in event["result"] for event in rest)


async def test_a_stream_of_a_task_that_is_forgotten_ends(site: Site) -> None:
    wanted = site.message("x", **wants("hold")) | {"configuration": {"returnImmediately": True}}
    task_id = (await site.ask("SendMessage", wanted))["task"]["id"]
    body = {"jsonrpc": "2.0", "id": 7, "method": "SubscribeToTask", "params": {"id": task_id}}
    async with site.events("/a2a", body) as events:
        await anext(events)
        site.plane.tasks.manager.cancel_task(task_id)
        site.plane.tasks.manager.forget_task(task_id)
        rest = [event async for event in events]

    assert all("statusUpdate" in event["result"] for event in rest)


async def test_what_was_asked_before_a_crash_is_said_after_it(site: Site) -> None:
    task = (await site.ask("SendMessage", site.message("hi", **wants("ask"))))["task"]
    store = site.plane.work.conversations
    record = store.record(task["contextId"])
    entries = store.read(task["contextId"], 0, 10)
    store.delete(task["contextId"])
    store.create(record.__class__(record.conversation_id, "ada", ("ada",), 0.0, 0.0))
    store.append(record.conversation_id, entries[0].message, 0.0)

    site.plane.a2a.start()

    said = [
        (one["role"], one["parts"][0]["text"]) for one in (await site.ask("GetTask", {"id": task["id"]}))["history"]
    ]
    assert said == [("ROLE_USER", "hi"), ("ROLE_AGENT", "What is your name?")]


async def test_a_conversation_that_was_deleted_takes_the_history_with_it(site: Site) -> None:
    task = (await site.ask("SendMessage", site.message("hi", **wants("ask"))))["task"]
    site.plane.work.conversations.delete(task["contextId"])

    answered = (await site.ask("SendMessage", site.message("Ada", taskId=task["id"])))["task"]

    assert answered["status"]["state"] == "TASK_STATE_COMPLETED"
    assert "history" not in answered
    with pytest.raises(ConversationNotFoundError):
        site.plane.work.conversations.record(task["contextId"])


async def test_whose_conversation_was_deleted_gets_into_none_that_somebody_else_has_begun(site: Site) -> None:
    task = (await site.ask("SendMessage", site.message("mine", **wants("ask", contextId="standup"))))["task"]
    talk = f"{site.url}/api/conversations/standup"
    async with site.session.delete(talk, headers=site.headers()) as answer:
        assert answer.status == 200
    order = {"conversation_id": "standup"}
    async with site.session.post(f"{site.url}/api/conversations", json=order, headers=site.headers("bob")) as answer:
        assert answer.status == 201

    await site.ask("SendMessage", site.message("Ada", taskId=task["id"]))

    async with site.session.get(talk, headers=site.headers("bob")) as answer:
        view = await answer.json()
    assert (view["participants"], view["messages"]) == (["bob"], 0)


async def test_a_conversation_that_a_message_has_begun_goes_with_the_last_task_of_it(site: Site) -> None:
    manager, store = site.plane.tasks.manager, site.plane.work.conversations
    caller = site.plane.security.identify(site.tokens["ada"])
    await site.plane.conversations.begin(caller, conversation_id="mine")
    alone = (await site.ask("SendMessage", site.message("a", **wants("echo"))))["task"]
    first, second, third = [
        (await site.ask("SendMessage", site.message("a", **wants("echo", contextId=context_id))))["task"]
        for context_id in ("talk", "talk", "mine")
    ]

    for task in (alone, first, third):
        manager.forget_task(task["id"])
    left = [record.conversation_id for record in store.of_participant("ada")]
    manager.forget_task(second["id"])

    assert left == ["mine", "talk"]
    assert [record.conversation_id for record in store.of_participant("ada")] == ["mine"]


async def test_a_task_knows_the_message_that_has_begun_it_and_so_does_what_tries_again(site: Site) -> None:
    failed = (await site.ask("SendMessage", site.message("x", **wants("fail"))))["task"]
    retried = await site.plane.tasks.retry(site.plane.security.identify(site.tokens["ada"]), failed["id"])

    assert retried.created.message_id == site.plane.tasks.manager.get_task_status(failed["id"]).created.message_id
    assert len(site.plane.tasks.manager.find(TaskQuery(owner="ada"))) == 2


async def test_webhooks_are_checked_before_anything_begins(site: Site) -> None:
    for config in (
        {"url": ""},
        {"url": "x" * 3000},
        {"url": "https://user:pw@1.1.1.1/"},
        {"url": "https://1.1.1.1/", "id": "a/b"},
        {"url": "https://1.1.1.1/", "token": "a\nb"},
        {"url": "https://1.1.1.1/", "authentication": {"scheme": "a b"}},
        {"url": "https://1.1.1.1/", "authentication": {"scheme": "Bearer", "credentials": "\r\nx: y"}},
        {"url": "http://[::1]/"},
        {"url": "http://127.0.0.1:80/"},
    ):
        params = site.message("hi", **wants("echo")) | {"configuration": {"taskPushNotificationConfig": config}}
        answer = await site.rpc("SendMessage", params)
        assert answer["error"]["code"] == -32602, config

    assert not site.agents.calls


async def test_a_task_has_so_many_webhooks_and_no_more(site: Site) -> None:
    task = (await site.ask("SendMessage", site.message("hi", **wants("ask"))))["task"]
    wanted = {"taskId": task["id"], "url": "https://1.1.1.1/"}
    made = [await site.ask("CreateTaskPushNotificationConfig", wanted | {"id": f"c{n}"}) for n in range(16)]

    more = await site.rpc("CreateTaskPushNotificationConfig", wanted)
    same = await site.ask("CreateTaskPushNotificationConfig", wanted | {"id": "c1", "token": "new"})
    listed = await site.ask("ListTaskPushNotificationConfigs", {"taskId": task["id"]})

    assert more["error"]["code"] == -32004
    assert same["token"] == "new"
    assert len(listed["configs"]) == len(made) == 16
    assert json.dumps(listed).count("credentials") == 0
