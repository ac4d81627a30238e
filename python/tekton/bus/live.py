"""Live delivery in this process: who listens to a subject gets what is published to it, at most once, from memory.

    live = LiveBus(clock)
    updates = live.subscribe("memory.>")
    live.deliver([Envelope("memory.updated", message)])

For each pattern there is one log (`channel.py`), for each subscription, and each queue group, a place in it
(`cursor.py`): publishing is an append for each pattern that matches, however many listen to it. Publishing never waits
and calls nobody but `tap`s. What patterns do not match unless they name it is in `interest.py`.

All on one event loop; nothing here may be called from another thread.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from tekton._native import SubjectTable, is_valid_pattern
from tekton.bus.bus import DEFAULT_LIMITS, INBOX, RESERVED, Limits
from tekton.bus.channel import Channel
from tekton.bus.cursor import Tally, join_group, make_cursor
from tekton.bus.envelope import Envelope
from tekton.bus.interest import Interest, is_request, is_reserved, is_wild, share_subjects
from tekton.bus.ring import Ring
from tekton.bus.subscription import LiveSubscription
from tekton.bus.turn import Turn
from tekton.clock import Clock
from tekton.mcp.message import Message
from tekton.utils.tekton_errors import InvalidSubjectError, TooManySubscriptionsError

MOST_SUBSCRIPTIONS = 100_000
_MOST_ROUTES = 8192
"""How many subjects have their route kept."""


class Tap:
    """One who is called with what is published, at once."""

    __slots__ = ("_heard", "pattern")

    def __init__(self, pattern: str, heard: Callable[[Envelope], object]) -> None:
        self.pattern = pattern
        self._heard = heard

    def extend(self, envelopes: Sequence[Envelope], size: int) -> None:
        """Hear *envelopes*."""
        del size
        for envelope in envelopes:
            self._heard(envelope)


class Route:
    """Where what is published to a subject goes."""

    __slots__ = ("answered", "sinks")

    def __init__(self, ring: Ring, listeners: Sequence[Channel | Tap]) -> None:
        self.sinks: tuple[Ring | Channel | Tap, ...] = (ring, *listeners)
        self.answered = any(isinstance(sink, Channel) for sink in listeners)
        """Is there anybody who listens, and might answer?"""

    def take(self, envelopes: Sequence[Envelope], size: int) -> None:
        """*envelopes*, which nobody changes any more, were published; they have *size* bytes in all."""
        for sink in self.sinks:
            sink.extend(envelopes, size)


class LiveBus:
    """Subjects, and who listens to them. Positions begin at the wall clock, so those of an earlier process are less."""

    def __init__(self, clock: Clock, most_subscriptions: int = MOST_SUBSCRIPTIONS) -> None:
        self.interest = Interest()
        self.tally = Tally()
        self.turn = Turn()
        """For those who publish much, to give way to who reads. Nothing here asks it."""
        # Microseconds of the wall clock: exact in every JSON, and nobody publishes more than a million a second.
        self.sequence = self._first = int(clock.time() * 1e6)
        """The position of what was published last."""
        self._clock = clock
        self._most_subscriptions = most_subscriptions
        self._table = SubjectTable()
        self._listeners: dict[int, Channel | Tap] = {}
        self._channels: dict[int, Channel] = {}
        self._ids: dict[str, int] = {}
        self._next = 0
        self._routes: dict[str, Route] = {}
        # What is said most must not push out what somebody may come back for.
        self._rings = {name: Ring(self._first) for name in (RESERVED, INBOX)}
        self._ring = Ring(self._first)

    @property
    def published(self) -> int:
        """How many messages were published since the bus was made."""
        return self.sequence - self._first

    @property
    def held(self) -> tuple[int, int]:
        """What is in memory: messages, and their bytes (as JSON). Those of several patterns count for each. O(all)."""
        rings, channels = (self._ring, *self._rings.values()), self._channels.values()
        aside = [envelope.size for channel in channels for cursor in channel.cursors for envelope in cursor.aside]
        messages = sum(map(len, rings)) + sum(len(channel.entries) for channel in channels) + len(aside)
        return messages, sum(ring.size for ring in rings) + sum(channel.held for channel in channels) + sum(aside)

    def answered(self, subject: str) -> bool:
        """Does anybody listen to *subject*? Raises InvalidSubjectError."""
        return self.route(subject).answered

    def route(self, subject: str) -> Route:
        """Where what is published to *subject* goes, as long as nobody comes or leaves. Raises InvalidSubjectError."""
        route = self._routes.get(subject)
        return self._find_route(subject) if route is None else route

    def send(self, subject: str, message: Message, reply: str | None, size: int, now: float) -> int:
        """Publish one message of *size* bytes; its position. Raises InvalidSubjectError."""
        route = self.route(subject)
        self.sequence = place = self.sequence + 1
        route.take((Envelope(subject, message, reply, place, now),), size)
        return place

    def deliver(self, envelopes: Sequence[Envelope]) -> None:
        """Publish *envelopes*, in order, at the positions that come next.

        Raises InvalidSubjectError, or what `Message.to_json` raises, and has published none.
        """
        now = self._clock.time()
        placed = [envelope.placed(place, now) for place, envelope in enumerate(envelopes, self.sequence + 1)]
        self.take(placed, Envelope.measure(placed))

    def take(self, placed: Sequence[Envelope], size: int, alike: bool = False) -> None:
        """Publish what has the positions that come next already, and which nobody changes any more.

        *size* is how many bytes they have in all, *alike* says that all have one subject, for sure. Raises
        InvalidSubjectError, and has published none.
        """
        if not placed:
            return
        if alike:
            route = self.route(placed[0].subject)
            self.sequence += len(placed)
            route.take(placed, size)
        else:
            subjects = [envelope.subject for envelope in placed]
            self.check(subjects)
            self.sequence += len(placed)
            self._take_runs(placed, size, subjects)

    def check(self, subjects: Iterable[str]) -> None:
        """Raise InvalidSubjectError if something cannot be published to."""
        for subject in dict.fromkeys(subjects):
            self.route(subject)

    def _take_runs(self, placed: Sequence[Envelope], size: int, subjects: Sequence[str]) -> None:
        start = 0
        for end in _runs(subjects):
            run = placed[start:end]
            one = size if len(run) == len(placed) else Envelope.measure(run)
            self.route(subjects[start]).take(run, one)
            start = end

    def subscribe(
        self, pattern: str, *, queue: str | None = None, limits: Limits = DEFAULT_LIMITS, since: int | None = None
    ) -> LiveSubscription:
        """As `Bus.subscribe`. The limits of a queue group, and where it begins, are those that its first member has.

        Raises InvalidSubjectError, TooManySubscriptionsError, CursorExpiredError.
        """
        _check_pattern(pattern)
        if self.tally.subscriptions >= self._most_subscriptions:
            raise TooManySubscriptionsError(self._most_subscriptions)
        early = () if since is None else self._since(pattern, since)
        if queue is not None:
            self._look_after(pattern, queue)
        channel = self._channel(pattern)
        began: int | None = None
        if queue is None:
            cursor = make_cursor(channel, limits, self.tally, early)
            began = self.sequence if since is None else since
        else:
            cursor = join_group(channel, queue, limits, self.tally, early)
        self.tally.subscriptions += 1
        return LiveSubscription(pattern, cursor, began)

    def tap(self, pattern: str, heard: Callable[[Envelope], object]) -> Callable[[], None]:
        """Call *heard* with what is published to *pattern*, before `deliver` returns; returns what ends it.

        It has to be quick, and may not raise. Nobody is told that it listens, and requests are not for it. Raises
        InvalidSubjectError.
        """
        _check_pattern(pattern)
        number = self._add(Tap(pattern, heard))
        return lambda: self._remove(pattern, number)

    def _since(self, pattern: str, position: int) -> list[Envelope]:
        newer = self._ring_of(pattern).after(position, self.sequence)
        return [envelope for envelope in newer if share_subjects(pattern, envelope.subject)]

    def _ring_of(self, pattern: str) -> Ring:
        return self._rings.get(pattern.partition(".")[0], self._ring)

    def _look_after(self, pattern: str, queue: str) -> None:
        """End the queue group if it does not keep up: whoever comes then begins a new one."""
        channel = self._channels.get(self._ids.get(pattern, 0))
        group = channel and channel.groups.get(queue)
        if group:
            group.keep_up()

    def _channel(self, pattern: str) -> Channel:
        number = self._ids.get(pattern)
        if number is not None:
            return self._channels[number]
        channel = Channel(pattern, self._left)
        number = self._ids[pattern] = self._add(channel)
        self._channels[number] = channel
        self.interest.begin(pattern)
        return channel

    def _left(self, channel: Channel) -> None:
        number = self._ids.pop(channel.pattern)
        del self._channels[number]
        self._remove(channel.pattern, number)
        self.interest.end(channel.pattern)

    def _add(self, listener: Channel | Tap) -> int:
        self._next += 1
        self._listeners[self._next] = listener
        self._table.add(listener.pattern, self._next)
        self._routes.clear()
        return self._next

    def _remove(self, pattern: str, number: int) -> None:
        self._table.remove(pattern, number)
        self._listeners.pop(number, None)
        self._routes.clear()

    def _find_route(self, subject: str) -> Route:
        try:
            listeners = [self._listeners[number] for number in self._table.match(subject)]
        except (ValueError, UnicodeEncodeError) as error:
            raise InvalidSubjectError(subject, f"is no subject: {str(error).rpartition(': ')[2]}") from None
        if is_reserved(subject):
            listeners = [listener for listener in listeners if not is_wild(listener.pattern)]
        elif is_request(subject):
            listeners = [listener for listener in listeners if is_request(listener.pattern)]
        route = Route(self._ring_of(subject), listeners)
        if len(self._routes) >= _MOST_ROUTES:
            self._routes.clear()
        self._routes[subject] = route
        return route


def _check_pattern(pattern: str) -> None:
    if not is_valid_pattern(pattern):
        raise InvalidSubjectError(pattern, "is no pattern")


def _runs(subjects: Sequence[str]) -> Iterator[int]:
    """Where runs of the same subject end."""
    for end in range(1, len(subjects)):
        if subjects[end] != subjects[end - 1]:
            yield end
    yield len(subjects)
