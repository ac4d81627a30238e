"""A batch as one statement: the triggers that take it apart, and the values that it has.

The arrays of a batch travel as JSON. A trigger for what a batch does not have does not run.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import msgspec

from tekton.core.audit.entry import AuditHead, Draft, Row, chained
from tekton.core.component_lifecycle.documents import DocumentChange
from tekton.core.component_lifecycle.papers_digest import DigestChange, PapersDigest
from tekton.core.component_lifecycle.store import Mutation, Papers
from tekton.core.component_lifecycle.witness import Mark

_encode = msgspec.json.Encoder().encode

# The columns of a Mutation, by position. Everything below reads them with `value ->> n`.
# An upsert that comes late (its revision is below what was committed before) asks the history whether a later change
# of its instance has overtaken it; within a batch the comparisons of revisions do.
WRITER = """
    CREATE TEMP VIEW batch (mutations, sequence, revision, incarnation, identity, chain, kept, surplus,
                            audit, audit_seq, audit_hash, audit_kept, audit_base, intents, documents, keys, papers)
        AS SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
            WHERE false;

    CREATE TEMP TRIGGER write_batch INSTEAD OF INSERT ON batch BEGIN
        INSERT INTO changes
            SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
            FROM jsonb_each(new.mutations);

        INSERT INTO components
            SELECT value ->> 3, value ->> 4, value ->> 6, value ->> 0
            FROM jsonb_each(new.mutations)
            WHERE value ->> 6 IS NOT NULL AND (
                value ->> 0 > (SELECT revision FROM meta)
                OR NOT EXISTS (
                    SELECT 1 FROM changes
                    WHERE component_id = value ->> 3 AND revision > value ->> 0 AND instance_uuid = value ->> 4
                )
            )
            ON CONFLICT DO UPDATE SET record = excluded.record, revision = excluded.revision
                WHERE excluded.revision > components.revision;

        DELETE FROM components
            WHERE (component_id, instance_uuid) IN (
                SELECT value ->> 3, value ->> 4 FROM jsonb_each(new.mutations) WHERE value ->> 6 IS NULL
            )
            AND revision < (
                SELECT revision FROM changes
                WHERE component_id = components.component_id AND instance_uuid = components.instance_uuid
                ORDER BY revision DESC LIMIT 1
            );

        DELETE FROM changes WHERE revision IN (SELECT revision FROM changes ORDER BY revision LIMIT new.surplus);

        UPDATE meta SET sequence = new.sequence, revision = new.revision, incarnation = new.incarnation,
            chain = new.chain, kept = new.kept, papers = new.papers;
    END;

    CREATE TEMP TRIGGER write_audit INSTEAD OF INSERT ON batch WHEN new.audit IS NOT NULL BEGIN
        INSERT INTO audit SELECT value ->> 0, value ->> 1, unhex(value ->> 2) FROM jsonb_each(new.audit);

        UPDATE meta SET audit_seq = new.audit_seq, audit_hash = new.audit_hash, audit_kept = new.audit_kept,
            audit_base = new.audit_base,
            audit_base_hash = coalesce((SELECT hash FROM audit WHERE seq = new.audit_base), audit_base_hash);

        DELETE FROM audit WHERE seq <= new.audit_base;

        DELETE FROM audit_open WHERE seq <= new.audit_base;
    END;

    CREATE TEMP TRIGGER write_intents INSTEAD OF INSERT ON batch WHEN new.intents IS NOT NULL BEGIN
        INSERT INTO audit_open SELECT value FROM json_each(new.intents) WHERE value > 0;

        DELETE FROM audit_open WHERE seq IN (SELECT -value FROM json_each(new.intents));
    END;

    CREATE TEMP TRIGGER write_documents INSTEAD OF INSERT ON batch WHEN new.documents IS NOT NULL BEGIN
        INSERT OR REPLACE INTO documents
            SELECT value ->> 0, value ->> 1, unhex(value ->> 2)
            FROM jsonb_each(new.documents) WHERE value ->> 2 IS NOT NULL;

        DELETE FROM documents WHERE (kind, id) IN (
            SELECT value ->> 0, value ->> 1 FROM jsonb_each(new.documents) WHERE value ->> 2 IS NULL
        );
    END;

    CREATE TEMP TRIGGER write_keys INSTEAD OF INSERT ON batch WHEN new.keys IS NOT NULL BEGIN
        DELETE FROM idempotency_keys WHERE id IN (
            SELECT value ->> 0 FROM jsonb_each(new.keys) WHERE value ->> 1 IS NULL
        );

        INSERT OR REPLACE INTO idempotency_keys
            SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4
            FROM jsonb_each(new.keys) WHERE value ->> 1 IS NOT NULL;
    END;
