"""What a bus does, whoever does it: the one in this process, that of the control plane over its port.

    async with bus.subscribe("memory.>") as updates:
        async for envelope in updates: ...                      # at most once

    await bus.publish("orders.new", message)                    # back when it is stored, if a stream takes it
    async for delivery in bus.consume("orders", "billing"):     # at least once
        await delivery.ack()

    answer = await bus.request("engram.requests.search", question, timeout=2.0)

A subject is dotted tokens; in a pattern `*` stands for one token and a last `>` for one or more (as in NATS). What is
published goes to all subscriptions whose pattern matches, and to one member of each queue group. A *stream* keeps what
is published to its subjects, numbered, on the disk; a *consumer* of it is a named place in the stream, with what was
handed out and not acknowledged; all who consume under one name share the work. No subject is in two streams.

What is private is named: a pattern that begins with a wildcard stands for nothing under `tekton` and `_inbox`, and one
whose second token is not `requests` stands for no `<id>.requests.>`, in subscriptions and in streams.

What is published in the course of a message comes of it (`tekton.mcp.course`), and a request says until when somebody
waits for the answer, so that nobody works on it for longer.

Order: what one publisher publishes to one subject arrives in this order, in a subscription and in a stream. A consumer
hands out in the order of the stream; what is handed out again comes later than it would have.
"""

import math
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from tekton.bus.envelope import Envelope
from tekton.mcp.message import Message
from tekton.mcp.tool_context import AnswerQuestion, Tell

MAX_MESSAGE = 1024 * 1024
"""Bytes of a message as JSON. What is larger travels by reference."""
MAX_REASON = 1000
"""Characters that a client may say of why a message is not done."""
MAX_HOPS = 16
"""How many messages may have caused one another (`context.hops`), and an answer that is asked for, too, before it is
taken for a circle."""
MAX_DELAY = 7 * 86400.0
"""Seconds after which a message that is not done can be handed out again at the latest."""
INBOX = "_inbox"
"""The first token of subjects that answers go to: `_inbox.<owner>.<random>`. Only the owner may subscribe to them."""
RESERVED = "tekton"
"""The first token of subjects that only the control plane publishes to."""
REQUESTS = "requests"
"""`<id>.requests.>`: what others may publish to a component; only the component itself may subscribe to it."""


class Policy(StrEnum):
    """What becomes of a subscriber that does not keep up. Publishers never wait for one."""

    DROP_OLDEST = "drop_oldest"
    """The oldest that it has not read are passed over; `lost` counts them, and `gap` tells."""
    CONFLATE = "conflate"
    """Of each subject only the newest is kept."""
    DISCONNECT = "disconnect"
    """The subscription ends with SlowConsumerError."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What waits for one subscriber at most: *messages*, together *size* bytes (as JSON)."""

    messages: int = 1000
    size: int = 1024 * 1024
    policy: Policy = Policy.DISCONNECT


DEFAULT_LIMITS = Limits()


