"""Agents that hang, die, lie, flood or speak garbage: the task is done all the same, or fails with the reason."""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from calling_agents import Here, calling
from leaps import Leaps
from wire_agent import Do, Reply, WireAgent, artifact, made, status, whole, wire_agent

from tekton.a2a.task import Task
from tekton.a2a.task_event import Progressed
from tekton.a2a.task_log import MemoryTaskLog
from tekton.core.degradation.breaker_states import BreakerState
from tekton.utils.remote_agents import Credential, transport
from tekton.utils.tekton_errors import TaskCanceledError, TaskFailedError, TaskTimeoutError

SEND, STREAM, GET, SUBSCRIBE, CANCEL = "SendMessage", "SendStreamingMessage", "GetTask", "SubscribeToTask", "CancelTask"


def says(*updates: dict[str, Any]) -> Do:
    async def do(reply: Reply) -> None:
        for update in updates:
            await reply.event(update)

    return do


def answers(result: Any) -> Do:
    async def do(reply: Reply) -> None:
        await reply.result(result)

    return do


async def hang(reply: Reply) -> None:
    await reply.for_ever()


DONE = answers(whole("COMPLETED", "", artifact({"ok": True})))


def created(here: Here, **more: Any) -> Task:
    return here.tasks.create_task("code_review", {"text": "Look!"}, **more)


async def done(here: Here, **more: Any) -> Any:
    return await here.tasks.execute_task(created(here, **more))


async def until_sent(here: Here, task: Task) -> None:
    while not here.tasks.get_task_status(task).steps:
        await here.tasks.changed(here.tasks.version)


def backed_up(here: Here) -> None:
    """There is another agent, which is asked when the first has failed."""

    async def at_home() -> str:
        return "done here"

    here.registry.register_agent("second", ["code_review"], handler=at_home)
    here.registry.set_load("second", 9)


# Silence and death


async def test_one_that_never_answers_is_given_up_and_another_is_asked() -> None:
    async with wire_agent({SEND: hang}, streaming=False) as agent, calling(agent.url, answer=0.1) as here:
        backed_up(here)

        assert await done(here) == "done here"

    assert agent.times(SEND) == 1


async def test_one_that_hangs_in_the_midst_is_told_when_the_time_of_the_task_is_over() -> None:
    async def begin_and_hang(reply: Reply) -> None:
        await reply.event({"task": whole("WORKING")})
        await reply.for_ever()

    does = {STREAM: begin_and_hang, CANCEL: answers(whole("CANCELED"))}
    async with wire_agent(does) as agent, calling(agent.url) as here:
        leaps, task = Leaps(), created(here, timeout=10.0)
        running = asyncio.ensure_future(here.tasks.execute_task(task))
        await until_sent(here, task)
        leaps.leap(10.0)
        with pytest.raises(TaskTimeoutError):
            await running
        await agent.until(CANCEL)

    assert agent.calls[-1][1]["id"] == "task-1"


async def test_a_stream_that_breaks_off_is_taken_up_again() -> None:
    is_known = asyncio.Event()

    async def begin_and_die(reply: Reply) -> None:
        await reply.event({"task": whole("WORKING")})
        await is_known.wait()
        reply.die()

    does = {
        STREAM: begin_and_die,
        GET: answers(whole("WORKING")),
        SUBSCRIBE: says({"task": whole("WORKING")}, made({"ok": True}), status("COMPLETED")),
    }
    async with wire_agent(does) as agent, calling(agent.url) as here:
        task = created(here)
        running = asyncio.ensure_future(here.tasks.execute_task(task))
        await until_sent(here, task)
        is_known.set()
        assert await running == {"ok": True}

    assert [name for name, _ in agent.calls] == [STREAM, GET, SUBSCRIBE]


async def test_one_that_dies_before_it_has_said_anything_has_failed() -> None:
    async def die(reply: Reply) -> None:
        reply.die()

    async with wire_agent({STREAM: die}) as agent, calling(agent.url) as here:
        with pytest.raises(TaskFailedError, match="closed before the answer was complete"):
            await done(here)

    assert agent.times(STREAM) == 1


async def test_one_that_cannot_be_reached_for_too_long_is_given_up() -> None:
    async def vanish(reply: Reply) -> None:
        await reply.raw(b"", "text/html", 502)

    does = {STREAM: says({"task": whole("WORKING")}), GET: vanish}
    async with wire_agent(does) as agent, calling(agent.url, patience=0.2) as here:
        with pytest.raises(TaskFailedError, match="answered 502"):
            await done(here)
        await agent.until(CANCEL)


