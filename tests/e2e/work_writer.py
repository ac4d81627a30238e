"""Carries out tasks and says things in conversations until it is killed, and says what is durable.

    ran <task> <step>              a step is being run
    done <task> <step>             it is durable, and never will be run again
    over <task> <result>           a task is over
    said <speaker> <number> <seq>  a message is durable, under its number in the conversation

A speaker goes on with the number that it is told. With "finish" nothing new is begun, and it ends when all is over.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from uuid import UUID

from tekton import failpoints
from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.conversation import Conversation
from tekton.a2a.message import AgentMessage
from tekton.a2a.push_store import PushConfig
from tekton.a2a.task_manager import TaskManager
from tekton.a2a.task_steps import TaskContext
from tekton.a2a.work.work_store import FILE_NAME, WorkStore
from tekton.utils.tekton_errors import ConversationNotFoundError

EXECUTING = 16


def say(line: str) -> None:
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


async def work(steps: int, context: TaskContext) -> list[str]:
    results = []
    for number in range(steps):

        async def run(label: str = f"s{number}") -> str:
            say(f"ran {context.task_id} {label}")
            return label

        results.append(await context.step(f"s{number}", run, repeatable=number % 4 != 3))
        say(f"done {context.task_id} s{number}")
    return results


async def execute(tasks: TaskManager, store: WorkStore, worker: int) -> None:
    number = worker
    while True:
        number += 1
        task = tasks.create_task("work", {"steps": number % 6}, timeout=3600)
        store.push.put(PushConfig(task.task_id, "hook", "https://example.org"))
        result = await tasks.execute_task(task)
        say(f"over {task.task_id} {json.dumps(result, separators=(',', ':'))}")
        if number % 5 == 0:
            tasks.forget_task(task)


async def speak(store: WorkStore, speaker: int, number: int) -> None:
    name = f"talk-{speaker}"
    try:
        talk = Conversation.resume(name, store.conversations)
    except ConversationNotFoundError:
        talk = Conversation(name, f"speaker-{speaker}", store=store.conversations)
    while True:
        id_ = str(UUID(int=(speaker << 64) + number, version=4))
        message = AgentMessage(f"speaker-{speaker}", number, {"newest": number}, message_id=id_, timestamp=1.0)
        sequence = talk.add_message(message)
        await talk.flush()
        say(f"said {speaker} {number} {sequence}")
        number += 1


async def finish(tasks: TaskManager, taken: list[str]) -> None:
    for task_id in taken:
        try:
            result = json.dumps(await tasks.execute_task(task_id), separators=(",", ":"))
        except Exception as error:
            result = str(getattr(error, "failed", error))
        say(f"over {task_id} {result}")


async def main(directory: Path, how: str, numbers: list[int]) -> None:
    store = await WorkStore.open(directory / FILE_NAME)
    agents = AgentRegistry()
    agents.register_agent("worker", ["work"], handler=work)
    tasks = TaskManager(agents, log=store.tasks)
    taken = tasks.resume()
    say("up")
    if how == "finish":
        await finish(tasks, taken)
        await tasks.close()
        await store.close()
        return
    failpoints.arm(failpoints.parse(how))
    async with asyncio.TaskGroup() as group:
        for worker in range(EXECUTING):
            group.create_task(execute(tasks, store, worker))
        for speaker, number in enumerate(numbers):
            group.create_task(speak(store, speaker, number))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])))
