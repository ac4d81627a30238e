"""Webhooks that hang, redirect, fail for an hour or for good, and those beside them; hours are virtual."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from tekton.a2a.push_store import PushConfig
from tekton.a2a.task_event import Progressed
from tekton.a2a.task_steps import TaskContext
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.service.agents import Agents
from tekton.service.conversations import Conversations
from tekton.service.edge.a2a.push_delivery import AT_ONCE, GIVE_UP, TIMEOUT, PushDelivery
from tekton.service.tasks import Tasks
from tekton.service.work import MemoryStore, Work
from tekton.testing.clock import current_clock, virtual_time
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import TransportError
from tekton.utils.tekton_http import Answer

HOUR = 3600.0

Webhook = Callable[[dict[str, Any]], Awaitable[int]]
"""Takes an event, and answers with a status."""


async def accept(_: dict[str, Any]) -> int:
    """Take everything."""
    return 200


async def hang(_: dict[str, Any]) -> int:
    """Never answer."""
    await asyncio.Event().wait()
    return 0


async def redirect(_: dict[str, Any]) -> int:
    """Send elsewhere: what `GuardedHttp` makes of it."""
    raise TransportError("http://hook", "answered 302: redirects are not followed")


class Post:
    """Carries requests to webhooks, and remembers what each has taken, and when."""

    def __init__(self) -> None:
        self.webhooks: dict[str, Webhook] = {}
        self.tried: list[tuple[float, str]] = []
        self.taken: list[tuple[float, str, str]] = []

    async def send(self, method: str, url: str, body: bytes, _: Mapping[str, str], timeout: float) -> Answer:
        """As `GuardedHttp.send`."""
        assert method == "POST"
        now = current_clock().monotonic()
        self.tried.append((now, url))
        event = json.loads(body)
        try:
            async with asyncio.timeout(timeout):
                status = await self.webhooks[url](event)
        except TimeoutError:
            raise TransportError(url, f"no answer within {timeout:g} s") from None
        if status == 200:
            self.taken.append((now, url, what(event)))
        return Answer(status, {}, b"")

    def of(self, url: str) -> list[str]:
        """What a webhook has taken."""
        return [event for _, one, event in self.taken if one == url]


def what(event: dict[str, Any]) -> str:
    """What was told, in a word."""
    if "artifactUpdate" in event:
        return str(event["artifactUpdate"]["artifact"]["name"])
    status = event["statusUpdate"]["status"]
    parts = status.get("message", {}).get("parts", [])
    return str(parts[0]["text"] if parts else status["state"].removeprefix("TASK_STATE_").lower())


class House:
    """Tasks, and who tells webhooks of them."""

    def __init__(self, tasks: Tasks, work: Work) -> None:
        self.tasks = tasks
        self.work = work
        self.post = Post()
        self.clock = current_clock()
        self.context: TaskContext | None = None
        self.over = asyncio.Event()
        self.delivery = self.deliver()

    def deliver(self) -> PushDelivery:
        """Another one that tells webhooks."""
        return PushDelivery(self.tasks, self.work, self.post.send, self.clock, random.Random(1))

    async def work_on(self, context: TaskContext) -> str:
        """The agent: says what it is told to."""
        self.context = context
        await self.over.wait()
        return "done"

    async def begin(self, owner: str = "ada") -> str:
        """Begin with a task; returns its id when an agent has it."""
        task = self.tasks.manager.create_task("work", owner=owner, timeout=100 * HOUR)
        self.tasks.manager.begin_task(task)
        await turns()
        return task.task_id

    def say(self, text: str) -> None:
        """Have the agent say something."""
        assert self.context is not None
        self.context.progress(1, None, text)

    def add(self, task_id: str, webhook: Webhook, name: str = "one") -> str:
        """Have *webhook* told of a task; returns its URL."""
        url = f"http://{name}"
        self.post.webhooks[url] = webhook
        task = self.tasks.manager.get_task_status(task_id)
        config = PushConfig(task_id, name, url, owner=task.owner, delivered=task.number)
        self.work.push.put(config)
        self.delivery.added(config)
        return url


@asynccontextmanager
async def house() -> AsyncIterator[House]:
    """A house of which the delivery runs."""
    work = Work(MemoryStore())
    async with ComponentRegistry() as registry:
        agents = Agents(registry)
        config = SimpleNamespace(
            max_open_tasks=9,
            max_open_tasks_per_owner=9,
            max_open_size="1G",
            max_open_size_per_owner="1G",
            task_age=1e9,
            task_limit=999,
            conversation_age=None,
            max_conversations_per_owner=9,
            max_messages_per_conversation=9,
            max_conversation_size="1M",
        )
        tasks = Tasks(
            work,
            agents,
            Conversations(work),
            registry,
            remote=cast(Any, None),
            config=cast(TektonConfig, config),
            clock=current_clock(),
        )
        found = House(tasks, work)
        agents.registry.register_agent("worker", ["work"], handler=found.work_on)
        found.delivery.start()
        try:
            yield found
        finally:
            await found.delivery.stop()
            await tasks.stop()


async def turns() -> None:
    """Let everything happen that can happen now."""
    for _ in range(200):
        await asyncio.sleep(0)


@virtual_time
async def test_a_webhook_that_fails_for_an_hour_is_told_everything_in_order_after_it() -> None:
    async with house() as one:
        broken_until = one.clock.monotonic() + HOUR

        async def broken(_: dict[str, Any]) -> int:
            return 500 if one.clock.monotonic() < broken_until else 200

        task_id = await one.begin()
        bad, good = one.add(task_id, broken, "bad"), one.add(task_id, accept, "good")
        for number in range(5):
            one.say(f"step {number}")
            await asyncio.sleep(60)
        one.over.set()
        await turns()
        good_at = one.clock.monotonic()
        everything = ["step 0", "step 1", "step 2", "step 3", "step 4", "result", "completed"]
        assert one.post.of(good) == everything
        assert one.post.of(bad) == []

        await asyncio.sleep(2 * HOUR)

        assert one.post.of(bad) == everything
        assert max(at for at, url, _ in one.post.taken if url == good) <= good_at
        assert len([url for _, url in one.post.tried if url == bad]) < 60
        assert one.delivery.waiting == 0


@virtual_time
async def test_webhooks_that_hang_or_redirect_keep_nobody_from_being_told() -> None:
    async with house() as one:
        task_id = await one.begin()
        for number in range(2 * AT_ONCE):
            one.add(task_id, hang if number % 2 else redirect, f"bad-{number}")
        one.say("first")
        task_id = await one.begin("bob")
        good = one.add(task_id, accept, "good")

        delays: list[float] = []
        for number in range(8):
            began = one.clock.monotonic()
            one.say(f"then {number}")
            await turns()
            delays += [at - began for at, url, event in one.post.taken if (url, event) == (good, f"then {number}")]
            await asyncio.sleep(TIMEOUT / 4)

        assert delays == [0.0] * 8
        assert {url for _, url, _ in one.post.taken} == {good}


@virtual_time
async def test_ever_new_webhooks_that_hang_keep_nobody_from_being_told() -> None:
    async with house() as one:
        hanging = await one.begin()
        delays: list[float] = []
        for number in range(15):
            for more in range(AT_ONCE // 4):
                one.add(hanging, hang, f"bad/{number}/{more}")
            one.tasks.manager._journal.append(hanging, Progressed(number), epoch=1)
            good = one.add(await one.begin("bob"), accept, f"good-{number}")
            began = one.clock.monotonic()
            one.say("hello")
            await turns()
            delays += [at - began for at, url, _ in one.post.taken if url == good]
            await asyncio.sleep(TIMEOUT / 10)

        assert delays == [0.0] * 15
        assert {url for _, url, _ in one.post.taken if "bad" in url} == set()


@virtual_time
async def test_after_a_day_a_webhook_is_given_up() -> None:
    async with house() as one:
        task_id = await one.begin()
        one.add(task_id, hang, "bad")
        one.say("hello")
        await asyncio.sleep(GIVE_UP - HOUR)
        assert one.work.push.get(task_id, "bad") is not None
        assert (one.delivery.delivered, one.delivery.waiting) == (0, 1)
        assert one.delivery.failed == len(one.post.tried)

        await asyncio.sleep(2 * HOUR)

        assert one.work.push.get(task_id, "bad") is None
        assert (one.delivery.dropped, one.delivery.waiting) == (1, 0)
        tried = len(one.post.tried)
        one.say("again")
        await asyncio.sleep(HOUR)
        assert len(one.post.tried) == tried


@virtual_time
async def test_a_webhook_is_tried_for_a_day_from_the_first_failure_on_however_old_the_event_is() -> None:
    answers = iter([503])

    async def broken_once(_: dict[str, Any]) -> int:
        return next(answers, 200)

    async with house() as one:
        task_id = await one.begin()
        url = one.add(task_id, broken_once)
        await one.delivery.stop()
        one.say("before the weekend")
        one.say("and then")
        await asyncio.sleep(2 * GIVE_UP)
        one.delivery = one.deliver()
        one.delivery.start()
        await asyncio.sleep(60)

        assert one.post.of(url) == ["before the weekend", "and then"]
        assert (one.delivery.failed, one.delivery.dropped) == (1, 0)


@virtual_time
async def test_a_webhook_that_is_gone_for_good_is_told_nothing_more() -> None:
    async def gone(_: dict[str, Any]) -> int:
        return 410

    async with house() as one:
        task_id = await one.begin()
        one.add(task_id, gone)
        one.say("hello")
        await turns()
        one.say("again")
        await asyncio.sleep(HOUR)

        assert len(one.post.tried) == 1
        assert one.work.push.of_task(task_id) == []


@virtual_time
async def test_a_configuration_that_is_deleted_is_told_nothing_more() -> None:
    async with house() as one:
        task_id = await one.begin()
        url = one.add(task_id, accept)
        one.say("hello")
        await turns()
        one.work.push.delete(task_id, "one")
        one.say("again")
        await asyncio.sleep(HOUR)

        assert one.post.of(url) == ["hello"]


@virtual_time
async def test_a_configuration_that_is_changed_is_tried_at_once_and_by_one_only() -> None:
    slow, taken = asyncio.Semaphore(1), 0

    async def one_at_a_time(_: dict[str, Any]) -> int:
        nonlocal taken
        assert not slow.locked()
        async with slow:
            await asyncio.sleep(5)
            taken += 1
        return 200

    async def broken(_: dict[str, Any]) -> int:
        return 500

    async with house() as one:
        task_id = await one.begin()
        one.add(task_id, broken)
        for number in range(3):
            one.say(f"step {number}")
        await asyncio.sleep(HOUR)
        config = one.work.push.get(task_id, "one")
        assert config is not None
        one.post.webhooks["http://one"] = one_at_a_time
        began = one.clock.monotonic()
        one.work.push.put(config)
        one.delivery.added(config)
        one.delivery.added(config)
        await asyncio.sleep(HOUR)

        assert one.post.of("http://one") == ["step 0", "step 1", "step 2"]
        assert taken == 3
        assert [at - began for at, _, _ in one.post.taken] == [0.0, 5.0, 10.0]


@virtual_time
async def test_what_comes_after_a_change_goes_where_the_configuration_is_now() -> None:
    changed = asyncio.Event()

    async def slow(_: dict[str, Any]) -> int:
        await changed.wait()
        return 200

    async with house() as one:
        task_id = await one.begin()
        before = one.add(task_id, slow)
        for number in range(3):
            one.say(f"step {number}")
        await turns()
        config = one.work.push.get(task_id, "one")
        assert config is not None
        after = "http://other"
        one.post.webhooks[after] = accept
        one.work.push.put(msgspec.structs.replace(config, url=after))
        one.delivery.added(msgspec.structs.replace(config, url=after))
        changed.set()
        await turns()

        assert (one.post.of(before), one.post.of(after)) == (["step 0"], ["step 1", "step 2"])


@virtual_time
async def test_a_restart_leaves_nothing_out_and_repeats_nothing_that_has_arrived() -> None:
    async with house() as one:
        task_id = await one.begin()
        url = one.add(task_id, accept)
        one.say("before")
        await turns()
        await one.delivery.stop()
        one.say("between")
        one.delivery = one.deliver()
        one.delivery.start()
        await turns()
        one.say("after")
        one.over.set()
        await turns()

        assert one.post.of(url) == ["before", "between", "after", "result", "completed"]


@virtual_time
async def test_a_task_that_was_there_before_is_told_of_when_something_happens_again() -> None:
    async with house() as one:
        task_id = await one.begin()
        url = one.add(task_id, accept)
        await turns()
        await one.delivery.stop()
        one.delivery = one.deliver()
        one.delivery.start()
        await turns()
        one.say("after")
        one.say("and then")
        await asyncio.sleep(1)

        assert one.post.of(url) == ["after", "and then"]


@virtual_time
async def test_what_an_event_was_told_of_in_part_is_told_again_whole() -> None:
    answers = iter([200, 500])

    async def half(_: dict[str, Any]) -> int:
        return next(answers, 200)

    async with house() as one:
        task_id = await one.begin()
        url = one.add(task_id, half)
        one.over.set()
        await asyncio.sleep(HOUR)

        assert one.post.of(url) == ["result", "result", "completed"]
