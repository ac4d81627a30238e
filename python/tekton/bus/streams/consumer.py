"""A consumer of a stream: what was handed out to whom, until when, and what becomes of it.

Everything that changes the state of a message is in this file; `pending_states` says what can happen to one. There is
no I/O and no clock here: times are arguments, in seconds of a clock that does not go back.

* What was handed out, or waits to be so again, is *pending*; there are never more than `max_in_flight` of it.
* Each handing out has a tag of its own. What somebody says about a tag that is not the newest one comes too late.
* Fresh messages are handed out in the order of the stream; what is due again comes before them, in that order, too.
* Who shares a consumer gets at most his share of `max_in_flight`, so that nobody has all of it.
* A message whose holder has left with it may be why he left. It is handed out alone: for DRAIN seconds a holder who has
  others is not given it, and a holder who has it is not given others. So it takes no others along to the dead letters.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from tekton.bus.bus import ConsumerSettings
from tekton.bus.envelope import Envelope
from tekton.bus.streams.pending_states import TRANSITIONS, Event, State

DRAIN: Final = 1.0
_LOW: Final = 64


class Handed(NamedTuple):
    """What somebody was given."""

    envelope: Envelope
    tag: int


class Dying(NamedTuple):
    """A message that is to become a dead letter."""

    sequence: int
    attempts: int
    reason: str


class _Pending:
    __slots__ = ("attempts", "envelope", "holder", "reason", "sequence", "since", "state", "suspect", "tag", "until")

    def __init__(self, sequence: int, attempts: int = 0) -> None:
        self.sequence = sequence
        self.attempts = attempts
        self.state = State.WAITING
        self.holder = 0
        self.tag = 0
        self.since = 0.0
        self.until = 0.0  # when it is taken back, or from when on it may be handed out
        self.suspect = False
        self.reason = ""  # the last one that somebody gave who had not done it
        self.envelope: Envelope | None = None


class Consumer:
    """See the module. It begins behind *cursor*, with *pending* of earlier: sequences, and how often handed out."""

    def __init__(
        self, settings: ConsumerSettings, cursor: int, pending: Iterable[tuple[int, int]] = (), now: float = 0.0
    ) -> None:
        self.settings = settings
        self.read = cursor
        """How far the stream was read."""
        self.redelivered = self.dead_letters = self.lost = 0
        self.version = 0
        """Grows with whatever has to be written."""
        self.done: list[int] = []
        """What is done since somebody has emptied this list."""
        self._cursor = cursor
        self._ahead: deque[Envelope] = deque()
        self._pending: dict[int, _Pending] = {}
        self._holdings: dict[int, int] = {}
        self._waiting = self._suspects = 0
        self._tag = 0
        for sequence, attempts in pending:
            one = self._pending[sequence] = _Pending(sequence, attempts)
            one.until = now
            self._waiting += 1

    @property
    def cursor(self) -> int:
        """All up to here was handed out or passed over."""
        return self._cursor if self._ahead else self.read

    @property
    def acknowledged(self) -> int:
        """All up to here are done."""
        return min(self._pending, default=self.cursor + 1) - 1 if self._pending else self.cursor

    @property
    def in_flight(self) -> int:
        """How many were handed out and are not done."""
        return len(self._pending)

    @property
    def ahead(self) -> int:
        """How many were read and not handed out."""
        return len(self._ahead)

    def pending(self) -> list[tuple[int, int]]:
        """What is pending: sequences, and how often they were handed out."""
        return [(one.sequence, one.attempts) for one in self._pending.values()]

    # What there is

    @property
    def is_hungry(self) -> bool:
        """Could more of the stream be handed out?"""
        return len(self._ahead) < _LOW and len(self._pending) < self.settings.max_in_flight

    def offer(self, envelopes: Sequence[Envelope], through: int, dropped: int) -> None:
        """What the stream has behind `read`, as far as *through*; what is up to *dropped* is lost."""
        if dropped > self.read:
            self.lost += dropped - self.read
        if through > self.read:
            if not self._ahead:
                self._cursor = self.read
            self.read = through
            self._ahead.extend(envelopes)
            self.version += 1

    def wanted(self, now: float, most: int = 64) -> list[int]:
        """What is due again and has to be read for that, ascending."""
        if not self._waiting:
            return []
        return sorted(one.sequence for one in self._due(now) if one.envelope is None)[:most]

    def found(self, wanted: Sequence[int], envelopes: Iterable[Envelope]) -> None:
        """*envelopes* are those of *wanted* that the stream still has."""
        there = {envelope.sequence: envelope for envelope in envelopes}
        for sequence in wanted:
            one = self._pending.get(sequence)
            if one is None or one.state is not State.WAITING:
                continue
            one.envelope = there.get(sequence)
            if one.envelope is None:
                self.gone(sequence)

    # Handing out

    def available(self, now: float) -> int:
        """About how many could be handed out."""
        room = max(0, self.settings.max_in_flight - len(self._pending))
        due = sum(one.envelope is not None for one in self._due(now)) if self._waiting else 0
        return due + min(room, len(self._ahead))

    def take(self, holder: int, most: int, holders: int, now: float) -> list[Handed]:
        """Hand out up to *most* messages to *holder*, one of *holders*."""
        share = -(-self.settings.max_in_flight // max(1, holders))
        most = min(most, share - self._holdings.get(holder, 0))
        handed: list[Handed] = []
        if most <= 0 or self._is_quarantined(holder, now):
            return handed
        if self._waiting:
            again = self._again(holder, most, now)
            if again is None:
                return handed
            handed += [self._hand_out(one, holder, now) for one in again]
            if any(one.suspect for one in again) or self.wanted(now, 1):
                # What is due and has not been read yet is not overtaken by what is new.
                return handed
        room = min(most - len(handed), self.settings.max_in_flight - len(self._pending), len(self._ahead))
        for _ in range(room):
            handed.append(self._fresh(self._ahead.popleft(), holder, now))
        return handed

    # What became of it

    def acknowledge(self, sequence: int, tag: int) -> bool:
        """It is done. False when that came too late."""
        return self._happened(self._tagged(sequence, tag), Event.ACKNOWLEDGED)

    def fail(self, sequence: int, tag: int, now: float, delay: float | None = None, reason: str = "") -> "Dying | bool":
        """It was not done; hand it out again after *delay* seconds, or what the backoff says. False: too late."""
        one = self._tagged(sequence, tag)
        if one is None or one.state is not State.OUT:
            return False
        one.reason = reason or one.reason
        return self._fail(one, now, delay, reason or _after(one, "not done")) or True

    def release(self, sequence: int, tag: int, now: float) -> bool:
        """Whoever has it has not looked at it: it counts as not handed out. False when that came too late."""
        one = self._tagged(sequence, tag)
        return one is not None and self._release(one, now)

    def extend(self, sequence: int, tag: int, now: float) -> bool:
        """It takes longer: the ack_wait begins anew. False when that came too late."""
        one = self._tagged(sequence, tag)
        if one is None or one.state is not State.OUT:
            return False
        one.until = now + self.settings.ack_wait
        return True

    def reject(self, sequence: int, tag: int, reason: str) -> Dying | None:
        """It will never be done. None when that came too late."""
        one = self._tagged(sequence, tag)
        if one is None or not self._happened(one, Event.REJECTED):
            return None
        return Dying(one.sequence, one.attempts, reason)

    def leave(self, holder: int, unseen: Mapping[int, int], now: float) -> list[Dying]:
        """*holder* has left. What he has not even looked at (*unseen*: tags by sequence) counts as not handed out."""
        dying: list[Dying] = []
        for one in [one for one in self._pending.values() if one.state is State.OUT and one.holder == holder]:
            if unseen.get(one.sequence) == one.tag:
                self._release(one, now)
            elif (spent := self._fail(one, now, None, _after(one, "whoever had it left"))) is not None:
                dying.append(spent)
            elif not one.suspect:
                one.suspect = True
                self._suspects += 1
        return dying

    def expire(self, now: float) -> list[Dying]:
        """Take back what was out for too long, and what is due and was handed out often enough: that is dying."""
        dying: list[Dying] = []
        for one in list(self._pending.values()):
            if one.until > now or one.state is State.DYING:
                continue
            if one.state is State.OUT:
                spent = self._fail(one, now, None, _after(one, f"not acknowledged within {self.settings.ack_wait:g} s"))
                if spent is not None:
                    dying.append(spent)
            elif one.attempts >= self.settings.max_deliver and self._happened(one, Event.SPENT):
                dying.append(Dying(one.sequence, one.attempts, one.reason or "not acknowledged"))
        return dying

    def buried(self, sequence: int) -> None:
        """The dead letter of *sequence* is on the disk."""
        self.dead_letters += self._happened(self._pending.get(sequence), Event.BURIED)

    def unburied(self, sequence: int, until: float) -> None:
        """It could not be written; it is tried again at *until*."""
        one = self._pending.get(sequence)
        if self._happened(one, Event.UNBURIED) and one is not None:
            one.until = until

    def gone(self, sequence: int) -> None:
        """The stream does not have *sequence* any more."""
        self.lost += self._happened(self._pending.get(sequence), Event.GONE)

    def next_event(self, now: float) -> float | None:
        """When something changes by itself, after *now*; None when nothing does."""
        times = [at for one in self._pending.values() for at in self._times(one) if at > now]
        return min(times, default=None)

    # The one place where states change

    def _happened(self, one: _Pending | None, event: Event) -> bool:
        state = None if one is None else TRANSITIONS.get((one.state, event))
        if one is None or state is None:
            return False
        self._waiting += (state is State.WAITING) - (one.state is State.WAITING)
        if one.state is State.OUT:
            self._holdings[one.holder] -= 1
            if not self._holdings[one.holder]:
                del self._holdings[one.holder]
        one.state = state
        self.version += 1
        if state is State.DONE:
            del self._pending[one.sequence]
            self._suspects -= one.suspect
            self.done.append(one.sequence)
        return True

    def _tagged(self, sequence: int, tag: int) -> _Pending | None:
        one = self._pending.get(sequence)
        return one if one is not None and one.tag == tag else None

    def _release(self, one: _Pending, now: float) -> bool:
        if not self._happened(one, Event.RELEASED):
            return False
        one.attempts -= 1
        one.until = now
        return True

    def _fail(self, one: _Pending, now: float, delay: float | None, why: str) -> Dying | None:
        if one.attempts >= self.settings.max_deliver:
            self._happened(one, Event.SPENT)
            return Dying(one.sequence, one.attempts, why)
        self._happened(one, Event.FAILED)
        backoff = self.settings.backoff or (0.0,)
        one.until = now + (backoff[min(one.attempts, len(backoff)) - 1] if delay is None else delay)
        return None

    # Whom to give what

    def _due(self, now: float) -> list[_Pending]:
        most = self.settings.max_deliver
        return [
            one
            for one in self._pending.values()
            if one.state is State.WAITING and one.until <= now and one.attempts < most
        ]

    def _again(self, holder: int, most: int, now: float) -> list[_Pending] | None:
        """What is due again for *holder*; None when he is to get nothing at all."""
        due = sorted((one for one in self._due(now) if one.envelope is not None), key=lambda one: one.sequence)
        suspects = [one for one in due if one.suspect]
        if suspects and not self._holdings.get(holder):
            return suspects[:1]
        if any(one.until + DRAIN > now for one in suspects):
            return None
        return suspects[:1] or due[:most]

    def _is_quarantined(self, holder: int, now: float) -> bool:
        if not self._suspects or not self._holdings.get(holder):
            return False
        return any(
            one.suspect and one.state is State.OUT and one.holder == holder and one.since + DRAIN > now
            for one in self._pending.values()
        )

    def _times(self, one: _Pending) -> tuple[float, ...]:
        if one.state is State.DYING:
            return ()
        if not one.suspect:
            return (one.until,)
        return one.until, (one.until if one.state is State.WAITING else one.since) + DRAIN

    def _hand_out(self, one: _Pending, holder: int, now: float) -> Handed:
        envelope = one.envelope
        assert envelope is not None, "what is due was read"
        self.redelivered += one.attempts > 0
        self._happened(one, Event.TAKEN)
        return self._give(one, envelope, holder, now)

    def _fresh(self, envelope: Envelope, holder: int, now: float) -> Handed:
        one = self._pending[envelope.sequence] = _Pending(envelope.sequence)
        self._cursor = envelope.sequence
        self.version += 1
        one.state = State.OUT
        return self._give(one, envelope, holder, now)

    def _give(self, one: _Pending, envelope: Envelope, holder: int, now: float) -> Handed:
        self._tag += 1
        one.tag = self._tag
        one.attempts += 1
        one.holder = holder
        one.since = now
        one.until = now + self.settings.ack_wait
        one.envelope = None
        self._holdings[holder] = self._holdings.get(holder, 0) + 1
        return Handed(as_attempt(envelope, one.attempts), one.tag)


def _after(one: _Pending, why: str) -> str:
    """What has ended the last attempt, and what was said of one before."""
    return f"{why}; before that: {one.reason}" if one.reason else why


def as_attempt(envelope: Envelope, attempt: int) -> Envelope:
    """*envelope* as what is handed out for the *attempt*-th time."""
    if attempt == envelope.attempt:
        return envelope
    one = envelope
    return Envelope(one.subject, one.message, one.reply, one.sequence, one.time, attempt, one.stream)
