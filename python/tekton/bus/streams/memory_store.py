"""Streams that live as long as the object: for tests, and for a bus without a data directory."""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import islice

from tekton._native import covers
from tekton.bus.bus import StreamSettings
from tekton.bus.envelope import Envelope
from tekton.bus.streams.store import (
    SCANNED_AT_ONCE,
    Batch,
    Committed,
    LoadedStream,
    Page,
    Placed,
    Progress,
    Put,
    Share,
    StreamState,
    Tidied,
)
from tekton.utils.tekton_errors import StreamNotFoundError


class _Stream:
    """One stream: its messages by sequence, and the ids that it has seen."""

    def __init__(self, settings: StreamSettings) -> None:
        self.settings = settings
        self.consumers: dict[str, Progress] = {}
        self.last = self.dropped = self.size = 0
        self._messages: OrderedDict[int, tuple[Envelope, int]] = OrderedDict()
        self._ids: OrderedDict[str, tuple[int, float]] = OrderedDict()

    @property
    def state(self) -> StreamState:
        return StreamState(len(self._messages), self.size, self.last, self.dropped)

    def put(self, put: Put, name: str) -> Placed:
        id_ = put.envelope.message.message_id
        if (known := self._ids.get(id_)) and known[1] > put.at - self.settings.dedupe_window:
            return Placed(known[0], duplicate=True)
        self.last += 1
        said = put.envelope
        kept = Envelope(said.subject, said.message, said.reply, self.last, put.at, 1, name)
        self._messages[self.last] = kept, len(put.body)
        self._ids.pop(id_, None)
        self._ids[id_] = self.last, put.at
        self.size += len(put.body)
        return Placed(self.last, duplicate=False)

    def remove(self, sequence: int) -> None:
        found = self._messages.pop(sequence, None)
        self.size -= found[1] if found else 0

    def forget_ids(self, now: float) -> None:
        for id_, (_, at) in list(islice(self._ids.items(), SCANNED_AT_ONCE)):
            if at > now - self.settings.dedupe_window:
                break
            del self._ids[id_]

    def trim(self) -> bool:
        """Drop what is more than the settings allow; False when that is nothing."""
        before = self.dropped
        while self._messages and (
            len(self._messages) > self.settings.max_messages or self.size > self.settings.max_bytes
        ):
            self._drop_first()
        return self.dropped > before

    def expire(self, now: float) -> bool:
        before = self.dropped
        while self._messages and next(iter(self._messages.values()))[0].time <= now - self.settings.max_age:
            self._drop_first()
        return self.dropped > before

    def behind(self, after: int) -> Iterator[tuple[Envelope, int]]:
        """What is there behind *after*, as far as one read looks."""
        end = min(self.last, max(after, self.dropped) + SCANNED_AT_ONCE)
        return (self._messages[one] for one in range(after + 1, end + 1) if one in self._messages)

    def all(self) -> list[Envelope]:
        return [envelope for envelope, _ in self._messages.values()]

    def sized(self) -> list[tuple[Envelope, int]]:
        return list(self._messages.values())

    def _drop_first(self) -> None:
        self.dropped = next(iter(self._messages))
        self.remove(self.dropped)


class MemoryStreamStore:
    """A StreamStore without a disk. Ids of the whole window are in memory."""

    threaded = False

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}

    def open(self) -> list[LoadedStream]:
        """See StreamStore."""
        return [
            LoadedStream(name, one.settings, one.state, [one.consumers[each] for each in sorted(one.consumers)])
            for name, one in sorted(self._streams.items())
        ]

    def commit(self, batch: Batch, now: float) -> Committed:
        """See StreamStore."""
        into = [self._stream(put.stream) for put in batch.puts]
        placed = [stream.put(put, put.stream) for stream, put in zip(into, batch.puts)]
        for progress in batch.progress:
            if progress.stream in self._streams:
                self._streams[progress.stream].consumers[progress.consumer] = progress
        removed = [(stream, sequence) for stream, sequence in batch.removed if stream in self._streams]
        for stream, sequence in removed:
            self._streams[stream].remove(sequence)
        touched = {put.stream for put in batch.puts} | {stream for stream, _ in removed}
        for name in touched:
            self._streams[name].forget_ids(now)
            self._streams[name].trim()
        return Committed(placed, {name: self._streams[name].state for name in sorted(touched)})

    def put_stream(self, name: str, settings: StreamSettings, now: float) -> StreamState:  # noqa: ARG002
        """See StreamStore."""
        stream = self._streams.setdefault(name, _Stream(settings))
        stream.settings = settings
        stream.trim()
        return stream.state

    def delete_stream(self, name: str) -> None:
        """See StreamStore."""
        self._streams.pop(name, None)

    def delete_consumer(self, stream: str, consumer: str) -> None:
        """See StreamStore."""
        if stream in self._streams:
            self._streams[stream].consumers.pop(consumer, None)

    def tidy(self, now: float, *, aged: bool) -> Tidied:
        """See StreamStore."""
        for stream in self._streams.values():
            stream.forget_ids(now)
        expired = {name: one.state for name, one in self._streams.items() if aged and one.expire(now)}
        return Tidied(expired, more=False)

    def read(self, stream: str, after: int, pattern: str, most: int, size: int) -> Page:
        """See StreamStore."""
        found: list[Envelope] = []
        one = self._stream(stream)
        for envelope, length in one.behind(after):
            if pattern != ">" and not covers(pattern, envelope.subject):
                continue
            if len(found) == most or (found and size < length):
                return Page(found, found[-1].sequence, one.dropped)
            size -= length
            found.append(envelope)
        return Page(found, min(one.last, max(after, one.dropped) + SCANNED_AT_ONCE), one.dropped)

    def pick(self, stream: str, sequences: Sequence[int]) -> list[Envelope]:
        """See StreamStore."""
        wanted = set(sequences)
        return [envelope for envelope in self._stream(stream).all() if envelope.sequence in wanted]

    def before(self, stream: str, at: float) -> int:
        """See StreamStore."""
        one = self._stream(stream)
        envelopes = one.all()
        place = bisect_left(envelopes, at, key=lambda envelope: envelope.time)
        return envelopes[place - 1].sequence if place else one.dropped

    def first(self, stream: str) -> int | None:
        """See StreamStore."""
        return next((envelope.sequence for envelope in self._stream(stream).all()), None)

    def count(self, stream: str, after: int, pattern: str, most: int) -> int:
        """See StreamStore."""
        one = self._stream(stream)
        begin = max(after, one.dropped)
        seen = (each for each in one.all() if begin < each.sequence <= begin + most)
        return sum(covers(pattern, each.subject) for each in seen)

    def shares(self, stream: str) -> list[Share]:
        """See StreamStore."""
        found: dict[str, Share] = {}
        for envelope, size in self._stream(stream).sized():
            _, messages, before = found.get(envelope.subject, Share("", 0, 0))
            found[envelope.subject] = Share(envelope.subject, messages + 1, before + size)
        return list(found.values())

    def oldest(self, stream: str, subject: str, after: int, most: int) -> list[tuple[int, int]]:
        """See StreamStore."""
        found = ((one.sequence, size) for one, size in self._stream(stream).sized() if one.subject == subject)
        return list(islice((one for one in found if one[0] > after), most))

    def close(self) -> None:
        """See StreamStore."""

    def _stream(self, name: str) -> _Stream:
        try:
            return self._streams[name]
        except KeyError:
            raise StreamNotFoundError(name) from None
