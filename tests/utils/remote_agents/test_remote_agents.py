"""Agents of the official SDK, called over real sockets by both bindings, with streams and without."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest
from a2a.helpers.proto_helpers import new_text_message
from a2a.server.agent_execution import RequestContext
from a2a.server.events import EventQueue
from a2a.server.tasks import TaskUpdater
from a2a.types import Part
from calling_agents import HERE, Here, calling
from google.protobuf.json_format import ParseDict
from leaps import Leaps
from sdk_agent import Executor, Work, sdk_agent

from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.task import Task
from tekton.a2a.task_event import ArtifactAdded, Progressed
from tekton.a2a.task_log import MemoryTaskLog
from tekton.a2a.task_manager import TaskManager
from tekton.utils.remote_agents import Credential, RemoteAgent, RemoteAgents
from tekton.utils.tekton_errors import (
    AgentUnreachableError,
    ConfigurationError,
    TaskCanceledError,
    TaskFailedError,
    TaskRejectedError,
)

WAYS = [(streaming, binding) for streaming in (True, False) for binding in ("JSONRPC", "HTTP+JSON")]
each_way = pytest.mark.parametrize(("streaming", "binding"), WAYS)


def data(value: Any) -> Part:
    part = Part()
    ParseDict({"data": value}, part)
    return part


async def review(updater: TaskUpdater, context: RequestContext) -> None:
    await updater.start_work(updater.new_agent_message([Part(text="looking\u2028at it")]))
    await updater.add_artifact([Part(text="line 1\u2028line 2")], name="note")
    await updater.add_artifact([data({"lines": 3, "ok": True})], name="result")
    await updater.complete()


async def until(here: Here, task: Task, holds: Callable[[Task], bool]) -> Task:
    while True:
        version = here.tasks.version
        now = here.tasks.get_task_status(task)
        if holds(now):
            return now
        await here.tasks.changed(version)


def has_sent(task: Task) -> bool:
    return bool(task.steps)


def waits(task: Task) -> bool:
    return task.state.waiting


def created(here: Here, inputs: dict[str, Any] | None = None, **more: Any) -> Task:
    return here.tasks.create_task("code_review", inputs or {"text": "Look!", "n": 1}, **more)


@each_way
async def test_a_task_is_done_by_an_agent_that_is_somewhere_else(streaming: bool, binding: str) -> None:
    async with sdk_agent(review, streaming=streaming, bindings=(binding,)) as agent, calling(agent.url) as here:
        task = created(here)
        result = await here.tasks.execute_task(task)
        changes = [event.change for event in here.tasks.events(task)]

    assert result == {"lines": 3, "ok": True}
    assert ArtifactAdded("note", "line 1\u2028line 2") in changes
    assert [one.text for one in changes if isinstance(one, Progressed)] in (["looking\u2028at it"], [])
    assert agent.messages[0]["parts"][0] == {"text": "Look!"}
    assert agent.messages[0]["parts"][1]["data"] == {"task_type": "code_review", "inputs": {"text": "Look!", "n": 1}}
    assert agent.messages[0]["messageId"] == f"{task.task_id}/a2a:send:1"


async def test_the_conversation_of_a_task_is_the_context_there() -> None:
    async with sdk_agent(review) as agent, calling(agent.url) as here:
        await here.tasks.execute_task(created(here, conversation_id="conversation-1"))

    assert agent.messages[0]["contextId"] == "conversation-1"


async def test_an_answer_without_a_task_is_the_result() -> None:
    class Talker(Executor):
        async def execute(self, _: RequestContext, event_queue: EventQueue) -> None:
            await event_queue.enqueue_event(new_text_message("It is fine."))

    async with sdk_agent(review, executor=Talker) as agent, calling(agent.url) as here:
        assert await here.tasks.execute_task(created(here)) == "It is fine."


@each_way
async def test_what_the_agent_asks_is_asked_here_and_the_answer_sent_to_it(streaming: bool, binding: str) -> None:
    async def ask_first(updater: TaskUpdater, context: RequestContext) -> None:
        if len(agent.messages) == 1:
            await updater.requires_input(updater.new_agent_message([Part(text="The tests as well?")]))
        elif len(agent.messages) == 2:
            await updater.requires_auth(updater.new_agent_message([Part(text="May I?")]))
        else:
            await updater.add_artifact([Part(text="done")])
            await updater.complete()

    async with sdk_agent(ask_first, streaming=streaming, bindings=(binding,)) as agent, calling(agent.url) as here:
        task = created(here)
        async with asyncio.TaskGroup() as group:
            outcome = group.create_task(here.tasks.execute_task(task))
            asked = await until(here, task, waits)
            assert asked.question is not None
            assert asked.question.question == "The tests as well?"
            here.tasks.answer(task, {"tests": True})
            allowed = await until(here, task, lambda now: now.state == "auth_required")
            assert allowed.question is not None
            assert allowed.question.question == "May I?"
            here.tasks.answer(task, "yes")

    assert outcome.result() == "done"
    assert [message["parts"][0] for message in agent.messages[1:]] == [
        {"data": {"tests": True}, "mediaType": "application/json"},
        {"text": "yes"},
    ]
    assert len({message["taskId"] for message in agent.messages}) == 1
    assert len({message["messageId"] for message in agent.messages}) == 3


async def failing(updater: TaskUpdater, context: RequestContext) -> None:
    await updater.failed(updater.new_agent_message([Part(text="no compiler")]))


async def rejecting(updater: TaskUpdater, context: RequestContext) -> None:
    await updater.reject(updater.new_agent_message([Part(text="not such code")]))


async def canceling(updater: TaskUpdater, context: RequestContext) -> None:
    await updater.cancel(updater.new_agent_message([Part(text="closing time")]))


@pytest.mark.parametrize(
    ("work", "error", "reason"),
    [
        (failing, TaskFailedError, "no compiler"),
        (rejecting, TaskRejectedError, "not such code"),
        (canceling, TaskFailedError, "it has canceled the task: closing time"),
    ],
)
async def test_how_it_has_ended_there_is_how_it_ends_here(work: Work, error: type[Exception], reason: str) -> None:
    async with sdk_agent(work) as agent, calling(agent.url) as here:
        with pytest.raises(error, match=reason):
            await here.tasks.execute_task(created(here))

    assert agent.canceled == []


async def test_another_agent_is_asked_when_the_first_has_failed() -> None:
    async def at_home() -> str:
        return "done here"

    async with sdk_agent(failing) as agent, calling(agent.url) as here:
        here.registry.register_agent("second", ["code_review"], handler=at_home)
        here.registry.set_load("second", 9)

        assert await here.tasks.execute_task(created(here)) == "done here"


class Endless:
    """Works until it is called off."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def __call__(self, updater: TaskUpdater, _: RequestContext) -> None:
        await updater.start_work()
        self.begun.set()
        await asyncio.Event().wait()


