"""Snapshots and positions for watchers."""

import json
from typing import Any


def test_a_snapshot_is_encoded_once_per_revision(feed: Any) -> None:
    feed.publish("a", "b")

    revision, data = feed.source.snapshot()

    assert revision == feed.feed.revision
    assert [record["component_id"] for record in json.loads(data)] == ["a", "b"]
    assert feed.source.snapshot()[1] is data
    feed.publish("c")
    assert feed.source.snapshot()[0] == revision + 1


def test_only_known_positions_can_be_resumed(small_feed: Any) -> None:
    small_feed.publish(*(f"c{number}" for number in range(20)))
    feed = small_feed.feed

    assert small_feed.source.resume(feed.first) is not None
    assert small_feed.source.resume(feed.revision) is not None
    for position in (None, 0, feed.first - 1, feed.revision + 1):
        assert small_feed.source.resume(position) is None
