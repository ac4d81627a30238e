"""Random runs of live delivery, compared with a model that is too simple to be wrong.

The model keeps a queue for each reader and applies the policy at every publish; what is read has to be the same,
wherever the logs, cursors and shares of the real one come in between.
"""

from dataclasses import dataclass, field
from itertools import count

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tekton.bus.bus import Limits, Policy
from tekton.bus.channel import STEP, STEP_SIZE
from tekton.bus.cursor import Cursor
from tekton.bus.envelope import Envelope
from tekton.bus.live import LiveBus
from tekton.bus.subscription import LiveSubscription
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.testing import ManualClock
from tekton.utils.tekton_errors import SlowConsumerError

SUBJECTS = ["a", "b", "a.x", "a.y", "b.x", "a.requests.x", "tekton.x", "_inbox.a.x"]
PATTERNS = ["a", "a.x", "a.*", "*.x", "a.>", ">", "*", "tekton.>", "_inbox.a.>", "a.requests.>", "*.requests.x"]


def matches(pattern: str, subject: str) -> bool:
    """Token by token, and what has to be named."""
    steps, tokens = pattern.split("."), subject.split(".")
    if tokens[0] in ("tekton", "_inbox") and steps[0] != tokens[0]:
        return False
    if tokens[1:2] == ["requests"] and steps[1:2] != ["requests"]:
        return False
    if steps[-1] == ">":
        steps[-1:] = ["*"] * max(1, len(tokens) - len(steps) + 1)
    return len(steps) == len(tokens) and all(step in ("*", token) for step, token in zip(steps, tokens))


@dataclass
class Queue:
    """What waits for one subscription, or for a queue group."""

    pattern: str
    limits: Limits
    waiting: list[Envelope] = field(default_factory=list)
    lost: int = 0
    cut: int = 0
    members: int = 1

    def put(self, envelope: Envelope) -> None:
        if self.cut or not matches(self.pattern, envelope.subject):
            return
        if self.limits.policy is Policy.CONFLATE:
            self.waiting = [one for one in self.waiting if one.subject != envelope.subject]
        self.waiting.append(envelope)
        if self.limits.policy is Policy.DISCONNECT and self.exceeds():
            self.cut = len(self.waiting)
        while not self.cut and self.exceeds():
            self.waiting.pop(0)
            self.lost += 1

    def exceeds(self) -> bool:
        size = sum(one.size for one in self.waiting)
        return len(self.waiting) > self.limits.messages or (len(self.waiting) > 1 and size > self.limits.size)


@dataclass
class Reader:
    real: LiveSubscription
    queue: Queue
    lost: int = 0
    """What was lost before it was reported to the others of its queue group."""


class LiveModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.live = LiveBus(ManualClock())
        self.readers: list[Reader] = []
        self.groups: dict[tuple[str, str], Queue] = {}
        self.numbers = count()
        self.published: list[Envelope] = []
        self.waits = False

    @initialize()
    def somebody_listens(self) -> None:
        self.subscribe(">", None, Limits(messages=3))

    @rule(
        pattern=st.sampled_from(PATTERNS),
        queue=st.sampled_from([None, None, "q", "r"]),
        limits=st.builds(
            Limits,
            messages=st.sampled_from([1, 3, 10, 200]),
            size=st.sampled_from([200, 700, 10**6]),
            policy=st.sampled_from([Policy.DISCONNECT, Policy.DROP_OLDEST]) | st.just(Policy.CONFLATE),
        ),
    )
    def subscribe(self, pattern: str, queue: str | None, limits: Limits) -> None:
        if limits.policy is Policy.CONFLATE:
            # Which ones go when there are too many bytes depends on when one looks: there the order is not that of age.
            limits = Limits(limits.messages, 10**6, limits.policy)
        real = self.live.subscribe(pattern, queue=queue, limits=limits)
        group = self.groups.get((pattern, queue or ""))
        if queue is not None and group is not None and group.members and not group.cut:
            group.members += 1
            self.readers.append(Reader(real, group))
            return
        fresh = Queue(pattern, limits)
        if queue is not None:
            self.groups[pattern, queue] = fresh
        self.readers.append(Reader(real, fresh))

    @rule(subjects=st.lists(st.sampled_from(SUBJECTS), max_size=5), times=st.sampled_from([1, 1, 1, 40]))
    def publish(self, subjects: list[str], times: int) -> None:
        batch = [
            Envelope(subject, Message(MessageType.EVENT, next(self.numbers), MessageContext("a")))
            for subject in subjects * times
        ]
        self.live.deliver(batch)
        for envelope in batch:
            for queue in {id(reader.queue): reader.queue for reader in self.readers}.values():
                queue.put(envelope)

    @rule(data=st.data(), one=st.booleans())
    def read(self, data: st.DataObject, one: bool) -> None:
        if not self.readers:
            return
        reader = data.draw(st.sampled_from(self.readers))
        queue = reader.queue
        if queue.cut:
            with pytest.raises(SlowConsumerError):
                advance(reader.real, one)
            return
        most = 1 if one else -(-len(queue.waiting) // queue.members)
        expected, queue.waiting = queue.waiting[:most], queue.waiting[most:]
        batch = advance(reader.real, one)

        assert [envelope.message.content for envelope in batch] == [envelope.message.content for envelope in expected]
        assert reader.real.gap <= queue.lost
        if queue.limits.policy is Policy.DROP_OLDEST:
            assert reader.real.gap == queue.lost
        queue.lost = 0

    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        if self.readers:
            reader = self.readers.pop(data.draw(st.integers(0, len(self.readers) - 1)))
            drive(reader.real.close())
            reader.queue.members -= 1

    @invariant()
    def no_more_is_held_than_the_limits_say(self) -> None:
        for channel in self.live._channels.values():
            cursors = list(channel.cursors)
            most = max(cursor.messages for cursor in cursors)
            assert len(channel.entries) <= most + STEP + 200
            assert channel.held <= max(cursor.size for cursor in cursors) + STEP_SIZE
            assert channel.held == sum(envelope.size for envelope in channel.entries)
            assert channel.behind == sum(cursor.position < channel.end for cursor in cursors)
            assert bool(channel.behind) == bool(channel.entries)
            assert all(kept(cursor) <= cursor.messages for cursor in cursors)

    @invariant()
    def the_subscriptions_that_count_are_those_that_are_there(self) -> None:
        # A cut is noticed at the next reading, or when the log is looked at.
        alive = sum(1 for reader in self.readers if not reader.queue.cut)
        assert alive <= self.live.tally.subscriptions <= len(self.readers)


def kept(cursor: Cursor) -> int:
    return len(getattr(cursor, "kept", ()))


def drive(coroutine: object) -> object:
    """Run what does not wait. None if it would."""
    try:
        coroutine.send(None)  # type: ignore[attr-defined]
    except StopIteration as end:
        return end.value
    coroutine.close()  # type: ignore[attr-defined]
    return None


def advance(subscription: LiveSubscription, one: bool) -> list[Envelope]:
    """What there is to read, without waiting for more."""
    if one:
        envelope = subscription._cursor.take_one()
        subscription._tell_gap()
        return [] if envelope is None else [envelope]
    batch = subscription._cursor.take()
    subscription._tell_gap()
    return batch


TestLiveModel = LiveModel.TestCase
TestLiveModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