async def test_a_stream_that_drips_is_ended_and_the_agent_asked_instead() -> None:
    """It was given up where a stream was open for longer than one may not hear of an agent."""

    async def drip(reply: Reply) -> None:
        await reply.event({"task": whole("WORKING")})
        while True:
            await reply.raw(b":", "text/event-stream")
            await asyncio.sleep(0.01)

    async with wire_agent({STREAM: drip, GET: DONE}) as agent, calling(agent.url, stream=10.0) as here:
        leaps, task = Leaps(), created(here)
        running = asyncio.ensure_future(here.tasks.execute_task(task))
        await until_sent(here, task)
        leaps.leap(10.0)
        assert await running == {"ok": True}

    assert agent.times(GET) == 1


async def test_an_agent_that_has_forgotten_the_task_has_failed_and_gets_it_only_once() -> None:
    async def unknown(reply: Reply) -> None:
        await reply.error(-32001, "Task not found")

    does = {STREAM: says({"task": whole("WORKING")}), GET: unknown}
    async with wire_agent(does) as agent, calling(agent.url) as here:
        with pytest.raises(TaskFailedError, match="does not know of the task any more"):
            await done(here)

    assert agent.times(STREAM) == 1


# What it says


async def test_a_result_that_is_not_what_was_wanted_is_none() -> None:
    def is_review(result: Any) -> None:
        if not isinstance(result, dict):
            raise TypeError("a review is an object")

    lie = says({"task": whole("SUBMITTED")}, status("COMPLETED", "All done!"))
    async with wire_agent({STREAM: lie}) as agent, calling(agent.url) as here:
        here.tasks.register_task_type("code_review", check=is_review)
        with pytest.raises(TaskFailedError, match="a review is an object"):
            await done(here)
        backed_up(here)
        here.tasks.register_task_type("code_review")

        assert await done(here) == "All done!"


async def test_what_it_says_after_the_end_does_not_count() -> None:
    async def twice(reply: Reply) -> None:
        await reply.event({"task": whole("WORKING")})
        for update in (made(1), status("COMPLETED"), made(2), status("FAILED", "no!"), status("COMPLETED")):
            await reply.event(update)
        await reply.for_ever()

    async with wire_agent({STREAM: twice}) as agent, calling(agent.url) as here:
        assert await done(here) == 1


async def test_what_it_says_after_it_was_called_off_does_not_count() -> None:
    called_off = asyncio.Event()

    async def stubborn(reply: Reply) -> None:
        await reply.event({"task": whole("WORKING")})
        await called_off.wait()
        for update in (made(1), status("COMPLETED")):
            await reply.event(update)

    async def refuse(reply: Reply) -> None:
        await reply.error(-32002, "Task cannot be canceled")

    async with wire_agent({STREAM: stubborn, CANCEL: refuse}) as agent, calling(agent.url) as here:
        task = created(here)
        running = asyncio.ensure_future(here.tasks.execute_task(task))
        await until_sent(here, task)
        here.tasks.cancel_task(task)
        called_off.set()
        with pytest.raises(TaskCanceledError):
            await running
        await agent.until(CANCEL)

        assert here.tasks.get_task_status(task).result is None


async def test_what_it_says_of_other_tasks_does_not_count() -> None:
    others = says(
        {"task": whole("WORKING")},
        made("wrong", task="task-2"),
        status("COMPLETED", task="task-2"),
        made("right"),
        status("COMPLETED"),
    )
    async with wire_agent({STREAM: others}) as agent, calling(agent.url) as here:
        assert await done(here) == "right"


@pytest.mark.parametrize("task_id", ["", "../../admin", "..", "a/b", "a?b", "a" * 256, "ä", "a\n"])
async def test_a_task_id_that_could_be_a_path_is_none(task_id: str) -> None:
    does = {SEND: answers({"task": whole("WORKING", task=task_id)})}
    async with wire_agent(does, streaming=False) as agent, calling(agent.url) as here:
        with pytest.raises(TaskFailedError, match="has not said which task"):
            await done(here)

    assert len(agent.calls) == 1


