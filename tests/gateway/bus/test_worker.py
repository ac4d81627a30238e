"""Consuming on a socket: credit, what becomes of deliveries, and what is given back."""

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tekton.bus.bus import StreamSettings
from tekton.bus.envelope import Envelope
from tekton.gateway.bus.worker import AT_ONCE, Worker
from tekton.gateway.operations import Reject
from tekton.mcp.message import Message
from tekton.utils.tekton_errors import StorageFullError

Make = Callable[..., Message]


@pytest.fixture
async def orders(bus: Any, message: Make) -> Any:
    """A stream `orders` with ten messages, by number."""
    await bus.bus.create_stream("orders", StreamSettings(("orders.>",)))
    for number in range(10):
        await bus.bus.publish("orders.new", message("ada", number))
    return bus


async def consume(peer: Any, **members: Any) -> None:
    frame = await peer.ask(op="consume", id=1, stream="orders", consumer="billing", **members)
    assert frame["t"] == "subscribed", frame


async def sequences(peer: Any, count: int) -> list[int]:
    return [(await peer.get(t="msg"))["sequence"] for _ in range(count)]


async def test_no_more_comes_than_there_is_credit_for(orders: Any, people: Any) -> None:
    peer = orders.connect(people.billing)

    await consume(peer, credit=3)
    assert await sequences(peer, 3) == [1, 2, 3]
    assert await peer.alive()
    peer.say(op="credit", id=1, more=2)

    assert await sequences(peer, 2) == [4, 5]
    assert await peer.alive()


async def test_a_delivery_says_what_it_is_of_and_how_often_it_has_come(orders: Any, people: Any) -> None:
    peer = orders.connect(people.billing)
    await consume(peer, credit=1)

    frame = await peer.get(t="msg")

    assert (frame["id"], frame["stream"], frame["attempt"], frame["subject"]) == (1, "orders", 1, "orders.new")
    assert frame["message"]["content"] == 0


async def test_who_consumes_is_told_the_ack_wait_of_the_consumer(orders: Any, people: Any) -> None:
    peer = orders.connect(people.billing)

    made = await peer.ask(op="consume", id=1, stream="orders", consumer="slow", settings={"ack_wait": 90.0})
    taken = await peer.ask(op="consume", id=2, stream="orders", consumer="slow")
    usual = await peer.ask(op="consume", id=3, stream="orders", consumer="usual")

    assert [frame["ack_wait"] for frame in (made, taken, usual)] == [90.0, 90.0, 30.0]


async def test_what_is_acknowledged_counts_once(orders: Any, people: Any) -> None:
    peer = orders.connect(people.billing)
    await consume(peer)
    await sequences(peer, 10)

    first = await peer.ask(op="ack", id=1, sequences=[1, 2, 3, 99])
    again = await peer.ask(op="ack", id=1, sequences=[3, 4])

    assert first == {"id": 1, "t": "acked", "sequences": [1, 2, 3], "late": [99]}
    assert again == {"id": 1, "t": "acked", "sequences": [4], "late": [3]}
    [stream] = [one for one in await orders.bus.streams() if one.name == "orders"]
    assert stream.consumers[0].acknowledged == 4


async def test_what_is_not_done_comes_again(orders: Any, people: Any) -> None:
    peer = orders.connect(people.billing)
    await consume(peer, settings={"filter": "orders.new", "backoff": [0], "max_deliver": 3})
    await sequences(peer, 10)

    assert (await peer.ask(op="nack", id=1, sequences=[2], delay=0))["sequences"] == [2]
    frame = await peer.get(t="msg")

    assert (frame["sequence"], frame["attempt"]) == (2, 2)


async def test_why_it_is_not_done_is_in_its_dead_letter(orders: Any, people: Any) -> None:
    peer = orders.connect(people.billing)
    await consume(peer, settings={"filter": "orders.new", "max_deliver": 1})
    await sequences(peer, 10)

    await peer.ask(op="nack", id=1, sequences=[2], reason="no paper")

    async with orders.bus.replay("dead_letters") as letters:
        letter = (await anext(aiter(letters))).message.content
    assert (letter["sequence"], letter["reason"]) == (2, "no paper")


async def test_what_takes_longer_is_still_held(orders: Any, people: Any) -> None:
    peer = orders.connect(people.billing)
    await consume(peer)
    await sequences(peer, 10)

    assert (await peer.ask(op="working", id=1, sequences=[1, 2]))["sequences"] == [1, 2]
    assert (await peer.ask(op="ack", id=1, sequences=[1, 2]))["sequences"] == [1, 2]


