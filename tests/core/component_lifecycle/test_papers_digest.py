"""The digest of documents and idempotency keys."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tekton.core.component_lifecycle import database
from tekton.core.component_lifecycle.documents import DocumentChange
from tekton.core.component_lifecycle.papers_digest import NOTHING, PapersDigest, read_digest
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import Papers
from tekton.core.idempotency import KeyRow
from tekton.utils.tekton_errors import StorageCorruptError

NAMES = st.sampled_from(("a", "b", "ä 世界"))
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
DOCUMENTS = st.builds(DocumentChange, NAMES, NAMES, st.none() | st.binary(max_size=20))
ROWS = st.builds(KeyRow, NAMES, TEXTS, TEXTS, st.floats(0, 4e9), st.none() | TEXTS)
PAPERS = st.builds(Papers, st.just(()), st.lists(DOCUMENTS, max_size=4), st.lists(ROWS, max_size=4), st.lists(NAMES))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path_factory.mktemp("digest"))
    store.open()
    yield store
    store.close()


@settings(max_examples=100, deadline=None)
@given(PAPERS)
def test_it_is_that_of_what_is_in_the_database_after_any_batch(store: SqliteStore, papers: Papers) -> None:
    store.commit([], papers)

    with database.reading(store._path) as connection:
        read = read_digest(connection.execute)
        assert connection.execute("SELECT papers FROM meta").get == read.value
    assert store._papers._rows == read._rows


def test_nothing_has_the_digest_of_nothing_again_when_all_rows_are_gone() -> None:
    digest = PapersDigest()

    for body in (b"one", b"two", None):
        digest.accept(digest.after([("key", "a", body)], [("a", "ann", "r", 0.0, "[]") if body else ("a", None)]))

    assert digest.value == NOTHING


def test_a_refused_batch_leaves_it_as_it_was() -> None:
    digest = PapersDigest()
    digest.accept(digest.after([("key", "a", b"one")], []))
    before = digest.value

    digest.after([("key", "a", b"two")], [])

    assert digest.value == before


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE documents SET body = x'00' WHERE id = 'a'",
        "DELETE FROM documents WHERE id = 'a'",
        "INSERT INTO documents VALUES ('key', 'c', x'00')",
        "UPDATE idempotency_keys SET answer = '[201]'",
        "UPDATE idempotency_keys SET answer = NULL",
        "DELETE FROM idempotency_keys",
    ],
)
def test_rows_that_are_not_those_stored_last_are_refused_at_the_start(tmp_path: Path, change: str) -> None:
    store = SqliteStore(tmp_path)
    store.open()
    row = KeyRow("key", "ann", "request", 1.0, "[200]")
    store.commit([], Papers((), [DocumentChange("key", "a", b"1"), DocumentChange("key", "b", b"2")], [row]))
    store.close()
    connection = database.connect(tmp_path / "tekton.db")
    connection.execute(change)
    connection.close()

    with pytest.raises(StorageCorruptError, match="not those that were stored last"):
        store.open()


def test_a_database_from_before_it_gets_one_at_its_first_start(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, migrations=database.MIGRATIONS)
    store.open()
    store.commit([], Papers((), [DocumentChange("key", "a", b"1")]))
    store.close()
    connection: apsw.Connection = database.connect(tmp_path / "tekton.db")
    connection.execute("UPDATE meta SET papers = NULL")
    connection.close()

    store.open()
    store.close()

    with database.reading(tmp_path / "tekton.db") as reading:
        assert reading.execute("SELECT papers FROM meta").get == read_digest(reading.execute).value != NOTHING
