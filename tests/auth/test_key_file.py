import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tekton.auth.key_file import KeyFile
from tekton.auth.keys import MAX_KEYS, KeyRing, SigningKey
from tekton.auth.tokens import TokenIssuer, TokenVerifier
from tekton.utils.tekton_errors import KeyFileError

NOW = 1_700_000_000.0

_CREATE = """
import sys
from pathlib import Path
from tekton.auth.key_file import KeyFile

print("ready", flush=True)
sys.stdin.readline()
for number in range(25):
    print(KeyFile(Path(sys.argv[1]) / str(number)).load_or_create(1.7e9).keys[0].kid)
"""
_DIE = """
import os, signal, sys
from pathlib import Path
from tekton.auth.key_file import KeyFile

file = KeyFile(Path(sys.argv[1]))
ring = file.load_or_create(1.7e9)
setattr(os, sys.argv[2], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
file.rotate(ring, 1.7e9)
"""


def kids(ring: KeyRing) -> list[str]:
    return [key.kid for key in ring.keys]


def test_the_first_key_is_made_once_and_kept(tmp_path: Path) -> None:
    created = KeyFile(tmp_path).load_or_create(NOW)
    loaded = KeyFile(tmp_path).load_or_create(NOW + 1)

    assert kids(loaded) == kids(created)
    token = TokenIssuer(loaded).issue("web", [], 60, {}, NOW)
    assert TokenVerifier(created).verify(token, NOW).subject == "web"


def test_nobody_else_can_read_the_keys(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        file = KeyFile(tmp_path / "data")
        file.load_or_create(NOW)
    finally:
        os.umask(before)

    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    assert [path.name for path in file.path.parent.iterdir()] == ["signing.json"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o666])
def test_a_file_that_others_could_have_read_or_written_is_refused(tmp_path: Path, mode: int) -> None:
    file = KeyFile(tmp_path)
    file.load_or_create(NOW)
    file.path.chmod(mode)

    with pytest.raises(KeyFileError, match="open to others"):
        file.load_or_create(NOW)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    file.load_or_create(NOW)
    os.chown(file.path, 12345, -1)

    with pytest.raises(KeyFileError, match="belongs to the user 12345"):
        file.load_or_create(NOW)


def test_no_key_is_made_in_a_directory_where_others_can_put_one(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    file.path.parent.mkdir()
    file.path.parent.chmod(0o770)

    with pytest.raises(KeyFileError, match="open to others"):
        file.load_or_create(NOW)

    assert list(file.path.parent.iterdir()) == []


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "a")
    file.load_or_create(NOW)
    linked = KeyFile(tmp_path / "b")
    linked.path.parent.mkdir(parents=True)
    linked.path.symlink_to(file.path)

    with pytest.raises(KeyFileError):
        linked.load_or_create(NOW)


def test_a_pipe_in_its_place_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    file.path.parent.mkdir()
    os.mkfifo(file.path, 0o600)

    with pytest.raises(KeyFileError, match="is no file"):
        file.load_or_create(NOW)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"\xff\xfe",
        b'{"version":1,"keys":[]}',
        b'{"version":2,"keys":[{"private":"AAAA","published_at":1.0,"signs_from":1.0}]}',
        b'{"version":1,"keys":[{"private":"AAAA","published_at":1.0,"signs_from":1.0}]}',
        b'{"version":1,"keys":[{"private":"?","published_at":1.0,"signs_from":1.0}]}',
        b'{"version":1,"keys":[{"private":"AAAA","published_at":1.0}]}',
        b"[" * 100_000,
        b" " * 100_000,
    ],
    ids=lambda content: content[:60].decode("latin-1"),
)
def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    file = KeyFile(tmp_path)
    file.load_or_create(NOW)
    file.path.write_bytes(content)

    with pytest.raises(KeyFileError, match="no keys that can be read"):
        file.load_or_create(NOW)

    assert file.path.read_bytes() == content