class Receipt(NamedTuple):
    """What became of a message that was published."""

    sequence: int
    """Its number in the stream, else on the bus."""
    stream: str | None = None
    """The stream that has it on the disk by now."""
    duplicate: bool = False
    """It was there before: `sequence` is that of the first one."""


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What a stream takes and how long it keeps it. Whatever limit is reached first drops the oldest, and tells.

    *subjects* are patterns; those of two streams may not overlap. *max_age* and *dedupe_window* are seconds: a message
    id that comes again within the window is not stored again. *work_queue*: a message goes when it was acknowledged,
    and the stream has one consumer at most for each subject.
    """

    subjects: tuple[str, ...]
    max_messages: int = 1_000_000
    max_bytes: int = 256 * 1024 * 1024
    max_age: float = 7 * 86400.0
    dedupe_window: float = 120.0
    work_queue: bool = False


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    """How a consumer is served.

    It begins with the first message of the stream, or behind *since* (a sequence), or with what is stored from *at* on
    (seconds since 1970; not an instant to come), or with what comes from now on (*only_new*). *ack_wait* seconds
    after it was handed out a message that was not acknowledged is handed out again, at most *max_deliver* times, later
    and later (*backoff*, seconds; the last one repeats); then it becomes a dead letter. At most *max_in_flight* are
    handed out at a time.

    Raises ValueError for a number that cannot be.
    """

    filter: str = ">"
    since: int | None = None
    at: float | None = None
    only_new: bool = False
    ack_wait: float = 30.0
    max_deliver: int = 5
    backoff: tuple[float, ...] = (0.0, 1.0, 5.0, 15.0)
    max_in_flight: int = 256

    def __post_init__(self) -> None:
        at_least("ack_wait", self.ack_wait, 0.001)
        at_least("max_deliver", self.max_deliver, 1)
        at_least("max_in_flight", self.max_in_flight, 1)
        for delay in self.backoff:
            at_least("backoff", delay, 0)


def at_least(name: str, value: float, least: float) -> None:
    """Raise ValueError if the setting *name* is no number, or less than *least*."""
    if not (math.isfinite(value) and value >= least):
        raise ValueError(f"{name} is {value:g}, and has to be {least:g} or more")


def check_delay(delay: float | None) -> None:
    """Raise ValueError for a delay of `Delivery.nack` that cannot be."""
    if delay is not None and not 0 <= delay <= MAX_DELAY:
        raise ValueError(f"a delay is from 0 to {MAX_DELAY:g} seconds, not {delay}")


DEFAULT_CONSUMER = ConsumerSettings()


class StreamInfo(NamedTuple):
    """A stream as it is."""

    name: str
    settings: StreamSettings
    messages: int
    size: int
    first: int
    """The sequence of the oldest message; that of the next one when there is none."""
    last: int
    consumers: "tuple[ConsumerInfo, ...]"
    dropped: int = 0
    """How many its limits have dropped since the control plane started, at most."""


class ConsumerInfo(NamedTuple):
    """A consumer as it is."""

    name: str
    settings: ConsumerSettings
    acknowledged: int
    """All up to this sequence are done."""
    in_flight: int
    waiting: int
    """How many are stored for it and not handed out."""
    redelivered: int
    dead_letters: int
    lost: int = 0
    """How many the limits of the stream have dropped before they were done, at most."""
    owner: str = ""
    """Who has made it, and so may use it; empty for one that is everybody's."""
    waiting_more: bool = False
    """There may be more *waiting* than were counted."""


class Subscription(Protocol):
    """Who listens: `async for envelope in it`, or `async for batch in it.batches()` for all that there is at a time.

    Ends after `close()`. Raises SlowConsumerError where the policy says so.
    """

    pattern: str
    gap: int
    """How many were passed over before what was read last; 0 when nothing was, -1 when some were and nobody knows how
    many: the bus does not know the position any more (counts as one in `lost`)."""
    began: int | None
    """The position behind which it began, once it is entered. None of a queue group and of a replay."""

    @property
    def lost(self) -> int:
        """How many were passed over, in all."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __aiter__(self) -> AsyncIterator[Envelope]: ...

    def batches(self) -> AsyncGenerator[list[Envelope], None]:
        """Lists, never empty, in order."""
        ...

    async def close(self) -> None:
        """Listen no more. Twice does nothing."""
        ...


class Delivery(Protocol):
    """A message that a consumer was handed, to be acknowledged."""

    envelope: Envelope

    async def ack(self) -> bool:
        """It is done. False when that came too late: somebody else has it by now, or it is a dead letter.

        True when the stream has noted it; it is on the disk with the next commit, so that a crash right now may have it
        handed out once more.
        """
        ...

    async def nack(self, delay: float | None = None, *, reason: str = "") -> bool:
        """It is not done; to be handed out again after *delay* seconds (default: what the backoff says).

        Why, is told by the dead letter that may become of it: the last *reason* that was given. Raises ValueError for a
        *delay* that is negative or longer than MAX_DELAY; then nothing was said yet.
        """
        ...

    async def release(self) -> bool:
        """Nobody has begun with it: to be handed out again at once, to whoever asks, and that it was here counts as no
        attempt.
        """
        ...

    async def in_progress(self) -> bool:
        """It takes longer: the ack_wait begins anew."""
        ...

    async def reject(self, reason: str) -> bool:
        """It will never be done: it becomes a dead letter now."""
        ...


class Consumption(Protocol):
    """One who consumes: `async for delivery in it`. Whoever leaves gives back at once what he has not acknowledged."""

    stream: str
    consumer: str

    @property
    def lost(self) -> int:
        """How many messages the limits of the stream have dropped before this consumer was done with them, at most."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __aiter__(self) -> AsyncIterator[Delivery]: ...

    def batches(self, most: int = 64) -> AsyncGenerator[list[Delivery], None]:
        """Lists of at most *most* deliveries, never empty, in order."""
        ...

    async def close(self) -> None:
        """Consume no more. Twice does nothing."""
        ...


