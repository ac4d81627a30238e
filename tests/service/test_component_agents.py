"""Agents of real components in the control plane: where their work goes, and how it survives both sides."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest
from leaps import Leaps

from tekton.a2a.task import Task, TaskState
from tekton.a2a.task_event import Leased
from tekton.a2a.task_steps import TaskContext
from tekton.auth.principal import OWNER
from tekton.component import Component, agent_job
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.core.offered_agents import OfferedAgent
from tekton.service import component_agents
from tekton.testing import control_plane
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.tekton_http import HttpClient

PATIENCE = 20.0


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("TEKTON_URL", "TEKTON_SOCKET", "TEKTON_CREDENTIAL_FILE", "TEKTON_PORT", "PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(component_agents, "BACKOFF", (0.01, 0.1))
    monkeypatch.setattr(agent_job, "BACKOFF", (0.01, 0.1))


@pytest.fixture
async def plane() -> AsyncIterator[InMemoryControlPlane]:
    async with InMemoryControlPlane() as plane:
        yield plane


class Work:
    """What the agents of a test do: steps that are counted, one of which waits until it may go on."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()

    def first(self) -> str:
        self.done.append("first")
        return "first"

    async def second(self) -> str:
        self.begun.set()
        await self.go_on.wait()
        self.done.append("second")
        return "second"

    async def do(self, context: TaskContext) -> list[str]:
        return [await context.step("first", self.first), await context.step("second", self.second)]


async def shop(plane: InMemoryControlPlane, handler: Callable[..., Any], **options: Any) -> Component:
    app = Component("shop", port=0, control_plane=plane.address, **{"stop_timeout": 2.0, **options})
    app.agent("reviewer", capabilities=["review"])(handler)
    return app


async def ready(plane: InMemoryControlPlane, app: Component) -> None:
    uuid = app.registration.instance_uuid
    async with asyncio.timeout(PATIENCE):
        await app.wait_ready()
        await plane.registry.wait_until(
            "shop",
            lambda _: (record := plane.registry.instance("shop", uuid)) is not None and record.discoverable,
        )


async def begin(plane: InMemoryControlPlane) -> Task:
    return await plane.tasks.create(OWNER, "review", {})


async def until(plane: InMemoryControlPlane, task: Task, condition: Callable[[Task], bool]) -> Task:
    manager = plane.tasks.manager
    async with asyncio.timeout(PATIENCE):
        while not condition(now := manager.get_task_status(task)):
            await manager.next_change(task.task_id)
    return now


async def begin_and_wait(plane: InMemoryControlPlane, working: int) -> Task:
    """Begin a task, and wait until so many are worked on."""
    task = await begin(plane)
    async with asyncio.timeout(PATIENCE):
        while plane.component_agents.working < working:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.001)
    return task


async def at_work(plane: InMemoryControlPlane, task: Task, work: Work) -> None:
    """Wait until an instance works on a task, and the control plane knows which."""
    async with asyncio.timeout(PATIENCE):
        await work.begun.wait()
        while plane.component_agents._attempts[task.task_id].instance is None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)


async def over(plane: InMemoryControlPlane, task: Task) -> Task:
    return await until(plane, task, lambda task: task.state.over)


def leases(plane: InMemoryControlPlane, task: Task) -> int:
    return sum(isinstance(event.change, Leased) for event in plane.tasks.manager.events(task))


async def test_a_task_is_done_where_its_agent_is(plane: InMemoryControlPlane) -> None:
    async def handler(context: TaskContext) -> Any:
        name = await context.step("name", lambda: "Ada")
        return {name: await context.ask("Really?")}

    async with await shop(plane, handler) as app:
        await ready(plane, app)
        task = await begin(plane)
        await until(plane, task, lambda task: task.state.waiting)
        await plane.tasks.answer(OWNER, task.task_id, "yes")
        done = await over(plane, task)

    assert (done.state, done.result, done.epoch) == (TaskState.COMPLETED, {"Ada": "yes"}, 1)


