"""A remote agent of the official SDK; the control plane is killed while that works, and while it is being asked."""

import asyncio
import json
import os
import signal
from http.client import HTTPException
from typing import Any

import psutil
from a2a.server.agent_execution import RequestContext
from a2a.server.tasks import TaskUpdater
from a2a.types import Part
from sdk_agent import sdk_agent


class Reviewer:
    """Works as long as it must, and kills the control plane while it is being asked, if it is told to.

    But not before whoever has ordered that knows of the task.
    """

    def __init__(self, tekton: Any) -> None:
        self.go_on, self.ordered = asyncio.Event(), asyncio.Event()
        self.kills = False
        self._tekton = tekton

    async def __call__(self, updater: TaskUpdater, _: RequestContext) -> None:
        if self.kills:
            self.kills = False
            await self.ordered.wait()
            kill(self._tekton)
        await updater.start_work()
        await self.go_on.wait()
        await updater.add_artifact([Part(text="fine")])
        await updater.complete()


def kill(tekton: Any) -> None:
    """Kill the control plane; it is gone on return."""
    process = psutil.Process(tekton.control_pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)


def configured(tekton: Any) -> None:
    tekton.configure({})
    file = tekton.directory / "tekton.json"
    main = json.loads(file.read_text())
    main["tekton"]["security"] = {"callback_networks": ["127.0.0.1/32"]}
    file.write_text(json.dumps(main))


async def test_a_task_of_a_remote_agent_outlives_kill_9_and_is_not_done_twice(tekton: Any, eventually: Any) -> None:
    def order() -> str:
        status, task = tekton.request("POST", "/api/tasks", {"task_type": "code_review", "timeout": 100})
        assert status == 201, task
        return str(task["task_id"])

    def shows(task_id: str, **wanted: Any) -> bool:
        try:
            task = tekton.get(f"/api/tasks/{task_id}")
        except (OSError, HTTPException, ValueError, AssertionError):
            return False
        return all(task[name] == value for name, value in wanted.items())

    async def done(task_id: str) -> None:
        await asyncio.to_thread(
            eventually, lambda: shows(task_id, state="completed", result="fine", failures=[]), "it is done", 60
        )

    configured(tekton)
    reviewer = Reviewer(tekton)
    async with sdk_agent(reviewer) as agent:
        await asyncio.to_thread(tekton.up)
        status, registered = await asyncio.to_thread(tekton.request, "PUT", "/api/agents/reviewer", {"url": agent.url})
        assert status == 201, registered

        working = await asyncio.to_thread(order)
        await asyncio.to_thread(eventually, lambda: shows(working, steps=["a2a:send:1"]), "it is known where it is")
        await asyncio.to_thread(kill, tekton)
        await asyncio.to_thread(eventually, tekton.answers, "it has come back")
        reviewer.go_on.set()
        await done(working)
        sent = [message["messageId"] for message in agent.messages]

        reviewer.kills = True
        asked = await asyncio.to_thread(order)
        reviewer.ordered.set()
        await done(asked)

    assert sent == [f"{working}/a2a:send:1"]
    again = [message["messageId"] for message in agent.messages[1:]]
    assert (set(again), agent.canceled) == ({f"{asked}/a2a:send:1"}, [])
