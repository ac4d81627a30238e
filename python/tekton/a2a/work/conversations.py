"""Conversations in `work.db`.

* In memory are those of which something is not on the disk yet, with what has been said of it, and, as far as they take
  little room, the records of some that were changed before. All else is read when it is asked for.
* Whoever reads looks at memory first and then at the disk, because what leaves memory is on the disk by then.
* A list leaves out what cannot be read; who asks for that is told.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

import msgspec

from tekton.a2a.conversation_store import PAGE_BYTES, Appended, ConversationRecord, Entry, Quiet, page_of
from tekton.a2a.message import AgentMessage
from tekton.a2a.work import work_sql as sql
from tekton.a2a.work.bounded import Bounded
from tekton.a2a.work.damage import Damage
from tekton.a2a.work.work_batch import WorkBatch
from tekton.a2a.work.writer import WorkWriter
from tekton.core.component_lifecycle.database_reader import DatabaseReader
from tekton.utils.tekton_errors import (
    ConversationExistsError,
    ConversationNotFoundError,
    MessageError,
    StorageCorruptError,
)

__all__ = ["SqliteConversationStore"]

KEPT_BYTES: Final = 16 << 20
"""Bytes of records that are on the disk and yet in memory."""
_PAGE: Final = 100
_FRAME: Final = 1024
"""More than a message takes beside its content and its context."""
_FOREVER: Final = 1 << 62

_Head = tuple[str, tuple[str, ...], float]
"""Initiator, participants, created at."""

_encode = msgspec.json.Encoder().encode
_decode_head = msgspec.json.Decoder(_Head).decode
_decode_time = msgspec.json.Decoder(float).decode
_decode_context = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(slots=True)
class _Live:
    """A conversation in memory, under its number in the file; *size* is what its context takes.

    *unwritten* counts the changes that are not on the disk yet; *entries*, by message id, are the messages among them.
    """

    number: int
    record: ConversationRecord
    size: int = 0
    unwritten: int = 0
    entries: dict[str, Entry] = field(default_factory=dict)

    def head(self) -> bytes:
        """What seldom becomes another."""
        return _encode((self.record.initiator, self.record.participants, self.record.created_at))


class SqliteConversationStore:
    """A ConversationStore that writes by *writer* and reads by *reader*; *last* is the highest number in the file.

    *initiated* is how many there are by who has begun them; what cannot be read is *damage*.
    """

    def __init__(
        self, writer: WorkWriter, reader: DatabaseReader, last: int, initiated: Counter[str], damage: Damage
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._last = last
        self._initiated = initiated
        self._damage = damage
        self._live: dict[str, _Live] = {}
        self._still: Bounded[str, _Live] = Bounded(KEPT_BYTES)
        self._gone: set[int] = set()

    # Changing

    def create(self, record: ConversationRecord) -> None:
        """See ConversationStore."""
        if self._find(record.conversation_id) is not None:
            raise ConversationExistsError(record.conversation_id)
        live = _Live(self._last + 1, record)
        context = _encode(record.context)
        batch = self._put(live, record, len(context))
        self._last += 1
        self._initiated[record.initiator] += 1
        batch.put_context(live.number, context)
        live.size = len(context)
        for participant in record.participants:
            batch.put_participant(participant, record.conversation_id, takes_part=True)

    def append(
        self, conversation_id: str, message: AgentMessage, at: float, context: Mapping[str, Any] | None = None
    ) -> Appended:
        """See ConversationStore."""
        live = self._conversation(conversation_id)
        if (known := self._sequence(live, message.message_id)) is not None:
            return Appended(known, duplicate=True)
        entry = Entry(live.record.last + 1, message)
        body = message.to_json()
        encoded = None if context is None else _encode(context)
        size = len(body) + len(encoded or b"")
        known_context = live.record.context if context is None else context
        record = replace(
            live.record,
            last=entry.sequence,
            changed_at=at,
            context=known_context,
            size_bytes=live.record.size_bytes + message.size_bytes,
        )
        batch = self._put(live, record, size, entry)
        batch.put_message(live.number, entry.sequence, message.message_id, body)
        if encoded is not None:
            batch.put_context(live.number, encoded)
            live.size = len(encoded)
        return Appended(entry.sequence, duplicate=False)

    def set_participants(self, conversation_id: str, participants: tuple[str, ...], at: float) -> None:
        """See ConversationStore."""
        live = self._conversation(conversation_id)
        before = live.record.participants
        batch = self._put(live, replace(live.record, participants=participants, changed_at=at), 0)
        for one in dict.fromkeys((*before, *participants)):
            batch.put_participant(one, conversation_id, takes_part=one in participants)

    def delete(self, conversation_id: str) -> None:
        """See ConversationStore. What was said goes from the disk by and by."""
        live = self._conversation(conversation_id)
        batch = self._writer.admit(0)
        batch.delete_conversation(live.number, live.record)
        batch.when_removed(self._gone.discard, live.number)
        self._gone.add(live.number)
        self._initiated[live.record.initiator] -= 1
        if not self._initiated[live.record.initiator]:
            del self._initiated[live.record.initiator]
        self._live.pop(conversation_id, None)
        self._still.take(conversation_id)

    async def flush(self) -> None:
        """See ConversationStore."""
        await self._writer.flush()

    async def close(self) -> None:
        """See ConversationStore. The file is closed by who has opened it."""
        await self.flush()

    # Reading

    def record(self, conversation_id: str) -> ConversationRecord:
        """See ConversationStore."""
        return self._conversation(conversation_id).record

    def read(self, conversation_id: str, after: int, limit: int) -> list[Entry]:
        """See ConversationStore. Reads one index range."""
        live = self._conversation(conversation_id)
        after, limit = max(0, after), max(0, limit)
        behind = tuple(live.entries.values())
        last = behind[0].sequence - 1 if behind else _FOREVER
        found = self._stored(live.number, after, last, limit) if after < last and limit else []
        if not found or found[-1].sequence == last:
            found += [entry for entry in behind if entry.sequence > after]
        return page_of(found, limit)

    def sequence_of(self, conversation_id: str, message_id: str) -> int | None:
        """See ConversationStore. Reads one row."""
        return self._sequence(self._conversation(conversation_id), message_id)

    def of_participant(self, participant: str, after: str = "", limit: int = 100) -> list[ConversationRecord]:
        """See ConversationStore."""
        live = {id_: one.record for id_, one in tuple(self._live.items())}
        here = sorted(id_ for id_, one in live.items() if id_ > after and participant in one.participants)
        rows = self._rows(participant, after, min(_PAGE, limit))
        there = ((id_, one.record) for id_, one in rows if id_ not in live)
        found = merge(((id_, live[id_]) for id_ in here), there, key=itemgetter(0))
        return [record for _, record in islice(found, max(0, limit))]

    def count_of(self, initiator: str) -> int:
        """See ConversationStore."""
        return self._initiated[initiator]

    def quiet(self, since: float, after: int = 0, limit: int = 500) -> Quiet:
        """See ConversationStore. Reads that many rows in a row."""
        last = min(after + limit, self._last)
        changed = dict(self._changed(after, last))
        changed |= {id_: one.record.changed_at for id_ in changed if (one := self._live.get(id_)) is not None}
        ids = [id_ for id_, at in changed.items() if at < since]
        oldest = min((at for at in changed.values() if at >= since), default=math.inf)
        return Quiet(ids, oldest, last if last < self._last else None)

    def _put(self, live: _Live, record: ConversationRecord, size: int, entry: Entry | None = None) -> WorkBatch:
        """Have *record* be the conversation, and *entry* be said in it. The batch for what else belongs to it."""
        batch = self._writer.admit(size + 256)
        id_ = record.conversation_id
        live.record = record
        live.unwritten += 1
        if entry is not None:
            live.entries[entry.message.message_id] = entry
        self._live[id_] = live
        self._still.take(id_)
        batch.put_conversation(live.number, live.head(), record)
        batch.when_durable(self._settle, live, entry)
        return batch

    def _settle(self, live: _Live, entry: Entry | None) -> None:
        """A change of a conversation is on the disk."""
        live.unwritten -= 1
        if entry is not None:
            del live.entries[entry.message.message_id]
        id_ = live.record.conversation_id
        if not live.unwritten and self._live.get(id_) is live:
            self._still.put(id_, live, live.size + _FRAME)
            del self._live[id_]

    def _conversation(self, conversation_id: str) -> _Live:
        live = self._find(conversation_id)
        if live is None:
            raise ConversationNotFoundError(conversation_id)
        return live

    def _find(self, conversation_id: str) -> _Live | None:
        live = self._live.get(conversation_id) or self._still.get(conversation_id)
        if live is not None:
            return live
        for columns in self._reader.rows(sql.CONVERSATION, (conversation_id,)):
            if columns[0] not in self._gone:
                return self._loaded(conversation_id, columns)
        return None

    def _loaded(self, id_: str, columns: tuple[int, str, str, int, int, str]) -> _Live:
        number, head, changed, last, size, context = columns
        try:
            initiator, participants, created_at = _decode_head(head)
            known = _decode_context(context)
            at = _decode_time(changed)
            record = ConversationRecord(id_, initiator, participants, created_at, at, known, last, size)
        except msgspec.MsgspecError as error:
            raise self._corrupt(f"the conversation {id_}", error) from error
        return _Live(number, record, len(context))

    def _sequence(self, live: _Live, message_id: str) -> int | None:
        if (entry := live.entries.get(message_id)) is not None:
            return entry.sequence
        if not live.record.last or not _is_uuid(message_id):
            return None
        rows = self._reader.rows(sql.SEQUENCE, (live.number, message_id))
        return int(rows[0][0]) if rows else None

    def _stored(self, number: int, after: int, last: int, limit: int) -> list[Entry]:
        """A page of messages behind number *after*, up to number *last*."""
        most = PAGE_BYTES + min(limit, _PAGE) * _FRAME
        bounds = sql.place(number, after), sql.place(number, min(last, (1 << sql.SEQUENCE_BITS) - 1))
        rows = self._reader.rows(sql.PAGE, (*bounds, limit, most))
        try:
            return [Entry(sequence, AgentMessage.from_json(body)) for sequence, body in rows]
        except MessageError as error:
            raise self._corrupt("a message", error) from error

    def _rows(self, participant: str, after: str, at_once: int) -> Iterator[tuple[str, _Live]]:
        """The conversations of *participant* on the disk behind the id *after*, some *at_once*."""
        while True:
            try:
                rows = self._reader.rows(sql.OF_PARTICIPANT, (participant, after, at_once))
                found = [(id_, self._loaded(id_, columns)) for id_, *columns in rows if columns[0] not in self._gone]
            except StorageCorruptError:
                rows = self._reader.rows(sql.IDS_OF_PARTICIPANT, (participant, after, at_once))
                found = list(self._readable([id_ for (id_,) in rows]))
            if not rows:
                return
            yield from found
            after = rows[-1][0]

    def _readable(self, ids: list[str]) -> Iterator[tuple[str, _Live]]:
        """Those of some conversations that can be read."""
        for id_ in ids:
            try:
                live = self._find(id_)
            except StorageCorruptError as error:
                self._damage.note(f"the conversation {id_}", error)
            else:
                if live is not None:
                    yield id_, live

    def _changed(self, first: int, last: int) -> list[tuple[str, float]]:
        """When the conversations behind number *first*, up to *last*, were changed, but for those that are no more."""
        try:
            rows = self._reader.rows(sql.CHANGED, (first, last))
            return [(id_, _decode_time(changed)) for number, id_, changed in rows if number not in self._gone]
        except (StorageCorruptError, msgspec.MsgspecError) as error:
            if last - first > 1:
                return [one for number in range(first, last) for one in self._changed(number, number + 1)]
            self._damage.note(f"the conversation number {last}", error)
            return []

    def _corrupt(self, what: str, error: Exception) -> StorageCorruptError:
        return StorageCorruptError(str(self._reader.path), f"{what} cannot be read: {error}")


def _is_uuid(text: str) -> bool:
    """Can it be the id of a message?"""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