async def test_what_nobody_has_begun_with_comes_again_as_if_it_had_not_come(orders: Any, people: Any) -> None:
    first, second = orders.connect(people.billing), orders.connect(people.billing)
    settings = {"max_deliver": 1, "backoff": [60]}
    await consume(first, credit=4, settings=settings)
    await sequences(first, 4)

    answer = await first.ask(op="release", id=1, sequences=[2, 3, 99])
    await consume(second, credit=2, settings=settings)
    frames = [await second.get(t="msg") for _ in range(2)]

    assert answer == {"id": 1, "t": "acked", "sequences": [2, 3], "late": [99]}
    assert [(frame["sequence"], frame["attempt"]) for frame in frames] == [(2, 1), (3, 1)]
    assert (await first.ask(op="ack", id=1, sequences=[1, 2]))["late"] == [2]


async def test_with_what_is_given_back_credit_can_be_taken_back(orders: Any, people: Any, message: Make) -> None:
    first, second = orders.connect(people.billing), orders.connect(people.billing)
    await consume(first, credit=20)
    await sequences(first, 10)
    # The first one waits for ten more by now.
    await first.ask(op="release", id=1, sequences=[9, 10], less=10)
    await orders.bus.publish("orders.new", message("ada", 10))

    await consume(second, credit=3)

    assert await sequences(second, 3) == [9, 10, 11]
    assert await first.alive()
    first.say(op="credit", id=1, more=1)
    await orders.bus.publish("orders.new", message("ada", 11))
    assert await sequences(first, 1) == [12]


async def test_what_is_rejected_is_a_dead_letter(orders: Any, people: Any) -> None:
    peer, ada = orders.connect(people.billing), orders.connect(people.ada)
    await ada.subscribe(7, stream="dead_letters")
    await consume(peer)
    await sequences(peer, 10)

    answer = await peer.ask(op="reject", id=1, sequences=[4, 5, 77], reason="not an order")
    letters = [await ada.get(7) for _ in range(2)]

    assert answer == {"id": 1, "t": "acked", "sequences": [4, 5], "late": [77]}
    assert [letter["subject"] for letter in letters] == ["tekton.dead.orders"] * 2
    assert sorted(letter["message"]["content"]["sequence"] for letter in letters) == [4, 5]
    assert letters[0]["message"]["content"]["reason"] == "not an order"


async def test_who_leaves_gives_back_what_he_has_not_acknowledged(orders: Any, people: Any) -> None:
    first, second = orders.connect(people.billing), orders.connect(people.billing)
    await consume(first, credit=2, settings={"backoff": [0]})
    await sequences(first, 2)
    await first.ask(op="ack", id=1, sequences=[1])

    await orders.leave(first)
    await consume(second, credit=1, settings={"backoff": [0]})
    frame = await second.get(t="msg")

    assert (frame["sequence"], frame["attempt"]) == (2, 2)


async def test_who_unsubscribes_gives_back_too_and_cannot_acknowledge_any_more(orders: Any, people: Any) -> None:
    first, second = orders.connect(people.billing), orders.connect(people.billing)
    await consume(first, credit=1, settings={"backoff": [0]})
    await sequences(first, 1)

    first.say(op="unsub", id=1)
    assert (await first.ask(op="ack", id=1, sequences=[1]))["code"] == "invalid"
    await consume(second, credit=1, settings={"backoff": [0]})

    assert await sequences(second, 1) == [1]


async def test_those_who_share_a_consumer_share_the_work(orders: Any, people: Any) -> None:
    peers = [orders.connect(people.billing) for _ in range(2)]
    for peer in peers:
        await consume(peer, credit=5)

    assert sorted([*await sequences(peers[0], 5), *await sequences(peers[1], 5)]) == list(range(1, 11))


async def test_other_settings_than_the_consumer_has_are_refused(orders: Any, people: Any) -> None:
    first, second = orders.connect(people.billing), orders.connect(people.billing)
    await consume(first, settings={"ack_wait": 5})

    error = await second.ask(op="consume", id=1, stream="orders", consumer="billing", settings={"ack_wait": 6})

    assert (error["id"], error["t"], error["code"]) == (1, "error", "consumer_exists")
    assert await second.alive()


