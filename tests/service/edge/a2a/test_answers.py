"""What tasks ask, and what answers them: once, whatever a crash has taken, and in the order in which it was said."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from a2a_site import Agents, serve

from tekton import failpoints
from tekton.a2a.task_steps import TaskContext
from tekton.a2a.work import work_batch
from tekton.service.work import Work
from tekton.utils.tekton_errors import StorageUnknownError


def wants(skill: str, **members: Any) -> dict[str, Any]:
    """The metadata of a message that wants *skill*."""
    return {"metadata": {"skill": skill}} | members


@pytest.fixture
def no_failpoints() -> Iterator[None]:
    """Nothing fails any more when the test is over."""
    yield
    failpoints.arm({})


class Interview(Agents):
    """Asks twice."""

    async def ask(self, context: TaskContext) -> str:
        """Ask for a name and an age."""
        name = await context.ask("What is your name?", name="name")
        return f"{name}, {await context.ask('How old are you?', name='age')}"


async def test_an_answer_that_comes_again_after_a_crash_answers_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_failpoints: None
) -> None:
    monkeypatch.setattr(work_batch, "MOST_CHANGES", 1)
    work = await Work.open(tmp_path)
    async with serve(work, Interview()) as site:
        asked = (await site.ask("SendMessage", site.message("hi", **wants("ask"))))["task"]
        answer = site.message("Ada", taskId=asked["id"], messageId="answer")
        failpoints.arm(
            failpoints.parse("work.before_begin=error:EIO@2")
        )  # the answer is in the log of the task, and no message in the conversation
        lost = await site.rpc("SendMessage", answer)
    with pytest.raises(StorageUnknownError):
        await work.stop()

    work = await Work.open(tmp_path)
    async with serve(work, Interview()) as site:
        again = (await site.ask("SendMessage", answer))["task"]
        other = await site.rpc("SendMessage", site.message("Bob", taskId=asked["id"], messageId="answer"))
        done = (await site.ask("SendMessage", site.message("36", taskId=asked["id"])))["task"]
    await work.stop()

    assert lost["error"]["data"][0]["reason"] == "STORAGE_UNKNOWN"
    assert again["status"]["message"]["parts"][0]["text"] == "How old are you?"
    assert "Ada" in [one["parts"][0]["text"] for one in again["history"]]
    assert (other["error"]["code"], "messageId" in other["error"]["message"]) == (-32602, True)
    assert done["artifacts"][0]["parts"][0]["text"] == "Ada, 36"


async def test_an_answer_that_comes_again_is_known_without_its_conversation() -> None:
    async with serve(agents=Interview()) as site:
        asked = (await site.ask("SendMessage", site.message("hi", **wants("ask"))))["task"]
        site.plane.work.conversations.delete(asked["contextId"])
        answer = site.message("Ada", taskId=asked["id"])

        answered = [(await site.ask("SendMessage", answer))["task"]["status"] for _ in range(2)]
        done = (await site.ask("SendMessage", site.message("36", taskId=asked["id"])))["task"]

    assert answered[0] == answered[1]
    assert done["artifacts"][0]["parts"][0]["text"] == "Ada, 36"


async def test_what_was_answered_is_said_before_what_is_asked_next() -> None:
    async with serve(agents=Interview()) as site:
        asked = (await site.ask("SendMessage", site.message("hi", **wants("ask"))))["task"]
        for text in ("Ada", "36"):
            told = (await site.ask("SendMessage", site.message(text, taskId=asked["id"])))["task"]

    said = [one["parts"][0]["text"] for one in told["history"]]
    assert said == ["hi", "What is your name?", "Ada", "How old are you?", "36"]


async def test_what_needs_leave_waits_for_it_and_goes_on_when_somebody_gives_it() -> None:
    class Careful(Agents):
        async def ask(self, context: TaskContext) -> str:
            """Ask for leave."""
            return f"with leave: {await context.ask('May I?', {'type': 'boolean'}, auth=True)}"

    async with serve(agents=Careful()) as site:
        first = site.message("hi", **wants("ask"))
        async with site.events("/a2a/rest/message:stream", first) as events:
            streamed = [event["statusUpdate"]["status"] async for event in events if "statusUpdate" in event]
        asked = (await site.ask("SendMessage", first))["task"]
        listed = await site.ask("ListTasks", {"status": "TASK_STATE_AUTH_REQUIRED"})
        done = (await site.ask("SendMessage", site.message({"data": True}, taskId=asked["id"])))["task"]
        refused = await site.rpc("SendMessage", site.message({"data": True}, taskId=asked["id"]))

    assert [streamed[-1]["state"], asked["status"]["state"]] == ["TASK_STATE_AUTH_REQUIRED"] * 2
    assert streamed[-1]["message"]["parts"][0]["text"] == "May I?"
    assert [one["id"] for one in listed["tasks"]] == [asked["id"]]
    assert done["artifacts"][0]["parts"][0]["text"] == "with leave: True"
    assert refused["error"]["code"] == -32004
