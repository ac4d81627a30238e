"""What every store promises. The suite runs over the store in memory and the one on disk."""

from collections.abc import Iterator, Sequence
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tekton.core.attribution import Attribution
from tekton.core.audit.entry import EMPTY, AuditEntry, Draft, draft
from tekton.core.audit.query import SCANNED_AT_ONCE, AuditQuery
from tekton.core.component_lifecycle.documents import DocumentChange
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import HistoryEntry, MemoryStore, Mutation, Papers, RegistryStore
from tekton.core.idempotency import KeyRow, KnownKey
from tekton.core.lifecycle import ComponentState
from tekton.utils.tekton_errors import StorageError, StorageLockedError

HISTORY_LIMIT = 10
AUDIT_LIMIT = 10


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RegistryStore]:
    """A closed, empty store that keeps ten changes, and ten entries of the audit log."""
    limits = {"history_limit": HISTORY_LIMIT, "audit_limit": AUDIT_LIMIT}
    memory = request.param == "memory"
    store: RegistryStore = MemoryStore(**limits) if memory else SqliteStore(tmp_path, **limits)
    yield store
    store.close()


def entry(revision: int, component_id: str = "rhetor", instance: str = "one") -> HistoryEntry:
    return HistoryEntry(
        revision=revision, at=revision + 0.25, kind="state", component_id=component_id, instance_uuid=instance,
        previous=ComponentState.STARTING, state=ComponentState.READY, reason=None,
    )  # fmt: skip


def upsert(revision: int, component_id: str = "rhetor", instance: str = "one", text: str | None = None) -> Mutation:
    change = entry(revision, component_id, instance)
    record = record_of(revision) if text is None else text
    return Mutation(revision, change.at, change.kind, component_id, instance, encode(change), record)


def deletion(revision: int, component_id: str = "rhetor", instance: str = "one") -> Mutation:
    return msgspec.structs.replace(upsert(revision, component_id, instance), kind="deregistered", record=None)


def encode(value: object) -> str:
    return msgspec.json.encode(value).decode()


def record_of(revision: int) -> str:
    return encode({"revision": revision})


def reopen(store: RegistryStore) -> list[str]:
    store.close()
    return store.open().records


def revisions(
    store: RegistryStore, component_id: str = "rhetor", limit: int = 100, before: int | None = None
) -> list[int]:
    return [change.revision for change in store.history(component_id, limit, before)]


def test_a_new_store_is_empty_and_in_its_first_incarnation(store: RegistryStore) -> None:
    assert store.open() == ([], 0, 1, {}, [], [])


def test_what_was_committed_is_there_after_reopening(store: RegistryStore) -> None:
    store.open()
    store.commit([upsert(3, "hermes"), upsert(4, "athena", "one"), upsert(7, "athena", "two")])
    store.close()

    loaded = store.open()

    assert loaded.records == [record_of(4), record_of(7), record_of(3)]
    assert loaded.revision == 7


def test_texts_come_back_as_they_went_in(store: RegistryStore) -> None:
    text = '{"a" : "ü \\u0000 \\" \U0001f980",\n "b":1e300, "c":[[[[{}]]]] }'
    store.open()

    store.commit([upsert(1, text=text)])

    assert reopen(store) == [text]


def test_each_opening_is_a_new_incarnation(store: RegistryStore) -> None:
    incarnations = []
    for _ in range(3):
        incarnations.append(store.open().incarnation)
        store.close()

    assert incarnations == [1, 2, 3]


def test_a_later_change_replaces_the_record(store: RegistryStore) -> None:
    store.open()

    store.commit([upsert(1)])
    store.commit([upsert(2)])

    assert reopen(store) == [record_of(2)]


def test_a_deletion_removes_that_instance_only(store: RegistryStore) -> None:
    store.open()
    store.commit([upsert(1, instance="one"), upsert(2, instance="two")])

    store.commit([deletion(3, instance="one")])

    assert reopen(store) == [record_of(2)]


def test_within_a_batch_the_highest_revision_decides(store: RegistryStore) -> None:
    store.open()

    store.commit([upsert(2, "a"), upsert(1, "a"), deletion(4, "b"), upsert(3, "b"), upsert(6, "c"), deletion(5, "c")])

    assert reopen(store) == [record_of(2), record_of(6)]