async def test_who_gives_no_settings_takes_the_consumer_as_it_is(orders: Any, people: Any) -> None:
    """He was refused where it had others than the defaults, and what he may hear was asked of the whole stream."""
    await orders.bus.create_stream("mixed", StreamSettings(("news.>", "audit.>")))
    first, second, third = (orders.connect(one) for one in (people.ada, people.aron, people.aron))
    asked = {"op": "consume", "id": 1, "stream": "mixed"}

    made = await first.ask(**asked, consumer="bills", settings={"filter": "audit.>", "ack_wait": 5})
    taken = await second.ask(**asked, consumer="bills")
    refused = await third.ask(**asked, consumer="others")

    assert (made["t"], taken["t"], refused["code"]) == ("subscribed", "subscribed", "forbidden")


@pytest.mark.parametrize(
    ("who", "members", "code"),
    [
        ("eve", {}, "forbidden"),
        ("billing", {"stream": "dead_letters"}, "forbidden"),
        ("billing", {"stream": "order"}, "stream_not_found"),
        ("billing", {"settings": {"filter": "a..b"}}, "invalid_subject"),
        ("billing", {"settings": {"filter": "news.>"}}, "invalid_parameter"),
        ("billing", {"settings": {"ack_wait": 0}}, "invalid"),
        ("billing", {"settings": {"patience": 1}}, "invalid"),
        ("billing", {"credit": 0}, "invalid"),
    ],
)
async def test_what_may_not_be_consumed_is_refused(
    orders: Any, people: Any, who: str, members: dict[str, Any], code: str
) -> None:
    peer = orders.connect(getattr(people, who))

    error = await peer.ask(**{"op": "consume", "id": 1, "stream": "orders", "consumer": "billing"} | members)

    assert error["code"] == code
    assert [one.action for one in orders.refusals] == (["message.consume"] if code == "forbidden" else [])
    assert await peer.alive()


async def test_who_may_not_hear_it_any_more_is_handed_nothing(orders: Any, people: Any, message: Make) -> None:
    peer = orders.connect(people.billing)
    await consume(peer)
    await sequences(peer, 10)

    orders.principals[peer] = people.principal("billing")
    orders.reviews += 1
    await orders.bus.publish("orders.new", message("ada", "later"))
    ended = await peer.get(1)

    assert (ended["t"], ended["code"]) == ("error", "forbidden")
    assert await peer.alive()


async def test_what_one_may_not_have_any_more_costs_no_attempt(bus: Any, people: Any, message: Make) -> None:
    await bus.bus.create_stream("orders", StreamSettings(("orders.>",)))
    peer = bus.connect(people.billing)
    await peer.ask(op="consume", id=1, stream="orders", consumer="billing")
    bus.principals[peer] = people.principal("billing")
    bus.reviews += 1
    await bus.bus.publish("orders.new", message("ada"))
    assert (await peer.get(1))["code"] == "forbidden"

    async with asyncio.timeout(5), bus.bus.consume("orders", "billing") as consumption:
        [delivery] = await anext(consumption.batches())
        await delivery.ack()

    assert delivery.envelope.attempt == 1


async def test_what_a_stream_took_before_is_handed_to_nobody_who_may_not_hear_it(
    orders: Any, people: Any, message: Make
) -> None:
    await orders.bus.create_stream("news", StreamSettings(("engram.requests.>",)))
    await orders.bus.publish("engram.requests.ask", message("ada", "private"))
    await orders.bus.create_stream("news", StreamSettings(("news.>",)))
    peer = orders.connect(people.billing)

    assert (await peer.ask(op="consume", id=1, stream="news", consumer="billing"))["t"] == "subscribed"
    ended = await peer.get(1)

    assert (ended["t"], ended["code"]) == ("error", "forbidden")


class Heavy:
    """A delivery that notes how many of its kind are being rejected at the same time."""

    now = most = 0

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope

    async def reject(self, reason: str) -> bool:
        Heavy.now += 1
        Heavy.most = max(Heavy.most, Heavy.now)
        await asyncio.sleep(0)
        Heavy.now -= 1
        return reason == "no"