@each_way
async def test_a_task_that_is_called_off_here_is_called_off_there(streaming: bool, binding: str) -> None:
    work = Endless()
    async with sdk_agent(work, streaming=streaming, bindings=(binding,)) as agent, calling(agent.url) as here:
        task = created(here)
        running = asyncio.ensure_future(here.tasks.execute_task(task))
        await work.begun.wait()
        await until(here, task, has_sent)
        here.tasks.cancel_task(task)
        with pytest.raises(TaskCanceledError):
            await running
        await agent.has_canceled.wait()

    assert len(agent.canceled) == 1


async def test_an_agent_that_takes_too_long_is_told_that_nobody_waits() -> None:
    work = Endless()
    async with sdk_agent(work) as agent, calling(agent.url, attempt_timeout=10.0) as here:
        leaps, task = Leaps(), created(here)
        running = asyncio.ensure_future(here.tasks.execute_task(task))
        await until(here, task, has_sent)
        leaps.leap(10.0)
        with pytest.raises(TaskFailedError, match="no answer within"):
            await running
        await agent.has_canceled.wait()


async def test_after_a_restart_the_task_goes_on_where_it_is_and_nothing_is_sent_again() -> None:
    log, go_on = MemoryTaskLog(), asyncio.Event()

    async def slowly(updater: TaskUpdater, context: RequestContext) -> None:
        await updater.start_work()
        await go_on.wait()
        await review(updater, context)

    async with sdk_agent(slowly) as agent:
        async with calling(agent.url, log=log) as here:
            task = created(here)
            running = asyncio.ensure_future(here.tasks.execute_task(task))
            await until(here, task, has_sent)
        with pytest.raises(Exception, match="has stopped"):
            await running

        async with calling(agent.url, log=log) as here:
            assert here.tasks.resume() == [task.task_id]
            go_on.set()
            assert await here.tasks.execute_task(task) == {"lines": 3, "ok": True}

    assert (len(agent.messages), agent.canceled) == (1, [])