def test_a_late_change_does_not_overwrite_a_newer_record(store: RegistryStore) -> None:
    store.open()
    store.commit([upsert(9)])

    store.commit([upsert(5)])

    assert reopen(store) == [record_of(9)]
    assert revisions(store) == [9, 5]


def test_a_late_change_does_not_bring_back_a_deleted_instance(store: RegistryStore) -> None:
    store.open()
    store.commit([upsert(1), deletion(9)])

    store.commit([upsert(5)])

    assert reopen(store) == []


def test_a_late_deletion_does_not_delete_a_newer_record(store: RegistryStore) -> None:
    store.open()
    store.commit([upsert(1), upsert(9)])

    store.commit([deletion(5)])

    assert reopen(store) == [record_of(9)]


def test_a_late_change_leaves_the_highest_revision(store: RegistryStore) -> None:
    store.open()
    store.commit([upsert(9, "a")])
    store.commit([upsert(5, "b")])
    store.close()

    assert store.open().revision == 9


def test_an_empty_batch_changes_nothing(store: RegistryStore) -> None:
    store.open()

    store.commit([])

    assert reopen(store) == []


def test_a_revision_used_before_is_refused_with_its_whole_batch(store: RegistryStore) -> None:
    store.open()
    store.commit([upsert(1, "a")])

    with pytest.raises(ValueError, match="revision"):
        store.commit([upsert(2, "b"), upsert(1, "c")])

    store.commit([upsert(3, "d")])
    assert reopen(store) == [record_of(1), record_of(3)]


def test_history_is_newest_first_and_of_one_component(store: RegistryStore) -> None:
    store.open()
    store.commit([upsert(1), upsert(2, "hermes"), upsert(3, instance="two")])

    history = store.history("rhetor", 100, None)

    assert history == [entry(3, instance="two"), entry(1)]


def test_history_is_read_in_pages(store: RegistryStore) -> None:
    store.open()
    store.commit([upsert(revision) for revision in (1, 5, 6, 9)])

    assert revisions(store, limit=2) == [9, 6]
    assert revisions(store, limit=2, before=6) == [5, 1]
    assert revisions(store, limit=0) == []
    assert revisions(store, before=1) == []


def test_history_outlives_the_component(store: RegistryStore) -> None:
    store.open()
    store.commit([upsert(1), deletion(2)])
    store.close()
    store.open()

    assert revisions(store) == [2, 1]


def test_only_the_newest_changes_are_kept(store: RegistryStore) -> None:
    store.open()
    store.commit([upsert(revision) for revision in range(1, 8)])
    store.commit([upsert(revision) for revision in range(8, 15)])
    store.close()
    store.open()
    store.commit([upsert(15)])

    assert revisions(store) == list(range(15, 5, -1))


def test_a_batch_larger_than_the_history_is_taken(store: RegistryStore) -> None:
    store.open()

    store.commit([upsert(revision) for revision in range(1, 26)])

    assert revisions(store) == list(range(25, 15, -1))
    assert reopen(store) == [record_of(25)]


def test_it_cannot_be_opened_twice(store: RegistryStore) -> None:
    store.open()

    with pytest.raises(StorageLockedError):
        store.open()

    store.commit([upsert(1)])


def test_a_closed_store_refuses(store: RegistryStore) -> None:
    store.open()
    store.close()
    store.close()

    with pytest.raises(StorageError, match="closed"):
        store.commit([upsert(1)])
    with pytest.raises(StorageError, match="closed"):
        store.history("rhetor", 1, None)


orders = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.booleans()), min_size=1, max_size=30
).flatmap(lambda changes: st.permutations(list(enumerate(changes, 1))))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=orders, sizes=st.lists(st.integers(1, 8), min_size=1))
def test_the_highest_revision_of_an_instance_decides_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, order: Sequence[tuple[int, tuple[str, str, bool]]], sizes: list[int]
) -> None:
    mutations = [
        deletion(revision, component, instance) if gone else upsert(revision, component, instance)
        for revision, (component, instance, gone) in order
    ]
    newest = {(m.component_id, m.instance_uuid): m for m in sorted(mutations, key=lambda m: m.revision)}
    expected = [newest[key].record for key in sorted(newest) if newest[key].record is not None]

    for store in (MemoryStore(), SqliteStore(tmp_path_factory.mktemp("any-order"))):
        store.open()
        for batch in cut(mutations, sizes):
            store.commit(batch)

        assert reopen(store) == expected
        assert revisions(store, "a") == sorted((m.revision for m in mutations if m.component_id == "a"), reverse=True)
        store.close()