async def test_a_flood_of_news_is_none_here() -> None:
    async def flood(reply: Reply) -> None:
        await reply.event({"task": whole("WORKING")})
        for number in range(1000):
            await reply.event(status("WORKING", f"at {number}"))
        for update in (made(1), status("COMPLETED")):
            await reply.event(update)

    async with wire_agent({STREAM: flood}) as agent, calling(agent.url) as here:
        task = created(here)
        assert await here.tasks.execute_task(task) == 1
        progresses = [one for one in here.tasks.events(task, limit=2000) if isinstance(one.change, Progressed)]

    assert 1 <= len(progresses) <= 20


async def test_more_artifacts_than_anybody_can_want_are_garbage() -> None:
    many = says({"task": whole("WORKING")}, *(made(1, f"a{number}") for number in range(300)))
    async with wire_agent({STREAM: many}) as agent, calling(agent.url) as here:
        with pytest.raises(TaskFailedError, match="more than 256 artifacts"):
            await done(here)


async def test_an_event_without_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MOST_EVENT", 10_000)

    is_known = asyncio.Event()

    async def endless(reply: Reply) -> None:
        await reply.event({"task": whole("WORKING")})
        await is_known.wait()
        while True:
            await reply.raw(b"data: " + b"x" * 1000, "text/event-stream")

    async with wire_agent({STREAM: endless, GET: DONE}) as agent, calling(agent.url) as here:
        task = created(here)
        running = asyncio.ensure_future(here.tasks.execute_task(task))
        await until_sent(here, task)
        is_known.set()
        assert await running == {"ok": True}


async def test_an_answer_without_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MOST_ANSWER", 20_000)

    async def endless(reply: Reply) -> None:
        while True:
            await reply.raw(b" " * 1000)

    async with wire_agent({SEND: endless}, streaming=False) as agent, calling(agent.url) as here:
        with pytest.raises(TaskFailedError, match="larger than 19 KiB"):
            await done(here)


GARBAGE: dict[str, Callable[[Reply], Awaitable[None]]] = {
    "nothing": lambda reply: reply.raw(b""),
    "no JSON": lambda reply: reply.raw(b"<html>"),
    "no UTF-8": lambda reply: reply.raw(b'{"result": "\xff"}'),
    "a list": lambda reply: reply.raw(b"[]"),
    "a number": lambda reply: reply.raw(b"1"),
    "no result": lambda reply: reply.raw(b"{}"),
    "an error that is none": lambda reply: reply.raw(b'{"error": 7}'),
    "a result that is none": answers("done"),
    "neither a task nor a message": answers({"thing": {}}),
    "a task that is none": answers({"task": [1]}),
    "a state that is none": answers({"task": {"id": "task-1", "status": {"state": {}}}}),
    "depth": lambda reply: reply.raw(b'{"result": ' + b"[" * 100_000),
    "depth in data": lambda reply: reply.raw(
        json.dumps({"result": {"task": whole("COMPLETED", "", artifact("@"))}})
        .encode()
        .replace(b'"@"', b"[" * 200 + b"]" * 200)
    ),
    "a number without end": lambda reply: reply.raw(b'{"result": ' + b"9" * 10_000 + b"}"),
    "another version": lambda reply: reply.error(-32009, "Version not supported"),
    "a decoder of its own": lambda reply: reply.raw(b"x", "text/event-stream; charset=bz2_codec"),
    "something packed": lambda reply: reply.raw(
        gzip.compress(b" " * 10_000_000), "application/json", 200, **{"Content-Encoding": "gzip"}
    ),
    "a redirect": lambda reply: reply.raw(b"", "text/html", 307, Location="/elsewhere"),
    "no entry": lambda reply: reply.raw(b"", "text/html", 401),
    "an error of its own": lambda reply: reply.raw(b"oops", "text/plain", 500),
}


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage_is_a_failure_of_the_agent(garbage: str, streaming: bool) -> None:
    does = {SEND: GARBAGE[garbage], STREAM: GARBAGE[garbage]}
    async with wire_agent(does, streaming=streaming) as agent, calling(agent.url) as here:
        backed_up(here)

        assert await done(here) == "done here"

    assert len(agent.calls) == 1


async def test_garbage_in_the_midst_of_a_stream_is_passed_over_by_asking() -> None:
    async def stammer(reply: Reply) -> None:
        await reply.event({"task": whole("WORKING")})
        await reply.raw(b'data: {"jsonrpc"\n\n', "text/event-stream")

    async with wire_agent({STREAM: stammer, GET: DONE}) as agent, calling(agent.url) as here:
        assert await done(here) == {"ok": True}


# Trying again


