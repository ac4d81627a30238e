"""Requests that may be sent again: each is carried out at most once, and its answer given again.

A caller names a request with a key of its own. Rules of this file:

* Keys belong to a subject: what one subject has sent is neither answered nor blocked by what another one sends.
* The row of a key is in the transaction of the first thing that the request makes durable: a change of the registry or
  of a document, or the entry of the audit log which says that something is about to be done to processes. A request
  that changes nothing has its row before it is answered.
* Where the answer follows from the change, it is in the same row at once. Otherwise it is added when there is one, and
  before the caller gets it. A row without an answer, whose request is not running, means: nobody knows what came of it.
* What was refused because it could not be done at the moment leaves no row: it is done when it comes again.
* Rows live for a day. When there are too many, new keys are refused; none is forgotten before its time.

In memory are the keys, on the disk the answers.
"""

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import ContextVar
from hashlib import sha256
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self

import msgspec

from tekton.utils.tekton_errors import (
    AnswerNotKeptError,
    IdempotencyKeyReusedError,
    OutcomeUnknownError,
    RequestRunningError,
    StorageError,
    StorageUnknownError,
    TooManyIdempotencyKeysError,
)

if TYPE_CHECKING:
    from tekton.core.component_lifecycle.steps import Step

LIFETIME = 24 * 3600.0
"""Seconds for which a key is remembered: longer than anybody goes on trying, and a promise to those who do."""
MAX_KEYS = 100_000
"""More than one write a second all day long. A key takes some 350 bytes of memory."""
MAX_KEYS_OF_ONE = 50_000
"""Of one subject, so that nobody can take the keys of all."""
MAX_ANSWER_BYTES = 64 * 1024
MAX_KEPT_BYTES = 256 * 1024 * 1024
"""Bytes of all answers that are kept. What would be more is done, but its answer not kept."""

Repeat = Literal["answered", "running", "other", "unknown"]
"""Of a request that came again: it got its answer; it is not over yet; its key was that of another request; what came
of it, or its answer, is not known any more."""

_FORGOTTEN_AT_ONCE = 1000

_logger = logging.getLogger("tekton.idempotency")


class Answer(msgspec.Struct, array_like=True, frozen=True):
    """What a request was answered with. `body` is None when it was not kept."""

    status: int
    media_type: str
    headers: list[tuple[str, str]]
    body: str | None

    def without_body(self) -> "Answer":
        """That it was answered, without what with."""
        return Answer(self.status, self.media_type, [], None)


class KeyRow(NamedTuple):
    """A key as a store keeps it.

    `id` stands for subject and key, `request` for what was asked; neither can be read out of them. `at` is in
    wall-clock seconds. `answer` is the JSON of an `Answer`; None: there is none yet.
    """

    id: str
    subject: str
    request: str
    at: float
    answer: str | None


class KnownKey(NamedTuple):
    """A key as a store tells of it when it is opened: instead of the answer its size in bytes, None without one."""

    id: str
    subject: str
    request: str
    at: float
    size: int | None


class KeyWriter(Protocol):
    """What the keys ask of the commit queue."""

    def keep_key(self, claim: "Claim") -> asyncio.Future[int]:
        """Make the row of *claim* durable. Raises the storage errors."""
        ...

    def kept_answer(self, id: str) -> Awaitable[str | None]:  # noqa: A002
        """The answer in that row; None when there is none. Reads the disk."""
        ...

    async def flush(self) -> None:
        """Wait until all that was entered is durable, or refused."""
        ...


class _Known:
    __slots__ = ("at", "claim", "request", "size", "subject")

    def __init__(self, subject: str, request: str, at: float, size: int | None, claim: "Claim | None") -> None:
        self.subject = subject
        self.request = request
        self.at = at
        self.size = size
        self.claim = claim