async def test_an_answer_that_was_sent_before_a_restart_is_not_sent_again() -> None:
    log, go_on = MemoryTaskLog(), asyncio.Event()

    async def ask_first(updater: TaskUpdater, context: RequestContext) -> None:
        if len(agent.messages) == 1:
            await updater.requires_input(updater.new_agent_message([Part(text="Sure?")]))
        else:
            await updater.start_work()
            await go_on.wait()
            await review(updater, context)

    async with sdk_agent(ask_first) as agent:
        async with calling(agent.url, log=log) as here:
            task = created(here)
            running = asyncio.ensure_future(here.tasks.execute_task(task))
            await until(here, task, waits)
            here.tasks.answer(task, "yes")
            await until(here, task, lambda now: len(now.steps) == 3)
        with pytest.raises(Exception, match="has stopped"):
            await running

        async with calling(agent.url, log=log) as here:
            here.tasks.resume()
            go_on.set()
            assert await here.tasks.execute_task(task) == {"lines": 3, "ok": True}

    assert len(agent.messages) == 2


async def test_what_has_failed_is_sent_anew_when_it_is_tried_again() -> None:
    async def second_time_lucky(updater: TaskUpdater, context: RequestContext) -> None:
        await (failing if len(agent.messages) == 1 else review)(updater, context)

    async with sdk_agent(second_time_lucky) as agent, calling(agent.url) as here:
        task = created(here)
        with pytest.raises(TaskFailedError):
            await here.tasks.execute_task(task)

        assert await here.tasks.execute_task(here.tasks.retry_task(task)) == {"lines": 3, "ok": True}

    assert [message["messageId"] for message in agent.messages] == [
        f"{task.task_id}/a2a:send:1",
        f"{task.task_id}/a2a:send:2",
    ]


async def test_what_was_called_off_is_sent_anew_when_it_is_tried_again() -> None:
    work = Endless()

    async def first_endless(updater: TaskUpdater, context: RequestContext) -> None:
        await (work if len(agent.messages) == 1 else review)(updater, context)

    async with sdk_agent(first_endless) as agent, calling(agent.url) as here:
        task = created(here)
        running = asyncio.ensure_future(here.tasks.execute_task(task))
        await until(here, task, has_sent)
        here.tasks.cancel_task(task)
        with pytest.raises(TaskCanceledError):
            await running
        await agent.has_canceled.wait()

        assert await here.tasks.execute_task(here.tasks.retry_task(task)) == {"lines": 3, "ok": True}


async def test_the_credential_of_the_agent_is_shown_to_it_and_to_nobody_here() -> None:
    async with sdk_agent(review) as agent, calling(agent.url, credential=Credential("s3cret-9")) as here:
        task = created(here)
        await here.tasks.execute_task(task)
        told = repr([here.registry.get_agent("reviewer").describe(), here.tasks.events(task)])

    assert {one["authorization"] for one in agent.headers} == {"Bearer s3cret-9"}
    assert {one["a2a-version"] for one in agent.headers[1:]} == {"1.0"}
    assert "s3cret-9" not in told


async def test_an_agent_that_stands_in_the_registry_with_its_url_can_be_called_as_well() -> None:
    registry = AgentRegistry()
    async with sdk_agent(review) as agent, RemoteAgents(registry, policy=HERE) as remote:
        registry.register_agent("reviewer", ["code_review"], endpoint=agent.url)
        async with TaskManager(registry, remote=remote) as tasks:
            assert await tasks.execute_task(tasks.create_task("code_review")) == {"lines": 3, "ok": True}


async def test_nothing_of_this_machine_is_called_unless_the_owner_says_so() -> None:
    registry = AgentRegistry()
    async with sdk_agent(review) as agent, RemoteAgents(registry) as remote:
        registry.register_agent("reviewer", ["code_review"], endpoint=agent.url)
        async with TaskManager(registry, remote=remote) as tasks:
            with pytest.raises(TaskFailedError, match="this machine"):
                await tasks.execute_task(tasks.create_task("code_review"))

    assert agent.asked == []


async def test_without_the_extra_it_is_said_which_one_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "a2a"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "tekton.utils.remote_agents.a2a_client", raising=False)
    monkeypatch.setitem(sys.modules, "a2a", None)

    async with RemoteAgents(AgentRegistry(), policy=HERE) as remote:
        with pytest.raises(ConfigurationError, match=r"tekton-core\[a2a\]"):
            await remote.register(RemoteAgent("reviewer", "http://127.0.0.1:9"))


async def test_an_agent_that_nobody_serves_is_not_registered() -> None:
    registry = AgentRegistry()
    async with RemoteAgents(registry, policy=HERE) as remote:
        with pytest.raises(AgentUnreachableError, match="connection refused"):
            await remote.register(RemoteAgent("reviewer", "http://127.0.0.1:9"))

    assert len(registry) == 0
