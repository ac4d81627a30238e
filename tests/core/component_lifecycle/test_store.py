"""What every store promises. The suite runs over the store in memory and the one on disk."""

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import HistoryEntry, MemoryStore, Mutation, RegistryStore
from tekton.core.lifecycle import ComponentState
from tekton.utils.tekton_errors import StorageError, StorageLockedError

HISTORY_LIMIT = 10


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RegistryStore]:
    """A closed, empty store that keeps ten changes."""
    memory = request.param == "memory"
    store: RegistryStore = MemoryStore(HISTORY_LIMIT) if memory else SqliteStore(tmp_path, history_limit=HISTORY_LIMIT)
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
    assert store.open() == ([], 0, 1)


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