def cut(mutations: Sequence[Mutation], sizes: list[int]) -> Iterator[Sequence[Mutation]]:
    at = 0
    for number in count():
        if at >= len(mutations):
            return
        size = sizes[number % len(sizes)]
        yield mutations[at : at + size]
        at += size


# The audit log, which is part of the batch that it comes with.

ANN = Attribution("ann", "token", "192.0.2.7")


def said(action: str = "kill", target: str = "rhetor", by: Attribution = ANN, at: float = 5.0, **more: Any) -> Draft:
    return draft(at, by, action, target, **more)


def entries(store: RegistryStore, limit: int = 1000, before: int | None = None, **query: Any) -> list[AuditEntry]:
    return store.read_audit(AuditQuery(**query), limit, before).entries


def seqs(store: RegistryStore, limit: int = 1000, before: int | None = None, **query: Any) -> list[int]:
    return [entry.seq for entry in entries(store, limit, before, **query)]


def enter(store: RegistryStore, *drafts: Draft) -> None:
    store.commit([], Papers(audit=drafts))


def assert_chained(store: RegistryStore) -> None:
    found = entries(store)
    for newer, older in pairwise(found):
        assert newer.previous_hash == older.hash
    if found:
        assert (found[0].seq, found[0].hash) == (store.audit_head.seq, store.audit_head.hash.hex())


def test_a_new_audit_log_is_empty(store: RegistryStore) -> None:
    store.open()

    assert store.audit_head == EMPTY
    assert store.read_audit(AuditQuery(), 10, None) == ([], None)


def test_entries_are_numbered_and_chained_in_the_order_in_which_they_are_committed(store: RegistryStore) -> None:
    store.open()

    enter(store, said("a"), said("b"))
    enter(store, said("c"))

    assert [(entry.seq, entry.action) for entry in entries(store)] == [(3, "c"), (2, "b"), (1, "a")]
    assert_chained(store)


def test_the_chain_goes_on_after_reopening(store: RegistryStore) -> None:
    store.open()
    enter(store, said("a"), said("b"))
    head = store.audit_head
    store.close()

    store.open()

    assert store.audit_head == head
    enter(store, said("c"))
    assert seqs(store) == [3, 2, 1]
    assert_chained(store)


def test_both_stores_make_the_same_chain(tmp_path: Path) -> None:
    heads = []
    for store in (MemoryStore(), SqliteStore(tmp_path)):
        store.open()
        enter(store, said("ü \U0001f980", at=1.25), said("b", outcome="intent"))
        enter(store, said("b", intent=2, detail='"quoted" \\ and \x00'))
        heads.append((store.audit_head, entries(store)))
        store.close()

    assert heads[0] == heads[1]


def test_an_entry_comes_back_as_it_went_in(store: RegistryStore) -> None:
    store.open()
    by = Attribution("Grüße", "key", "[::1]:80", "r-1")

    enter(store, said("a", "ü", by, 1700000000.123456, outcome="refused", detail="no\nway"))

    (entry,) = entries(store)
    assert (entry.at, entry.actor, entry.via, entry.address) == (1700000000.123456, "Grüße", "key", "[::1]:80")
    assert (entry.target, entry.outcome, entry.detail, entry.intent) == ("ü", "refused", "no\\nway", None)
    assert entry.previous_hash == "00" * 32


