"""Live delivery: who gets what, in which order, and what becomes of who does not keep up."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from tekton.bus.bus import Limits, Policy
from tekton.bus.channel import STEP
from tekton.bus.envelope import Envelope
from tekton.bus.live import LiveBus
from tekton.bus.ring import MOST
from tekton.bus.subscription import LiveSubscription
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.testing import ManualClock
from tekton.utils.tekton_errors import (
    CursorExpiredError,
    InvalidSubjectError,
    SlowConsumerError,
    TooManySubscriptionsError,
)


def say(subject: str, content: object = None) -> Envelope:
    return Envelope(subject, Message(MessageType.EVENT, content, MessageContext("engram")))


def numbers(subject: str, first: int, count: int) -> list[Envelope]:
    return [say(subject, number) for number in range(first, first + count)]


def contents(batch: Sequence[Envelope]) -> list[object]:
    return [envelope.message.content for envelope in batch]


async def waiting(subscription: LiveSubscription) -> list[object]:
    """All that waits now."""
    async with asyncio.timeout(5):
        async for batch in subscription.batches():
            return contents(batch)
    raise AssertionError("the subscription has ended")


@pytest.fixture
def live() -> LiveBus:
    return LiveBus(ManualClock())


SIZE = len(say("a", 0).message.to_json())


async def test_whoever_listens_gets_what_is_published_from_then_on(live: LiveBus) -> None:
    live.deliver([say("a.b", 0)])
    subscription = live.subscribe("a.*")
    live.deliver([say("a.b", 1), say("a.c", 2), say("b.c", 3), say("a.b.c", 4)])

    assert await waiting(subscription) == [1, 2]


async def test_a_message_has_the_time_and_the_next_position(live: LiveBus) -> None:
    subscription = live.subscribe(">")
    before = live.sequence
    live.deliver([say("a", 1), say("b", 2)])

    [one, other] = [await anext(subscription), await anext(subscription)]

    assert [one.sequence, other.sequence, live.sequence] == [before + 1, before + 2, before + 2]
    assert one.time == 1_700_000_000.0
    assert live.published == 2


async def test_positions_are_greater_than_those_of_an_earlier_process() -> None:
    clock = ManualClock()
    earlier = LiveBus(clock)
    earlier.deliver(numbers("a", 0, 10))
    clock.advance(0.001)

    assert LiveBus(clock).sequence > earlier.sequence


async def test_one_who_sleeps_is_woken_by_a_publish(live: LiveBus) -> None:
    subscriptions = [live.subscribe("a"), live.subscribe("a"), live.subscribe(">")]
    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(waiting(subscription)) for subscription in subscriptions]
        await asyncio.sleep(0)
        live.deliver([say("a", 1), say("a", 2)])

    assert [reader.result() for reader in readers] == [[1, 2]] * 3


@pytest.mark.parametrize("text", ["", "a..b", "a b", "a.*", ">", "x" * 256])
async def test_what_is_no_subject_is_refused_and_nothing_is_published(live: LiveBus, text: str) -> None:
    subscription = live.subscribe("a")
    with pytest.raises(InvalidSubjectError):
        live.deliver([say("a", 1), say(text, 2)])

    assert live.published == 0
    live.deliver([say("a", 3)])
    assert await waiting(subscription) == [3]


@pytest.mark.parametrize("text", ["", "a..b", "a.>.b", "a*", "\ud800"])
async def test_what_is_no_pattern_is_refused(live: LiveBus, text: str) -> None:
    with pytest.raises(InvalidSubjectError):
        live.subscribe(text)
    with pytest.raises(InvalidSubjectError):
        live.tap(text, print)

    assert live.tally.subscriptions == 0


async def test_a_pattern_that_begins_with_a_wildcard_hears_nothing_reserved(live: LiveBus) -> None:
    everything, any_first, feeds, inbox = map(live.subscribe, (">", "*.x", "tekton.>", "_inbox.engram.>"))
    live.deliver([say("tekton.x", 1), say("_inbox.x", 2), say("_inbox.engram.x", 3), say("a.x", 4)])

    assert await waiting(everything) == await waiting(any_first) == [4]
    assert await waiting(feeds) == [1]
    assert await waiting(inbox) == [3]


async def test_after_close_the_reading_ends_also_for_one_who_sleeps(live: LiveBus) -> None:
    subscription = live.subscribe("a")
    async with asyncio.TaskGroup() as group:
        one = group.create_task(anext(subscription, None))
        other = group.create_task(anext(subscription, None))
        await asyncio.sleep(0)
        await subscription.close()
        await subscription.close()

    assert (one.result(), other.result()) == (None, None)
    assert [batch async for batch in subscription.batches()] == []
    assert live.tally.subscriptions == 0


async def test_who_leaves_the_block_listens_no_more(live: LiveBus) -> None:
    async with live.subscribe("a") as subscription:
        assert live.answered("a")

    live.deliver([say("a", 1)])
    assert not live.answered("a")
    assert [envelope async for envelope in subscription] == []


async def test_a_reader_that_is_cancelled_misses_nothing(live: LiveBus) -> None:
    subscription = live.subscribe("a")
    async with asyncio.TaskGroup() as group:
        sleeper = group.create_task(anext(subscription))
        await asyncio.sleep(0)
        sleeper.cancel()
    async with asyncio.TaskGroup() as group:
        woken = group.create_task(anext(subscription))
        await asyncio.sleep(0)
        live.deliver([say("a", 1)])
        woken.cancel()

    assert await waiting(subscription) == [1]


async def test_waiting_many_times_in_vain_leaves_nothing_behind(live: LiveBus) -> None:
    subscription = live.subscribe("a")
    for _ in range(50):
        async with asyncio.TaskGroup() as group:
            sleeper = group.create_task(anext(subscription))
            await asyncio.sleep(0)
            sleeper.cancel()

    [channel] = live._channels.values()
    assert (channel.sleeping, subscription._waiting) == ({}, [])


async def test_many_subscriptions_of_one_pattern_share_a_log_and_read_at_their_own_pace(live: LiveBus) -> None:
    subscriptions = [live.subscribe("a.>") for _ in range(5)]
    seen: list[list[object]] = [[] for _ in subscriptions]
    for number in range(20):
        live.deliver([say("a.b", number)])
        for place, subscription in enumerate(subscriptions):
            if number % (place + 1) == 0:
                seen[place] += await waiting(subscription)

    assert [len(one) for one in seen] == [20, 19, 19, 17, 16]
    assert all(one == list(range(len(one))) for one in seen)


async def test_one_at_a_time_and_in_batches_can_be_mixed(live: LiveBus) -> None:
    subscription = live.subscribe("a")
    live.deliver(numbers("a", 0, 5))

    first, rest = await anext(subscription), await waiting(subscription)

    assert (first.message.content, rest) == (0, [1, 2, 3, 4])


@pytest.mark.parametrize("queue", [None, "workers"])
@pytest.mark.parametrize("policy", Policy)
async def test_what_comes_while_a_batch_is_looked_at_is_read_next(
    live: LiveBus, policy: Policy, queue: str | None
) -> None:
    subscription = live.subscribe("a.*", queue=queue, limits=Limits(policy=policy))
    live.deliver([say("a.0", 0)])
    seen: list[object] = []
    async with asyncio.timeout(5):
        async for batch in subscription.batches():
            seen += contents(batch)
            if len(seen) < 5:
                live.deliver([say(f"a.{len(seen)}", len(seen))])
            elif len(seen) == 5:
                asyncio.get_running_loop().call_soon(live.deliver, [say("a.5", 5)])
            else:
                await subscription.close()

    assert seen == list(range(6))


async def test_who_does_not_keep_up_is_cut_with_the_number_that_waited(live: LiveBus) -> None:
    subscription = live.subscribe("a", limits=Limits(messages=3))
    live.deliver(numbers("a", 0, 4))

    for _ in range(2):
        with pytest.raises(SlowConsumerError) as caught:
            await anext(subscription)
        assert (caught.value.pattern, caught.value.waiting) == ("a", 4)
    with pytest.raises(SlowConsumerError):
        await anext(subscription.batches())
    await subscription.close()
    assert (live.tally.subscriptions, live.tally.cut, live.tally.lost) == (0, 1, 4)


async def test_as_many_as_the_limits_say_may_wait(live: LiveBus) -> None:
    counted = live.subscribe("a", limits=Limits(messages=3))
    weighed = live.subscribe("a", limits=Limits(size=3 * SIZE))
    live.deliver(numbers("a", 0, 3))

    assert await waiting(counted) == await waiting(weighed) == [0, 1, 2]


async def test_too_many_bytes_are_too_much_as_well(live: LiveBus) -> None:
    cut = live.subscribe("a", limits=Limits(size=3 * SIZE))
    dropping = live.subscribe("a", limits=Limits(size=3 * SIZE, policy=Policy.DROP_OLDEST))
    live.deliver(numbers("a", 0, 4))

    with pytest.raises(SlowConsumerError):
        await anext(cut)
    assert await waiting(dropping) == [1, 2, 3]
    assert dropping.gap == dropping.lost == 1


@pytest.mark.parametrize("policy", list(Policy))
async def test_a_message_that_is_larger_than_the_limit_waits_if_it_is_alone(live: LiveBus, policy: Policy) -> None:
    subscription = live.subscribe("a", limits=Limits(size=10, policy=policy))
    live.deliver([say("a", "x" * 100)])

    assert await waiting(subscription) == ["x" * 100]
    assert subscription.lost == 0


async def test_the_oldest_are_passed_over_and_the_gap_is_told_once(live: LiveBus) -> None:
    subscription = live.subscribe("a", limits=Limits(messages=3, policy=Policy.DROP_OLDEST))
    live.deliver(numbers("a", 0, 10))

    assert (await anext(subscription)).message.content == 7
    assert (subscription.gap, subscription.lost) == (7, 7)
    assert await waiting(subscription) == [8, 9]
    assert (subscription.gap, subscription.lost) == (0, 7)
    live.deliver(numbers("a", 10, 5))
    assert await waiting(subscription) == [12, 13, 14]
    assert (subscription.gap, subscription.lost, live.tally.lost) == (2, 9, 9)


async def test_of_each_subject_the_newest_is_kept_in_the_order_of_the_newest(live: LiveBus) -> None:
    subscription = live.subscribe("a.>", limits=Limits(messages=2, policy=Policy.CONFLATE))
    live.deliver([say("a.x", 1), say("a.y", 2), say("a.x", 3)])

    assert await waiting(subscription) == [2, 3]
    assert subscription.lost == 0
    live.deliver([say("a.x", 4), say("a.y", 5), say("a.z", 6)])
    assert (await anext(subscription)).message.content == 5
    assert (subscription.gap, subscription.lost) == (1, 1)
    assert await waiting(subscription) == [6]


@pytest.mark.parametrize("policy", list(Policy))
async def test_who_never_reads_holds_no_more_than_the_limits(live: LiveBus, policy: Policy) -> None:
    stalled = live.subscribe("a.>", limits=Limits(messages=100, size=100 * SIZE, policy=policy))
    others = live.subscribe("a.>")
    most = most_size = 0
    for number in range(0, 5000, 10):
        live.deliver([say(f"a.{place}", place) for place in range(number, number + 10)])
        await waiting(others)
        [channel] = live._channels.values()
        kept = [cursor for cursor in channel.cursors if hasattr(cursor, "kept")]
        most = max(most, len(channel.entries) + sum(len(cursor.kept) for cursor in kept))
        most_size = max(most_size, channel.held)

    assert most <= 100 + STEP + 10
    assert most_size <= (100 + STEP + 10) * (SIZE + 4)
    await stalled.close()
    assert (len(channel.entries), channel.held) == (0, 0)


async def test_what_all_have_read_is_held_no_more(live: LiveBus) -> None:
    quick, slow = live.subscribe("a"), live.subscribe("a")
    live.deliver(numbers("a", 0, 50))
    [channel] = live._channels.values()

    await waiting(quick)
    assert len(channel.entries) == 50
    for _ in range(50):
        await anext(slow)
    assert (channel.entries, channel.held) == ([], 0)


async def test_one_who_is_always_a_bit_behind_does_not_hold_what_he_has_read(live: LiveBus) -> None:
    subscription = live.subscribe("a")
    live.deliver(numbers("a", 0, 5))
    for number in range(5, 2000):
        live.deliver([say("a", number)])
        assert (await anext(subscription)).message.content == number - 5

    [channel] = live._channels.values()
    assert len(channel.entries) <= 5 + STEP + 1


async def test_one_sleeper_among_fifty_disturbs_nobody(live: LiveBus) -> None:
    async def read(subscription: LiveSubscription) -> list[object]:
        return [envelope.message.content async for envelope in subscription]

    sleeper, *others = [live.subscribe("a.>", limits=Limits(messages=100)) for _ in range(50)]
    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(read(subscription)) for subscription in others]
        await asyncio.sleep(0)
        for number in range(500):
            live.deliver([say("a.b", number)])
            # One turn each: whoever reads has read it by the next message, as if nobody slept.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert live.tally.cut == 1
        for subscription in others:
            await subscription.close()

    assert all(reader.result() == list(range(500)) for reader in readers)
    with pytest.raises(SlowConsumerError):
        await anext(sleeper)


async def test_a_message_goes_to_one_of_a_queue_group_and_to_everybody_else(live: LiveBus) -> None:
    one, other = (live.subscribe("a", queue="workers") for _ in range(2))
    alone, another = live.subscribe("a", queue="others"), live.subscribe("a")
    live.deliver(numbers("a", 0, 10))

    assert await waiting(one) == [0, 1, 2, 3, 4]
    assert await waiting(other) == [5, 6, 7]
    assert await waiting(one) == [8]
    assert await waiting(alone) == await waiting(another) == list(range(10))
    assert await waiting(other) == [9]


async def test_of_a_queue_group_those_who_wait_get_it_the_longest_waiting_first(live: LiveBus) -> None:
    members = [live.subscribe("a", queue="workers") for _ in range(3)]
    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(anext(member)) for member in members[1:]]
        await asyncio.sleep(0)
        live.deliver([say("a", 1)])
        await asyncio.sleep(0)
        live.deliver([say("a", 2)])

    assert contents([reader.result() for reader in readers]) == [1, 2]


async def test_a_member_that_leaves_passes_on_what_it_has_not_read(live: LiveBus) -> None:
    leaving, staying = (live.subscribe("a", queue="workers") for _ in range(2))
    async with asyncio.TaskGroup() as group:
        closed = group.create_task(anext(leaving, None))
        await asyncio.sleep(0)
        reader = group.create_task(anext(staying))
        await asyncio.sleep(0)
        live.deliver([say("a", 1)])
        await leaving.close()

    assert (closed.result(), reader.result().message.content) == (None, 1)


async def test_a_member_that_is_cancelled_when_it_was_woken_passes_it_on(live: LiveBus) -> None:
    one, other = (live.subscribe("a", queue="workers") for _ in range(2))
    async with asyncio.TaskGroup() as group:
        cancelled = group.create_task(anext(one))
        await asyncio.sleep(0)
        reader = group.create_task(anext(other))
        await asyncio.sleep(0)
        live.deliver([say("a", 1)])
        cancelled.cancel()

    assert reader.result().message.content == 1


async def test_a_queue_group_that_does_not_keep_up_is_cut_as_a_whole_and_can_begin_anew(live: LiveBus) -> None:
    async def cut(member: LiveSubscription) -> int:
        with pytest.raises(SlowConsumerError) as caught:
            await anext(member)
        return caught.value.waiting

    members = [live.subscribe("a", queue="workers", limits=Limits(messages=STEP)) for _ in range(3)]
    async with asyncio.TaskGroup() as group:
        sleeping = [group.create_task(cut(member)) for member in members[:2]]
        await asyncio.sleep(0)
        live.deliver(numbers("a", 0, STEP + 1))
        waited = await cut(members[2])
    fresh = live.subscribe("a", queue="workers")
    live.deliver([say("a", 5)])

    assert [waited, *(reader.result() for reader in sleeping)] == [STEP + 1] * 3
    assert await waiting(fresh) == [5]
    for member in members:
        await member.close()
    assert (live.tally.subscriptions, live.tally.cut) == (1, 1)


async def test_who_comes_back_gets_what_came_after_his_position_and_then_the_rest(live: LiveBus) -> None:
    live.deliver([say("a.x", 1)])
    position = live.sequence
    live.deliver([say("a.x", 2), say("b", 3), say("a.y", 4)])
    subscription = live.subscribe("a.>", since=position)
    conflating = live.subscribe("a.>", since=position, limits=Limits(policy=Policy.CONFLATE))
    live.deliver([say("a.x", 5)])

    assert (await anext(subscription)).message.content == 2
    assert await waiting(subscription) == [4, 5]
    assert await waiting(conflating) == [4, 5]


async def test_what_is_resumed_is_beside_the_limits(live: LiveBus) -> None:
    position = live.sequence
    live.deliver(numbers("a", 0, 50))
    subscription = live.subscribe("a", since=position, limits=Limits(messages=2))
    live.deliver(numbers("a", 50, 2))

    assert await waiting(subscription) == list(range(52))


@pytest.mark.parametrize("away", [-1, 1, -1_000_000, 1_000_000, -(10**18)])
async def test_positions_that_were_never_given_out_are_not_known(live: LiveBus, away: int) -> None:
    with pytest.raises(CursorExpiredError):
        live.subscribe("a", since=live.sequence + away)

    assert not live.answered("a")
    assert live.tally.subscriptions == 0


async def test_positions_whose_messages_are_gone_are_not_known(live: LiveBus) -> None:
    position = live.sequence
    for number in range(MOST):
        live.deliver([say("a", number)])
    assert await waiting(live.subscribe("a", since=position)) == list(range(MOST))

    live.deliver([say("b")])
    with pytest.raises(CursorExpiredError):
        live.subscribe("a", since=position)
    assert await waiting(live.subscribe("a", since=position + 1)) == list(range(1, MOST))


async def test_feeds_and_answers_do_not_push_out_what_others_may_come_back_for(live: LiveBus) -> None:
    position = live.sequence
    live.deliver([say("a", 1)])
    for subject in ("tekton.logs.engram", "_inbox.engram.1"):
        for number in range(MOST + 1):
            live.deliver([say(subject, number)])

    assert await waiting(live.subscribe("a", since=position)) == [1]
    assert await waiting(live.subscribe("tekton.>", since=position + 2)) == list(range(1, MOST + 1))


async def test_there_is_a_limit_to_subscriptions() -> None:
    live = LiveBus(ManualClock(), most_subscriptions=3)
    first = live.subscribe("a")
    live.subscribe("a", queue="workers")
    live.subscribe("b.>")
    with pytest.raises(TooManySubscriptionsError) as caught:
        live.subscribe("c")

    assert caught.value.limit == 3
    await first.close()
    live.subscribe("c")


async def test_a_bomb_of_subscriptions_leaves_nothing_behind(live: LiveBus) -> None:
    patterns = [f"bomb.{number % 100}.*.{number}.>" for number in range(10_000)]
    subscriptions = [live.subscribe(pattern) for pattern in patterns]
    live.deliver([say("bomb.7.x.107.y", 1), say("other", 2)])

    assert await waiting(subscriptions[107]) == [1]
    assert live.held[0] == 2  # in the ring
    for subscription in subscriptions:
        await subscription.close()
    assert (len(live._table), live._channels, live._listeners, live._ids) == (0, {}, {}, {})
    assert not live.interest.wanted(">")


async def test_a_tap_hears_at_once_and_answers_nothing(live: LiveBus) -> None:
    heard: list[Envelope] = []
    stop = live.tap("a.>", heard.append)
    live.deliver([say("a.b", 1)])
    answered = live.answered("a.b")
    stop()
    stop()
    live.deliver([say("a.b", 2)])

    assert (contents(heard), answered) == ([1], False)


async def test_delivering_nothing_does_nothing(live: LiveBus) -> None:
    live.deliver([])

    assert live.published == 0


async def test_subjects_that_are_used_once_do_not_fill_the_memory(live: LiveBus) -> None:
    for number in range(9000):
        live.deliver([say(f"once.{number}")])

    assert len(live._routes) <= 8192


@pytest.fixture
async def reading(live: LiveBus) -> AsyncIterator[LiveSubscription]:
    async with live.subscribe("a.>") as subscription:
        yield subscription


async def test_runs_of_subjects_keep_their_order(live: LiveBus, reading: LiveSubscription) -> None:
    subjects = ["a.x", "a.x", "a.y", "b", "a.y", "a.x"]
    live.deliver([say(subject, place) for place, subject in enumerate(subjects)])

    assert await waiting(reading) == [0, 1, 2, 4, 5]
