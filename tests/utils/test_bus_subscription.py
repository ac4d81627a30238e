"""A subscription of a bus client: what it says on each connection."""

import itertools
import json
from typing import Any, cast

import pytest

from tekton.bus.bus import DEFAULT_LIMITS
from tekton.utils.bus_exchange import Exchange
from tekton.utils.bus_frames import Frame
from tekton.utils.bus_subscription import ClientSubscription, Wanted


class Wire:
    """As much of an `Exchange` as a subscription sees."""

    connected = True

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self._count = itertools.count(1)

    def join(self, party: ClientSubscription) -> None:
        party.begin()

    def number(self, _: ClientSubscription) -> int:
        return next(self._count)

    def send(self, frame: bytes) -> None:
        self.frames.append(json.loads(frame))


@pytest.mark.parametrize(("queue", "behind"), [(None, [5, 5]), ("engram", [5, None])])
async def test_where_a_queue_group_begins_is_for_the_first_connection_only(
    queue: str | None, behind: list[int | None]
) -> None:
    """Each time its only member came back, all behind it came again."""
    wire = Wire()
    subscription = ClientSubscription(cast(Exchange, wire), Wanted("memory.>", queue=queue, since=5), DEFAULT_LIMITS)
    subscription.told(Frame(t="subscribed", sequence=5))

    subscription.break_off()
    subscription.begin()

    assert [frame.get("since") for frame in wire.frames] == behind


async def test_it_is_for_the_next_connection_too_while_it_does_not_stand() -> None:
    wire = Wire()
    subscription = ClientSubscription(cast(Exchange, wire), Wanted("memory.>", "engram", since=5), DEFAULT_LIMITS)

    subscription.break_off()
    subscription.begin()

    assert [frame.get("since") for frame in wire.frames] == [5, 5]