async def test_one_that_is_too_busy_gets_the_same_message_again() -> None:
    async def busy_first(reply: Reply) -> None:
        if agent.times(SEND) < 3:
            await reply.raw(b"", "text/plain", 503)
        else:
            await reply.result({"task": whole("COMPLETED", "", artifact(7))})

    async with wire_agent({SEND: busy_first}, streaming=False) as agent, calling(agent.url) as here:
        assert await done(here) == 7

    assert len({call["message"]["messageId"] for _, call in agent.calls}) == 1


async def test_what_was_perhaps_sent_before_a_crash_is_sent_again_as_the_same_message() -> None:
    log = MemoryTaskLog()

    async def hang_first(reply: Reply) -> None:
        if agent.times(SEND) == 1:
            await reply.for_ever()
        await reply.result({"task": whole("COMPLETED", "", artifact(7))})

    async with wire_agent({SEND: hang_first}, streaming=False) as agent:
        async with calling(agent.url, log=log) as here:
            task = created(here)
            running = asyncio.ensure_future(here.tasks.execute_task(task))
            await agent.until(SEND)
        with pytest.raises(Exception, match="has stopped"):
            await running

        async with calling(agent.url, log=log) as here:
            here.tasks.resume()
            assert await here.tasks.execute_task(task) == 7

    assert len({call["message"]["messageId"] for _, call in agent.calls}) == 1


async def test_one_that_keeps_failing_is_left_alone() -> None:
    async def fail(reply: Reply) -> None:
        await reply.raw(b"oops", "text/plain", 500)

    async with wire_agent({SEND: fail}, streaming=False) as agent, calling(agent.url) as here:
        for _ in range(12):
            with pytest.raises(TaskFailedError):
                await done(here)

        assert here.remote.breaker("reviewer").state is BreakerState.OPEN
    assert agent.times(SEND) < 12


async def test_one_that_refuses_politely_is_none_that_fails() -> None:
    async def refuse(reply: Reply) -> None:
        await reply.error(-32602, "Invalid params")

    async with wire_agent({SEND: refuse}, streaming=False) as agent, calling(agent.url) as here:
        for _ in range(12):
            with pytest.raises(TaskFailedError, match="Invalid params"):
                await done(here)

    assert agent.times(SEND) == 12


async def test_an_answer_that_has_been_overtaken_is_no_failure() -> None:
    async def too_late(reply: Reply) -> None:
        if "taskId" in reply.params["message"]:
            await reply.error(-32004, "The task is over")
        else:
            await reply.result({"task": whole("INPUT_REQUIRED", "Sure?")})

    async with wire_agent({SEND: too_late, GET: DONE}, streaming=False) as agent, calling(agent.url) as here:
        task = created(here)
        running = asyncio.ensure_future(here.tasks.execute_task(task))
        while here.tasks.get_task_status(task).question is None:
            await here.tasks.changed(here.tasks.version)
        here.tasks.answer(task, "yes")

        assert await running == {"ok": True}


async def test_a_question_that_is_still_told_after_the_answer_is_not_asked_again() -> None:
    snapshots = [whole("INPUT_REQUIRED", "Sure?"), whole("WORKING"), whole("COMPLETED", "", artifact(1))]

    async def told(reply: Reply) -> None:
        await reply.result(snapshots.pop(0))

    does = {SEND: answers({"task": whole("INPUT_REQUIRED", "Sure?")}), GET: told}
    async with wire_agent(does, streaming=False) as agent, calling(agent.url) as here:
        task = created(here)
        running = asyncio.ensure_future(here.tasks.execute_task(task))
        while here.tasks.get_task_status(task).question is None:
            await here.tasks.changed(here.tasks.version)
        here.tasks.answer(task, "yes")

        assert await running == 1
    assert (agent.times(SEND), agent.times(GET)) == (2, 3)


async def test_a_card_that_names_another_host_gets_it_no_credential() -> None:
    class Elsewhere(WireAgent):
        def card(self) -> dict[str, Any]:
            document = super().card()
            document["supportedInterfaces"][0]["url"] = other.url + "/rpc"
            return document

    does = {SEND: answers({"task": whole("COMPLETED")})}
    async with wire_agent(does, streaming=False) as other, wire_agent({}, streaming=False, kind=Elsewhere) as agent:
        other.url = other.url.replace("127.0.0.1", "127.0.0.2")
        async with calling(agent.url, credential=Credential("s3cret")) as here:
            await done(here)

    assert "Authorization" not in other.headers[0]
