"""The bus of a real control plane over its port: kills of it, a handler that takes its process along, a refusal.

`TEKTON_BUS_PORT_KILLS` sets how often the control plane is killed (2).
"""

import asyncio
import http.client
import json
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tekton.bus.bus import ConsumerSettings, Receipt
from tekton.bus.envelope import Envelope
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.testing import free_port
from tekton.utils.bus_client import BusClient
from tekton.utils.control_plane import ControlPlane

KILLS = int(os.environ.get("TEKTON_BUS_PORT_KILLS", "2"))
PUBLISHERS = 8
PER_LIFE = 200
"""Messages that are acknowledged before the next kill."""
STREAMS = {"kept": {"subjects": ["kept.>"]}, "work": {"subjects": ["work.>"], "work_queue": True}}

POISONED = """
import os
import tekton
from tekton.bus.bus import ConsumerSettings
from tekton.mcp.message import Message

app = tekton.Component("poisoned")


@app.consume("jobs", settings=ConsumerSettings(ack_wait=5.0, max_deliver=3, backoff=(0.0,)))
async def work(message: Message) -> None:
    with open(os.environ["SEEN"], "a") as seen:
        seen.write(f"{message.content}\\n")
    if message.content == "poison":
        os._exit(3)


app.run()
"""

Key = tuple[int, int]


@pytest.fixture(scope="module")
def system(start_tekton: Any, tmp_path_factory: Any) -> Iterator[Any]:
    """A control plane, and a component that dies of certain messages."""
    tekton = start_tekton(tmp_path_factory.mktemp("bus"))
    (tekton.directory / "poisoned.py").write_text(POISONED)
    poisoned = {
        "command": [sys.executable, "poisoned.py"],
        "port": free_port(),
        "env": {"SEEN": str(tekton.directory / "seen")},
        "ready": {"http": "/api/ready", "interval": 0.1},
        "restart": {"policy": "always", "max": 10, "backoff": [0.1, 0.2]},
    }
    tekton.configure({"poisoned": poisoned})
    file = tekton.directory / "tekton.json"
    settings = json.loads(file.read_text())
    settings["tekton"]["bus"] = {"streams": {"jobs": {"subjects": ["jobs.>"]}, **STREAMS}}
    file.write_text(json.dumps(settings))
    tekton.up()
    yield tekton
    tekton.kill()


def message(content: Any) -> Message:
    return Message(MessageType.EVENT, content, MessageContext("owner"))


def client(system: Any) -> BusClient:
    credential = (system.data_dir / "run" / "credential").read_text()
    return BusClient(ControlPlane(f"http://127.0.0.1:{system.port}", credential=credential))


