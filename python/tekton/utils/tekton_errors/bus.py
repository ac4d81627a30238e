"""The bus: subjects, streams and their consumers."""

from tekton.utils.tekton_errors.base import TektonError

__all__ = [
    "BusBusyError",
    "BusError",
    "ConsumerExistsError",
    "ConsumerNotFoundError",
    "InvalidSubjectError",
    "MessageExpiredError",
    "MessageTooLargeError",
    "NoRespondersError",
    "PublishUnknownError",
    "ReplyTimeoutError",
    "SlowConsumerError",
    "StreamConfiguredError",
    "StreamNotFoundError",
    "StreamOverlapError",
    "TooManyHopsError",
    "TooManySubscriptionsError",
]


class BusError(TektonError):
    """Something that the message bus did not do."""

    code = "bus_error"


class InvalidSubjectError(BusError):
    """A text that is no subject, or no pattern of subjects."""

    code = "invalid_subject"
    hint = "subjects are tokens with dots between them; in patterns * is one token, and a last > all that follow"

    def __init__(self, subject: str, problem: str) -> None:
        self.subject = subject
        self.problem = problem
        super().__init__(f"{subject[:64]!r} {problem}")


class MessageTooLargeError(BusError):
    """A message of `size` bytes where `limit` are allowed."""

    code = "message_too_large"
    hint = "let large content travel by reference: store it somewhere, and send its address"

    def __init__(self, size: int, limit: int) -> None:
        self.size = size
        self.limit = limit
        super().__init__(f"a message of {size} bytes, where {limit} are allowed")


class TooManyHopsError(BusError):
    """A message that more than `limit` messages have caused, one after the other: somebody answers himself."""

    code = "too_many_hops"
    hint = "look which components answer one another without an end"

    def __init__(self, hops: int, limit: int) -> None:
        self.hops = hops
        self.limit = limit
        super().__init__(f"{hops} messages have caused one another, where {limit} may")


class MessageExpiredError(BusError):
    """The deadline of a message had passed before anything was done with it."""

    code = "message_expired"

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id
        super().__init__(f"the deadline of message {message_id} has passed")


class NoRespondersError(BusError):
    """A request to a subject to which nobody listens."""

    code = "no_responders"
    hint = "start the component that answers it"

    def __init__(self, subject: str) -> None:
        self.subject = subject
        super().__init__(f"nobody listens to {subject}")


class ReplyTimeoutError(BusError):
    """No answer to a request within its time. Whether something was done is not known."""

    code = "reply_timeout"

    def __init__(self, subject: str, timeout: float) -> None:
        self.subject = subject
        self.timeout = timeout
        super().__init__(f"no answer from {subject} within {round(timeout, 3):g} s")


class SlowConsumerError(BusError):
    """A subscriber did not read what waited for it; it was cut, with `waiting` messages unread."""

    code = "slow_consumer"
    hint = "read faster, subscribe to less, or choose a policy that drops"

    def __init__(self, pattern: str, waiting: int) -> None:
        self.pattern = pattern
        self.waiting = waiting
        super().__init__(f"the subscription to {pattern} was ended: {waiting} messages were not read")


class TooManySubscriptionsError(BusError):
    """As many subscriptions as one may have."""

    code = "too_many_subscriptions"
    hint = "one pattern with wildcards can stand for many subjects"

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"there are {limit} subscriptions already, as many as may be")


class BusBusyError(BusError):
    """The disk does not keep up with what is published. Nothing was stored."""

    code = "bus_busy"
    hint = "publish it again later, under the same message_id"

    def __init__(self, waited: float) -> None:
        self.waited = waited
        super().__init__(f"the message waited {waited:g} s for the disk, and was not stored")


class PublishUnknownError(BusError):
    """A message was sent to the control plane, and no receipt came. It may have been published or not.

    Of a large batch that was stored in part it is the first one; `waited` is 0 then.
    """

    code = "publish_unknown"
    hint = "publish it again under the same message_id: a stream stores it once"

    def __init__(self, message_id: str, waited: float) -> None:
        self.message_id = message_id
        self.waited = waited
        why = f"no receipt came within {waited:.3g} s" if waited else "a part of its batch could not be stored"
        super().__init__(f"nobody knows whether message {message_id} was published: {why}")


class StreamNotFoundError(BusError):
    """There is no stream of that name."""

    code = "stream_not_found"

    def __init__(self, stream: str, nearest: str | None = None) -> None:
        self.stream = stream
        self.nearest = nearest
        if nearest:
            self.hint = f"did you mean {nearest!r}?"
        super().__init__(f"there is no stream {stream[:64]!r}")


class StreamOverlapError(BusError):
    """A subject that one stream is to take is another's already."""

    code = "stream_overlap"
    hint = "choose narrower patterns, or delete the other stream"

    def __init__(self, stream: str, other: str, subject: str) -> None:
        self.stream = stream
        self.other = other
        self.subject = subject
        super().__init__(f"the stream {stream} cannot take {subject}: the stream {other} takes it")


class StreamConfiguredError(BusError):
    """A change to a stream that stands in the configuration."""

    code = "stream_configured"
    hint = "change it in tekton.json, and reload"

    def __init__(self, stream: str) -> None:
        self.stream = stream
        super().__init__(f"the stream {stream} stands in the configuration")


class ConsumerNotFoundError(BusError):
    """The stream has no consumer of that name."""

    code = "consumer_not_found"

    def __init__(self, stream: str, consumer: str) -> None:
        self.stream = stream
        self.consumer = consumer
        super().__init__(f"the stream {stream} has no consumer {consumer[:64]!r}")


class ConsumerExistsError(BusError):
    """The consumer is there, with other settings than it is asked for, or takes what another one is to have."""

    code = "consumer_exists"

    def __init__(self, stream: str, consumer: str, problem: str = "has other settings") -> None:
        self.stream = stream
        self.consumer = consumer
        self.hint = (
            "give its own settings, or none (bus.consume, the socket); or delete it first: "
            f"DELETE /api/streams/{stream}/consumers/{consumer}"
        )
        super().__init__(f"the consumer {consumer} of the stream {stream} {problem}")