def test_a_refused_batch_leaves_no_entry(store: RegistryStore) -> None:
    store.open()
    store.commit([upsert(1)], Papers([said("a")]))
    head = store.audit_head

    with pytest.raises(ValueError, match="revision"):
        store.commit([upsert(1)], Papers([said("b")], [DocumentChange("key", "x", b"1")]))

    assert store.audit_head == head
    enter(store, said("c"))
    assert [entry.action for entry in entries(store)] == ["c", "a"]
    assert_chained(store)
    store.close()
    assert store.open().documents == {}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [4, 3, 2, 1]),
        ({"actor": "ann"}, [3, 1]),
        ({"action": "kill"}, [2, 1]),
        ({"target": "hermes"}, [4, 2]),
        ({"since": 3.0}, [4, 3]),
        ({"actor": "bob", "target": "hermes", "since": 2.5}, [4]),
        ({"actor": "nobody"}, []),
    ],
)
def test_entries_are_found_by_what_they_say(store: RegistryStore, query: dict[str, Any], found: list[int]) -> None:
    bob = Attribution("bob")
    store.open()
    enter(store, said("kill", "rhetor", at=1), said("kill", "hermes", bob, at=2))
    enter(store, said("stop", "rhetor", at=3), said("stop", "hermes", bob, at=4))

    assert seqs(store, **query) == found


def test_the_audit_log_is_read_in_pages(store: RegistryStore) -> None:
    store.open()
    enter(store, *(said("a" if number % 2 else "b") for number in range(1, 10)))

    page = store.read_audit(AuditQuery(action="a"), 2, None)
    assert [entry.seq for entry in page.entries] == [9, 7]
    assert page.before == 7
    page = store.read_audit(AuditQuery(action="a"), 3, page.before)
    assert [entry.seq for entry in page.entries] == [5, 3, 1]
    assert page.before is None
    assert store.read_audit(AuditQuery(), 0, None).entries == []


def test_a_page_ends_after_a_look_at_many_entries_and_can_be_continued(store: RegistryStore) -> None:
    store.open()
    enter(store, said("rare"), *(said("common") for _ in range(SCANNED_AT_ONCE + 5)))

    page = store.read_audit(AuditQuery(action="rare"), 10, None)
    assert page.entries == []
    assert page.before is not None
    page = store.read_audit(AuditQuery(action="rare"), 10, page.before)

    assert ([entry.seq for entry in page.entries], page.before) == ([1], None)


def test_an_intent_of_which_nothing_has_come_is_told_when_the_store_is_opened(store: RegistryStore) -> None:
    store.open()
    enter(store, said("a", outcome="intent"), said("b", outcome="intent"), said("c"))
    enter(store, said("a", outcome="failed", intent=1))
    store.close()

    found = store.open().open_intents

    assert [(entry.seq, entry.action) for entry in found] == [(2, "b")]
    assert found == entries(store)[2:3]
    enter(store, said("b", outcome="unknown", intent=2))
    store.close()
    assert store.open().open_intents == []


def test_an_intent_and_its_outcome_may_be_in_one_batch(store: RegistryStore) -> None:
    store.open()
    enter(store, said("a", outcome="intent"), said("a", intent=1))
    store.close()

    assert store.open().open_intents == []


def test_only_what_a_signed_head_vouches_for_is_dropped(store: RegistryStore) -> None:
    store.open()
    enter(store, *(said(str(number)) for number in range(1, 26)))

    assert not store.trim_audit(0)
    assert seqs(store)[-1] == 1
    assert not store.trim_audit(4)
    assert seqs(store)[-1] == 5
    assert not store.trim_audit(25)
    assert seqs(store) == list(range(25, 15, -1))
    assert_chained(store)


def test_the_first_entry_that_is_left_follows_the_last_that_was_dropped(store: RegistryStore) -> None:
    store.open()
    enter(store, *(said(str(number)) for number in range(1, 21)))
    hashes = {entry.seq: entry.hash for entry in entries(store)}

    store.trim_audit(20)
    store.close()
    store.open()

    oldest = entries(store)[-1]
    assert (oldest.seq, oldest.previous_hash) == (11, hashes[10])
    enter(store, said("more"))
    assert store.audit_head.seq == 21
    assert_chained(store)


def test_a_long_audit_log_is_shortened_step_by_step(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, audit_limit=10)
    store.open()
    enter(store, *(said(str(number)) for number in range(2500)))

    steps = 1
    while store.trim_audit(2500):
        steps += 1

    assert steps == 3
    assert seqs(store) == list(range(2500, 2490, -1))
    store.close()
    store.open()
    assert_chained(store)
    store.close()


def test_an_open_intent_that_was_dropped_is_told_no_more(store: RegistryStore) -> None:
    store.open()
    enter(store, said("a", outcome="intent"), *(said("b") for _ in range(20)))
    store.trim_audit(21)
    store.close()

    assert store.open().open_intents == []


# Documents.


