"""The witness: what it remembers, what it forgives, what it proves."""

from pathlib import Path

import pytest

from tekton.core.component_lifecycle.witness import ORIGIN, Mark, Witness, verify
from tekton.utils.tekton_errors import StorageCorruptError

DATABASE = Path("tekton.db")


def marks(number: int) -> list[Mark]:
    """The first *number* marks of a store with a revision per transaction."""
    found = [ORIGIN]
    while len(found) <= number:
        found.append(found[-1].after(b"change", revision=len(found), incarnation=1))
    return found[1:]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "witness"


def write(path: Path, history: list[Mark]) -> None:
    witness = Witness(path)
    witness.open(history[0])
    for mark in history[1:]:
        witness.write(mark)
    witness.close()


def damage(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_no_file_no_mark(path: Path) -> None:
    assert Witness(path).newest() is None


@pytest.mark.parametrize("length", range(1, 6))
def test_the_newest_mark_is_remembered(path: Path, length: int) -> None:
    history = marks(length)

    write(path, history)

    assert Witness(path).newest() == history[-1]


def test_a_torn_write_leaves_the_mark_before_it(path: Path) -> None:
    history = marks(4)
    write(path, history)

    damage(path, 20)

    assert Witness(path).newest() == history[2]


def test_every_flipped_bit_of_a_slot_is_noticed(path: Path) -> None:
    history = marks(4)
    write(path, history)
    whole = path.read_bytes()

    for position in range(84):
        damage(path, position)
        assert Witness(path).newest() == history[2]
        path.write_bytes(whole)


def test_a_witness_without_a_valid_slot_is_damage(path: Path) -> None:
    write(path, marks(2))
    damage(path, 9)
    damage(path, 512 + 9)

    with pytest.raises(StorageCorruptError, match="witness is damaged"):
        Witness(path).newest()


def test_an_empty_witness_is_damage(path: Path) -> None:
    path.touch()

    with pytest.raises(StorageCorruptError):
        Witness(path).newest()


def test_opening_forgets_what_was_there(path: Path) -> None:
    first, second = marks(9), marks(3)
    write(path, first)

    write(path, second[:1])

    assert Witness(path).newest() == second[0]


def test_the_chain_depends_on_content_and_past() -> None:
    start, other = marks(2)

    assert start.after(b"a", revision=2, incarnation=1).chain != start.after(b"b", revision=2, incarnation=1).chain
    assert start.after(b"a", revision=2, incarnation=1).chain != other.after(b"a", revision=2, incarnation=1).chain


def test_large_content_is_hashed_whole() -> None:
    content = bytes(10_000)

    assert ORIGIN.after(content, revision=1, incarnation=1) != ORIGIN.after(content[:-1], revision=1, incarnation=1)


def test_the_revision_of_a_mark_never_goes_back() -> None:
    assert marks(5)[-1].after(b"late", revision=3, incarnation=1).revision == 5


def test_a_database_ahead_of_its_witness_is_accepted() -> None:
    verify(marks(3)[2], marks(3)[1], DATABASE)


def test_a_database_without_witness_is_accepted() -> None:
    verify(marks(3)[2], None, DATABASE)


def test_a_database_behind_its_witness_lacks_acknowledged_changes() -> None:
    with pytest.raises(StorageCorruptError, match=r"revision 2 .* witness says 3") as caught:
        verify(marks(3)[1], marks(3)[2], DATABASE)

    assert caught.value.path == str(DATABASE)


def test_another_database_is_refused_even_ahead_of_the_witness() -> None:
    other = marks(3)[2]._replace(identity=b"somebody else's.")

    with pytest.raises(StorageCorruptError, match="different histories"):
        verify(other, marks(3)[1], DATABASE)


def test_a_database_with_another_history_is_refused() -> None:
    ours, other = (ORIGIN.after(content, revision=1, incarnation=1) for content in (b"ours", b"other"))

    with pytest.raises(StorageCorruptError, match="different histories"):
        verify(ours, other, DATABASE)


def test_the_slots_are_in_sectors_of_their_own(path: Path) -> None:
    history = marks(3)
    write(path, history)

    assert path.stat().st_size == 2 * 512
    damage(path, 512 + 20)
    assert Witness(path).newest() == history[1]


def test_a_refusal_says_how_far_both_have_come() -> None:
    with pytest.raises(StorageCorruptError) as caught:
        verify(marks(3)[1], marks(3)[2], DATABASE)

    assert str(caught.value) == (
        "tekton.db: acknowledged changes are missing: the database is at revision 2 (transaction 2), "
        "the witness says 3 (transaction 3)"
    )