"""
"""What a connection needs before it can `WRITE`."""
WRITE = "INSERT INTO batch VALUES (jsonb(?), ?, ?, ?, ?, ?, ?, ?, jsonb(?), ?, ?, ?, ?, ?, jsonb(?), jsonb(?), ?)"


class AuditState(NamedTuple):
    """The audit log as it is in a database: its newest entry, how many there are, the newest that was dropped."""

    head: AuditHead
    kept: int
    base: int


class Batch(NamedTuple):
    """What one statement writes, as JSON; `mark` and `audit` are what holds after it.

    `intents` are the numbers of new intents, and those of concluded ones negated. `added` counts mutations, `entered`
    entries of the audit log.
    """

    mutations: bytes
    added: int
    mark: Mark
    audit: AuditState
    papers: DigestChange
    entries: bytes | None = None
    entered: int = 0
    intents: bytes | None = None
    documents: bytes | None = None
    keys: bytes | None = None

    @classmethod
    def of(
        cls, mutations: Sequence[Mutation], papers: Papers, mark: Mark, audit: AuditState, digest: PapersDigest
    ) -> Self:
        """*mutations* and *papers*, to be written where *mark*, *audit* and *digest* hold."""
        content = _encode(mutations)
        rows = chained(audit.head, papers.audit)
        changed, claimed = _last_documents(papers.documents), _last_keys(papers)
        documents = _encode([(kind, id_, body and body.hex()) for kind, id_, body in changed]) if changed else None
        keys = _encode(claimed) if claimed else None
        # The hash of an entry vouches for all entries before it.
        vouched = b"".join((content, rows[-1].hash if rows else b"", documents or b"", keys or b""))
        revision = max((mutation.revision for mutation in mutations), default=0)
        return cls(
            content,
            len(mutations),
            mark.after(vouched, revision=revision, incarnation=mark.incarnation),
            audit
            if not rows
            else AuditState(AuditHead(rows[-1].seq, rows[-1].hash), audit.kept + len(rows), audit.base),
            digest.after(changed, claimed),
            _entries(rows) if rows else None,
            len(rows),
            _intents(papers.audit),
            documents,
            keys,
        )

    @classmethod
    def trimming(cls, mark: Mark, audit: AuditState, digest: PapersDigest, base: int, dropped: int) -> Self:
        """That the oldest *dropped* entries of the audit log, up to *base*, go."""
        after = mark.after(b"trim %d" % base, revision=0, incarnation=mark.incarnation)
        kept = AuditState(audit.head, audit.kept - dropped, base)
        return cls(b"[]", 0, after, kept, digest.after((), ()), b"[]")

    @classmethod
    def opening(cls, mark: Mark, audit: AuditState, digest: PapersDigest) -> Self:
        """That a new incarnation begins."""
        incarnation = mark.incarnation + 1
        after = mark.after(b"incarnation %d" % incarnation, revision=0, incarnation=incarnation)
        return cls(b"[]", 0, after, audit, digest.after((), ()))

    def values(self, kept: int, surplus: int) -> tuple[object, ...]:
        """The values for `WRITE`, after which *kept* changes are kept, *surplus* old ones having gone."""
        (seq, digest), entries, base = self.audit
        arrays = (self.entries, self.intents, self.documents, self.keys)
        rows, *others = (one if one is None else one.decode() for one in arrays)
        return (
            self.mutations.decode(), *self.mark, kept, surplus, rows, seq, digest, entries, base, *others,
            self.papers.value,
        )  # fmt: skip


def _entries(rows: Sequence[Row]) -> bytes:
    return _encode([(seq, body, digest.hex()) for seq, body, digest in rows])


def _intents(drafts: Sequence[Draft]) -> bytes | None:
    begun = [one.seq for one in drafts if one.outcome == "intent"]
    concluded = [-one.intent for one in drafts if one.intent is not None]
    return _encode(begun + concluded) if begun or concluded else None


def _last_documents(changes: Sequence[DocumentChange]) -> list[DocumentChange]:
    """The last change of each document."""
    return list({(change.kind, change.id): change for change in changes}.values())


def _last_keys(papers: Papers) -> list[tuple[object, ...]]:
    """The last row of each key, and of those that go the id and None."""
    last = {row.id: row for row in papers.keys}
    return [*((id_, None) for id_ in papers.forgotten if id_ not in last), *last.values()]
