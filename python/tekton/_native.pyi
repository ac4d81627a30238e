"""The native kernels of Tekton (Rust: `rust/kernel` the algorithms, `rust/native` the bindings).

All classes are thread-safe: each call is one step under a lock that is never held while Python code runs.
Crossing into Rust costs 30 to 100 ns, so one call does one whole step: never cross just to check one transition
(`state.mask & target.bit` is cheaper).
"""
# ruff: noqa: PYI021 - native code has no docstrings of its own; they live here.

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, final

from typing_extensions import Buffer

from tekton.mcp.message_type import MessageType

__all__ = [
    "TRANSITION_MASKS",
    "ComponentTable",
    "DependencyGraph",
    "Envelope",
    "Message",
    "MessageContext",
    "SubjectTable",
    "TimerWheel",
    "covers",
    "is_valid_pattern",
    "is_valid_subject",
    "overlaps",
    "resolve",
    "uuid7",
    "waves",
]

TRANSITION_MASKS: tuple[int, ...]
"""By state index: the bits (`1 << index`) of the states that may follow. `tekton.core.lifecycle` compares itself."""

def resolve(graph: Mapping[str, Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Put the nodes of *graph* (name -> names it depends on) into an order in which they can start.

    Returns `(start_order, cycles)`. `start_order` has every node that can start, dependencies first: the postorder
    of a depth-first search over the nodes that can start, in dict order, and over their dependencies, in list order.
    A name that appears only as a dependency is a node too. Nodes in or behind a cycle are left out. `cycles` has
    one cycle per strongly connected component, each depending on the next and the last on the first; the shortest
    one where that is cheap to find, from its earliest node on. A node that depends on itself is a cycle of one.
    Repeated dependencies do no harm. The str objects in the answer are the caller's own.

    Raises TypeError for names that are not str and for dependencies that are no sequence (a bare str is refused),
    UnicodeEncodeError for some names with lone surrogates. *graph* must not be changed by another thread meanwhile.

    O(nodes + edges), not recursive. A dict of lists or tuples of the very objects that are the keys is fastest (about
    35 ns a node with three dependencies); equal but distinct str objects cost a hash of their text each, and other
    mappings and sequences are copied first. Tarjan's
    search for components runs only when there is a cycle. The interpreter lock is held.
    """

def waves(graph: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Group the nodes of *graph* by the length of their longest chain of dependencies; dict order in each group.

    All of a wave can start at the same time once the waves before it are up. Nodes in or behind a cycle are in no
    wave. Errors and cost as `resolve`. For display: `DependencyGraph.ready` and `done` wait for less.
    """

def is_valid_subject(text: str) -> bool:
    """Is *text* something that can be published to?

    A subject has 1 to 16 tokens separated by dots and at most 255 bytes of UTF-8 (what NATS recommends). No token is
    empty, and there are no wildcards, no white space and no control characters. Case counts, and Unicode is not
    normalized: two texts are one subject when their bytes are the same. Lone surrogates make a text no subject.
    """

def is_valid_pattern(text: str) -> bool:
    """Is *text* something that can be subscribed to?

    As a subject, but a token may be `*`, which stands for exactly one token, and the last may be `>`, which stands for
    one or more. They are tokens of their own: `a.b*` is refused, where NATS takes it literally.
    """

def covers(pattern: str, other: str) -> bool:
    """Does *pattern* match every subject that *other* matches?

    Then a permission for *pattern* is one for *other*, be that a subject or a pattern: `a.>` covers `a.*.b` and `a.b`,
    but not `a`, nor `>`. Decided token by token, O(tokens). Raises ValueError for what is no pattern.
    """

def overlaps(pattern: str, other: str) -> bool:
    """Is there a subject that both patterns match? Symmetric. Errors and cost as `covers`."""

@final
class DependencyGraph:
    """A dependency graph that stays: names are converted once, and it knows what is done.

    Nodes, order and errors are those of `resolve`. Repeated dependencies are dropped. The graph never changes; its
    progress does (`ready`, `done`, `fail`). Each node is handed out at most once, only after everything it depends
    on is done, and never when it is in or behind a cycle. Methods that take a node raise KeyError when it is unknown.
    """

    def __new__(cls, graph: Mapping[str, Sequence[str]]) -> DependencyGraph:
        """Read *graph* (name -> names it depends on). Errors as `resolve`."""

    def __len__(self) -> int:
        """The number of nodes, names that are only dependencies included."""

    def resolve(self) -> tuple[list[str], list[list[str]]]:
        """`(start_order, cycles)` as the function `resolve`. The first call finds it, later ones make the lists."""

    def waves(self) -> list[list[str]]:
        """As the function `waves`."""

    def dependencies(self, node: str) -> list[str]:
        """What *node* itself depends on, in the order given."""

    def dependents(self, node: str, *, transitive: bool = False) -> list[str]:
        """What depends on *node*, in dict order.

        With *transitive*, also what depends on those, nearest first; then a node of a cycle is among its own
        dependents. The first call turns the graph around, O(nodes + edges); after that, O(answer), but O(nodes)
        with *transitive*.
        """

    def ready(self) -> list[str]:
        """Hand out the nodes without unfinished dependencies that were not handed out yet.

        In dict order. Called once at the start of a run; after that `done` hands out what it releases.
        """

    def done(self, node: str) -> list[str]:
        """*node* is up: hand out the nodes that can start because of it, in dict order.

        *node* need not have been handed out (something may be running already); then it will not be. Doing it
        twice, or after `fail`, changes nothing and returns []. O(dependents of the node). Kahn 1962.
        """

    def fail(self, node: str) -> list[str]:
        """*node* will not be done: return what thereby never can start, nearest first.

        Each node is returned by one call at most. Nodes that were handed out or are done are not affected, nor is
        anything just because it depends on those. Final: a failed node cannot become done later.
        """

    def critical_path(self, durations: dict[str, float]) -> list[str]:
        """The chain of dependencies with the largest total duration, dependencies first: the start takes no less.

        *durations* are seconds (any unit will do) and count as 0 for nodes without one; unknown names are ignored.
        Nodes in or behind a cycle do not count. Raises ValueError for a negative or infinite duration or NaN.
        """

@final
class ComponentTable:
    """The head of the registry: which instances exist, in which state, with which lease.

    An instance has a slot, a small number that is used again after `remove`; calls with a slot that is not in use
    raise IndexError where not stated otherwise. States are indices of `ComponentState`; others raise ValueError.
    Instance ids are UUIDs with hyphens, in either case (`add` raises ValueError for others, everything else treats
    them as unknown). Each call happens as a whole or, when it raises, changes nothing.

    Leases count in ticks (int, below 2**32 - 1) whose length is the caller's business. An armed slot is due at its
    deadline; a heartbeat moves the deadline later, never earlier. A heartbeat is one store, a tick one comparison
    per 256 slots unless some are due.
    """

    def __new__(cls) -> ComponentTable:
        """An empty table."""

    def __len__(self) -> int:
        """The number of slots in use."""

    def add(self, component_id: str, instance_uuid: str, state: int, max_instances: int = 1) -> int:
        """Add an instance without a lease; return its slot.

        Raises ComponentExistsError (naming the oldest) when *max_instances* instances of the id are live already,
        that is, neither FAILED nor STOPPED; ValueError when this very instance is present.
        """

    def remove(self, slot: int) -> None:
        """Forget the instance and its lease. The slot can be given to another instance from now on."""

    def find(self, component_id: str, instance_uuid: str) -> int:
        """The slot of the instance, or -1."""

    def slots(self, component_id: str) -> list[int]:
        """The slots of all instances of a component, in order of arrival."""

    def identity(self, slot: int) -> tuple[str, str]:
        """`(component_id, instance_uuid)`, the latter in canonical form."""

    def state(self, slot: int) -> int:
        """The state of the instance."""

    def transition(self, component_id: str, instance_uuid: str, state: int) -> tuple[int, int]:
        """Find the instance, check the step against the lifecycle, store it: one fused call of about 100 ns.

        Returns `(slot, previous state)`. Raises StaleInstanceError when there is no such instance,
        IllegalTransitionError when the lifecycle has no such step.
        """

    def set_state(self, slot: int, state: int) -> int:
        """Store a state without a check, to undo a transition. Returns the state before."""

    def arm(self, slot: int, timeout_ticks: int, now_tick: int) -> None:
        """Let the slot be due at *now_tick* + *timeout_ticks*; each touch starts the timeout again."""

    def disarm(self, slot: int) -> None:
        """Take the lease away. Does nothing when there is none, or no such slot."""

    def armed(self, slot: int) -> bool:
        """True when the slot has a lease. False for a slot that is not in use."""

    def touch(self, component_id: str, instance_uuid: str, now_tick: int) -> int:
        """A heartbeat: move the deadline to *now_tick* + timeout if the slot is armed and that is later.

        Returns the state (an instance without a lease has one too), -1 when the component is unknown, -2 when it
        is known but this instance is not one of its own.
        """

    def touch_slots(self, slots: Buffer, now_tick: int) -> int:
        """Heartbeats of many slots; return how many of them have a lease.

        *slots* is bytes (or a buffer of bytes) with a little-endian u32 each, or a buffer of u32, such as an
        `array.array("I")`. Slots not in use are ignored, and so is an incomplete number at the end. Raises TypeError
        for what is no buffer, BufferError for one of other numbers. 1 to 2 ns a slot; bytes are not copied.
        """

    def expire(self, now_tick: int) -> list[int]:
        """Disarm the slots whose deadline is at or before *now_tick* and return them, ascending."""

    def due(self, now_tick: int) -> int:
        """How many slots `expire` would return, without changing anything."""

    def extend(self, ticks: int) -> None:
        """Move every deadline later by *ticks* (grace after a stall). O(slots)."""

    def next_deadline(self) -> int | None:
        """No lease is due before this tick; None without leases.

        A lower bound: heartbeats and `disarm` leave it as it was; `expire` at that tick makes it exact.
        """

    @staticmethod
    def transitions_legal(pairs: bytes) -> bytes:
        """Check many transitions: *pairs* are bytes (from, to), the answer is a byte 1 (legal) or 0 per pair.

        Indices that are no state are not legal. For audits and replays: about 0.1 ns a pair, as fast as
        memory is read.
        """

@final
class SubjectTable:
    """Who listens to a subject: patterns with listeners.

    `is_valid_pattern` and `is_valid_subject` say what is valid; other texts raise ValueError, and change nothing. A
    listener is an int below 2**64 (others raise OverflowError); what it stands for, a subscriber or a queue group, is
    the caller's business.

    A trie, with a cache of answers in front: a `match` that was asked before is one lookup, 30 to 60 ns. The cache
    holds *cache_size* subjects and listeners together, and no answer that is more than an eighth of that. Answers that
    were not used lately make room (a clock hand, Corbató 1968), so subjects that are published once do not push out
    those that are published again and again.

    Adding or removing makes answers stale that could change: of this subject for a pattern without wildcards, of the
    subjects with the same first token for others, and of all for a pattern that begins with a wildcard.
    """

    def __new__(cls, cache_size: int = 65536) -> SubjectTable:
        """A table without patterns."""

    def __len__(self) -> int:
        """The number of pairs of a pattern and a listener."""

    def add(self, pattern: str, listener: int) -> bool:
        """Let *listener* listen to *pattern*; False when it does already.

        O(tokens), and a move of the greater listeners of the same pattern.
        """

    def remove(self, pattern: str, listener: int) -> bool:
        """Let *listener* no longer listen to *pattern*; False when it does not. Cost as `add`."""

    def match(self, subject: str) -> tuple[int, ...]:
        """Who listens to *subject*: ascending, each once, however many of its patterns match.

        The same tuple as last time, while no pattern came or went that makes it stale and the cache has kept it; so
        what was made of an answer can be used again when the answer `is` the same.

        An answer that is not in the cache costs O(patterns that match the beginning of the subject), each of their
        common beginnings counted once: a few for most, and never more than the trie has nodes.
        """

@final
class TimerWheel:
    """One-shot timers, such as those of `tekton.core.forgetting`. (Heartbeats have the leases of `ComponentTable`.)

    Instants are ticks (int, below 2**64) whose length is the caller's business; the wheel begins at tick 0 and moves
    only by `advance`. A timer carries any object and gives it back when it is due, at exactly its tick. Numbers outside
    the range raise OverflowError. The wheel is seen by the garbage collector, so payloads may refer to it.

    A hashed timing wheel (Varghese and Lauck 1987) of one turn of 1,024 ticks, beside a list of what is due later. What
    it is bad at: when a turn begins in which a later timer falls due, all later timers are looked at once.
    """

    def __new__(cls) -> TimerWheel:
        """A wheel without timers."""

    def __len__(self) -> int:
        """The number of scheduled timers."""

    def schedule(self, due_tick: int, payload: object) -> int:
        """Schedule a timer and return its handle, which names this timer and never another one. O(1).

        A tick that has passed counts as the present one: the next `advance` gives the payload back.
        """

    def cancel(self, handle: int) -> bool:
        """Take a timer away before it is due; False when it was given back already, or cancelled. O(1)."""

    def advance(self, now_tick: int) -> list[object]:
        """Move to *now_tick* and give back the payloads of all timers due at or before it.

        By due tick, ties in the order in which they were scheduled. A tick before the present one counts as the
        present one. O(given back), and O(later timers) when a turn begins in which one of them is due.
        """

    def next_due(self) -> int | None:
        """The exact tick at which the next timer is due, None without timers.

        O(1), but O(timers) when all are due after the current turn and the earliest of them was cancelled.
        """

def uuid7() -> str:
    """A fresh UUID of version 7: text that sorts by the time at which it was made (RFC 9562), 74 bits of it by chance.

    Those of one process increase strictly, also when its clock is set back, and from any thread; a forked child begins
    anew. The system's clock is read. Chance is made by a keyed pseudo-random function whose key comes from the system:
    good for ids, not for secrets.
    """

@final
class MessageContext:
    """Who says it to whom, and as part of what. A value: it is not changed, and can be shared by many messages.

    `sender`, `recipient` and `trace_id` are 1 to 255 characters of visible ASCII, neither `"` nor a backslash. Its JSON
    is made once.
    """

    def __new__(
        cls,
        sender: str,
        recipient: str | None = None,
        trace_id: str | None = None,
        *,
        parent_id: str | None = None,
        deadline: float | None = None,
        hops: int = 0,
    ) -> MessageContext:
        """A context. Without *trace_id* it is of the current trace (`tekton.utils.trace_context`), else of a new one.

        *parent_id* is the message that has caused this one, *deadline* the instant after which nobody waits (seconds
        since 1970), *hops* how many messages have caused one another before (at most 255, else OverflowError). Raises
        ValueError for what is no identifier, no UUID, or not finite.
        """

    @property
    def sender(self) -> str:
        """The component that says it."""

    @property
    def recipient(self) -> str | None:
        """The component that is to have it."""

    @property
    def trace_id(self) -> str | None:
        """The trace that it is part of. None only if it was received without one."""

    @property
    def parent_id(self) -> str | None:
        """The id of the message that has caused this one."""

    @property
    def deadline(self) -> float | None:
        """The instant after which nobody waits any longer, in seconds since 1970."""

    @property
    def hops(self) -> int:
        """How many messages have caused one another before this one."""

    def __eq__(self, other: object, /) -> bool:
        """True when all fields are equal."""

    def __hash__(self) -> int:
        """Equal ones have the same."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by its fields."""

@final
class Message:
    """A message: built from objects, or received as JSON. A value: it is not changed, another one is made.

    What was received is checked as a whole and stays the text that it is: `from_json` only finds where things are,
    `content` and `metadata` become objects when they are asked for (once), and `to_json` gives the same bytes back. So
    do not change the objects that a received message gives out: that does not change the message.

    On the wire: `{"message_id", "message_type", "timestamp", "context": {"sender", "recipient", "trace_id",
    "parent_id", "deadline", "hops"}, "metadata": {…}, "content": …}`, written in this order, read in any. `timestamp`,
    `metadata`, and all of the context but `sender`, may be missing or null; any other member is refused.
    """

    def __new__(
        cls,
        message_type: MessageType | str,
        content: Any,
        context: MessageContext,
        metadata: dict[str, Any] | None = None,
        *,
        message_id: str | None = None,
        timestamp: float | None = None,
    ) -> Message:
        """A message that is new, unless a *message_id* (a UUID) is given. *timestamp* is in seconds since 1970.

        *content* and *metadata* are kept, not copied, and looked at by `to_json`. Raises ValueError for an unknown
        type, for an id that is no UUID, for a timestamp that is not finite.
        """

    @staticmethod
    def from_json(data: bytes | bytearray | memoryview | str) -> Message:
        """Check all of *data* and find the header in it. O(bytes); nothing is made of content and metadata.

        Accepted is what RFC 8259 and UTF-8 allow, less what two readers could understand differently: a member twice in
        one object, at any depth; integers outside of -2**63 to 2**64 - 1, and floats beyond double precision; lone
        surrogates; more than 64 levels, the message included. Raises MalformedMessageError then, with the place of the
        byte; InvalidMessageError for JSON that is no message, an unknown `message_type` included; UnicodeEncodeError
        for a str with lone surrogates. bytes and str are not copied.
        """

    def to_json(self) -> bytes:
        """The message as JSON, header first, without spaces; of a received message the bytes that it came as.

        Written once: what is changed in content or metadata afterwards is not seen. They are written by orjson, a str
        by us; what JSON has no type for (tuples, dataclasses, enums, datetimes, UUIDs) is written as orjson does, and
        read again as what it was written as.

        What no reader would accept, or would read as something else, is not written: InvalidMessageError for NaN and
        infinity, and for more than 64 levels, the message included; for what is no JSON, and for integers of more than
        64 bits, the TypeError of orjson.
        """

    @staticmethod
    def from_msgpack(data: bytes | bytearray | memoryview) -> Message:
        """The message that *data* is as MessagePack, translated into JSON on the way; `to_json` gives that.

        Members, limits and errors are those of `from_json`. What JSON does not have raises MalformedMessageError:
        binary data, timestamps and other extensions, floats that are not finite, keys that are not texts. O(bytes); the
        JSON has less than 6 times as many.
        """

    def to_msgpack(self) -> bytes:
        """What `to_json` says, as MessagePack: the same members in the same order. Errors as `to_json`."""

    @staticmethod
    def peek(data: bytes | bytearray | memoryview | str) -> tuple[MessageType, str, str | None]:
        """`(message_type, sender, recipient)` of a message that was checked elsewhere, or will be.

        O(header) when the header comes first, as `to_json` puts it. What comes after it may be anything. Errors as
        `from_json`.
        """

    @property
    def route(self) -> tuple[MessageType, str, str | None]:
        """`(message_type, sender, recipient)` in one call: cheaper than by way of `context`."""

    @property
    def message_id(self) -> str:
        """Its UUID, in canonical form."""

    @property
    def message_type(self) -> MessageType:
        """What it is for."""

    @property
    def timestamp(self) -> float | None:
        """When it was made, in seconds since 1970: its own, or that of a `message_id` of version 7, or None."""

    @property
    def context(self) -> MessageContext:
        """Who says it to whom, and as part of what."""

    @property
    def content(self) -> Any:
        """What it says."""

    @property
    def metadata(self) -> dict[str, Any]:
        """What is to be known about it; an empty dict if nothing is."""

    def follow(self, sender: str, recipient: str | None = None) -> MessageContext:
        """The context of a message that this one causes: its trace and deadline, this one as parent, one hop more."""

    def __eq__(self, other: object, /) -> bool:
        """True when id, type, time, context, metadata and content are equal, however they came about."""

    def __hash__(self) -> int:
        """Of the id."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, and copied, as JSON."""

@final
class Envelope:
    """What is published, and what a subscriber gets: a message on its way. A value.

    *sequence* is its place in what it is read from: of a stream the stream's own number, else the bus's; 0 before it is
    published. *time* is when the bus took it (seconds since 1970), *attempt* how often it was handed out by a stream's
    consumer, this time included (else 1), *stream* the stream that it was read from.

    Reading a field costs 10 to 50 ns, making an envelope about 100 ns, in bulk (`admit`) half of it. The bytes of a
    message are made once for all that is done with it: a message that was built keeps them (`Message.to_json`).

    Many envelopes travel as one *batch*. All numbers in it are little-endian; a length of 0 says that there is no
    reply, or no stream; `length` counts what follows it in the envelope, and the body is what is left of it:

        batch    = "TKB" version:u8=1 id:u64 count:u32 envelope*
        envelope = length:u32 sequence:u64 time:f64 attempt:u32 format:u8
                   subject_length:u8 reply_length:u8 stream_length:u8 subject reply stream body

    `format` is 0 for a message as JSON, 1 for one as MessagePack.
    """

    def __new__(
        cls,
        subject: str,
        message: Message,
        reply: str | None = None,
        sequence: int = 0,
        time: float = 0.0,
        attempt: int = 1,
        stream: str | None = None,
    ) -> Envelope:
        """An envelope. *subject* and *reply* are not looked at: the bus does that, and whoever writes it.

        Raises OverflowError for a *sequence* that is negative or has more than 64 bits, or an *attempt* of more than
        32; ValueError for a *time* that is not finite.
        """

    @property
    def subject(self) -> str:
        """Where it was published."""

    @property
    def message(self) -> Message:
        """What was published."""

    @property
    def reply(self) -> str | None:
        """The subject that an answer goes to."""

    @property
    def sequence(self) -> int:
        """Its place in the stream, or on the bus; 0 before it is published."""

    @property
    def time(self) -> float:
        """When the bus took it, in seconds since 1970."""

    @property
    def attempt(self) -> int:
        """How often it was handed out, this time included."""

    @property
    def stream(self) -> str | None:
        """The stream that it was read from."""

    @property
    def size(self) -> int:
        """The bytes of the message as JSON. Errors as `Message.to_json`."""

    def placed(self, sequence: int, time: float, *, attempt: int = 1, stream: str | None = None) -> Envelope:
        """The same message at another place. Errors as of the constructor; cheaper than that."""

    @staticmethod
    def admit(
        envelopes: Iterable[Envelope], sequence: int, time: float, max_size: int, max_hops: int, /
    ) -> tuple[list[Envelope], int, bool]:
        """The same messages at the places from *sequence* on, taken at *time*; their bytes; have all the same subject?

        Of each in turn this looks at its reply, the size of its message, its hops and its deadline, and raises
        InvalidSubjectError, MessageTooLargeError for more than *max_size* bytes, TooManyHopsError for more than
        *max_hops*, its answer included if there is a reply, MessageExpiredError for a deadline not after *time*; or as
        `Message.to_json` and the constructor. Subjects are not looked at. About 55 ns an envelope.

        The garbage collector passes these envelopes by. One that is put into the content of its own message is never
        freed.
        """

    @staticmethod
    def measure(envelopes: Iterable[Envelope], /) -> int:
        """The sum of their `size`. About 5 ns an envelope."""

    @staticmethod
    def pack(batch_id: int, envelopes: Iterable[Envelope], /, *, msgpack: bool = False) -> bytes:
        """*envelopes* as one batch, called *batch_id* (below 2**64), their messages as JSON or as MessagePack.

        Raises InvalidSubjectError for a subject or reply that is no subject, or a stream that is no name (visible
        ASCII, neither `"` nor a backslash); errors of `Message.to_json`. About 80 ns an envelope, and the copy of its
        message.
        """

    @staticmethod
    def unpack(
        data: bytes | bytearray | memoryview, *, max_envelopes: int = 4096, max_message: int = 1_048_576
    ) -> tuple[int, list[Envelope]]:
        """The id of a batch, and its envelopes. All of it is checked, the messages as by `Message.from_json`.

        Raises MalformedMessageError, with the place of the byte in *data*, for what is no batch, is cut off, announces
        more than there is, goes on after its end, or has more than *max_envelopes*; MessageTooLargeError for a message
        of more than *max_message* bytes; InvalidMessageError for JSON that is no message. Takes a few times the memory
        that *data* takes, whatever it says.
        """

    @staticmethod
    def subjects(data: bytes | bytearray | memoryview) -> list[str]:
        """The subjects of a batch, without a look at its messages: to ask first who may publish there.

        Errors of `unpack`, but for messages and limits. About 60 ns an envelope.
        """

    def frame(self, subscription: int, /) -> str:
        """The frame of a socket that hands it to *subscription*; the message is put in as the bytes that it is.

        `{"id":N,"t":"msg","subject":…,"sequence":…,"time":…,"reply":…,"stream":…,"attempt":…,"message":{…}}`, with
        `reply` only if there is one, `stream` and `attempt` only if there is a stream. Errors as `pack`.
        """

    def __eq__(self, other: object, /) -> bool:
        """True when all fields are equal."""

    def __hash__(self) -> int:
        """Of all fields."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, and copied, by its fields."""