async def test_a_component_that_asks_who_calls_is_shown_a_token(plane: InMemoryControlPlane) -> None:
    credential = await plane.token("shop", "component")
    work = Work()
    work.go_on.set()
    app = Component("shop", port=0, control_plane=plane.address_of(credential), auth=True)
    app.agent("reviewer", capabilities=["review"])(work.do)
    async with app:
        await ready(plane, app)
        async with HttpClient(f"http://127.0.0.1:{app.port}") as client:
            notice = {"task_id": "t1", "epoch": 1}
            stranger = await client.send("POST", "/api/agents/reviewer/tasks", notice)
        done = await over(plane, await begin(plane))

    assert (stranger.status, done.result) == (401, ["first", "second"])


async def test_work_that_was_called_off_ends(plane: InMemoryControlPlane) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def handler() -> None:
        begun.set()
        try:
            await asyncio.sleep(1e6)
        finally:
            ended.set()

    async with await shop(plane, handler) as app:
        await ready(plane, app)
        task = await begin(plane)
        async with asyncio.timeout(PATIENCE):
            await begun.wait()
        await plane.tasks.cancel(OWNER, task.task_id)
        async with asyncio.timeout(PATIENCE):
            await ended.wait()


async def test_the_next_instance_goes_on_where_one_was_killed(plane: InMemoryControlPlane) -> None:
    work = Work()
    apps = [await shop(plane, work.do, max_instances=2) for _ in range(2)]
    async with AsyncExitStack() as stack:
        for app in apps:
            await stack.enter_async_context(app)
            await ready(plane, app)
        task = await begin(plane)
        await at_work(plane, task, work)
        [busy] = [app for app in apps if app.agent_work.tasks]
        dead = busy.registration
        await busy.crash()
        work.go_on.set()
        await plane.registry.set_state("shop", dead.instance_uuid, ComponentState.FAILED, "it was killed")
        done = await over(plane, task)

    assert (done.result, sorted(work.done)) == (["first", "second"], ["first", "second"])
    assert [failure.code for failure in done.failures] == ["agent_lost"]
    assert done.failures[0].reason == "its component shop has ended: it was killed"


async def test_all_agents_of_a_component_that_has_ended_name_the_one_that_was_at_work(
    plane: InMemoryControlPlane,
) -> None:
    async def idle() -> None:
        """Never asked."""

    work = Work()
    address = plane.address_of(await plane.token("otto", "operator"))
    app = await shop(plane, work.do)
    app.agent("writer", capabilities=["writing"])(idle)
    async with app, address.client(PATIENCE) as client:
        await ready(plane, app)
        task = await begin(plane)
        await at_work(plane, task, work)
        instance = app.registration.instance_uuid
        await app.crash()
        await plane.registry.set_state("shop", instance, ComponentState.FAILED, "no heartbeat for 30 s")

        view = msgspec.json.decode((await client.send("GET", "/api/agents/writer")).body)

    reason = "its component shop is failed: no heartbeat for 30 s; at work then: reviewer"
    assert (view["health"], view["reason"]) == ("unusable", reason)
    async with await shop(plane, work.do) as again:
        await ready(plane, again)
        assert plane.component_agents.at_work("shop") == []


async def test_an_instance_that_stops_gives_back_what_it_has(plane: InMemoryControlPlane) -> None:
    work, leaps = Work(), Leaps()
    async with await shop(plane, work.do, stop_timeout=60.0) as app, asyncio.TaskGroup() as group:
        await ready(plane, app)
        task = await begin(plane)
        async with asyncio.timeout(PATIENCE):
            await work.begun.wait()
            group.create_task(app.stop())
            while app.agent_work._workshop is not None:  # noqa: ASYNC110 - nothing tells that it leaves
                await asyncio.sleep(0)
        leaps.leap(21.0)  # for so long the step in progress is waited for
    given_back = plane.tasks.manager.get_task_status(task)
    work.go_on.set()
    async with await shop(plane, work.do) as app:
        await ready(plane, app)
        done = await over(plane, task)

    assert [failure.reason for failure in given_back.failures] == ["its component is stopping"]
    assert (done.result, work.done) == (["first", "second"], ["first", "second"])


