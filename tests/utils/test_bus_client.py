"""The bus over a real WebSocket: what breaks on the way, and what comes of it. What every bus does is in tests/bus."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tekton.bus.bus import (
    DEFAULT_CONSUMER,
    MAX_DELAY,
    MAX_HOPS,
    MAX_MESSAGE,
    ConsumerSettings,
    Delivery,
    Limits,
    Policy,
    Receipt,
    StreamSettings,
)
from tekton.bus.envelope import Envelope
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.testing import free_port
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.testing.cut_connections import CuttingProxy
from tekton.utils import bus_demand, bus_exchange, bus_link, bus_unread
from tekton.utils.bus_client import BusClient
from tekton.utils.bus_consumption import ClientConsumption
from tekton.utils.bus_frames import operation
from tekton.utils.control_plane import ControlPlane
from tekton.utils.tekton_errors import (
    InvalidIdError,
    NoRespondersError,
    ProblemError,
    PublishUnknownError,
    ReplyTimeoutError,
    StreamNotFoundError,
    TooManyHopsError,
    TransportError,
)

SECRET = "kR7vX2mQ9sLw4TzB8nYc1HfJ6pGd3EaU"
ORDERS = StreamSettings(("orders.>",))


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_link, "BACKOFF", (0.01, 0.02))


@pytest.fixture
async def plane() -> AsyncIterator[InMemoryControlPlane]:
    async with asyncio.timeout(30), InMemoryControlPlane() as plane:
        await plane.bus.create_stream("orders", ORDERS)
        yield plane


@pytest.fixture
async def proxy(plane: InMemoryControlPlane) -> AsyncIterator[CuttingProxy]:
    async with CuttingProxy("127.0.0.1", int(plane.address.url.rpartition(":")[2])) as proxy:
        yield proxy


@pytest.fixture
async def bus(plane: InMemoryControlPlane, proxy: CuttingProxy) -> AsyncIterator[BusClient]:
    """A client behind the proxy."""
    token = await plane.token("engram", "operator")
    async with BusClient(ControlPlane(f"http://127.0.0.1:{proxy.port}", credential=token)) as bus:
        yield bus


def say(content: Any, kind: MessageType = MessageType.EVENT) -> Message:
    return Message(kind, content, MessageContext("engram"))


async def stored(plane: InMemoryControlPlane, count: int) -> list[Any]:
    """What the stream has, which is to be so much."""
    async with plane.bus.replay("orders") as all_of_it:
        found = [(await anext(aiter(all_of_it))).message.content for _ in range(count)]
    [info] = [info for info in await plane.bus.streams() if info.name == "orders"]
    assert info.messages == count
    return found


async def published(bus: BusClient, subject: str, message: Message) -> Receipt:
    """Publish under the same id until there is a receipt, in however little time."""
    while True:
        with suppress(PublishUnknownError, TransportError):
            return await bus.publish(subject, message)


async def connections(proxy: CuttingProxy, count: int) -> None:
    """Return when so many have come."""
    while proxy.connections < count:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.001)


class TestPublishing:
    async def test_however_often_it_is_cut_all_is_stored_once_and_in_order(
        self, plane: InMemoryControlPlane, proxy: CuttingProxy, bus: BusClient
    ) -> None:
        for number in range(100):
            if number % 10 == 5:
                proxy.cut()
            await bus.publish("orders.new", say(number))

        assert await stored(plane, 100) == list(range(100))

    async def test_many_at_a_time_are_too(
        self, plane: InMemoryControlPlane, proxy: CuttingProxy, bus: BusClient
    ) -> None:
        async def cut() -> None:
            await connections(proxy, 1)
            while proxy.connections < 5:
                # One that is just being made is not cut.
                proxy.cut()
                await asyncio.sleep(0.002)

        envelopes = [Envelope("orders.new", say([number, "x" * 500])) for number in range(2000)]
        async with asyncio.TaskGroup() as group:
            group.create_task(cut())
            publishing = group.create_task(bus.publish_many(envelopes))

        receipts = publishing.result()
        assert [number for number, _ in await stored(plane, 2000)] == list(range(2000))
        assert [receipt.sequence for receipt in receipts] == list(range(1, 2001))

    async def test_it_waits_for_a_control_plane_that_is_away(self, proxy: CuttingProxy, bus: BusClient) -> None:
        proxy.refuse()
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(bus.publish("orders.new", say(1)))
            await connections(proxy, 3)
            assert not publishing.done()
            proxy.allow()

        assert publishing.result() == (1, "orders", False)

    async def test_what_could_not_be_sent_in_time_was_not_published(self, proxy: CuttingProxy) -> None:
        proxy.refuse()
        there = ControlPlane(f"http://127.0.0.1:{proxy.port}")
        async with BusClient(there, publish_timeout=0.05) as bus:
            with pytest.raises(TransportError, match="nothing was published"):
                await bus.publish("orders.new", say(1))

    async def test_without_an_answer_nobody_knows(self, plane: InMemoryControlPlane, proxy: CuttingProxy) -> None:
        token = await plane.token("engram", "operator")
        there = ControlPlane(f"http://127.0.0.1:{proxy.port}", credential=token)
        async with BusClient(there, publish_timeout=0.3) as bus:
            await published(bus, "orders.new", say(1))
            proxy.stall()
            message = say(2)
            with pytest.raises(PublishUnknownError) as caught:
                await bus.publish("orders.new", message)
            proxy.allow()

            # As the hint says: under the same id.
            receipt = await published(bus, "orders.new", message)

        assert caught.value.message_id == message.message_id
        assert receipt.sequence == 2
        assert await stored(plane, 2) == [1, 2]

    async def test_what_was_given_up_does_not_wait_to_be_sent(
        self, plane: InMemoryControlPlane, proxy: CuttingProxy
    ) -> None:
        """Where the control plane took nothing, the queue grew with each message that was given up."""
        token = await plane.token("engram", "operator")
        there = ControlPlane(f"http://127.0.0.1:{proxy.port}", credential=token)
        async with BusClient(there, publish_timeout=0.2) as bus:
            await published(bus, "news.weather", say(1))
            proxy.stall()
            much = [bus.publish("news.weather", say("x" * 1_000_000)) for _ in range(40)]
            outcomes = await asyncio.gather(*much, return_exceptions=True)
            waiting = len(bus._exchange._link._outgoing)
            proxy.allow()

        assert {type(outcome) for outcome in outcomes} <= {PublishUnknownError, TransportError}
        assert waiting == 0

    async def test_a_client_that_was_closed_does_nothing_any_more(self, plane: InMemoryControlPlane) -> None:
        """It connected again, and left that connection open."""
        bus = BusClient(plane.address_of(await plane.token("engram", "operator")))
        await bus.publish("orders.new", say(1))
        await bus.streams()
        await bus.close()
        await bus.close()

        for call in (
            lambda: bus.publish("orders.new", say(2)),
            lambda: bus.publish_many([Envelope("orders.new", say(2))]),
            lambda: bus.request("engram.requests.double", say(2), timeout=5),
            lambda: read(bus.subscribe("memory.>")),
            lambda: read(bus.replay("orders")),
            lambda: read(bus.consume("orders", "billing")),
            lambda: bus.create_stream("others", StreamSettings(("others.>",))),
            lambda: bus.delete_stream("orders"),
            lambda: bus.delete_consumer("orders", "billing"),
            bus.streams,
        ):
            with pytest.raises(TransportError, match="the client was closed"):
                await call()
        assert not bus._exchange._link._socket.opened
        assert await stored(plane, 1) == [1]

    async def test_what_is_no_name_of_a_stream_or_a_consumer_leads_nowhere(
        self, plane: InMemoryControlPlane, bus: BusClient
    ) -> None:
        """`delete_stream("orders/consumers/billing")` deleted the consumer."""
        await plane.bus.consume("orders", "billing").__aenter__()

        for call in (
            lambda: bus.delete_stream("orders/consumers/billing"),
            lambda: bus.delete_stream(""),
            lambda: bus.create_stream("orders/consumers/billing", ORDERS),
            lambda: bus.delete_consumer("orders", "../billing"),
            lambda: bus.delete_consumer("orders/consumers/billing", "billing"),
        ):
            with pytest.raises(InvalidIdError):
                await call()

        [orders] = [info for info in await plane.bus.streams() if info.name == "orders"]
        assert [consumer.name for consumer in orders.consumers] == ["billing"]

    async def test_what_is_under_way_is_bounded(self, plane: InMemoryControlPlane, bus: BusClient) -> None:
        await bus.publish("orders.new", say(0))
        outbox = bus._exchange._outbox
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, len(outbox))
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch())
            async with asyncio.TaskGroup() as publishing:
                for number in range(1, 1001):
                    publishing.create_task(bus.publish("orders.new", say(number)))
            watching.cancel()

        assert most == 256
        assert await stored(plane, 1001) == list(range(1001))

    async def test_a_request_whose_answer_would_go_in_circles_takes_nothing_of_its_batch_along(
        self, plane: InMemoryControlPlane, bus: BusClient
    ) -> None:
        """Only the hops of the message counted here, not the one of its answer: what came before was published."""
        others = [Envelope("orders.new", say("x" * 500)) for _ in range(300)]
        last = Message(MessageType.REQUEST, "last", MessageContext("engram", hops=MAX_HOPS))

        with pytest.raises(TooManyHopsError):
            await bus.publish_many([*others, Envelope("orders.new", last, "engram.answers.1")])

        assert await stored(plane, 0) == []


class TestSubscriptions:
    @pytest.mark.parametrize("depth", [0, 62])
    async def test_a_dead_letter_that_is_larger_than_any_message_comes_like_others(
        self, plane: InMemoryControlPlane, bus: BusClient, depth: int
    ) -> None:
        """It ended the connection for good, and all who used it waited forever."""
        content: Any = "x" * (MAX_MESSAGE - 400)
        for _ in range(depth):
            content = [content]
        circling = Message(MessageType.EVENT, content, MessageContext("engram", hops=MAX_HOPS + 1))
        admin = BusClient(plane.address_of(await plane.token("ada", "admin")))
        async with (
            asyncio.timeout(10),
            admin,
            admin.subscribe("tekton.dead.>") as letters,
            admin.subscribe("memory.>") as others,
        ):
            with pytest.raises(TooManyHopsError):
                await bus.publish("memory.updated", circling)
            letter = await anext(letters)
            await bus.publish("memory.updated", say(1))
            other = await anext(others)

        assert letter.size > MAX_MESSAGE
        assert isinstance(letter.message.content["message"], str if depth else dict)
        assert other.message.content == 1

    async def test_what_cannot_be_taken_costs_the_connection_and_not_the_client(
        self,
        plane: InMemoryControlPlane,
        proxy: CuttingProxy,
        bus: BusClient,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        async with asyncio.timeout(10), bus.subscribe("memory.>") as subscription:
            with monkeypatch.context() as patched:
                patched.setattr(bus_exchange, "_ANY_SIZE", 100)
                await plane.bus.publish("memory.updated", say(1))
                await connections(proxy, 2)
            envelope = await anext(subscription)

        assert (envelope.message.content, subscription.gap) == (1, 0)

    async def test_a_subscription_goes_on_behind_what_came_last(
        self, plane: InMemoryControlPlane, proxy: CuttingProxy, bus: BusClient
    ) -> None:
        seen: list[tuple[Any, int]] = []
        async with bus.subscribe("memory.>") as subscription:
            for number in range(50):
                await plane.bus.publish("memory.updated", say(number))
                if number % 10 == 5:
                    proxy.cut()
            async for envelope in subscription:
                seen.append((envelope.message.content, subscription.gap))
                if len(seen) == 50:
                    break

        assert seen == [(number, 0) for number in range(50)]
        assert subscription.lost == 0

    async def test_what_was_published_before_anything_came_is_not_missed(
        self, plane: InMemoryControlPlane, proxy: CuttingProxy, bus: BusClient
    ) -> None:
        async with bus.subscribe("memory.>") as subscription:
            proxy.refuse()
            proxy.cut()
            await plane.bus.publish("memory.updated", say(1))
            proxy.allow()
            envelope = await anext(subscription)

        assert (envelope.message.content, subscription.gap) == (1, 0)

    async def test_when_the_bus_has_begun_anew_there_is_a_gap_of_unknown_size(self) -> None:
        port = free_port()
        there = ControlPlane(f"http://127.0.0.1:{port}")
        # Who is anonymous may not listen; the secret makes one token hold in both.
        async with asyncio.timeout(20):
            async with InMemoryControlPlane(port=port, jwt_secret=SECRET) as plane:
                token = await plane.token("engram", "operator")
                bus = BusClient(ControlPlane(there.url, credential=token))
                subscription = bus.subscribe("memory.>")
                await subscription.__aenter__()
                await plane.bus.publish("memory.updated", say(1))
                first = await anext(subscription)
            async with InMemoryControlPlane(port=port, jwt_secret=SECRET) as plane:
                await plane.token("engram", "operator")
                # Though nothing is published any more.
                while not subscription.lost:  # noqa: ASYNC110 - it is told of with the next message
                    await asyncio.sleep(0.001)
                async with asyncio.TaskGroup() as group:
                    reading = group.create_task(read(subscription))
                    while not reading.done():
                        await plane.bus.publish("memory.updated", say(2))
                        await asyncio.sleep(0.001)
                await bus.close()

        assert (first.message.content, reading.result().message.content) == (1, 2)
        assert (subscription.gap, subscription.lost) == (-1, 1)

    async def test_a_stream_is_complete_however_often_it_is_cut(
        self, plane: InMemoryControlPlane, proxy: CuttingProxy, bus: BusClient
    ) -> None:
        await plane.bus.publish_many([Envelope("orders.new", say([number, "x" * 1000])) for number in range(3000)])
        seen: list[int] = []

        async with bus.replay("orders") as replay:
            async for batch in replay.batches():
                assert replay.gap == 0
                seen += [envelope.message.content[0] for envelope in batch]
                if len(seen) == 3000:
                    break
                if proxy.connections < 6:
                    proxy.cut()

        assert seen == list(range(3000))
        assert proxy.connections > 1

    async def test_a_slow_reader_of_a_stream_holds_little_of_it_and_misses_nothing(
        self, plane: InMemoryControlPlane, bus: BusClient
    ) -> None:
        await plane.bus.publish_many([Envelope("orders.new", say([number, "x" * 1000])) for number in range(5000)])
        seen, most = [], 0

        async with bus.replay("orders") as replay, bus.subscribe("memory.>") as beside:
            async for envelope in replay:
                seen.append(envelope.message.content[0])
                most = max(most, len(replay._mailbox))
                if len(seen) % 500 == 0:
                    # What else is on the connection comes through meanwhile.
                    await plane.bus.publish("memory.updated", say(len(seen)))
                    assert (await anext(beside)).message.content == len(seen)
                if len(seen) == 5000:
                    break

        assert seen == list(range(5000))
        assert most < 1100

    async def test_who_does_not_read_is_cut_alone(self, plane: InMemoryControlPlane, bus: BusClient) -> None:
        async with (
            bus.subscribe("a.>", limits=Limits(3)),
            bus.subscribe("a.>", limits=Limits(2000, policy=Policy.DROP_OLDEST)) as other,
        ):
            await plane.bus.publish_many([Envelope("a.b", say(number)) for number in range(10)])
            seen = [(await anext(other)).message.content for _ in range(10)]

        assert seen == list(range(10))

    async def test_what_is_refused_is_raised_when_it_is_entered_or_read(self, bus: BusClient) -> None:
        with pytest.raises(StreamNotFoundError):
            async with bus.replay("nothing"):
                pass
        with pytest.raises(StreamNotFoundError):
            await anext(bus.replay("nothing"))
        with pytest.raises(StreamNotFoundError):
            async with bus.consume("nothing", "billing"):
                pass

    async def test_closing_the_client_ends_all_of_it(self, plane: InMemoryControlPlane) -> None:
        bus = BusClient(plane.address_of(await plane.token("engram", "operator")))
        async with (
            asyncio.TaskGroup() as group,
            bus.subscribe("memory.>") as subscription,
            bus.consume("orders", "billing") as work,
        ):
            reading = group.create_task(anext(subscription, None))
            working = group.create_task(anext(work, None))
            await asyncio.sleep(0)
            await bus.close()

        assert (reading.result(), working.result()) == (None, None)


async def read(subscription: Any) -> Envelope:
    envelope: Envelope = await anext(subscription)
    return envelope


class TestConsuming:
    @pytest.fixture(autouse=True)
    def much_ahead(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also on a machine that has much to do, some are asked for beforehand."""
        monkeypatch.setattr(bus_demand, "AHEAD", 10.0)

    async def test_all_is_worked_off_however_often_it_is_cut(
        self, plane: InMemoryControlPlane, proxy: CuttingProxy, bus: BusClient
    ) -> None:
        await plane.bus.publish_many([Envelope("orders.new", say(number)) for number in range(200)])
        done: dict[int, int] = {}
        settings = ConsumerSettings(max_deliver=100, backoff=(0.0,))

        async with bus.consume("orders", "billing", settings) as deliveries:
            async for delivery in deliveries:
                number = delivery.envelope.message.content
                if len(done) % 40 == 20 and proxy.connections < 6:
                    proxy.cut()
                if await delivery.ack():
                    done[number] = done.get(number, 0) + 1
                if len(done) == 200:
                    break

        assert sorted(done) == list(range(200))
        assert set(done.values()) == {1}
        [orders] = [info for info in await plane.bus.streams() if info.name == "orders"]
        assert (orders.consumers[0].acknowledged, orders.consumers[0].dead_letters) == (200, 0)

    async def test_acknowledgements_go_together(self, plane: InMemoryControlPlane, bus: BusClient) -> None:
        await plane.bus.publish_many([Envelope("orders.new", say(number)) for number in range(40)])
        held: list[Delivery] = []

        async with bus.consume("orders", "billing") as deliveries:
            async for batch in deliveries.batches(16):
                assert len(batch) <= 16
                held += batch
                if len(held) == 40:
                    break
            counted = await asyncio.gather(*(delivery.ack() for delivery in held))
            again = await held[0].ack()

        assert counted == [True] * 40
        assert again is False

    async def test_no_more_waits_here_than_there_is_credit_for(
        self, plane: InMemoryControlPlane, bus: BusClient
    ) -> None:
        await plane.bus.publish_many([Envelope("orders.new", say(number)) for number in range(500)])
        most = 0

        async with bus.consume("orders", "billing") as deliveries:
            for _ in range(200):
                delivery = await anext(deliveries)
                await delivery.ack()
                most = max(most, len(deliveries._waiting))

        assert 1 <= most <= 64

    async def done(self, deliveries: ClientConsumption, count: int) -> list[tuple[object, int]]:
        """The contents and attempts of the next *count*, which are acknowledged."""
        done: list[tuple[object, int]] = []
        while len(done) < count:
            delivery = await anext(deliveries)
            assert await delivery.ack()
            done.append((delivery.envelope.message.content, delivery.envelope.attempt))
        return done

    async def ahead(self, deliveries: ClientConsumption) -> Delivery:
        """Work quickly until some wait here; then one with which somebody is busy."""
        for _ in range(60):
            assert await (await anext(deliveries)).ack()
        busy = await anext(deliveries)
        while len(deliveries._waiting) < 3:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        return busy

    async def test_what_waits_behind_a_slow_one_is_for_others_and_was_never_handed_out(
        self, plane: InMemoryControlPlane, bus: BusClient
    ) -> None:
        """It ran out of its ack_wait, and became a dead letter though nobody had ever failed on it."""
        await plane.bus.publish_many([Envelope("orders.new", say(number)) for number in range(200)])
        settings = ConsumerSettings(max_deliver=1, max_in_flight=256)
        attempts: dict[int, int] = {}

        async with bus.consume("orders", "billing", settings) as deliveries:
            busy = await self.ahead(deliveries)
            async with bus.consume("orders", "billing", settings) as others:
                async for delivery in others:
                    attempts[delivery.envelope.message.content] = delivery.envelope.attempt
                    assert await delivery.ack()
                    if len(attempts) == 139:
                        break
            assert await busy.ack()

        assert attempts == dict.fromkeys(range(61, 200), 1)
        [orders] = [info for info in await plane.bus.streams() if info.name == "orders"]
        assert (orders.consumers[0].acknowledged, orders.consumers[0].dead_letters) == (200, 0)

    async def test_the_slow_one_gets_it_again_when_he_is_done(
        self, plane: InMemoryControlPlane, bus: BusClient
    ) -> None:
        await plane.bus.publish_many([Envelope("orders.new", say(number)) for number in range(100)])

        async with bus.consume("orders", "billing", ConsumerSettings(max_deliver=1)) as deliveries:
            busy = await self.ahead(deliveries)
            while deliveries._waiting:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
            assert await busy.ack()
            rest = await self.done(deliveries, 39)

        assert rest == [(number, 1) for number in range(61, 100)]

    async def test_how_long_one_may_wait_is_known_without_settings_too(
        self, plane: InMemoryControlPlane, bus: BusClient
    ) -> None:
        """A consumer with a short ack_wait had its messages taken back before they were given back."""
        async with plane.bus.consume("orders", "billing", ConsumerSettings(ack_wait=0.6)):
            pass

        async with bus.consume("orders", "billing") as deliveries, bus.consume("orders", "made-by-this") as others:
            waits = [one._waiting.ack_wait for one in (deliveries, others)]

        assert waits == [0.6, DEFAULT_CONSUMER.ack_wait]

    async def test_who_leaves_has_not_been_handed_what_he_has_not_begun_with(
        self, plane: InMemoryControlPlane, bus: BusClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # What is given back before he leaves comes behind the others.
        monkeypatch.setattr(bus_unread, "_PATIENCE", 60.0)
        await plane.bus.publish_many([Envelope("orders.new", say(number)) for number in range(100)])
        settings = ConsumerSettings(max_deliver=1)
        async with bus.consume("orders", "billing", settings) as deliveries:
            assert await (await self.ahead(deliveries)).ack()

        async with bus.consume("orders", "billing", settings) as deliveries:
            rest = await self.done(deliveries, 39)

        assert rest == [(number, 1) for number in range(61, 100)]

    async def test_who_is_cancelled_while_he_leaves_has_left(self, plane: InMemoryControlPlane, bus: BusClient) -> None:
        """He took part for good, and had his share of what may be in flight."""
        await plane.bus.publish("orders.new", say(1))
        deliveries = bus.consume("orders", "billing")
        await deliveries.__aenter__()
        [delivery] = await anext(deliveries.batches())
        settling = asyncio.ensure_future(delivery.ack())
        await asyncio.sleep(0)

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await deliveries.close()
        await asyncio.gather(settling)

        assert not bus._exchange._parties

    async def test_who_leaves_gives_back_what_he_has(self, plane: InMemoryControlPlane, bus: BusClient) -> None:
        await plane.bus.publish_many([Envelope("orders.new", say(number)) for number in range(10)])
        async with bus.consume("orders", "billing") as deliveries:
            first = await anext(deliveries)
            await anext(deliveries)
            assert await first.ack()

        async with bus.consume("orders", "billing") as deliveries:
            rest = []
            for _ in range(9):
                delivery = await anext(deliveries)
                rest.append(delivery.envelope.message.content)
                assert await delivery.ack()

        assert sorted(rest) == list(range(1, 10))
        assert await first.ack() is False

    async def test_one_that_an_error_has_ended_goes_on_nowhere(
        self, plane: InMemoryControlPlane, bus: BusClient
    ) -> None:
        """On the control plane it went on: it kept what it had, and took more that nobody ever saw."""
        settings = ConsumerSettings(max_in_flight=1, backoff=(0.0,))
        await plane.bus.publish("orders.new", say(1))
        async with bus.consume("orders", "billing", settings) as refused:
            await anext(refused)
            bus._exchange.send(operation("credit", refused._settlements.number, more=5000))
            with pytest.raises(ProblemError, match="more"):
                await anext(refused)

        async with asyncio.timeout(5), bus.consume("orders", "billing", settings) as deliveries:
            assert await self.done(deliveries, 1) == [(1, 2)]

    async def test_what_has_ended_over_there_is_not_warned_of(
        self, plane: InMemoryControlPlane, bus: BusClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with bus.consume("orders", "billing") as deliveries:
            await plane.bus.delete_stream("orders")
            with pytest.raises(StreamNotFoundError):
                await anext(deliveries)
            await bus.publish("memory.updated", say(1))

        assert not [record for record in caplog.records if record.name == "tekton.bus"]

    async def test_lists_of_any_length_can_be_asked_for(
        self, plane: InMemoryControlPlane, bus: BusClient, proxy: CuttingProxy
    ) -> None:
        """More than 4096 was more than a control plane gives credit for: it refused, now or after the next cut."""
        settings = ConsumerSettings(max_in_flight=4096, backoff=(0.0,))
        counted: list[bool] = []
        async with bus.consume("orders", "billing", settings) as deliveries:
            lists = deliveries.batches(100_000)
            for number in range(2):
                await plane.bus.publish("orders.new", say(number))
                counted += [await delivery.ack() for delivery in await anext(lists)]
                before = proxy.connections
                proxy.cut()
                await connections(proxy, before + 1)

        assert counted == [True, True]

    async def test_a_delay_is_no_longer_than_the_control_plane_takes(
        self, plane: InMemoryControlPlane, bus: BusClient
    ) -> None:
        """It refused, and with that the whole consumption ended."""
        await plane.bus.publish("orders.new", say(1))
        async with bus.consume("orders", "billing") as deliveries:
            delivery = await anext(deliveries)
            for delay in (-1.0, MAX_DELAY + 1, float("inf"), float("nan")):
                with pytest.raises(ValueError, match="delay"):
                    await delivery.nack(delay)

            assert await delivery.nack(MAX_DELAY)


class TestRequests:
    async def serve(self, bus: BusClient, proxy: CuttingProxy | None = None) -> None:
        """Answer one request, cutting the connection when it has come."""
        async with bus.subscribe("engram.requests.>") as requests:
            request = await anext(requests)
            if proxy is not None:
                proxy.cut()
            assert request.reply is not None
            await bus.publish(request.reply, say(2 * request.message.content, MessageType.RESPONSE))

    async def test_a_request_is_answered_though_the_connection_breaks(
        self, plane: InMemoryControlPlane, proxy: CuttingProxy, bus: BusClient
    ) -> None:
        other = BusClient(plane.address_of(await plane.token("engram", "operator")))
        async with other, asyncio.TaskGroup() as group:
            group.create_task(self.serve(other, proxy))
            while not plane.bus.live.answered("engram.requests.double"):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
            answer = await bus.request("engram.requests.double", say(21, MessageType.REQUEST), timeout=10)

        assert answer.content == 42

    async def test_the_first_request_has_no_more_time_than_any_other(self) -> None:
        """It took thirty seconds to ask for the name of the inbox, whatever its timeout."""
        heard = asyncio.Event()

        async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.set()
            writers.append(writer)

        writers: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(10), BusClient(ControlPlane(f"http://127.0.0.1:{port}")) as bus:
            with pytest.raises(TransportError, match=r"within 0.5 s, so nobody was asked"):
                await bus.request("engram.requests.double", say(21), timeout=0.5)

        assert heard.is_set()
        server.close()
        for writer in writers:
            writer.transport.abort()

    async def test_the_first_request_waits_for_a_control_plane_that_is_away(
        self, plane: InMemoryControlPlane, proxy: CuttingProxy, bus: BusClient
    ) -> None:
        """It failed at once, where all others wait for the connection."""
        proxy.refuse()
        with pytest.raises(TransportError, match=r"within 0.05 s, so nobody was asked"):
            await bus.request("engram.requests.double", say(21, MessageType.REQUEST), timeout=0.05)
        before = proxy.connections
        other = BusClient(plane.address_of(await plane.token("engram", "operator")))
        async with other, asyncio.TaskGroup() as group:
            group.create_task(self.serve(other))
            while not plane.bus.live.answered("engram.requests.double"):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
            request = say(21, MessageType.REQUEST)
            asking = group.create_task(bus.request("engram.requests.double", request, timeout=10))
            await connections(proxy, before + 1)
            proxy.allow()

        assert asking.result().content == 42

    async def test_who_is_away_cannot_be_asked(self, proxy: CuttingProxy, bus: BusClient) -> None:
        # With the first request a client asks who it is, in the time that the request has.
        with pytest.raises(NoRespondersError):
            await bus.request("nobody.requests.it", say("?", MessageType.REQUEST), timeout=10)
        async with bus.subscribe("engram.requests.>"):
            with pytest.raises(ReplyTimeoutError):
                await bus.request("engram.requests.double", say(21, MessageType.REQUEST), timeout=0.05)
            proxy.refuse()
            proxy.cut()
            while bus._exchange.connected:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
            with pytest.raises(TransportError, match="nobody was asked"):
                await bus.request("engram.requests.double", say(21, MessageType.REQUEST), timeout=0.05)


class TestCredentials:
    async def test_who_is_refused_is_told_and_may_try_again(self, plane: InMemoryControlPlane, tmp_path: Path) -> None:
        file = tmp_path / "credential"
        file.write_text("wrong")
        there = ControlPlane(plane.address.url, credential="wrong", credential_file=file)

        async with BusClient(there) as bus:
            with pytest.raises(ProblemError) as caught:
                await bus.publish("orders.new", say(1))
            with pytest.raises(ProblemError):
                async with bus.subscribe("memory.>"):
                    pass
            file.write_text(await plane.token("engram", "operator"))
            receipt = await bus.publish("orders.new", say(1))

        assert caught.value.status == 401
        assert receipt.stream == "orders"

    async def test_one_that_is_taken_back_ends_the_connection_and_the_next_one_is_used(
        self, plane: InMemoryControlPlane, tmp_path: Path
    ) -> None:
        file = tmp_path / "credential"
        token = await plane.token("engram", "operator")
        there = ControlPlane(plane.address.url, credential=token, credential_file=file)
        file.write_text(await plane.token("hermes", "operator"))

        async with BusClient(there) as bus, bus.subscribe("memory.>") as subscription:
            await plane.revoke("engram")
            # It comes upon a subscription whose end nobody has told yet.
            await plane.bus.publish("memory.updated", say(1))
            envelope = await anext(subscription)

        assert envelope.message.content == 1
