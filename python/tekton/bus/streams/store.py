"""What streams ask of a store.

Rules that every store keeps (one conformance suite runs over all of them):

* A batch is applied wholly or not at all, and is on the disk when `commit` returns, where there is a disk.
* The store numbers the messages of a stream, from 1 on, in the order in which they come, and gives no number twice.
* A message id that comes again within the `dedupe_window` of its stream is not stored: it has the number of the first.
* Retention is part of the commit: at no time is there more in a stream than its settings allow. What is too old goes
  with `tidy`.
* After a StorageUnknownError nothing is accepted any more.

`commit` and the other methods that change something are called from one thread at a time. Those that only read may be
called from a second one meanwhile: they see whole batches.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final, NamedTuple, Protocol, TypeVar

from tekton.bus.bus import ConsumerSettings, StreamSettings
from tekton.bus.envelope import Envelope

_T = TypeVar("_T")

SCANNED_AT_ONCE: Final = 4096
"""How many sequences one `read` looks at, at most."""


class Put(NamedTuple):
    """A message that *stream* is to keep. *body* is its JSON, *at* the time that it is given."""

    stream: str
    envelope: Envelope
    body: bytes
    at: float


class Placed(NamedTuple):
    """Where a message is in its stream; *duplicate* when it was there before."""

    sequence: int
    duplicate: bool


class Progress(NamedTuple):
    """What is kept of a consumer.

    Everything up to *cursor* is done or passed over but for what is *pending*: pairs of a sequence and how often it was
    handed out.
    """

    stream: str
    consumer: str
    settings: ConsumerSettings
    cursor: int
    pending: Sequence[tuple[int, int]] = ()
    redelivered: int = 0
    dead_letters: int = 0
    lost: int = 0
    owner: str = ""


class Batch(NamedTuple):
    """What is written together. *removed* are messages of earlier batches that are done with, as (stream, sequence).

    All of it at all: an empty batch shows whether there is room.
    """

    puts: Sequence[Put] = ()
    progress: Sequence[Progress] = ()
    removed: Sequence[tuple[str, int]] = ()


class StreamState(NamedTuple):
    """How a stream is after a commit. *size* is in bytes of JSON."""

    messages: int = 0
    size: int = 0
    last: int = 0
    dropped: int = 0
    """All up to this sequence are gone because of the limits of the stream (or were done with before)."""


class Committed(NamedTuple):
    """What came of a batch: of each put its place, and of the streams in it how they are now."""

    placed: list[Placed]
    states: dict[str, StreamState]


class LoadedStream(NamedTuple):
    """A stream that a store knew when it was opened."""

    name: str
    settings: StreamSettings
    state: StreamState
    consumers: list[Progress]


class Tidied(NamedTuple):
    """The streams that tidying has changed, and whether there is more to do."""

    states: dict[str, StreamState]
    more: bool


class Page(NamedTuple):
    """Some messages of a stream, in order. Up to *through* there are no others; those up to *dropped* are gone."""

    envelopes: list[Envelope]
    through: int
    dropped: int


class Share(NamedTuple):
    """What a stream has of one subject. *size* is in bytes of JSON."""

    subject: str
    messages: int
    size: int


class Desk(Protocol):
    """Where the work of a store is done: a thread of its own, or at once."""

    def submit(self, job: Callable[[], _T]) -> "Future[_T]":
        """Have *job* done, after those that came before."""
        ...

    def stop(self) -> None:
        """End when all is done that was asked for."""
        ...


class StreamStore(Protocol):
    """Keeps streams. All methods block; see the module."""

    threaded: bool
    """True when it waits for a disk, and so wants threads of its own."""

    def open(self) -> list[LoadedStream]:
        """Take possession. Raises the storage errors, for a file that is damaged, foreign or newer among others."""
        ...

    def commit(self, batch: Batch, now: float) -> Committed:
        """Apply *batch* at *now* (seconds since 1970). What it says of old messages and consumers of a stream that is
        not there is passed over.

        Raises StreamNotFoundError for a new message of such a stream, StorageFullError, or StorageError when another
        process holds the database, with nothing of the batch applied; StorageUnknownError when the outcome is open:
        the store has stopped then.
        """
        ...

    def put_stream(self, name: str, settings: StreamSettings, now: float) -> StreamState:
        """Create a stream, or give it other settings. Raises as `commit`, and so do the others."""
        ...

    def delete_stream(self, name: str) -> None:
        """Forget a stream with all that it has. What it took on the disk is used for others by and by (`tidy`)."""
        ...

    def delete_consumer(self, stream: str, consumer: str) -> None:
        """Forget a consumer."""
        ...

    def tidy(self, now: float, *, aged: bool) -> Tidied:
        """Do some of what can wait until there is nothing to commit.

        *aged* says that the clock can be trusted to tell what is too old.
        """
        ...

    def read(self, stream: str, after: int, pattern: str, most: int, size: int) -> Page:
        """Up to *most* messages behind *after* whose subject matches, of *size* bytes, but one at least.

        Looks at SCANNED_AT_ONCE sequences: what it says may be nothing but how far that was. May be called from a
        second thread. Raises StorageCorruptError rather than return what is damaged.
        """
        ...

    def pick(self, stream: str, sequences: Sequence[int]) -> list[Envelope]:
        """Those of *sequences* (ascending) that are still there. As `read`."""
        ...

    def before(self, stream: str, at: float) -> int:
        """The sequence behind which what was stored at *at* or later begins, O(log messages). As `read`.

        Where the clock was set back, it is that of one such place.
        """
        ...

    def first(self, stream: str) -> int | None:
        """The sequence of the oldest message, if there is one. As `read`."""
        ...

    def count(self, stream: str, after: int, pattern: str, most: int) -> int:
        """How many of the messages behind *after* match *pattern*, of *most* sequences. O(those). As `read`."""
        ...

    def shares(self, stream: str) -> list[Share]:
        """What it has of each subject. O(messages). As `read`."""
        ...

    def oldest(self, stream: str, subject: str, after: int, most: int) -> list[tuple[int, int]]:
        """The oldest *most* messages of *subject* behind *after*: sequences and sizes. O(messages). As `read`."""
        ...

    def close(self) -> None:
        """Give the store free. Closing twice does nothing; a closed store can be opened again."""
        ...