async def test_of_what_is_rejected_only_so_much_is_written_at_the_same_time(message: Make) -> None:
    deliveries = [Heavy(Envelope("a", message("ada"), None, number)) for number in range(1, AT_ONCE * 3)]

    async def batches(_: int) -> Any:
        yield deliveries

    async def send(*_: str | bytes) -> None:
        pass

    worker = Worker(1, SimpleNamespace(batches=batches, lost=0), len(deliveries), lambda _: None)  # type: ignore[arg-type]
    reader = asyncio.create_task(worker.run(send))
    await asyncio.sleep(0)
    answer = json.loads(await worker.settle(Reject(1, [one.envelope.sequence for one in deliveries], "no")))
    reader.cancel()

    assert (len(answer["sequences"]), answer["late"]) == (len(deliveries), [])
    assert 1 < Heavy.most <= AT_ONCE


class Unwritten(Heavy):
    """A delivery whose dead letter finds no room on the disk."""

    async def reject(self, reason: str) -> bool:
        raise StorageFullError(f"no room for {reason}")


async def test_a_dead_letter_for_which_there_is_no_room_ends_nothing_and_hides_nothing(message: Make) -> None:
    """It was answered by an error, which whoever consumes takes for the end; of the others nobody heard."""
    kinds = (Heavy, Unwritten, Heavy)
    deliveries = [kind(Envelope("a", message("ada"), None, place)) for place, kind in enumerate(kinds, 1)]

    async def batches(_: int) -> Any:
        yield deliveries

    async def send(*_: str | bytes) -> None:
        pass

    worker = Worker(1, SimpleNamespace(batches=batches, lost=0), len(deliveries), lambda _: [])  # type: ignore[arg-type]
    reader = asyncio.create_task(worker.run(send))
    await asyncio.sleep(0)
    answer = json.loads(await worker.settle(Reject(1, [1, 2, 3], "no")))
    reader.cancel()

    assert answer == {"id": 1, "t": "acked", "sequences": [1, 3], "late": [2]}


async def test_who_only_reads_takes_nothing_away_from_others(bus: Any, people: Any) -> None:
    await bus.bus.create_stream("orders", StreamSettings(("orders.>",)))
    peer = bus.connect(people.mona)

    refused = await peer.ask(op="consume", id=1, stream="orders", consumer="billing")
    replayed = await peer.ask(op="sub", id=2, stream="orders")

    assert (refused["code"], replayed["t"]) == ("forbidden", "subscribed")
    assert "others do not get" in refused["hint"]
    assert [one.action for one in bus.refusals] == ["message.consume"]


@pytest.mark.parametrize(
    ("made_by", "name", "who", "may"),
    [
        ("engram", "bills", "engram", True),
        ("engram", "bills", "billing", False),
        ("engram", "bills", "aron", False),
        ("engram", "bills", "ada", True),
        ("engram", "bills", "helper", True),
        ("engram", "parcels", "helper", False),
        ("engram", "billing", "billing", True),  # under its own name always
        ("engram", "billing", "replica", True),
        ("billing", "bills", "replica", True),
        ("aron", "bills", "aron", True),
        ("aron", "aron", "billing", False),
        ("ada", "bills", "billing", True),  # what is made by who manages streams is everybody's
        (None, "bills", "billing", True),  # as are those of before
    ],
)
async def test_a_consumer_is_for_whom_it_belongs_to(
    orders: Any, people: Any, made_by: str | None, name: str, who: str, may: bool
) -> None:
    operation = {"op": "consume", "id": 1, "stream": "orders", "consumer": name, "credit": 1}
    if made_by is None:
        await orders.bus.consume("orders", name).close()
    else:
        assert (await orders.connect(getattr(people, made_by)).ask(**operation))["t"] == "subscribed"

    answer = await orders.connect(getattr(people, who)).ask(**operation)

    assert answer.get("code") == (None if may else "forbidden")
    refused = [(one.action, one.subject) for one in orders.refusals]
    assert refused == ([] if may else [("message.consume", f"orders/{name}")])


async def test_who_may_not_share_a_consumer_any_more_is_handed_nothing(orders: Any, people: Any, message: Make) -> None:
    await orders.bus.consume("orders", "bills", owner="engram").close()
    peer = orders.connect(people.helper)
    await peer.ask(op="consume", id=1, stream="orders", consumer="bills")
    await sequences(peer, 10)

    orders.principals[peer] = people.principal("hands", "component", component_id="hands")
    orders.reviews += 1
    await orders.bus.publish("orders.new", message("ada", "later"))
    ended = await peer.get(t="error")

    assert ended["code"] == "forbidden"
    assert "a role name it under consume" in ended["hint"]
