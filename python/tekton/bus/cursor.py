"""A place in the log of a channel, with a limit for what may wait there, and the policy for when more does.

A policy is applied when somebody reads and when the channel looks after its log, whichever comes first. It makes no
difference to what is read: what exceeds the limit then has done so since the last publish, and of what waits in order
the newest that fit into the limit are the same, whenever one looks.

A queue group is one cursor with several members. Each takes its share of what waits, so who is slow gets less, and who
leaves has nothing to pass on but what it was woken for.
"""

from collections import OrderedDict, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tekton.bus.bus import Limits, Policy
from tekton.bus.channel import Channel, Sleepers, wake_all
from tekton.bus.envelope import Envelope
from tekton.utils.tekton_errors import SlowConsumerError

_CUT = -1
"""A position, and a limit: more waits than may, so that whoever reads is told."""


@dataclass(slots=True)
class Tally:
    """How many subscribers there are, and what became of those that did not keep up."""

    subscriptions: int = 0
    lost: int = 0
    """Messages that were passed over."""
    cut: int = 0
    """Subscriptions, and queue groups, that were ended."""


class Cursor:
    """The policy `disconnect`, and what all policies share.

    What a subscription begins with (*early*, from the ring) is beside its limits: it is no more than the ring had. It
    is held until it is read, or until what has come since is more than may wait.
    """

    __slots__ = (
        "channel",
        "early",
        "gap",
        "group",
        "members",
        "messages",
        "passed",
        "position",
        "size",
        "sleeping",
        "tally",
    )

    def __init__(self, channel: Channel, limits: Limits, tally: Tally, early: Sequence[Envelope] = ()) -> None:
        self.channel = channel
        self.early = deque(early)
        self.tally = tally
        self.messages = max(1, limits.messages)
        self.size = limits.size
        self.position = channel.end
        self.passed = channel.total
        """The bytes of all up to `position`."""
        self.gap = 0
        """How many were passed over since somebody was told."""
        self.group: str | None = None
        """The name of the queue group whose members share it."""
        self.members = 1
        self.sleeping: Sleepers = channel.sleeping
        channel.cursors[self] = None

    @property
    def waiting(self) -> int:
        """How many messages wait to be read."""
        return len(self.early) + self.channel.end - self.position

    @property
    def aside(self) -> Collection[Envelope]:
        """What waits, and is not in the log."""
        return self.early

    def take(self) -> list[Envelope]:
        """All that waits, of a queue group a share of it; empty when nothing does. Raises SlowConsumerError."""
        channel = self.channel
        end, total, position = channel.end, channel.total, self.position
        if position == end and not self.early:
            return []
        if end - position > self.messages or total - self.passed > self.size:
            self.overflow()
            position = self.position
        if self.early or self.members > 1:
            return self.take_some(-(-self.waiting // self.members))
        self.position, self.passed = end, total
        if channel.behind > 1:
            # As read_rest, without the call: all who listen to the same come by here for each message.
            channel.behind -= 1
            return channel.entries[position - channel.base :]
        return channel.read_rest(position)

    def take_one(self) -> Envelope | None:
        """The next one, None when nothing waits. Raises SlowConsumerError."""
        channel = self.channel
        if self.position == channel.end and not self.early:
            return None
        if channel.end - self.position > self.messages or channel.total - self.passed > self.size:
            self.overflow()
        if self.early:
            return self.early.popleft()
        envelope = channel.entries[self.position - channel.base]
        self.passed += envelope.size
        self.position += 1
        if self.position == channel.end:
            channel.caught_up()
        return envelope

    def take_some(self, most: int) -> list[Envelope]:
        """At most *most* of what waits."""
        early = [self.early.popleft() for _ in range(min(most, len(self.early)))]
        return early + self.pass_over(most - len(early))

    def pass_over(self, most: int) -> list[Envelope]:
        """The next of the log, at most *most*; the cursor is behind them then."""
        channel = self.channel
        start = self.position - channel.base
        passed = channel.entries[start : start + most]
        if passed:
            self.passed += Envelope.measure(passed)
            self.position += len(passed)
            if self.position == channel.end:
                channel.caught_up()
        return passed

    def keep_up(self) -> None:
        """Apply the policy, if need be. Called by the channel, while it looks after its log."""
        if self.exceeds():
            self.cut()

    def exceeds(self) -> bool:
        """Does more wait than may? The newest always may."""
        channel = self.channel
        waiting = channel.end - self.position
        return waiting > self.messages or (waiting > 1 and channel.total - self.passed > self.size)

    def overflow(self) -> None:
        """Apply the policy before somebody reads. Raises SlowConsumerError."""
        if self.messages == _CUT:
            raise SlowConsumerError(self.channel.pattern, self.gap)
        if self.exceeds():
            self.cut()
            raise SlowConsumerError(self.channel.pattern, self.gap)

    def cut(self) -> None:
        """End it: whoever reads from now on is told."""
        self.gap = self.waiting
        self.tally.cut += 1
        self.tally.lost += self.gap
        self.tally.subscriptions -= self.members
        self.close()
        self.members = 0
        self.messages = self.position = _CUT
        if self.group is not None:
            wake_all(self.sleeping)

    def close(self) -> None:
        """Read no more. Twice does nothing."""
        if self in self.channel.cursors:
            self.channel.leave(self)
            self.early.clear()

    def lose(self, count: int) -> None:
        """Note that *count* messages were passed over."""
        self.gap += count
        self.tally.lost += count

    def wake(self, count: int) -> None:
        """Wake at most *count* members of a queue group, who has waited longest first."""
        while count > 0 and self.sleeping:
            future = next(iter(self.sleeping))
            del self.sleeping[future]
            if not future.done():
                future.set_result(None)
                count -= 1

    def pass_on(self) -> None:
        """A member of a queue group that was woken does not read: let another do it."""
        if self.group is not None and self in self.channel.cursors and self.waiting:
            self.wake(1)


class DroppingCursor(Cursor):
    """The policy `drop_oldest`."""

    __slots__ = ()

    def keep_up(self) -> None:
        if self.exceeds():
            self.drop()

    def overflow(self) -> None:
        if self.exceeds():
            self.drop()

    def drop(self) -> None:
        """Leave the oldest behind, until the others fit."""
        channel = self.channel
        # What it began with is older than all of that.
        lost = len(self.early)
        self.early.clear()
        lost += len(self.pass_over(max(0, channel.end - self.position - self.messages)))
        while self.exceeds():
            lost += len(self.pass_over(1))
        self.lose(lost)


class ConflatingCursor(Cursor):
    """The policy `conflate`: the newest of each subject, apart from the log.

    What another of its subject takes the place of is not missed; what has to go because there are too many subjects is.
    """

    __slots__ = ("kept", "kept_size")

    def __init__(self, channel: Channel, limits: Limits, tally: Tally, early: Sequence[Envelope] = ()) -> None:
        super().__init__(channel, limits, tally)
        self.kept: OrderedDict[str, Envelope] = OrderedDict()
        self.kept_size = 0
        for envelope in early:
            self._keep(envelope)

    @property
    def waiting(self) -> int:
        self.keep_up()
        return len(self.kept)

    @property
    def aside(self) -> Collection[Envelope]:
        return self.kept.values()

    def take(self) -> list[Envelope]:
        return self.take_some(-(-self.waiting // self.members))

    def take_one(self) -> Envelope | None:
        return next(iter(self.take_some(1)), None)

    def take_some(self, most: int) -> list[Envelope]:
        self.keep_up()
        return [self._pop() for _ in range(min(most, len(self.kept)))]

    def keep_up(self) -> None:
        for envelope in self.pass_over(self.channel.end - self.position):
            self._keep(envelope)

    def close(self) -> None:
        super().close()
        self.kept.clear()

    def _keep(self, envelope: Envelope) -> None:
        older = self.kept.pop(envelope.subject, None)
        if older is not None:
            self.kept_size -= older.size
        self.kept[envelope.subject] = envelope
        self.kept_size += envelope.size
        while len(self.kept) > self.messages or (self.kept_size > self.size and len(self.kept) > 1):
            self._pop()
            self.lose(1)

    def _pop(self) -> Envelope:
        _, envelope = self.kept.popitem(last=False)
        self.kept_size -= envelope.size
        return envelope


_CURSORS: dict[Policy, type[Cursor]] = {
    Policy.DISCONNECT: Cursor,
    Policy.DROP_OLDEST: DroppingCursor,
    Policy.CONFLATE: ConflatingCursor,
}


def make_cursor(channel: Channel, limits: Limits, tally: Tally, early: Sequence[Envelope] = ()) -> Cursor:
    """A cursor at the end of *channel*, with the policy of *limits*."""
    return _CURSORS[limits.policy](channel, limits, tally, early)


def join_group(channel: Channel, name: str, limits: Limits, tally: Tally, early: Sequence[Envelope] = ()) -> Cursor:
    """The cursor of the queue group *name*, with one member more. The limits of its first member hold for it."""
    group = channel.groups.get(name)
    if group is not None:
        group.members += 1
        return group
    group = make_cursor(channel, limits, tally, early)
    group.group = name
    group.sleeping = {}
    channel.groups[name] = group
    return group


def leave(cursor: Cursor) -> None:
    """One who has read *cursor* reads no more: what it has not read is left to the others of its queue group."""
    if not cursor.members:
        return  # it was cut
    cursor.tally.subscriptions -= 1
    cursor.members -= 1
    if cursor.members:
        cursor.pass_on()
    else:
        cursor.close()