class Claim:
    """The right to carry out one request, and the duty to say what came of it: `conclude` or `abandon`.

    *build* makes the answer of the steps of a command where that is possible. Of a *secret* answer only the status is
    kept. A claim is passed on to the commit queue in the task of the request (`carrying`); the queue calls `take`,
    `row`, `forgotten` and `written`.

    Its row is `none`, then `sent` when the queue has taken it along, and then `kept`, `lost` (whether it is on the disk
    is unknown), or `none` again when it was refused. Its work is `under way`, and then `over` or `abandoned`. When
    neither the work nor the row is under way any more, it is settled:

        none  nothing was done, the key is as good as never seen
        kept  the answer is kept, if there is one
        lost  nobody knows
    """

    __slots__ = (
        "_answer", "_forgotten", "_keys", "_row", "_size", "_work", "at", "build", "id", "request", "secret", "subject",
    )  # fmt: skip

    def __init__(self, keys: "IdempotencyKeys", id: str, subject: str, request: str, at: float) -> None:  # noqa: A002
        self.id = id
        self.subject = subject
        self.request = request
        self.at = at
        self.build: Callable[[Sequence[Step]], Answer] | None = None
        self.secret = False
        self._keys = keys
        self._size = 0
        self._answer: Answer | None = None
        self._forgotten: list[str] = []
        self._row: Literal["none", "sent", "kept", "lost"] = "none"
        self._work: Literal["under way", "over", "abandoned"] = "under way"

    @property
    def touched(self) -> bool:
        """True when something that the request does has been made durable, or may be."""
        return self._row != "none"

    async def conclude(self, answer: Answer) -> Answer:
        """The answer to give: *answer*, or the one that was kept with the change; durable on return if that can be.

        What cannot be kept is answered all the same; when it comes again, its outcome is unknown.
        """
        if self._row in ("sent", "lost"):
            # Nobody has waited for the command; its row comes first.
            await self._keys.writer.flush()
        if self._row == "kept" and self._answer is not None:
            answer = self._answer
        elif self._row != "lost":
            self._answer, self._work = answer, "over"
            try:
                await self._keys.writer.keep_key(self)
            except StorageError as error:
                self._answer = None
                _logger.warning("the answer to a request with a key is not kept: %s", error)
        self._work = "over"
        self._settle()
        return answer

    def abandon(self) -> None:
        """Whoever carried it out says no more. If nothing was done, it may come again as if for the first time."""
        self._work = "abandoned"
        self._settle()

    # What the commit queue calls.

    def take(self) -> "Self | None":
        """The claim itself, for the entry that carries its row: the first time that this is asked, or None."""
        if self._row != "none" or self._work != "under way":
            return None
        self._row = "sent"
        return self

    def row(self, steps: "Sequence[Step]") -> KeyRow:
        """The row as it goes to the store with *steps*, whose revisions are given."""
        if self._answer is None and self.build is not None and steps:
            try:
                self._answer = self.build(steps)
            except Exception:
                # It is still carried out once; the answer comes later.
                _logger.exception("the answer to a command could not be made of what it changes")
        text = None if self._answer is None else self._keys.kept(self._answer, secret=self.secret)
        self._size = len(text or "")
        return KeyRow(self.id, self.subject, self.request, self.at, text)

    def forgotten(self) -> list[str]:
        """The keys whose time is over, to be removed together with this row."""
        self._forgotten += self._keys.take_forgotten()
        return self._forgotten

    def written(self, error: StorageError | None) -> None:
        """The row is durable, or why it is not."""
        if error is None:
            self._row = "kept"
        elif isinstance(error, StorageUnknownError):
            self._row = "lost"
        else:
            self._keys.not_forgotten(self._forgotten)
            self._answer = None
            self._row = "none" if self._row == "sent" else self._row
        self._forgotten = []
        self._settle()

    def _settle(self) -> None:
        """Nobody carries it out any more, and what was on its way has arrived: what is known of it from now on."""
        if self._work == "under way" or self._row == "sent":
            return
        if self._row == "none":
            self._keys.drop(self.id)
        else:
            known = self._row == "kept" and self._answer is not None
            self._keys.settle(self.id, self._size if known else None)