class Bus(Protocol):
    """A bus. All of it may be used by many tasks of one event loop at a time."""

    async def publish(self, subject: str, message: Message, *, reply: str | None = None) -> Receipt:
        """Publish *message*; where a stream takes the subject, this returns when it is on the disk.

        Raises InvalidSubjectError, MessageTooLargeError, TooManyHopsError, MessageExpiredError, the storage errors, and
        BusBusyError when the disk does not keep up. For wrong content it raises what `Message.to_json` raises, that is
        InvalidMessageError, TypeError or UnicodeEncodeError, and a control plane InvalidContentError where it is not of
        its `modality`.
        """
        ...

    async def publish_many(self, envelopes: Sequence[Envelope]) -> Sequence[Receipt]:
        """Publish several, in order (their `subject`, `message`, `reply`). Raises before anything of it is published,
        or a storage error after some of it was.
        """
        ...

    def subscribe(
        self, pattern: str, *, queue: str | None = None, limits: Limits = DEFAULT_LIMITS, since: int | None = None
    ) -> Subscription:
        """Listen to *pattern*, from this call on, or from what came after the sequence *since*, which was read here.

        With *queue*, each message goes to one of those who listen to the same pattern under this name. Raises
        InvalidSubjectError, TooManySubscriptionsError, and CursorExpiredError for a position that is not known.
        """
        ...

    def replay(
        self, stream: str, *, since: int | None = None, at: float | None = None, pattern: str = ">"
    ) -> Subscription:
        """What a stream has, behind the sequence *since* or from the instant *at* on (default: all), and what comes.

        Of an instant that is still to come, nothing comes before it.

        Without a gap, in order, and unacknowledged. Who is slow waits for nobody and costs nothing; when what he has
        not read was dropped meanwhile, `gap` says that it was. Raises StreamNotFoundError, and CursorExpiredError for a
        *since* that the stream has not given out yet, or does not know any more.
        """
        ...

    def consume(self, stream: str, consumer: str, settings: ConsumerSettings | None = None) -> Consumption:
        """Work through *stream* together with all who do so under this name.

        The consumer is created, with *settings*, when it is used for the first time, and stays. Without *settings* it
        is taken as it is, or created with those of `ConsumerSettings()`. Raises StreamNotFoundError, and
        ConsumerExistsError when it is there with other settings than are given.
        """
        ...

    async def request(
        self,
        subject: str,
        message: Message,
        *,
        timeout: float,
        tell: Tell | None = None,
        answer: AnswerQuestion | None = None,
    ) -> Message:
        """Publish *message* with a private inbox as `reply`, and wait for the first answer.

        Where a `MessageProcessor` of a component calls a tool for it, *tell* gets what the tool says meanwhile, and
        *answer* is awaited with what it asks (`tekton.bus.asides`).

        The deadline of the message is that, *timeout* seconds from now, or when the call is over in whose course this
        is asked (`time_left`), whatever comes first. Raises NoRespondersError at once when nobody listens,
        ReplyTimeoutError when there is no answer by then, MessageExpiredError when it is past before it is asked, and
        ValueError for a *timeout* that is not above 0.
        """
        ...

    async def create_stream(self, name: str, settings: StreamSettings) -> StreamInfo:
        """A stream of that name, with these settings from now on. Raises StreamOverlapError for another's subjects."""
        ...

    async def delete_stream(self, name: str) -> None:
        """Drop a stream, what it has, and its consumers. Raises StreamNotFoundError."""
        ...

    async def streams(self, *, consumers: bool = True) -> list[StreamInfo]:
        """The streams that there are, by name.

        What waits for a consumer that takes a part of its stream is counted, message by message: O(messages). Without
        *consumers* these are left out, and nothing is looked at; `first` may then be of a message that has gone.
        """
        ...

    async def delete_consumer(self, stream: str, consumer: str) -> None:
        """Forget a consumer. Raises StreamNotFoundError, ConsumerNotFoundError."""
        ...


class SharedBus(Bus, Protocol):
    """A bus that a port offers to others, who do not trust one another: what one has made is his."""

    def consume(
        self, stream: str, consumer: str, settings: ConsumerSettings | None = None, *, owner: str = ""
    ) -> Consumption:
        """As `Bus.consume`. One that is made by this belongs to *owner*; without, it is everybody's."""
        ...

    def settings_of(self, stream: str, consumer: str) -> ConsumerSettings | None:
        """How a consumer is served; None for one that is not there."""
        ...

    def owner_of(self, stream: str, consumer: str) -> str:
        """To whom a consumer belongs; empty for one that is everybody's, or is not there."""
        ...