def test_a_file_that_has_a_key_twice_is_refused(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    ring = file.load_or_create(NOW)
    (entry,) = json.loads(file.path.read_bytes())["keys"]
    file.path.write_text(json.dumps({"version": 1, "keys": [entry, entry]}))

    for use in (file.load_or_create, partial(file.rotate, ring)):
        with pytest.raises(KeyFileError, match="no keys that can be read"):
            use(NOW)


def test_what_is_refused_says_nothing_of_the_keys(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    file.load_or_create(NOW)
    text = file.path.read_text()
    file.path.write_text(text.replace('"version":1', '"version":9'))

    with pytest.raises(KeyFileError) as refused:
        file.load_or_create(NOW)

    secret = text.partition('"private":"')[2][:20]
    assert secret
    assert secret not in repr(refused.value) + repr(refused.value.__cause__)


def test_a_directory_that_cannot_be_made_is_an_error_of_the_tree(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")

    with pytest.raises(KeyFileError, match="cannot be used"):
        KeyFile(tmp_path / "data").load_or_create(NOW)


def test_a_rotation_is_on_the_disk_before_it_is_seen(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    ring = file.load_or_create(NOW)

    file.rotate(ring, NOW)

    assert len(ring.keys) == 2
    assert kids(KeyFile(tmp_path).load_or_create(NOW)) == kids(ring)


def test_a_rotation_that_cannot_be_stored_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = KeyFile(tmp_path)
    ring = file.load_or_create(NOW)
    before = kids(ring)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(KeyFileError, match="No space left"):
            file.rotate(ring, NOW)

    assert kids(ring) == before
    assert kids(file.load_or_create(NOW)) == before
    file.rotate(ring, NOW)
    assert len(ring.keys) == 2


def test_a_rotation_keeps_what_another_process_has_added(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    mine, theirs = file.load_or_create(NOW), file.load_or_create(NOW)

    file.rotate(theirs, NOW)
    file.rotate(mine, NOW + 1)

    assert kids(mine)[:2] == kids(theirs)
    assert len(mine.keys) == 3


def test_a_rotation_without_a_file_makes_none(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    ring = file.load_or_create(NOW)
    file.path.unlink()

    for attempt in (lambda: file.rotate(ring, NOW), lambda: file.reload(ring)):
        with pytest.raises(KeyFileError, match="deleted"):
            attempt()

    assert not file.path.exists()
    assert len(ring.keys) == 1


def test_keys_that_another_process_has_rotated_are_loaded_anew(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    mine, theirs = file.load_or_create(NOW), file.load_or_create(NOW)
    signature = file.signature()

    file.rotate(theirs, NOW)

    assert file.signature() != signature
    file.reload(mine)
    assert kids(mine) == kids(theirs)


def test_there_is_no_signature_without_a_file(tmp_path: Path) -> None:
    assert KeyFile(tmp_path).signature() is None


def test_the_file_can_be_read_with_as_many_keys_as_it_may_have(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    ring = file.load_or_create(NOW)
    for second in range(1, MAX_KEYS):
        file.rotate(ring, NOW + second)

    assert kids(file.load_or_create(NOW)) == kids(ring)
    assert len(ring.keys) == MAX_KEYS


def test_two_processes_that_create_keys_at_once_end_with_the_same(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _CREATE, str(tmp_path)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    found = [process.communicate(timeout=30)[0].split() for process in processes]

    assert [process.returncode for process in processes] == [0, 0]
    assert len(found[0]) == 25
    assert found[0] == found[1]


def test_who_comes_second_waits_and_takes_the_keys_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    making, waiting = threading.Event(), threading.Event()
    generate, flock = SigningKey.generate, fcntl.flock

    def slowly(published_at: float, signs_from: float) -> SigningKey:
        making.set()
        assert waiting.wait(20)
        return generate(published_at, signs_from)

    def watched(descriptor: int, operation: int) -> None:
        if making.is_set():
            waiting.set()
        flock(descriptor, operation)

    monkeypatch.setattr(SigningKey, "generate", slowly)
    monkeypatch.setattr(fcntl, "flock", watched)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(KeyFile(tmp_path).load_or_create, NOW)
        assert making.wait(20)
        second = pool.submit(KeyFile(tmp_path).load_or_create, NOW)

        assert kids(first.result(30)) == kids(second.result(30))


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_process_that_dies_while_it_rotates_leaves_the_keys_as_they_were(tmp_path: Path, step: str) -> None:
    file = KeyFile(tmp_path)
    before = kids(file.load_or_create(NOW))

    died = subprocess.run([sys.executable, "-c", _DIE, str(tmp_path), step], timeout=30, check=False)

    assert died.returncode == -signal.SIGKILL
    ring = file.load_or_create(NOW)
    assert kids(ring) == before
    assert (file.path.parent / "signing.new").exists()
    file.rotate(ring, NOW)
    assert len(kids(file.load_or_create(NOW))) == 2
    assert not (file.path.parent / "signing.new").exists()


def rotated_out(file: KeyFile, ring: KeyRing, now: float, *, overlap: bool = True) -> list[str]:
    """Rotate, and which keys that has left out."""
    before = kids(ring)
    file.rotate(ring, now, overlap=overlap)
    return [kid for kid in before if kid not in kids(ring)]


@pytest.mark.parametrize("overlap", [True, False])
def test_of_keys_that_are_left_out_the_public_halves_are_kept_and_nothing_else(tmp_path: Path, overlap: bool) -> None:
    file = KeyFile(tmp_path)
    ring = file.load_or_create(NOW)
    gone = [kid for day in range(4) for kid in rotated_out(file, ring, NOW + day * 100_000, overlap=overlap)]

    kept = file.load_retired()

    assert [key.kid for key in kept] == gone
    assert len(gone) == (3 if overlap else 4)
    assert {key.private for key in kept} == {None}
    assert stat.S_IMODE(file.retired_path.stat().st_mode) == 0o600
    for key in file.load():
        assert key.kid not in gone


def test_where_nothing_was_left_out_nothing_is_kept(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    file.rotate(file.load_or_create(NOW), NOW)

    assert file.load_retired() == []
    assert not file.retired_path.exists()


def test_retired_keys_that_others_could_have_put_there_are_refused(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    rotated_out(file, file.load_or_create(NOW), NOW, overlap=False)
    file.retired_path.chmod(0o620)

    with pytest.raises(KeyFileError, match="open to others"):
        file.load_retired()


def test_without_a_place_for_the_public_halves_there_is_no_rotation(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    ring = file.load_or_create(NOW)
    before = kids(ring)
    os.mkfifo(file.retired_path)

    with pytest.raises(KeyFileError, match="cannot be used"):
        file.rotate(ring, NOW, overlap=False)

    assert kids(ring) == kids(file.load_or_create(NOW)) == before
    with pytest.raises(KeyFileError, match="is no file"):
        file.load_retired()


def test_who_is_killed_after_a_key_was_kept_has_lost_none(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    ring = file.load_or_create(NOW)
    (first,) = kids(ring)
    code = _DIE.replace("file.rotate(ring, 1.7e9)", "file.rotate(ring, 1.7e9, overlap=False)")

    died = subprocess.run([sys.executable, "-c", code, str(tmp_path), "replace"], timeout=30, check=False)

    assert died.returncode == -signal.SIGKILL
    assert kids(file.load_or_create(NOW)) == [first]
    file.rotate(ring, NOW, overlap=False)
    assert [key.kid for key in file.load_retired()] == [first]
