"""Logs that are rotated while they are written and read."""

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tekton.supervisor.log_rotation import Rotation, mark_start, removed, rotate
from tekton.supervisor.logs import LogCursor, end_of, evidence, tail
from tekton.testing import ManualClock

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot take the front out of a file")

SMALL = Rotation(max_size=64 * 1024, keep=3)


@pytest.fixture(params=["disk", "memory"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A log on a file system that can take the front out of a file, as a rule, and on one that cannot."""
    if request.param == "disk":
        yield tmp_path / "web.log"
        return
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder) / "web.log"


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def joined(path: Path, keep: int = 20) -> bytes:
    """All that is there, oldest first."""
    files = [Path(f"{path}.{number}") for number in range(keep, 0, -1)]
    return b"".join(file.read_bytes() for file in (*files, path) if file.exists())


def lines(first: int, count: int) -> str:
    return "".join(f"line {number} {'x' * (number % 70)}\n" for number in range(first, first + count))


def test_a_log_that_is_small_enough_is_left_alone(log: Path) -> None:
    append(log, "x" * SMALL.max_size)

    assert rotate(str(log), SMALL) == 0

    assert os.listdir(log.parent) == ["web.log"]


def test_the_front_moves_to_another_file_and_older_ones_move_on(log: Path) -> None:
    everything = ""
    for round_ in range(6):
        text = lines(round_ * 2000, 2000)
        append(log, text)
        everything += text
        assert rotate(str(log), SMALL) == 0

    names = sorted(os.listdir(log.parent))
    assert names[:3] == ["web.log", "web.log.1", "web.log.2"]
    assert names[3:] in ([], ["web.log.3"])
    assert log.stat().st_size <= SMALL.max_size
    assert everything.encode().endswith(joined(log))
    assert sum(file.stat().st_size for file in log.parent.iterdir()) > 2 * SMALL.max_size


def test_files_beyond_what_is_kept_are_removed(log: Path) -> None:
    for number in (1, 2, 3, 4, 5):
        Path(f"{log}.{number}").write_text(str(number))
    append(log, "x" * 100_000)

    rotate(str(log), Rotation(SMALL.max_size, keep=2))

    assert sorted(os.listdir(log.parent)) == ["web.log", "web.log.1", "web.log.2"]
    assert Path(f"{log}.2").read_text() == "1"


WRITER = """
import os, sys
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
number = 0
while sys.stdin.readline():
    for _ in range(300):
        os.write(log, b"line %d\\n" % number)
        number += 1
    print(number, flush=True)
"""


def test_nothing_is_lost_or_doubled_while_a_process_writes(tmp_path: Path) -> None:
    if not can_collapse(tmp_path):
        pytest.skip("this file system cannot take the front out of a file")
    log, rounds, dropped = tmp_path / "web.log", 200, 0
    log.touch()
    seen: list[str] = []
    command = [sys.executable, "-S", "-c", WRITER, str(log)]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as writer,
        LogCursor(log) as cursor,
    ):
        assert writer.stdin is not None
        assert writer.stdout is not None
        for _ in range(rounds):
            writer.stdin.write("\n")
            dropped += rotate(str(log), Rotation(SMALL.max_size, keep=20))
            seen += cursor.read()
            writer.stdout.readline()
        while found := cursor.read():
            seen += found

    wanted = [f"line {number}" for number in range(300 * rounds)]
    assert dropped == 0
    assert joined(log).decode().splitlines() == wanted
    assert seen == wanted


ROTATOR = """
import sys
from tekton.supervisor.log_rotation import Rotation, rotate
print("up", flush=True)
dropped = 0
while not dropped:
    dropped = rotate(sys.argv[1], Rotation(65536, 20))
print("dropped")
"""


def test_a_reader_that_looks_in_the_middle_of_a_rotation_is_not_misled(tmp_path: Path) -> None:
    if not can_collapse(tmp_path):
        pytest.skip("this file system cannot take the front out of a file")
    log, rounds = tmp_path / "web.log", int(os.environ.get("TEKTON_ROTATION_ROUNDS", "300"))
    log.touch()
    seen: list[str] = []
    writes = [sys.executable, "-S", "-c", WRITER, str(log)]
    rotates = [sys.executable, "-c", ROTATOR, str(log)]
    with (
        subprocess.Popen(rotates, stdout=subprocess.PIPE, text=True) as rotator,
        subprocess.Popen(writes, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as writer,
        LogCursor(log) as cursor,
    ):
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert rotator.stdout is not None
        rotator.stdout.readline()
        for _ in range(rounds):
            # Not faster than it is rotated: nothing has to be dropped.
            while log.stat().st_size > SMALL.max_size:
                seen += cursor.read()
            writer.stdin.write("\n")
            for _ in range(20):
                seen += cursor.read()
            writer.stdout.readline()
        rotator.kill()
        rotator.wait()
        # Killed at any moment: what it had begun is brought to an end, as the next one would.
        rotate(str(log), Rotation(SMALL.max_size, keep=20))
        while found := cursor.read():
            seen += found
        assert rotator.stdout.read() == ""

    assert seen == [f"line {number}" for number in range(300 * rounds)]


def can_collapse(folder: Path) -> bool:
    probe = folder / "probe"
    probe.write_bytes(b"x" * 200_000)
    inode = probe.stat().st_ino
    rotate(str(probe), SMALL)
    left = probe.stat()
    for file in folder.glob("probe*"):
        file.unlink()
    return left.st_ino == inode and left.st_size > 0


@pytest.mark.parametrize("seed", range(8))
def test_a_reader_sees_every_line_once_whenever_it_looks(log: Path, seed: int) -> None:
    rng = random.Random(seed)
    written: list[str] = []
    seen: list[str] = []
    rotation = Rotation(SMALL.max_size, keep=20)
    with LogCursor(log) as cursor:
        for _ in range(60):
            match rng.choice(("write", "write", "rotate", "read")):
                case "write":
                    text = lines(len(written), rng.randint(1, 1500))
                    append(log, text)
                    written += text.splitlines()
                case "rotate" if log.exists():
                    rotate(str(log), rotation)
                case _:
                    seen += cursor.read()
        while found := cursor.read():
            seen += found

    assert seen == written


def test_the_end_of_a_log_goes_on_into_what_was_rotated(log: Path) -> None:
    append(log, lines(0, 4000))
    everything = log.read_text().splitlines()
    rotate(str(log), SMALL)

    assert Path(f"{log}.1").exists()
    assert tail(log, 3500) == everything[-3500:]


def test_what_a_start_has_written_is_known_after_a_rotation(log: Path) -> None:
    append(log, lines(0, 500))
    with log.open() as file:
        position = mark_start(file.fileno())
    assert position == end_of(log)
    append(log, "x" * 100_000 + "\nboom\n")
    rotate(str(log), SMALL)
    append(log, "bang\n")

    assert evidence(log, position)[-2:] == ["boom", "bang"]
    assert evidence(log, position + 100_000 + 1 + len("boom\n")) == ["bang"]
    assert tail(log, 2, previous=True) == lines(498, 2).splitlines()


def test_without_a_known_start_what_was_rotated_is_the_previous(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    Path(f"{log}.1").write_text("old\n")
    log.write_text("new\n")

    assert tail(log, 10, previous=True) == ["old"]


def test_what_a_killed_rotation_left_is_brought_to_its_end(log: Path) -> None:
    # Killed after the front was taken out, and before the copy had its name.
    front, back = lines(0, 100), lines(100, 5000)
    log.write_text(back)
    Path(f"{log}.part").write_text(front)
    os.setxattr(log, "user.tekton.removed", b"10+%d" % len(front))
    with log.open() as file:
        assert removed(file.fileno()) is None

    rotate(str(log), Rotation(SMALL.max_size, keep=20))

    assert joined(log).decode() == front + back
    with log.open() as file:
        assert removed(file.fileno()) == 10 + len((front + back).encode()) - log.stat().st_size


def test_a_reader_does_not_wait_for_ever_for_who_was_killed(log: Path) -> None:
    log.write_text("world\n")
    os.setxattr(log, "user.tekton.removed", b"0+6")
    clock = ManualClock()
    with LogCursor(log, 6, clock=clock) as cursor:
        assert cursor.read() == []
        clock.advance(11.0)
        assert cursor.read() == ["world"]


def test_half_a_copy_is_no_log(log: Path) -> None:
    log.write_text("x\n")
    Path(f"{log}.part").write_text("half")

    rotate(str(log), SMALL)

    assert os.listdir(log.parent) == ["web.log"]


def test_without_room_for_a_copy_the_oldest_part_is_dropped(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    text = lines(0, 4000)
    log.write_text(text)
    script = (
        "import resource, sys; from tekton.supervisor.log_rotation import *;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)); print(rotate(sys.argv[1], Rotation(65536, 3)))"
    )

    done = subprocess.run([sys.executable, "-c", script, str(log)], capture_output=True, text=True, check=True)

    assert int(done.stdout) > 0
    assert os.listdir(tmp_path) == ["web.log"]
    assert len(text) - int(done.stdout) == log.stat().st_size <= SMALL.max_size
    assert text.endswith(log.read_text())


def test_a_log_that_grows_faster_than_it_is_copied_stays_small(tmp_path: Path) -> None:
    log, stop = tmp_path / "web.log", threading.Event()
    log.touch()

    def flood() -> None:
        with log.open("ab", buffering=0) as file:
            while not stop.is_set():
                file.write(b"x" * 4095 + b"\n")

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        while log.stat().st_size <= SMALL.max_size:
            pass
        for _ in range(5):
            rotate(str(log), SMALL)
    finally:
        stop.set()
        flooding.join()

    rotate(str(log), SMALL)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= (SMALL.keep + 1) * SMALL.max_size


@pytest.mark.parametrize("nonsense", [b"x", b"+", b"1+", b"-1", b"9" * 1000, b"1+2+3"])
def test_nonsense_that_the_owner_of_a_log_has_noted_keeps_nobody_from_rotating_it(
    tmp_path: Path, nonsense: bytes
) -> None:
    path = tmp_path / "web.log"
    append(path, "x" * 100_000)
    for name in ("user.tekton.removed", "user.tekton.started"):
        os.setxattr(path, name, nonsense)

    assert rotate(str(path), SMALL) == 0

    assert path.stat().st_size <= SMALL.max_size
    assert end_of(path) == 100_000
