"""What is published, as server-sent events: places, coming back, forged places, who may hear what."""

import asyncio
import json
import os
import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from tekton.bus.bus import StreamSettings
from tekton.gateway.bus.events import SubjectEvents
from tekton.gateway.errors import PermissionDeniedError
from tekton.mcp.message import Message
from tekton.utils.tekton_errors import InvalidSubjectError

Make = Callable[..., Message]

RESUMES = int(os.environ.get("TEKTON_BUS_RESUMES", "25"))
"""How often a stream is cut and resumed; 1,000 by hand."""


class Event(NamedTuple):
    """One event."""

    id: str | None
    name: str | None
    data: Any


class Reader:
    """Reads one stream, event by event."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._rest: list[Event] = []

    async def opening(self) -> bytes:
        """What it begins with."""
        async with asyncio.timeout(5):
            return bytes(await anext(self._source))

    async def get(self) -> Event:
        """The next event."""
        async with asyncio.timeout(5):
            while not self._rest:
                self._rest = [_event(text) for text in (await anext(self._source)).decode().split("\n\n")[:-1]]
        return self._rest.pop(0)


def _event(text: str) -> Event:
    fields = dict(re.findall(r"^(\w+): (.*)$", text, re.MULTILINE))
    return Event(fields.get("id"), fields.get("event"), json.loads(fields["data"]))


Open = Callable[..., Any]


@pytest.fixture
def listen(bus: Any, people: Any, make_request: Any) -> Open:
    """`async with listen("a.>", last="7", who=people.ada) as events`: an event stream of that pattern."""

    @asynccontextmanager
    async def listen(pattern: str, last: str | None = None, who: Any = None) -> AsyncIterator[Reader]:
        request = make_request(*([] if last is None else [("last-event-id", last)]))
        request.principal = who or people.ada
        stream = await SubjectEvents(bus.port).stream(request, pattern)
        try:
            yield Reader(stream.source)
        finally:
            await stream.source.aclose()  # type: ignore[attr-defined]

    return listen


async def test_what_is_published_comes_with_its_place(bus: Any, listen: Open, message: Make) -> None:
    async with listen("orders.*") as events:
        assert await events.opening() == b": listening\n\n"
        await bus.bus.publish("orders.new", message("ada", {"a": 1}))
        event = await events.get()

    assert (event.id, event.name) == (str(bus.live.sequence), None)
    assert event.data["message"]["content"] == {"a": 1}
    assert set(event.data) == {"subject", "sequence", "time", "message"}


@pytest.mark.parametrize(
    ("pattern", "last"), [("news", None), ("news", "7"), ("orders.new", None), ("orders.new", "7")]
)
async def test_who_leaves_at_the_first_word_leaves_nothing_behind(
    bus: Any, listen: Open, pattern: str, last: str | None
) -> None:
    await bus.bus.create_stream("orders", StreamSettings(("orders.>",)))

    async with listen(pattern, last) as events:
        await events.opening()
        assert len(bus.port.patterns) == 1

    assert (bus.live.tally.subscriptions, len(bus.port.patterns)) == (0, 0)


async def test_who_comes_back_gets_what_he_has_missed(bus: Any, listen: Open, message: Make) -> None:
    position = bus.live.sequence
    for number in range(5):
        await bus.bus.publish("orders.new", message("ada", number))

    async with listen("orders.new", str(position + 2)) as events:
        assert await events.opening() == b": listening\n\n"
        got = [(await events.get()).data["message"]["content"] for _ in range(3)]

    assert got == [2, 3, 4]


@pytest.mark.parametrize("last", ["", "x", "-1", "0", "7", "1e9", "9" * 18, "9" * 400, "orders:1", "٣"])
async def test_a_place_that_means_nothing_here_is_reset(bus: Any, listen: Open, message: Make, last: str) -> None:
    async with listen("news", last) as events:
        opening = await events.opening()
        assert (opening.startswith(b"event: reset\n"), opening.endswith(b"\n\n: listening\n\n")) == (True, True)
        await bus.bus.publish("news", message("ada", 1))

        assert (await events.get()).data["message"]["content"] == 1


async def test_what_a_stream_takes_is_read_from_it(bus: Any, listen: Open, message: Make) -> None:
    await bus.bus.create_stream("orders", StreamSettings(("orders.>",)))
    await bus.bus.publish("orders.new", message("ada", 0))

    async with listen("orders.new") as events:
        assert await events.opening() == b": listening\n\n"
        for number in (1, 2):
            await bus.bus.publish("orders.new", message("ada", number))
        first = await events.get()
    async with listen("orders.>", first.id) as events:
        await events.opening()
        second = await events.get()

    assert (first.id, first.data["message"]["content"], first.data["stream"]) == ("orders:2", 1, "orders")
    assert (second.id, second.data["message"]["content"]) == ("orders:3", 2)


async def test_what_is_private_is_not_looked_for_in_a_stream_that_does_not_take_it(
    bus: Any, people: Any, listen: Open, message: Make
) -> None:
    await bus.bus.create_stream("all", StreamSettings((">",)))

    async with listen("billing.requests.*", who=people.billing) as events:
        await events.opening()
        await bus.bus.publish("billing.requests.ask", message("ada", 1))

        assert (await events.get()).data["message"]["content"] == 1


@pytest.mark.parametrize("last", ["orders:9", "orders:99999999999999999999", "news:1", "1", "orders:-1", "orders:"])
async def test_a_place_that_a_stream_does_not_have_is_reset_and_all_of_it_comes(
    bus: Any, listen: Open, message: Make, last: str
) -> None:
    await bus.bus.create_stream("orders", StreamSettings(("orders.>",)))
    for number in range(2):
        await bus.bus.publish("orders.new", message("ada", number))

    async with listen("orders.new", last) as events:
        assert (await events.opening()).startswith(b"event: reset\n")
        assert [(await events.get()).id for _ in range(2)] == ["orders:1", "orders:2"]


async def test_a_stream_that_is_cut_anywhere_goes_on_without_a_gap_or_a_duplicate(
    bus: Any, listen: Open, message: Make
) -> None:
    await bus.bus.create_stream("orders", StreamSettings(("orders.>",)))
    chance = random.Random(7)
    got: list[int] = []
    last: str | None = "orders:0"
    sent = 0
    for _ in range(RESUMES):
        async with listen("orders.new", last) as events:
            await events.opening()
            for _ in range(chance.randrange(8)):
                await bus.bus.publish("orders.new", message("ada", sent))
                sent += 1
            for _ in range(chance.randrange(sent - len(got) + 1)):
                event = await events.get()
                got.append(event.data["message"]["content"])
                last = event.id
    async with listen("orders.new", last) as events:
        await events.opening()
        got += [(await events.get()).data["message"]["content"] for _ in range(sent - len(got))]

    assert got == list(range(sent))


async def test_what_one_may_not_hear_is_left_out_or_refused(bus: Any, people: Any, listen: Open, message: Make) -> None:
    async with listen("*.requests.>", who=people.billing) as events:
        await events.opening()
        for subject in ("engram.requests.a", "billing.requests.a", "rhetor.requests.a", "billing.requests.b"):
            await bus.bus.publish(subject, message("ada"))
        assert [(await events.get()).data["subject"][-1] for _ in range(2)] == ["a", "b"]
    with pytest.raises(PermissionDeniedError):
        async with listen("engram.requests.>", who=people.billing):
            pass
    with pytest.raises(InvalidSubjectError):
        async with listen("a..b"):
            pass

    assert [(one.action, one.subject) for one in bus.refusals] == [("message.subscribe", "engram.requests.>")]


async def test_who_falls_behind_is_told_how_much_is_missing(bus: Any, listen: Open, message: Make) -> None:
    async with listen("news") as events:
        await events.opening()
        await bus.bus.publish("news", message("ada", -1))
        assert (await events.get()).data["message"]["content"] == -1
        for number in range(1500):
            await bus.bus.publish("news", message("ada", number))

        gap = await events.get()
        following = await events.get()

    assert (gap.name, gap.id) == ("gap", None)
    assert following.data["message"]["content"] == gap.data["lost"] >= 500


async def test_a_right_that_is_lost_ends_the_stream(bus: Any, people: Any, make_request: Any, message: Make) -> None:
    request = make_request()
    request.principal = people.aron
    source = (await SubjectEvents(bus.port).stream(request, "audit.>")).source
    await anext(source)

    request.principal = people.eve
    await bus.bus.publish("audit.a", message("ada"))

    with pytest.raises(PermissionDeniedError):
        await anext(source)