async def test_an_instance_that_cannot_be_reached_is_passed_over(plane: InMemoryControlPlane) -> None:
    work = Work()
    work.go_on.set()
    for port in (1, 2, 3):
        offered = OfferedAgent(agent_id="reviewer", capabilities=("review",))
        registration = ComponentRegistration(
            component_id="shop", endpoint=f"http://127.0.0.1:{port}", agents=(offered,), max_instances=9
        )
        await plane.registry.register(registration)
        await plane.registry.make_ready("shop", registration.instance_uuid)
    async with await shop(plane, work.do, max_instances=9) as app:
        await ready(plane, app)
        done = [await over(plane, await begin(plane)) for _ in range(3)]

    assert [(task.result, leases(plane, task)) for task in done] == [(["first", "second"], 1)] * 3


async def test_no_notice_goes_where_no_address_may_be_called(plane: InMemoryControlPlane) -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    plane.component_agents.keep_from(port)
    offered = OfferedAgent(agent_id="reviewer", capabilities=("review",))
    registration = ComponentRegistration(component_id="shop", endpoint=f"http://127.0.0.1:{port}", agents=(offered,))
    await plane.registry.register(registration)
    await plane.registry.make_ready("shop", registration.instance_uuid)
    plane.component_agents.lease = 0.3
    task = await begin(plane)
    await until(plane, task, lambda task: bool(task.failures))
    await plane.tasks.cancel(OWNER, task.task_id)
    server.close()
    await server.wait_closed()

    assert heard == []


async def test_of_several_instances_it_is_the_same_one_after_a_restart(plane: InMemoryControlPlane) -> None:
    work = Work()
    apps = [await shop(plane, work.do, max_instances=5) for _ in range(5)]
    async with AsyncExitStack() as stack:
        for app in apps:
            await stack.enter_async_context(app)
            await ready(plane, app)
        task = await begin(plane)
        async with asyncio.timeout(PATIENCE):
            await work.begun.wait()
        await restart(plane)
        await until(plane, task, lambda task: task.epoch == 2)
        work.go_on.set()
        done = await over(plane, task)

    assert (done.result, work.done, leases(plane, task)) == (["first", "second"], ["first", "second"], 2)


async def restart(plane: InMemoryControlPlane) -> None:
    """Have those who have tasks done begin anew, with nothing but what is in the log, as after `kill -9`."""
    await plane.tasks.stop()
    await plane.component_agents.stop()
    plane.component_agents = control_plane._component_agents(plane)
    plane.agent_calls.components = plane.component_agents
    plane.tasks = control_plane._tasks(plane)
    plane.component_agents.start()
    plane.tasks.resume(patience=PATIENCE)


async def test_of_two_agents_the_one_with_less_to_do_is_asked(plane: InMemoryControlPlane) -> None:
    work = Work()
    app = Component("shop", port=0, control_plane=plane.address)
    for name in ("ada", "bob"):
        app.agent(name, capabilities=["review"])(work.do)
    async with app:
        await ready(plane, app)
        tasks = [await begin_and_wait(plane, number) for number in range(1, 5)]
        working = [plane.tasks.manager.get_task_status(task) for task in tasks]
        work.go_on.set()
        await asyncio.gather(*(over(plane, task) for task in tasks))

    assert [task.lease and task.lease.agent_id for task in working] == ["ada", "bob", "ada", "bob"]
    assert plane.agents.registry.load("ada") == 0


async def test_who_works_on_a_task_is_asked_first_and_who_was_lost_with_it_last(plane: InMemoryControlPlane) -> None:
    for port in (1, 2, 3, 4):
        offered = OfferedAgent(agent_id="reviewer", capabilities=("review",))
        registration = ComponentRegistration(
            component_id="shop", endpoint=f"http://127.0.0.1:{port}", agents=(offered,), max_instances=9
        )
        await plane.registry.register(registration)
        await plane.registry.make_ready("shop", registration.instance_uuid)
    agents = plane.component_agents
    task = await begin_and_wait(plane, 1)

    def order() -> list[str]:
        return [record.instance_uuid for record in agents._candidates(agents._attempts[task.task_id])]

    before = order()
    known = agents._note(task.task_id, "shop")
    known.lost, known.worker = before[0], before[2]
    after = order()
    plane.registry.observe_serving("shop", before[2], False, "busy")
    busy = order()
    plane.registry.observe_serving("shop", before[1], False, "busy")

    assert after == [before[2], before[1], before[3], before[0]]
    assert busy == after, "it works on the task already"
    assert order() == [before[2], before[3], before[0]]
