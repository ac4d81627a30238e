"""What the control plane tells on the bus, and that it does nothing for it while nobody listens."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tekton.auth.principal import OWNER
from tekton.bus.bus import MAX_MESSAGE, Subscription
from tekton.bus.envelope import Envelope
from tekton.bus.live import LiveBus
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.history.store import MemoryTelemetryStore
from tekton.core.lifecycle import ComponentRegistration
from tekton.gateway.topics import Conflated
from tekton.mcp.message_type import MessageType
from tekton.service.agent_calls import AgentCalls
from tekton.service.agents import Agents
from tekton.service.bus_feeds import AT_ONCE, BusFeeds, event
from tekton.service.conversations import Conversations
from tekton.service.log_feed import LogFeed
from tekton.service.tasks import Tasks
from tekton.service.tracing import Tracing
from tekton.service.work import MemoryStore, Work
from tekton.testing.clock import ManualClock
from tekton.utils.tekton_config import TektonConfig


class Plane:
    """What tells something, and a bus on which it is told."""

    def __init__(self, directory: Path) -> None:
        self.files = {unit: directory / f"{unit}.log" for unit in ("web", "web.1", "db")}
        for path in self.files.values():
            path.touch()
        self.clock = ManualClock()
        self.live = LiveBus(self.clock)
        self.registry = ComponentRegistry()
        self.logs = LogFeed(lambda: self.files, look=0.001)
        self.tracing = Tracing(MemoryTelemetryStore(), clock=self.clock)
        self.metrics, self.resources = Conflated(), Conflated()
        agents, work = Agents(self.registry), Work(MemoryStore())
        agents.registry.register_agent("echo", ["echo"], handler=lambda text: text)
        config = TektonConfig.load(environ={"HOME": str(directory)}, cwd=directory)
        self.tasks = Tasks(
            work, agents, Conversations(work), self.registry, remote=AgentCalls(), config=config, clock=self.clock
        )
        self.feeds = BusFeeds(
            self.live,
            self.registry.feed,
            self.logs,
            self.tracing,
            self.tasks,
            metrics=self.metrics.values,
            resources=self.resources.values,
            clock=self.clock,
        )

    async def register(self, component_id: str, **more: Any) -> None:
        await self.registry.register(ComponentRegistration(component_id=component_id, **more))

    def log(self, unit: str, *lines: str) -> None:
        with self.files[unit].open("a") as log:
            log.write("".join(f"{line}\n" for line in lines))


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    made = Plane(tmp_path)
    made.tracing.start()
    made.feeds.start()
    yield made
    await made.feeds.stop()
    await made.logs.stop()
    await made.tracing.stop()
    await made.registry.close()


async def taken(subscription: Subscription, count: int) -> list[Envelope]:
    found: list[Envelope] = []
    async with asyncio.timeout(10):
        async for batch in subscription.batches():
            found += batch
            if len(found) >= count:
                break
    return found


async def one(subscription: Subscription) -> Envelope:
    [found] = await taken(subscription, 1)
    return found


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nothing of ours tells
            await asyncio.sleep(0.001)


@asynccontextmanager
async def following(plane: Plane, pattern: str) -> AsyncIterator[Subscription]:
    """A subscription to logs, when they are being read."""
    async with plane.live.subscribe(pattern) as subscription:
        await until(lambda: len(plane.logs) == 1)
        [follower] = plane.logs._followers
        await follower.began.wait()
        yield subscription


async def test_a_change_of_a_component_is_told_under_its_id(plane: Plane) -> None:
    async with plane.live.subscribe("tekton.components.web") as updates:
        await plane.register("db")
        await plane.register("web", version="1.2.3")

        told = await one(updates)

    message = told.message
    assert (told.subject, message.message_type, message.context.sender) == (
        "tekton.components.web",
        MessageType.EVENT,
        "tekton",
    )
    assert (message.content["kind"], message.content["record"]["version"]) == ("registered", "1.2.3")
    assert message.timestamp == plane.clock.time()


async def test_nothing_is_told_while_nobody_listens(plane: Plane) -> None:
    before = plane.live.published
    async with plane.live.subscribe(">"), plane.live.subscribe("tekton.other"):
        await plane.register("web")

    assert plane.live.published == before
    assert (len(plane.logs), plane.metrics.watchers, plane.resources.watchers) == (0, 0, 0)


async def test_who_leaves_ends_what_was_done_for_him(plane: Plane) -> None:
    async with plane.live.subscribe("tekton.>"):
        await until(lambda: len(plane.logs) == 1 and plane.metrics.watchers == plane.resources.watchers == 1)
    before = plane.live.published
    await plane.register("web")

    await until(lambda: len(plane.logs) == plane.metrics.watchers == plane.resources.watchers == 0)
    assert plane.live.published == before


async def test_a_value_is_told_as_it_is_and_when_it_is_replaced(plane: Plane) -> None:
    plane.metrics.publish({"cpu": 1})
    async with plane.live.subscribe("tekton.metrics") as metrics, plane.live.subscribe("tekton.resources") as others:
        assert (await one(metrics)).message.content == {"cpu": 1}
        plane.metrics.publish({"cpu": 2})
        plane.resources.publish({"memory": 3})

        assert (await one(metrics)).message.content == {"cpu": 2}
        assert (await one(others)).message.content == {"memory": 3}


async def test_lines_are_told_by_unit_and_only_those_that_are_wanted(plane: Plane) -> None:
    async with following(plane, "tekton.logs.web.>") as lines:
        plane.log("db", "private")
        plane.log("web.1", json.dumps({"message": "hello", "level": "info", "user": 7}), "plain")

        told = await one(lines)

    assert told.subject == "tekton.logs.web.1"
    first, second = told.message.content["lines"]
    assert (first["message"], first["level"], first["fields"], second["line"]) == (
        "hello",
        "info",
        {"user": 7},
        "plain",
    )
    assert told.message.content["dropped"] == 0


async def test_many_lines_are_told_in_several_messages(plane: Plane) -> None:
    async with following(plane, "tekton.logs.*") as lines:
        plane.log("web", *(f"line {number}" for number in range(2 * AT_ONCE)))

        told = await taken(lines, 2)

    written = [line["line"] for envelope in told for line in envelope.message.content["lines"]]
    assert all(len(envelope.message.content["lines"]) <= AT_ONCE for envelope in told)
    assert written == [f"line {number}" for number in range(len(written))]


async def test_a_line_that_is_nested_too_deep_is_told_as_text(plane: Plane) -> None:
    deep = json.dumps({"message": "deep", "a": json.loads("[" * 70 + "]" * 70)})
    async with following(plane, "tekton.logs.db") as lines:
        plane.log("db", deep)

        [line] = (await one(lines)).message.content["lines"]

    assert line["line"] == deep
    assert "fields" not in line


async def test_spans_are_told_as_they_end(plane: Plane) -> None:
    async with plane.live.subscribe("tekton.spans") as spans:
        await asyncio.sleep(0)
        with plane.tracing.tracer.begin("work"):
            pass
        told = (await one(spans)).message.content

    assert [span["name"] for span in told["spans"]] == ["work"]
    assert told["missed"] == 0


async def test_what_can_be_no_message_is_passed_over(plane: Plane, caplog: pytest.LogCaptureFixture) -> None:
    async with plane.live.subscribe("tekton.metrics") as metrics:
        plane.metrics.publish("x" * MAX_MESSAGE)
        await until(lambda: "tekton.metrics" in caplog.text)
        plane.metrics.publish("x")

        assert (await one(metrics)).message.content == "x"


async def test_after_the_stop_nothing_is_told(plane: Plane) -> None:
    async with plane.live.subscribe("tekton.>"):
        await plane.feeds.stop()
        before = plane.live.published
        await plane.register("web")
        plane.metrics.publish(1)

        assert plane.live.published == before
        assert plane.metrics.watchers == 0
    async with plane.live.subscribe("tekton.>"):
        assert plane.metrics.watchers == 0


@pytest.mark.parametrize("content", [b"[" * 70 + b"]" * 70, b'{"a":1,"a":2}', b"x"])
def test_what_no_reader_would_take_is_no_event(content: bytes) -> None:
    assert event(content, 1.0) is None


async def test_each_event_of_a_task_is_told_under_its_id(plane: Plane) -> None:
    async with plane.live.subscribe("tekton.tasks.>") as updates:
        task = await plane.tasks.create(OWNER, "echo", {"text": "hello"})

        told = await taken(updates, 3)

    assert {one.subject for one in told} == {f"tekton.tasks.{task.task_id}"}
    assert [(one.message.content["event"], one.message.content["state"]) for one in told] == [
        ("created", "submitted"),
        ("leased", "working"),
        ("completed", "completed"),
    ]
    assert (told[0].message.content["inputs"], told[2].message.content["result"]) == ({"text": "hello"}, "hello")


async def test_many_events_of_tasks_leave_others_their_turns(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    read = plane.tasks.manager.events
    told = 0

    def counted(*args: Any) -> Any:
        nonlocal told
        told += 1
        return read(*args)

    monkeypatch.setattr(plane.tasks.manager, "events", counted)
    async with plane.live.subscribe("tekton.tasks.>"), asyncio.timeout(20):
        for _ in range(1000):
            plane.tasks.manager.create_task("echo")
        at_once: list[int] = []
        while told < 1000:
            before = told
            await asyncio.sleep(0)
            at_once.append(told - before)

    assert max(at_once) <= 200


async def test_an_event_of_a_task_that_is_too_large_for_a_message_is_told_in_a_few_words(plane: Plane) -> None:
    async with plane.live.subscribe("tekton.tasks.>") as updates:
        await plane.tasks.create(OWNER, "echo", {"text": "x" * (MAX_MESSAGE - 100)})

        [created, *_] = await taken(updates, 1)

    assert created.message.content["event"] == "created"
    assert "inputs" not in created.message.content