class Campaign:
    """Who publishes and consumes while the control plane is killed, and what they were told."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, dict[Key, int]] = {name: {} for name in STREAMS}
        self.consumed: dict[str, dict[Key, set[int]]] = {name: defaultdict(set) for name in STREAMS}
        self.stopping = False
        self.changed = asyncio.Event()

    async def publish(self, bus: BusClient, publisher: int) -> None:
        """One at a time and several at a time, to both streams, until it is enough."""
        number = 0
        while not self.stopping:
            numbers = range(number, number + 1 + number % 3)
            for stream, acknowledged in self.acknowledged.items():
                receipts = await self._send(bus, f"{stream}.{publisher}", [[publisher, one] for one in numbers])
                for one, receipt in zip(numbers, receipts, strict=True):
                    assert receipt.stream == stream
                    acknowledged[publisher, one] = receipt.sequence
            number = numbers.stop
            self.changed.set()

    async def _send(self, bus: BusClient, subject: str, contents: list[Any]) -> list[Receipt]:
        messages = [message(content) for content in contents]
        if len(messages) == 1:
            return [await bus.publish(subject, messages[0])]
        return list(await bus.publish_many([Envelope(subject, one) for one in messages]))

    async def consume(self, bus: BusClient, stream: str) -> None:
        settings = ConsumerSettings(ack_wait=2.0, max_deliver=1000, backoff=(0.0,))
        async with bus.consume(stream, "worker", settings) as consumption:
            async for delivery in consumption:
                envelope = delivery.envelope
                self.consumed[stream][tuple(envelope.message.content)].add(envelope.sequence)
                await delivery.ack()
                self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    def published(self) -> int:
        return sum(map(len, self.acknowledged.values()))

    def all_consumed(self) -> bool:
        return all(self.acknowledged[name].keys() <= self.consumed[name].keys() for name in STREAMS)


async def kept_messages(bus: BusClient, stream: str) -> int:
    """How many messages *stream* has."""
    return next(one.messages for one in await bus.streams() if one.name == stream)


async def contents(bus: BusClient, stream: str) -> list[tuple[Key, int]]:
    """What *stream* has, with its places."""
    [info] = [one for one in await bus.streams() if one.name == stream]
    found: list[tuple[Key, int]] = []
    async with bus.replay(stream) as replay:
        while not found or found[-1][1] < info.last:
            envelope = await anext(aiter(replay))
            found.append((tuple(envelope.message.content), envelope.sequence))
    return found


@pytest.mark.timeout(60 + 10 * KILLS)
async def test_nothing_that_was_acknowledged_over_the_port_is_lost_or_stored_twice_when_it_is_killed(
    system: Any,
) -> None:
    campaign = Campaign()
    killed = 0
    async with asyncio.timeout(50 + 10 * KILLS), client(system) as publishing, client(system) as consuming:
        async with asyncio.TaskGroup() as group:
            consumers = [group.create_task(campaign.consume(consuming, name)) for name in STREAMS]
            publishers = [group.create_task(campaign.publish(publishing, one)) for one in range(PUBLISHERS)]
            for _ in range(KILLS):
                enough = campaign.published() + PER_LIFE
                await campaign.until(lambda enough=enough: campaign.published() >= enough)
                while system.control_pid == killed:  # noqa: ASYNC110 - written as soon as it answers
                    await asyncio.sleep(0.01)
                killed = system.control_pid
                os.kill(killed, signal.SIGKILL)
            enough = campaign.published() + PER_LIFE
            await campaign.until(lambda: campaign.published() >= enough)
            campaign.stopping = True
            await asyncio.wait(publishers)
            await campaign.until(campaign.all_consumed)
            # Of what is said too late nothing counts: that is handed out once more.
            while await kept_messages(publishing, "work"):  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.01)
            for consumer in consumers:
                consumer.cancel()
        kept = await contents(publishing, "kept")

    # Stored once each, and where the receipt has said.
    assert len(kept) == len(dict(kept))
    assert {key: dict(kept).get(key) for key in campaign.acknowledged["kept"]} == campaign.acknowledged["kept"]
    for publisher in range(PUBLISHERS):
        numbers = [number for (who, number), _ in kept if who == publisher]
        assert numbers == sorted(numbers)
    # Of the other stream has gone what was acknowledged; no message of it was there twice.
    assert all(len(places) == 1 for places in campaign.consumed["work"].values())
    print(f"{campaign.published()} acknowledged, {len(kept)} of them kept, {KILLS} kills")


async def test_a_message_that_kills_its_handlers_process_becomes_a_dead_letter_and_the_rest_goes_on(
    system: Any, eventually: Any
) -> None:
    file = system.directory / "seen"
    async with asyncio.timeout(20), client(system) as bus:
        for content in ("before", "poison", "after"):
            await bus.publish("jobs.new", message(content))

    def consumer() -> dict[str, int]:
        names = ("acknowledged", "dead_letters", "waiting", "in_flight")
        found = system.get("/api/streams/jobs")["consumers"]
        return {name: one[name] for one in found for name in names}

    done = {"acknowledged": 3, "dead_letters": 1, "waiting": 0, "in_flight": 0}
    eventually(lambda: consumer() == done, "all is done but what cannot be", patience=30.0)

    seen = file.read_text().splitlines()
    letters = [one["message"]["content"] for one in system.get("/api/streams/dead_letters/messages")["items"]]
    assert 1 <= seen.count("poison") <= 3
    assert {"before", "after"} <= set(seen)
    assert [(one["stream"], one["attempts"], one["message"]["content"]) for one in letters] == [("jobs", 3, "poison")]
    system.until("poisoned")


def test_who_is_refused_over_http_is_in_the_audit_log_after_a_stop_in_good_order(system: Any) -> None:
    answers = [anonymous(system, "POST", f"/api/messages?subject={subject}") for subject in ("tekton.x", "news")]

    assert system.stop() == 0
    system.up()

    entries = [one for one in system.get("/api/audit?limit=1000")["items"] if one["outcome"] == "refused"]
    assert answers == [401, 401]
    found = {(one["actor"], one["action"], one["target"]) for one in entries}
    assert {("anonymous", "message.publish", subject) for subject in ("tekton.x", "news")} <= found


def anonymous(system: Any, method: str, path: str) -> int:
    """The status that somebody gets who shows nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=10)
    try:
        body = json.dumps({"message_type": "event", "content": 1})
        connection.request(method, path, body, {"content-type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()
