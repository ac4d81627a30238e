"""What is read of agents, tasks, conversations, and of the file in which these are."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tekton.a2a.agent import AgentHealth
from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.message import AgentMessage
from tekton.a2a.task_manager import TaskManager
from tekton.a2a.work.work_store import WorkStore
from tekton.a2a.work.writer import COMMIT_SECONDS
from tekton.auth.principal import OWNER
from tekton.core.metrics.catalogue import METRICS
from tekton.service.readings.work import agents, conversations, tasks, work
from tekton.service.tasks import Tasks
from tekton.service.work import Work
from tekton.testing.clock import ManualClock
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import TaskFailedError

Read = Callable[..., Any]


@pytest.fixture
async def plane() -> AsyncIterator[InMemoryControlPlane]:
    async with InMemoryControlPlane() as plane:
        yield plane


def test_agents_are_counted_by_what_can_be_expected_of_them(read: Read) -> None:
    registry = AgentRegistry()
    for name in ("a", "b", "c"):
        registry.register_agent(name, ["review"], handler=print)
    registry.mark("b", AgentHealth.UNUSABLE, "it does not answer")

    found = read(partial(agents, registry), "tekton_agents")

    assert found == {("usable",): 2, ("impaired",): 0, ("unusable",): 1}


async def test_tasks_are_read_with_the_age_of_the_oldest_that_is_open(plane: InMemoryControlPlane, read: Read) -> None:
    manager = plane.tasks.manager
    plane.agents.registry.register_agent("reviewer", ["review"], handler=lambda: 1 / 0)
    open_task = manager.create_task("review")
    with pytest.raises(TaskFailedError):
        await manager.execute_task(manager.create_task("review"))

    reader = partial(tasks, plane.tasks, ManualClock(wall=open_task.created_at + 7.0))

    assert read(reader, "tekton_tasks_oldest_age") == 7.0
    assert read(reader, "tekton_tasks_created", "review") == 2
    assert read(reader, "tekton_tasks_ended", "review", "failed") == 1
    assert read(reader, "tekton_tasks_open", "submitted") == 1
    assert read(reader, "tekton_task_late_answers") == 0
    manager.cancel_task(open_task)
    assert read(reader, "tekton_tasks_oldest_age") == 0.0


async def test_what_is_said_in_conversations_is_counted(plane: InMemoryControlPlane, read: Read) -> None:
    begun = await plane.conversations.begin(OWNER, ["reviewer"])
    question = AgentMessage("owner", "Can we go?")
    for message in (question, question, AgentMessage("owner", "Well?")):  # the second is there already
        await plane.conversations.say(OWNER, begun.conversation_id, message)

    reader = partial(conversations, plane.conversations)
    plane.tasks.talk_retention.forgotten = 3

    assert read(partial(tasks, plane.tasks, ManualClock()), "tekton_conversations_forgotten") == 3
    assert read(reader, "tekton_conversations_begun") == 1
    assert read(reader, "tekton_conversation_messages") == 2


async def test_the_file_is_read_with_the_time_of_its_commits(tmp_path: Path, read: Read) -> None:
    store = await WorkStore.open(tmp_path / "work.db")
    kept = Work(store)
    reader = partial(work, kept)
    TaskManager(AgentRegistry(), log=kept.tasks).create_task("review")

    waiting = read(reader, "tekton_work_waiting")
    await kept.flush()

    assert (waiting, read(reader, "tekton_work_waiting")) == (1, 0)
    assert read(reader, "tekton_work_commit_duration").count == 1
    assert read(reader, "tekton_work_available") == 1
    assert read(reader, "tekton_work_full") == 0
    assert read(reader, "tekton_tasks_open_size") > 50
    assert read(reader, "tekton_work_damaged") == 0
    store._file.damage.note("the task a", ValueError("no"))
    assert (read(reader, "tekton_work_damaged"), kept.problems) == (1, ["tasks: damaged"])
    await kept.stop()


async def test_a_file_that_cannot_be_used_is_told(plane: InMemoryControlPlane, read: Read, tmp_path: Path) -> None:
    unreadable = Work(None)
    config = TektonConfig.load(None, environ={"TEKTON_DATA_DIR": str(tmp_path)}, cwd=tmp_path)
    found = Tasks(
        unreadable, plane.agents, plane.conversations, plane.registry, remote=plane.agent_calls, config=config
    )

    assert read(partial(work, unreadable), "tekton_work_available") == 0
    assert read(partial(tasks, found, ManualClock()), "tekton_tasks_oldest_age") == 0.0


def test_the_bounds_of_the_times_of_commits_are_those_of_the_metric() -> None:
    (described,) = (one for one in METRICS if one.metric.name == "tekton_work_commit_duration")

    assert described.metric.buckets == COMMIT_SECONDS
