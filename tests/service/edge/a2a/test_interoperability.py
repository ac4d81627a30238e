"""The official SDK of Agent2Agent, its client unchanged, against the control plane: both bindings, a real port."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from a2a.client import ClientConfig, create_client
from a2a.client.card_resolver import A2ACardResolver, parse_agent_card
from a2a.client.client import Client
from a2a.client.errors import A2AClientError
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import (
    InvalidParamsError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
    VersionNotSupportedError,
)
from a2a_site import Site, webhook
from aiohttp import web
from google.protobuf.json_format import MessageToDict, ParseDict

BINDINGS = ("JSONRPC", "HTTP+JSON")
each_binding = pytest.mark.parametrize("binding", BINDINGS)


def order(skill: str, text: str = "hello", **members: Any) -> pb.SendMessageRequest:
    """A message that wants *skill*, with an id of its own."""
    order.count += 1  # type: ignore[attr-defined]
    message = {
        "messageId": f"sdk-{order.count}",  # type: ignore[attr-defined]
        "role": "ROLE_USER",
        "parts": [{"text": text}],
        "metadata": {"skill": skill},
    }
    return ParseDict({"message": message | members}, pb.SendMessageRequest())


order.count = 0  # type: ignore[attr-defined]


@asynccontextmanager
async def client(
    site: Site, binding: str, who: str = "ada", *, streaming: bool = False, path: str = "", **settings: Any
) -> AsyncIterator[Client]:
    """A client of the SDK that has read the card below *path*."""
    shown = {"authorization": f"Bearer {site.tokens[who]}"}
    async with httpx.AsyncClient(headers=shown, timeout=20, trust_env=False) as http:
        config = ClientConfig(streaming=streaming, httpx_client=http, supported_protocol_bindings=[binding], **settings)
        yield await create_client(f"{site.url}{path}", config)


async def only(answers: AsyncIterator[pb.StreamResponse]) -> pb.Task:
    """The task that is the only answer."""
    (answer,) = [one async for one in answers]
    return answer.task


def kinds(events: list[pb.StreamResponse]) -> list[str]:
    """What each of *events* is; a status by its name."""
    return [
        pb.TaskState.Name(one.status_update.status.state).removeprefix("TASK_STATE_")
        if one.HasField("status_update")
        else str(one.WhichOneof("payload"))
        for one in events
    ]


@each_binding
async def test_a_message_is_answered_with_the_task_that_is_done(site: Site, binding: str) -> None:
    async with client(site, binding) as sdk:
        task = await only(sdk.send_message(order("echo")))
        again = await sdk.get_task(pb.GetTaskRequest(id=task.id))

    assert task.status.state == pb.TASK_STATE_COMPLETED
    assert [part.text for part in task.artifacts[0].parts] == ["hello"]
    assert [part.text for part in task.history[0].parts] == ["hello"]
    assert again == task


@each_binding
async def test_a_stream_begins_with_the_task_and_ends_when_it_is_done(site: Site, binding: str) -> None:
    async with client(site, binding, streaming=True) as sdk:
        events = [one async for one in sdk.send_message(order("compute"))]

    assert kinds(events) == ["task", "WORKING", "WORKING", "artifact_update", "artifact_update", "COMPLETED"]
    assert events[2].status_update.status.message.parts[0].text == "half of it"
    assert [one.artifact_update.artifact.name for one in events[3:5]] == ["draft", "result"]


@each_binding
async def test_whoever_subscribes_is_told_where_the_task_is_and_what_comes(site: Site, binding: str) -> None:
    async with client(site, binding, streaming=True) as sdk:
        begun = aiter(sdk.send_message(order("hold")))
        task = (await anext(begun)).task
        await begun.aclose()
        await site.agents.begun.wait()
        first, second = (aiter(sdk.subscribe(pb.SubscribeToTaskRequest(id=task.id))) for _ in range(2))
        opened = [await anext(first), await anext(second)]
        await first.aclose()
        third = aiter(sdk.subscribe(pb.SubscribeToTaskRequest(id=task.id)))
        opened.append(await anext(third))
        site.agents.go_on.set()
        rest = [[one async for one in stream] for stream in (second, third)]

    assert [one.task.status.state for one in opened] == [pb.TASK_STATE_WORKING] * 3
    assert rest[0] == rest[1]
    assert kinds(rest[0]) == ["WORKING", "artifact_update", "COMPLETED"]


@each_binding
async def test_who_subscribes_to_a_task_that_is_over_is_refused(site: Site, binding: str) -> None:
    async with client(site, binding, streaming=True) as sdk:
        events = [one async for one in sdk.send_message(order("echo"))]
        task = events[0].task
        with pytest.raises(UnsupportedOperationError):
            await anext(aiter(sdk.subscribe(pb.SubscribeToTaskRequest(id=task.id))))


@each_binding
async def test_a_question_is_answered_by_a_message_to_the_task(site: Site, binding: str) -> None:
    async with client(site, binding, streaming=True) as sdk:
        asked = [one async for one in sdk.send_message(order("ask"))]
        task = asked[0].task
        answer = order("ask", "Ada", taskId=task.id, contextId=task.context_id)
        done = [one async for one in sdk.send_message(answer)]
        whole = await sdk.get_task(pb.GetTaskRequest(id=task.id))

    assert kinds(asked) == ["task", "WORKING", "INPUT_REQUIRED"]
    assert asked[-1].status_update.status.message.parts[0].text == "What is your name?"
    assert kinds(done) == ["task", "artifact_update", "COMPLETED"]
    assert whole.artifacts[0].parts[0].text == "Hello Ada"
    assert [(one.role, one.parts[0].text) for one in whole.history] == [
        (pb.ROLE_USER, "hello"),
        (pb.ROLE_AGENT, "What is your name?"),
        (pb.ROLE_USER, "Ada"),
    ]


@each_binding
async def test_a_task_is_called_off_once(site: Site, binding: str) -> None:
    async with client(site, binding, polling=True) as sdk:
        task = await only(sdk.send_message(order("hold")))
        canceled = await sdk.cancel_task(pb.CancelTaskRequest(id=task.id))
        with pytest.raises(TaskNotCancelableError):
            await sdk.cancel_task(pb.CancelTaskRequest(id=task.id))

    assert canceled.status.state == pb.TASK_STATE_CANCELED


@each_binding
async def test_tasks_are_listed_in_pages_the_last_changed_first(site: Site, binding: str) -> None:
    async with client(site, binding) as sdk:
        made = [(await only(sdk.send_message(order("echo", str(n))))).id for n in range(5)]
        listed: list[pb.ListTasksResponse] = []
        token = ""
        while not listed or token:
            listed.append(await sdk.list_tasks(pb.ListTasksRequest(page_size=2, page_token=token)))
            token = listed[-1].next_page_token
        of_one = await sdk.list_tasks(pb.ListTasksRequest(context_id=listed[0].tasks[0].context_id, history_length=1))
        working = await sdk.list_tasks(pb.ListTasksRequest(status=pb.TASK_STATE_WORKING))
        with_all = await sdk.list_tasks(pb.ListTasksRequest(include_artifacts=True, page_size=1))

    assert [len(page.tasks) for page in listed] == [2, 2, 1]
    assert [task.id for page in listed for task in page.tasks] == made[::-1]
    assert {page.total_size for page in listed} == {5}
    assert not any(task.artifacts or task.history for page in listed for task in page.tasks)
    assert [(task.id, len(task.history)) for task in of_one.tasks] == [(made[-1], 1)]
    assert not working.tasks
    assert with_all.tasks[0].artifacts[0].parts[0].text == "4"


@each_binding
async def test_errors_are_those_of_the_protocol(site: Site, binding: str) -> None:
    async with client(site, binding) as sdk:
        done = await only(sdk.send_message(order("echo")))
        with pytest.raises(TaskNotFoundError):
            await sdk.get_task(pb.GetTaskRequest(id="nothing"))
        with pytest.raises(TaskNotFoundError):
            await only(sdk.send_message(order("echo", taskId="nothing")))
        with pytest.raises(UnsupportedOperationError):
            await only(sdk.send_message(order("echo", taskId=done.id)))
        with pytest.raises(InvalidParamsError):
            await only(sdk.send_message(order("echo", taskId=done.id, contextId="another")))
        with pytest.raises(InvalidParamsError):
            await sdk.list_tasks(pb.ListTasksRequest(page_size=101))
        with pytest.raises(InvalidParamsError, match="which skill"):
            await only(sdk.send_message(order("echo", metadata={})))


@each_binding
async def test_a_stranger_finds_nothing(site: Site, binding: str) -> None:
    async with client(site, binding) as sdk:
        task = await only(sdk.send_message(order("ask")))
    refused = {
        "get_task": pb.GetTaskRequest(id=task.id),
        "cancel_task": pb.CancelTaskRequest(id=task.id),
        "create_task_push_notification_config": pb.TaskPushNotificationConfig(task_id=task.id, url="https://1.1.1.1/"),
        "get_task_push_notification_config": pb.GetTaskPushNotificationConfigRequest(task_id=task.id, id="x"),
        "list_task_push_notification_configs": pb.ListTaskPushNotificationConfigsRequest(task_id=task.id),
        "delete_task_push_notification_config": pb.DeleteTaskPushNotificationConfigRequest(task_id=task.id, id="x"),
    }

    async with client(site, binding, "bob", streaming=True) as sdk:
        for operation, request in refused.items():
            with pytest.raises(TaskNotFoundError):
                await getattr(sdk, operation)(request)
        with pytest.raises(TaskNotFoundError):
            await only(sdk.send_message(order("ask", taskId=task.id)))
        with pytest.raises(TaskNotFoundError):
            await anext(aiter(sdk.subscribe(pb.SubscribeToTaskRequest(id=task.id))))
        with pytest.raises(InvalidParamsError, match="contextId"):
            await only(sdk.send_message(order("echo", contextId=task.context_id)))
        listed = await sdk.list_tasks(pb.ListTasksRequest())

    assert not listed.tasks


@each_binding
async def test_who_may_not_run_tasks_is_refused(site: Site, binding: str) -> None:
    async with client(site, binding, "wanda") as sdk:
        with pytest.raises(A2AClientError, match="403"):
            await sdk.get_task(pb.GetTaskRequest(id="x"))


@each_binding
async def test_an_agent_is_spoken_to_by_its_own_card(site: Site, binding: str) -> None:
    async with client(site, binding, path="/a2a/agents/echo-agent") as sdk:
        task = await only(sdk.send_message(order("echo", metadata={})))
        async with client(site, binding, path="/a2a/agents/ask-agent") as other:
            with pytest.raises(TaskNotFoundError):
                await other.get_task(pb.GetTaskRequest(id=task.id))
        listed = await sdk.list_tasks(pb.ListTasksRequest())
        extended = await sdk.get_extended_agent_card(pb.GetExtendedAgentCardRequest())

    assert task.status.state == pb.TASK_STATE_COMPLETED
    assert [one.id for one in listed.tasks] == [task.id]
    assert [skill.id for skill in extended.skills] == ["echo"]
    assert MessageToDict(extended.capabilities.extensions[0].params)["health"] == "usable"


@each_binding
async def test_webhooks_are_told_everything_in_order(site: Site, binding: str) -> None:
    heard: list[tuple[dict[str, str], Any]] = []
    complete = asyncio.Event()

    async def hear(request: web.Request) -> web.Response:
        heard.append(({name.lower(): text for name, text in request.headers.items()}, json.loads(await request.read())))
        if "statusUpdate" in heard[-1][1] and "COMPLETED" in heard[-1][1]["statusUpdate"]["status"]["state"]:
            complete.set()
        return web.Response()

    async with webhook(site, hear) as url, client(site, binding, polling=True) as sdk:
        task = await only(sdk.send_message(order("hold")))
        await site.agents.begun.wait()
        shown = pb.AuthenticationInfo(scheme="Bearer", credentials="secret")
        wanted = pb.TaskPushNotificationConfig(task_id=task.id, url=url, token="mine", authentication=shown)
        made = await sdk.create_task_push_notification_config(wanted)
        about = pb.GetTaskPushNotificationConfigRequest(task_id=task.id, id=made.id)
        known = await sdk.get_task_push_notification_config(about)
        listed = await sdk.list_task_push_notification_configs(
            pb.ListTaskPushNotificationConfigsRequest(task_id=task.id)
        )
        site.agents.go_on.set()
        async with asyncio.timeout(10):
            await complete.wait()
        await sdk.delete_task_push_notification_config(
            pb.DeleteTaskPushNotificationConfigRequest(task_id=task.id, id=made.id)
        )
        with pytest.raises(TaskNotFoundError):
            await sdk.get_task_push_notification_config(about)

    events = [ParseDict(body, pb.StreamResponse()) for _, body in heard]
    assert kinds(events) == ["WORKING", "artifact_update", "COMPLETED"]
    assert {one["x-a2a-notification-token"] for one, _ in heard} == {"mine"}
    assert {one["authorization"] for one, _ in heard} == {"Bearer secret"}
    assert {one["content-type"] for one, _ in heard} == {"application/a2a+json"}
    assert known == made == listed.configs[0]
    assert (made.url, made.authentication.scheme, made.authentication.credentials) == (url, "Bearer", "")


@each_binding
async def test_a_webhook_can_be_named_with_the_message(site: Site, binding: str) -> None:
    states: asyncio.Queue[str] = asyncio.Queue()

    async def hear(request: web.Request) -> web.Response:
        body = await request.json()
        states.put_nowait(body["statusUpdate"]["status"]["state"] if "statusUpdate" in body else "artifact")
        return web.Response()

    async with webhook(site, hear) as url:
        wanted = pb.TaskPushNotificationConfig(url=url)
        async with client(site, binding, push_notification_config=wanted) as sdk:
            await only(sdk.send_message(order("echo")))
        async with asyncio.timeout(10):
            told = [await states.get() for _ in range(3)]

    assert told == ["TASK_STATE_WORKING", "artifact", "TASK_STATE_COMPLETED"]


@each_binding
async def test_a_webhook_inside_the_network_is_refused_and_nothing_begins(site: Site, binding: str) -> None:
    async with client(site, binding) as sdk:
        for url in ("http://127.0.0.1:9/", "http://169.254.169.254/latest", "http://10.0.0.1/", "ftp://1.1.1.1/"):
            wanted = order("echo")
            wanted.configuration.task_push_notification_config.url = url
            with pytest.raises(InvalidParamsError, match=r"taskPushNotificationConfig\.url"):
                await only(sdk.send_message(wanted))
        listed = await sdk.list_tasks(pb.ListTasksRequest())

    assert not listed.tasks
    assert not site.agents.calls


@each_binding
async def test_the_extended_card_says_what_the_public_one_does_and_is_for_those_who_are_known(
    site: Site, binding: str
) -> None:
    async with client(site, binding) as sdk:
        card = await sdk.get_extended_agent_card(pb.GetExtendedAgentCardRequest())

    assert [skill.id for skill in card.skills] == ["ask", "compute", "echo", "fail", "hold"]


async def test_cards_are_what_the_sdk_expects(site: Site) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        card = await A2ACardResolver(http, site.url).get_agent_card()
        plain = (await http.get(f"{site.url}/.well-known/agent-card.json")).json()
        of_agent = (await http.get(f"{site.url}/a2a/agents/echo-agent/.well-known/agent-card.json")).json()

    strict = ParseDict(plain, pb.AgentCard())  # raises for what the protocol does not know
    assert strict == card
    assert [one.protocol_binding for one in card.supported_interfaces] == list(BINDINGS)
    assert parse_agent_card(of_agent).name == "echo-agent"


async def test_another_version_is_refused_and_so_is_none(site: Site) -> None:
    for version in ("0.3", "2.0", ""):
        shown = site.headers() | {"a2a-version": version}
        async with httpx.AsyncClient(headers=shown, trust_env=False) as http:
            config = ClientConfig(streaming=False, httpx_client=http, supported_protocol_bindings=["JSONRPC"])
            sdk = await create_client(site.url, config)
            http.headers["a2a-version"] = version
            with pytest.raises(VersionNotSupportedError):
                await sdk.get_task(pb.GetTaskRequest(id="x"))
