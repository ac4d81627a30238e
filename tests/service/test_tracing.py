import asyncio
import json
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import msgspec
import pytest

from tekton.core.history.store import MemoryTelemetryStore
from tekton.core.tracing import Span
from tekton.core.tracing.query import TraceQuery
from tekton.gateway.sockets import Sub
from tekton.service.tracing import Tracing
from tekton.testing.clock import ManualClock


class Exported:
    """An exporter that keeps what it is given."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.closed = False

    def export(self, spans: Sequence[Span]) -> None:
        self.spans += spans

    def close(self) -> None:
        self.closed = True


def made(name: str = "work", at: float = 1_700_000_000.0, **fields: object) -> Span:
    span = Span(trace_id="a" * 32, span_id="b" * 16, name=name, component="x", started_at=at, duration=0.5)
    return msgspec.structs.replace(span, **fields)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def tracing(clock: ManualClock) -> AsyncIterator[Tracing]:
    tracing = Tracing(
        MemoryTelemetryStore(clock=clock), clock=clock, redact=lambda text: text.replace("canary", "[gone]")
    )
    tracing.start()
    yield tracing
    await tracing.stop()


async def test_what_was_done_is_found(tracing: Tracing) -> None:
    with tracing.tracer.begin("work") as span:
        pass

    assert span.context is not None
    [found] = await tracing.trace(span.context.trace_id)
    page = await tracing.traces(TraceQuery(), 10)

    assert (found.name, found.component) == ("work", "tekton")
    assert [one.name for one in page.traces] == ["work"]


async def test_spans_made_in_a_thread_are_passed_on_by_themselves(tracing: Tracing) -> None:
    subscription = tracing.open(Sub(id=7, topic="spans"))

    thread = threading.Thread(target=lambda: tracing.tracer.begin("work").end())
    thread.start()
    thread.join()

    async with asyncio.timeout(5), aclosing(subscription):
        frame = json.loads(await anext(subscription))
    assert (frame["id"], frame["t"], frame["seq"], frame["data"]["name"]) == (7, "delta", 1, "work")


async def test_who_watches_and_is_slow_is_told_what_was_missed(tracing: Tracing) -> None:
    async with asyncio.timeout(10), aclosing(tracing.open(Sub(id=1, topic="spans"))) as frames:
        for _ in range(3):
            tracing.receive([made()] * 1000)
            await tracing.trace("0")

        assert json.loads(await anext(frames)) == {"id": 1, "t": "lag", "missed": 1000}
        assert json.loads(await anext(frames))["seq"] == 1001


async def test_secrets_are_taken_out_before_anybody_sees_them(clock: ManualClock) -> None:
    exported = Exported()
    store = MemoryTelemetryStore(clock=clock)
    tracing = Tracing(store, clock=clock, redact=lambda text: text.replace("canary", "x"), exporter=exported)
    tracing.start()
    watching = tracing.open(Sub(id=1, topic="spans"))

    tracing.receive([made("say canary", attributes={"password": "canary2", "url": "http://a/?token=canary3"})])
    await tracing.stop()

    kept = [row.body.decode() for row in await store.read("span")]
    async with asyncio.timeout(5), aclosing(watching):
        assert "canary" not in f"{kept}{exported.spans}{await anext(watching)}"
    assert (len(kept), len(exported.spans), exported.closed) == (1, 1, True)


async def test_what_waits_at_the_end_is_passed_on(clock: ManualClock) -> None:
    store = MemoryTelemetryStore(clock=clock)
    tracing = Tracing(store, clock=clock)
    tracing.start()
    tracing.receive([made()] * 2500)

    await tracing.stop()

    assert len(await store.read("span", limit=10_000)) == 2500


async def test_what_there_is_no_room_for_is_counted(clock: ManualClock) -> None:
    tracing = Tracing(MemoryTelemetryStore(clock=clock), clock=clock)

    assert tracing.receive([made()] * 10_000) == 10_000 - 8192
    assert tracing.dropped == 10_000 - 8192


@pytest.mark.parametrize("at", [0.0, 1.0, 4e9, 1e300])
async def test_a_clock_that_is_far_off_does_not_put_spans_where_nobody_looks(
    tracing: Tracing, clock: ManualClock, at: float
) -> None:
    tracing.receive([made(at=at)])
    await tracing.trace("0")

    [row] = await tracing.store.read("span")
    assert row.at == clock.time()


async def test_text_that_cannot_be_written_does_no_harm(tracing: Tracing) -> None:
    with tracing.tracer.begin("half \ud83d", value="\ud83d long enough"):
        pass

    [found] = (await tracing.traces(TraceQuery(), 10)).traces
    assert found.name == "half ?"


async def test_a_store_in_which_nothing_is_has_no_traces(tracing: Tracing) -> None:
    assert await tracing.trace("f" * 32) == []
    assert await tracing.traces(TraceQuery(), 10) == ([], None)


async def test_spans_that_nobody_can_make_sense_of_do_not_hold_up_those_after_them(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    def redact(text: str) -> str:
        if text == "odd":
            raise LookupError
        return text

    tracing = Tracing(MemoryTelemetryStore(clock=clock), clock=clock, redact=redact)
    tracing.start()
    tracing.receive([made("odd")])
    await tracing.trace("0")
    tracing.receive([made("even")])
    await tracing.stop()

    assert [b"even" in row.body for row in await tracing.store.read("span")] == [True]
    assert [record.message for record in caplog.records] == ["1 spans could not be kept"]
