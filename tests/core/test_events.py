"""The change feed: order, resumption, falling behind."""

import asyncio
from typing import Any

import msgspec
import pytest
from component_records import component_record

from tekton.core.events import ChangeFeed
from tekton.core.lifecycle import Change, ComponentState
from tekton.utils.tekton_errors import CursorExpiredError


def change(revision: int, kind: str = "state", metadata: dict[str, Any] | None = None) -> Change:
    record = component_record(metadata=metadata or {}, revision=revision)
    return Change(
        revision=revision,
        at=0.0,
        kind=kind,
        component_id="x",
        instance_uuid="i",
        previous=ComponentState.STARTING,
        state=ComponentState.READY,
        reason=None,
        record=record,
    )


async def collect(feed: ChangeFeed, since: int, count: int) -> list[int]:
    seen: list[int] = []
    async with asyncio.timeout(5), feed.subscribe(since) as subscription:
        async for batch in subscription:
            seen += [one.revision for one in batch]
            if len(seen) >= count:
                break
    return seen


async def test_a_subscriber_gets_what_comes_after_its_position_in_order() -> None:
    feed = ChangeFeed()
    for revision in (3, 5, 9):
        feed.publish(change(revision))

    assert await collect(feed, 3, 2) == [5, 9]
    assert await collect(feed, 4, 2) == [5, 9]
    assert await collect(feed, 0, 3) == [3, 5, 9]


async def test_a_waiting_subscriber_is_woken_by_a_publish() -> None:
    feed = ChangeFeed()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(collect(feed, 0, 2))
        await asyncio.sleep(0)
        feed.publish(change(1))
        await asyncio.sleep(0)
        feed.publish(change(2))

    assert waiting.result() == [1, 2]


async def test_positions_before_the_ring_and_in_the_future_are_refused() -> None:
    feed = ChangeFeed(revision=10, capacity=4)
    for revision in range(11, 31):
        feed.publish(change(revision))

    for position in (-1, 0, 9, feed.first - 1, 31):
        with pytest.raises(CursorExpiredError):
            feed.subscribe(position)
    assert await collect(feed, feed.first, 30 - feed.first) == list(range(feed.first + 1, 31))


async def test_a_subscriber_that_falls_behind_the_ring_is_told() -> None:
    feed = ChangeFeed(capacity=4)
    subscription = feed.subscribe()
    for revision in range(1, 20):
        feed.publish(change(revision))

    with pytest.raises(CursorExpiredError):
        await anext(subscription)


async def test_closing_a_waiting_subscription_ends_its_iteration() -> None:
    feed = ChangeFeed()
    subscription = feed.subscribe()

    async def iterate() -> int:
        return len([batch async for batch in subscription])

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        iteration = group.create_task(iterate())
        await asyncio.sleep(0)
        subscription.close()

    assert iteration.result() == 0


def test_revisions_must_increase() -> None:
    feed = ChangeFeed(revision=5)

    with pytest.raises(ValueError, match="published after"):
        feed.publish(change(5))
    assert feed.revision == 5


def test_listeners_hear_every_change_until_they_are_removed() -> None:
    feed = ChangeFeed()
    heard: list[int] = []
    remove = feed.add_listener(lambda one: heard.append(one.revision))

    feed.publish(change(1))
    remove()
    feed.publish(change(2))

    assert heard == [1]


def test_a_listener_that_raises_keeps_nothing_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    feed = ChangeFeed()
    heard: list[int] = []
    feed.add_listener(lambda _: 1 / 0 and None)
    feed.add_listener(lambda one: heard.append(one.revision))

    feed.publish(change(1))

    assert heard == [1]
    assert "a listener failed at revision 1" in caplog.text


def test_what_a_listener_publishes_is_heard_by_all_after_what_it_heard() -> None:
    feed = ChangeFeed()
    heard: list[int] = []
    feed.add_listener(lambda one: feed.publish(change(3)) if one.revision == 1 else None)
    feed.add_listener(lambda one: heard.append(one.revision))

    feed.publish(change(1), change(2))

    assert heard == [1, 2, 3]


async def test_subscribers_that_were_cancelled_leave_nothing_behind() -> None:
    feed = ChangeFeed()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(collect(feed, 0, 1)) for _ in range(3)]
        await asyncio.sleep(0)
        assert len(feed._waiting) == 3
        for task in tasks:
            task.cancel()

    assert not feed._waiting


def test_only_the_newest_encodings_are_kept() -> None:
    feed = ChangeFeed()
    changes = [change(revision) for revision in range(1, 2000)]
    feed.publish(*changes)

    for one in changes:
        feed.encoded(one)

    assert len(feed._encoded) < len(changes)
    assert feed.encoded(changes[-1]) is feed.encoded(changes[-1])


def test_a_change_is_encoded_once() -> None:
    feed = ChangeFeed()
    one = change(1)
    feed.publish(one)

    assert feed.encoded(one) is feed.encoded(one)
    assert msgspec.json.decode(feed.encoded(one))["revision"] == 1


# How much is kept


def test_at_least_the_capacity_is_kept_and_at_most_a_tenth_more() -> None:
    feed = ChangeFeed(capacity=100)
    for revision in range(1, 1001):
        feed.publish(change(revision))
        kept = revision - feed.first
        assert min(revision, 100) <= kept <= 110


def test_what_components_say_at_length_is_kept_only_up_to_a_size() -> None:
    feed = ChangeFeed(capacity=1000, capacity_bytes=100_000)
    for revision in range(1, 301):
        feed.publish(change(revision, "updated", {"text": "x" * 10_000}))
        assert revision - feed.first <= 9

    assert feed.subscribe(feed.first)
    with pytest.raises(CursorExpiredError):
        feed.subscribe(feed.first - 1)


def test_changes_of_state_share_what_the_component_says() -> None:
    feed = ChangeFeed(capacity=1000, capacity_bytes=100_000)
    for revision in range(1, 101):
        feed.publish(change(revision, "state", {"text": "x" * 10_000}))

    assert feed.first == 0


async def test_a_change_that_is_too_large_to_be_kept_resets_its_watchers() -> None:
    feed = ChangeFeed(capacity_bytes=5000)
    async with feed.subscribe() as subscription:
        feed.publish(change(1, "registered", {"text": "x" * 10_000}))

        with pytest.raises(CursorExpiredError):
            await anext(subscription)
    assert feed.first == 1
