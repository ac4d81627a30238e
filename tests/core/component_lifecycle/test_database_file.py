"""A file that is written by one thread: what stops it, and what does not. And how another connection reads it."""

import errno
import logging
import os
from pathlib import Path

import apsw
import pytest

from tekton.core.component_lifecycle import database
from tekton.core.component_lifecycle.database_file import DatabaseFile
from tekton.core.component_lifecycle.database_reader import DatabaseReader
from tekton.utils.tekton_errors import StorageCorruptError, StorageError, StorageFullError, StorageUnknownError

SCHEMA = ("CREATE TABLE words (word TEXT)",)


@pytest.fixture
def file(tmp_path: Path) -> DatabaseFile:
    """An open file with the table `words`."""
    made = DatabaseFile(tmp_path / "words.db", logging.getLogger("test"))
    database.prepare(made.connect(), made.path, 0, SCHEMA)
    made.keep_log()
    return made


def say(file: DatabaseFile, word: str) -> None:
    with file.guarded() as connection:
        connection.execute("INSERT INTO words VALUES (?)", (word,))
    file.wrote(1, len(word))


def test_what_is_committed_is_read_by_another_connection_at_once(file: DatabaseFile) -> None:
    reader = DatabaseReader(file.path)
    say(file, "one")

    assert reader.rows("SELECT word FROM words") == [("one",)]

    reader.close()
    say(file, "two")
    assert reader.rows("SELECT word FROM words WHERE word > ?", ("p",)) == [("two",)]
    reader.close()
    file.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES])
def test_what_cannot_be_written_is_refused_and_the_file_goes_on(file: DatabaseFile, number: int) -> None:
    with pytest.raises(StorageFullError, match=os.strerror(number)) as refused, file.guarded():
        raise OSError(number, "made")

    assert ("make the data directory writable" in str(refused.value.hint)) == (number in (errno.EROFS, errno.EACCES))
    say(file, "one")
    file.close()


@pytest.mark.parametrize("error", [OSError(errno.EIO, "made"), apsw.IOError("made"), apsw.ConstraintError("made")])
def test_any_other_failure_stops_it_for_good(file: DatabaseFile, error: Exception) -> None:
    say(file, "one")
    with pytest.raises(StorageUnknownError, match="commit failed") as stopped, file.guarded():
        raise error

    for late in (file.usable, file.check_files, lambda: file.move_log(idle=True), lambda: say(file, "late")):
        with pytest.raises(StorageUnknownError) as again:
            late()
        assert str(again.value) == str(stopped.value)
    file.close()
    assert Path(f"{file.path}-wal").stat().st_size > 0


def test_a_file_that_is_closed_says_so_and_can_be_opened_again(file: DatabaseFile) -> None:
    say(file, "one")
    file.close()
    file.close()
    with pytest.raises(StorageError, match="closed"):
        say(file, "two")

    file.connect()
    file.keep_log()
    say(file, "two")
    file.close()
    with database.reading(file.path) as connection:
        assert connection.execute("SELECT count(*) FROM words").get == 2


def test_others_are_left_some_of_the_disk(file: DatabaseFile) -> None:
    file.check_room(10, 0)
    file.check_room(1 << 10, 1 << 60)  # it is not looked each time
    with pytest.raises(StorageFullError, match="less than 1099511627776 MiB"):
        file.check_room(1 << 20, 1 << 60)
    with pytest.raises(StorageFullError):
        file.check_room(1, 1 << 60)
    file.check_room(1, 0)
    file.close()


def test_a_reader_says_what_is_damaged(file: DatabaseFile) -> None:
    for number in range(100):
        say(file, f"{number} " + "x" * 1000)
    file.close()
    content = bytearray(file.path.read_bytes())
    content[content.index(b"50 xxx")] ^= 1
    file.path.write_bytes(content)
    reader = DatabaseReader(file.path)

    with pytest.raises(StorageCorruptError):
        reader.rows("SELECT count(word) FROM words WHERE word > ''")
    reader.close()