def test_documents_are_there_after_reopening(store: RegistryStore) -> None:
    store.open()
    body = bytes(range(256))

    store.commit([], Papers(documents=[DocumentChange("key", "a", body), DocumentChange("key", "b", b"")]))
    store.commit([], Papers(documents=[DocumentChange("principal", "a", b"{}")]))
    store.close()

    assert store.open().documents == {"key": {"a": body, "b": b""}, "principal": {"a": b"{}"}}


def test_the_last_change_of_a_document_counts(store: RegistryStore) -> None:
    store.open()
    store.commit([], Papers(documents=[DocumentChange("key", name, b"1") for name in "abc"]))

    store.commit(
        [],
        Papers(
            documents=[
                DocumentChange("key", "a", None),
                DocumentChange("key", "a", b"2"),
                DocumentChange("key", "b", b"2"),
                DocumentChange("key", "b", None),
                DocumentChange("key", "none", None),
            ]
        ),
    )
    store.close()

    assert store.open().documents == {"key": {"a": b"2", "c": b"1"}}


def test_the_documents_that_were_loaded_are_the_callers_own(store: RegistryStore) -> None:
    store.open()
    store.commit([], Papers(documents=[DocumentChange("key", "a", b"1")]))
    store.close()
    store.open().documents["key"].clear()
    store.close()

    assert store.open().documents == {"key": {"a": b"1"}}


# Keys of requests.


def row(id_: str, at: float = 1.0, answer: str | None = None) -> KeyRow:
    return KeyRow(id_, "ann", f"request {id_}", at, answer)


def known(id_: str, at: float = 1.0, size: int | None = None) -> KnownKey:
    return KnownKey(id_, "ann", f"request {id_}", at, size)


def test_keys_are_there_after_reopening_oldest_first_and_without_their_answers(store: RegistryStore) -> None:
    store.open()
    store.commit([], Papers(keys=[row("b", 2.5, "[200]"), row("a", 3.25)]))
    store.commit([upsert(1)], Papers(keys=[row("c", 1.0, "[409]"), row("d", 2.5, '"ü"')]))
    store.close()

    assert store.open().keys == [known("c", 1.0, 5), known("b", 2.5, 5), known("d", 2.5, 4), known("a", 3.25)]


def test_the_answer_of_a_key_comes_back_as_it_went_in(store: RegistryStore) -> None:
    text = '[200, "\\u0000 \U0001f980 ü", {"a" : 1e300}]' + "x" * 5000
    store.open()
    store.commit([], Papers(keys=[row("a", answer=text), row("b")]))

    assert [store.kept_answer(one) for one in "abc"] == [text, None, None]
    reopen(store)
    assert [store.kept_answer(one) for one in "abc"] == [text, None, None]


def test_the_last_row_of_a_key_counts(store: RegistryStore) -> None:
    store.open()
    store.commit([], Papers(keys=[row("a"), row("b"), row("a", answer="[1]")]))
    store.commit([], Papers(keys=[row("b", answer="[2]"), row("b", answer="[3]")]))

    assert [store.kept_answer(one) for one in "ab"] == ["[1]", "[3]"]


def test_forgotten_keys_are_gone_unless_they_come_with_a_row(store: RegistryStore) -> None:
    store.open()
    store.commit([], Papers(keys=[row(one, answer="[1]") for one in "abcd"]))

    store.commit([], Papers(forgotten=["a", "none"]))
    store.commit([], Papers(keys=[row("b", 9.0), row("e", 5.0)], forgotten=["b", "c"]))
    store.close()

    assert store.open().keys == [known("d", size=3), known("e", 5.0), known("b", 9.0)]


def test_a_refused_batch_leaves_the_keys_as_they_were(store: RegistryStore) -> None:
    store.open()
    store.commit([upsert(1)], Papers(keys=[row("a")]))

    with pytest.raises(ValueError, match=r"stored|used before"):
        store.commit([upsert(1)], Papers(keys=[row("a", answer="[1]"), row("b")], forgotten=["a"]))

    assert store.kept_answer("a") is None
    reopen(store)
    store.close()
    assert store.open().keys == [known("a")]


def test_a_closed_store_tells_no_answers(store: RegistryStore) -> None:
    with pytest.raises(StorageError):
        store.kept_answer("a")
