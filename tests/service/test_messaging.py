"""The bus of a control plane: which streams there are, and what is refused when their file cannot be used."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tekton.bus.bus import StreamSettings
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.bus.streams.store import Batch, Committed, LoadedStream, StreamStore
from tekton.gateway.errors import InvalidInputError, UnavailableError
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.service.messaging import Messaging
from tekton.testing.clock import ManualClock
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import (
    NoRespondersError,
    StorageCorruptError,
    StorageError,
    StorageFullError,
    StorageUnknownError,
    StreamConfiguredError,
    StreamNotFoundError,
)

Open = Callable[..., Any]
MIB = 1024 * 1024


class DamagedStore(MemoryStreamStore):
    """One whose file cannot be opened."""

    def open(self) -> list[LoadedStream]:
        raise StorageCorruptError("bus.db", "page 7 is damaged")


class FailingStore(MemoryStreamStore):
    """One that fails a commit with *error* as long as there is one."""

    error: StorageError | None = None

    def commit(self, batch: Batch, now: float) -> Committed:
        if self.error is not None:
            raise self.error
        return super().commit(batch, now)


def said(content: object = None) -> Message:
    return Message(MessageType.EVENT, content, MessageContext("engram"))


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., TektonConfig]:
    def load(streams: dict[str, Any] | None = None, **bus: Any) -> TektonConfig:
        settings = {"data_dir": str(tmp_path), "bus": {"streams": streams or {}, **bus}}
        (tmp_path / "tekton.json").write_text(json.dumps({"tekton": settings}))
        return TektonConfig.load(tmp_path / "tekton.json", environ={})

    return load


@pytest.fixture
async def opened(config: Callable[..., TektonConfig]) -> AsyncIterator[Open]:
    made: list[Messaging] = []

    async def open_(streams: dict[str, Any] | None = None, store: StreamStore | None = None, **bus: Any) -> Messaging:
        loaded = config(streams, **bus)
        made.append(await Messaging.open(loaded, ManualClock(), store or MemoryStreamStore()))
        await made[-1].adopt(loaded)
        return made[-1]

    yield open_
    for one in made:
        await one.stop()


async def names(messaging: Messaging) -> list[str]:
    return [stream.name for stream in await messaging.bus.streams()]


async def test_the_streams_of_the_configuration_are_there(opened: Open) -> None:
    messaging = await opened({"orders": {"subjects": ["orders.>"], "max_bytes": "1M", "work_queue": True}})

    [_, orders] = await messaging.bus.streams()
    receipt = await messaging.bus.publish("orders.new", said())

    assert orders.settings == StreamSettings(("orders.>",), max_bytes=MIB, work_queue=True)
    assert (receipt.stream, receipt.sequence) == ("orders", 1)
    assert (await messaging.bus.publish("payments.new", said())).stream is None
    assert messaging.problems == []


async def test_a_reload_adds_streams_changes_them_and_keeps_those_that_are_gone(
    opened: Open, config: Callable[..., TektonConfig], caplog: pytest.LogCaptureFixture
) -> None:
    messaging = await opened({"a": {"subjects": ["a.>"]}, "b": {"subjects": ["b.>"]}})

    await messaging.adopt(config({"b": {"subjects": ["b.*"]}, "c": {"subjects": ["c"]}}))

    streams = {stream.name: stream.settings.subjects for stream in await messaging.bus.streams()}
    assert streams == {"a": ("a.>",), "b": ("b.*",), "c": ("c",), "dead_letters": ("tekton.dead.>",)}
    assert "stream a is not configured any more" in caplog.text
    await messaging.delete_stream("a")


async def test_a_subject_can_move_from_one_stream_to_another_in_one_reload(
    opened: Open, config: Callable[..., TektonConfig]
) -> None:
    messaging = await opened({"a": {"subjects": ["x.>"]}, "b": {"subjects": ["y.>", "z.>"]}})

    await messaging.adopt(config({"a": {"subjects": ["x.>", "z.>"]}, "b": {"subjects": ["y.>"]}}))

    assert messaging.stream_of("z.1") == "a"
    assert messaging.problems == []


async def test_a_stream_that_clashes_with_one_that_was_made_is_told_and_stops_nothing(
    opened: Open, config: Callable[..., TektonConfig], caplog: pytest.LogCaptureFixture
) -> None:
    messaging = await opened()
    await messaging.create_stream("mine", StreamSettings(("orders.>",)))

    await messaging.adopt(config({"orders": {"subjects": ["orders.new"]}, "other": {"subjects": ["other"]}}))

    assert await names(messaging) == ["dead_letters", "mine", "other"]
    assert messaging.problems == ["stream orders: not as configured"]
    assert "the stream orders is not as it is configured" in caplog.text
    await messaging.delete_stream("mine")
    await messaging.adopt(config({"orders": {"subjects": ["orders.new"]}}))
    assert messaging.problems == []


async def test_a_stream_of_the_configuration_is_changed_there_only(opened: Open) -> None:
    messaging = await opened({"orders": {"subjects": ["orders.>"]}})

    with pytest.raises(StreamConfiguredError):
        await messaging.create_stream("orders", StreamSettings(("orders.>",)))
    with pytest.raises(StreamConfiguredError):
        await messaging.delete_stream("orders")
    assert await names(messaging) == ["dead_letters", "orders"]


async def test_streams_together_have_a_size(opened: Open) -> None:
    messaging = await opened({"a": {"subjects": ["a"], "max_bytes": "3M"}}, streams_size="4M")

    with pytest.raises(InvalidInputError, match="streams_size"):
        await messaging.create_stream("b", StreamSettings(("b",), max_bytes=2 * MIB))
    await messaging.create_stream("b", StreamSettings(("b",), max_bytes=MIB))
    await messaging.create_stream("b", StreamSettings(("b", "c"), max_bytes=MIB))


async def test_dead_letters_can_be_emptied_and_not_changed(opened: Open) -> None:
    messaging = await opened()

    with pytest.raises(InvalidInputError, match="Tekton's own"):
        await messaging.create_stream("dead_letters", StreamSettings(("mine",)))
    with pytest.raises(InvalidInputError, match="Tekton's own"):
        await messaging.create_stream("hops", StreamSettings(("mine",)))
    await messaging.delete_stream("dead_letters")
    assert await names(messaging) == ["dead_letters"]


async def test_without_streams_messages_are_passed_on(opened: Open) -> None:
    messaging = await opened({"orders": {"subjects": ["orders.>"]}}, enable_streams=False)

    assert (await messaging.bus.publish("orders.new", said())).stream is None
    assert await names(messaging) == []
    with pytest.raises(UnavailableError, match="enable_streams"):
        await messaging.create_stream("a", StreamSettings(("a",)))
    assert messaging.problems == []


async def test_while_the_file_cannot_be_read_nothing_is_taken_that_a_stream_might_keep(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    messaging = await opened({"orders": {"subjects": ["orders.>"]}}, store=DamagedStore())
    bus = messaging.bus

    for attempt in (
        lambda: bus.publish("orders.new", said()),
        lambda: bus.publish("anything", said()),
        lambda: bus.create_stream("a", StreamSettings(("a",))),
        lambda: bus.delete_stream("orders"),
        lambda: bus.delete_consumer("orders", "billing"),
        bus.streams,
    ):
        with pytest.raises(StorageError, match="cannot be used"):
            await attempt()
    with pytest.raises(StorageError):
        bus.replay("orders")
    with pytest.raises(StorageError):
        bus.consume("orders", "billing")
    assert messaging.problems == ["streams: unreadable"]
    assert "page 7 is damaged" in caplog.text


async def test_requests_and_answers_go_on_while_the_file_cannot_be_read(opened: Open) -> None:
    bus = (await opened(store=DamagedStore())).bus

    async def answer() -> None:
        async with bus.subscribe("engram.requests.>") as requests:
            listening.set()
            async for envelope in requests:
                await bus.publish(envelope.reply, said("found"))
                return

    listening = asyncio.Event()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(answer())
        await listening.wait()
        answered = await bus.request("engram.requests.search", said(), timeout=3.0)
    assert answered.content == "found"
    with pytest.raises(NoRespondersError):
        await bus.request("rhetor.requests.ask", said(), timeout=3.0)


async def test_after_a_commit_of_unknown_outcome_streams_take_nothing_and_the_rest_goes_on(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    store = FailingStore()
    messaging = await opened({"orders": {"subjects": ["orders.>"]}}, store=store)
    store.error = StorageUnknownError("fsync failed")

    for _ in range(2):
        with pytest.raises(StorageUnknownError):
            await messaging.bus.publish("orders.new", said())
        store.error = None

    assert messaging.problems == ["streams: stopped"]
    assert "streams have stopped" in caplog.text
    assert (await messaging.bus.publish("payments.new", said())).stream is None


async def test_while_the_disk_is_full_streams_refuse_and_then_go_on(opened: Open) -> None:
    store = FailingStore()
    messaging = await opened({"orders": {"subjects": ["orders.>"]}}, store=store)
    store.error = StorageFullError()

    with pytest.raises(StorageFullError):
        await messaging.bus.publish("orders.new", said())
    assert messaging.problems == ["streams: full"]

    store.error = None
    assert (await messaging.bus.publish("orders.new", said())).sequence == 1
    assert messaging.problems == []


async def test_a_stream_that_is_not_there_is_not_found(opened: Open) -> None:
    with pytest.raises(StreamNotFoundError):
        await (await opened()).delete_stream("nowhere")