class IdempotencyKeys:
    """The keys of a registry. *now* is in wall-clock seconds."""

    def __init__(
        self,
        rows: Iterable[KnownKey],
        writer: KeyWriter,
        now: Callable[[], float],
        *,
        max_keys: int = MAX_KEYS,
        max_keys_of_one: int = MAX_KEYS_OF_ONE,
        max_kept_bytes: int = MAX_KEPT_BYTES,
    ) -> None:
        self.repeats: Counter[Repeat] = Counter()
        """What became of requests that came again."""
        self.writer = writer
        self._now = now
        self._max_keys = max_keys
        self._max_keys_of_one = max_keys_of_one
        self._max_kept_bytes = max_kept_bytes
        # In the order in which they were claimed, and so in that in which they expire.
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._of_subject: Counter[str] = Counter()
        self._kept_bytes = 0
        self._forgotten: dict[str, None] = {}
        for row in rows:
            self._enter(row.id, _Known(row.subject, row.request, row.at, row.size, None))
            self._kept_bytes += row.size or 0

    def __len__(self) -> int:
        return len(self._known)

    async def begin(self, subject: str, key: str, request: bytes) -> Claim | Answer:
        """A claim on a new key of *subject*, or the answer to the *request* that has it.

        Raises IdempotencyKeyReusedError when that was another request, RequestRunningError, OutcomeUnknownError,
        AnswerNotKeptError, TooManyIdempotencyKeysError, and the storage errors.
        """
        self._forget_expired()
        # The key is as good as random, and stays unknown: so nobody can try out what the request may have been.
        digest = sha256(b"\0".join((key.encode(), request))).hexdigest()[:32]
        id_ = sha256(b"\0".join((subject.encode(), key.encode()))).hexdigest()[:32]
        known = self._known.get(id_)
        if known is not None:
            return await self._repeated(id_, known, digest)
        if len(self._known) >= self._max_keys or self._of_subject[subject] >= self._max_keys_of_one:
            raise TooManyIdempotencyKeysError(min(len(self._known), self._of_subject[subject]))
        claim = Claim(self, id_, subject, digest, self._now())
        self._enter(id_, _Known(subject, digest, claim.at, None, claim))
        return claim

    async def _repeated(self, id_: str, known: _Known, request: str) -> Answer:
        if known.request != request:
            self.repeats["other"] += 1
            raise IdempotencyKeyReusedError
        if known.claim is not None:
            self.repeats["running"] += 1
            raise RequestRunningError
        text = None if known.size is None else await self.writer.kept_answer(id_)
        if text is None:
            self.repeats["unknown"] += 1
            raise OutcomeUnknownError(known.at)
        answer = decode_answer(text)
        if answer.body is None:
            self.repeats["unknown"] += 1
            raise AnswerNotKeptError(answer.status)
        self.repeats["answered"] += 1
        return answer

    # What claims call.

    def kept(self, answer: Answer, *, secret: bool) -> str:
        """As much of *answer* as may be kept, as JSON."""
        text = _encode(answer.without_body() if secret else answer).decode()
        if len(text) > MAX_ANSWER_BYTES or self._kept_bytes + len(text) > self._max_kept_bytes:
            return _encode(answer.without_body()).decode()
        return text

    def settle(self, id_: str, size: int | None) -> None:
        """The request of that key is over, its answer has *size*; None: nobody knows what came of it."""
        known = self._known.get(id_)
        if known is not None and known.claim is not None:
            known.claim, known.size = None, size
            self._kept_bytes += size or 0

    def drop(self, id_: str) -> None:
        """That key is as good as never seen."""
        known = self._known.pop(id_, None)
        if known is not None:
            self._of_subject[known.subject] -= 1
            if not self._of_subject[known.subject]:
                del self._of_subject[known.subject]
            self._kept_bytes -= known.size or 0

    def take_forgotten(self) -> list[str]:
        """Keys whose rows are to be removed. Those that were claimed anew stay for later: their rows are replaced."""
        forgotten = [id_ for id_ in self._forgotten if id_ not in self._known]
        self._forgotten = {id_: None for id_ in self._forgotten if id_ in self._known}
        return forgotten

    def not_forgotten(self, ids: Iterable[str]) -> None:
        """Their rows are still there."""
        self._forgotten |= dict.fromkeys(ids)

    def _enter(self, id_: str, known: _Known) -> None:
        self._known[id_] = known
        self._of_subject[known.subject] += 1

    def _forget_expired(self) -> None:
        oldest = self._now() - LIFETIME
        for _ in range(_FORGOTTEN_AT_ONCE):
            id_ = next(iter(self._known), None)
            if id_ is None or self._known[id_].at > oldest or self._known[id_].claim is not None:
                return
            self.drop(id_)
            self._forgotten[id_] = None


_encode = msgspec.json.Encoder().encode
decode_answer = msgspec.json.Decoder(Answer).decode


_carried: ContextVar[tuple[Claim, "asyncio.Task[Any] | None"] | None] = ContextVar("claim", default=None)


def current_claim() -> Claim | None:
    """The claim of the request that is carried out in the task which runs now; None for most.

    As an attribution it holds in no other task: what a request has set off is not what it was answered for.
    """
    carried = _carried.get()
    return carried[0] if carried is not None and carried[1] is asyncio.current_task() else None


class carrying:  # noqa: N801 (used like a function)
    """Carry out in the running task the request that has *claim*, if there is one: `with carrying(claim):`."""

    __slots__ = ("_before", "_claim")

    def __init__(self, claim: Claim | None) -> None:
        self._claim = claim

    def __enter__(self) -> None:
        self._before = _carried.set(None if self._claim is None else (self._claim, asyncio.current_task()))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _carried.reset(self._before)
