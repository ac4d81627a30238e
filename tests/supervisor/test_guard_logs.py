"""The watch over the sizes of logs, with real files and processes, at times that the tests choose."""

import os
import sys
from pathlib import Path

import pytest

from tekton.supervisor.guard_log import GuardLog
from tekton.supervisor.guard_logs import LogKeeper
from tekton.supervisor.log_rotation import Rotation
from tekton.testing import ManualClock

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the guard")

SMALL = Rotation(max_size=64 * 1024, keep=2)


class Watch:
    """A keeper, and what the guard does with it."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.folder = folder
        self.guard_log = folder / "tekton.log"
        self.keeper = LogKeeper(GuardLog(str(self.guard_log), self.clock), self.clock)

    def log(self, name: str, size: int) -> Path:
        path = self.folder / f"{name}.log"
        path.write_text("x" * size)
        self.keeper.keep(str(path), SMALL)
        return path

    def look(self, after: float = 0.0) -> None:
        self.clock.advance(after)
        self.keeper.look(self.clock.monotonic())

    def reap(self) -> None:
        """Wait for the process that rotates."""
        self.keeper.on_ended(*os.waitpid(-1, 0))

    @property
    def said(self) -> list[str]:
        return self.guard_log.read_text().splitlines()

    @property
    def until_next(self) -> float:
        assert self.keeper.next_look is not None
        return self.keeper.next_look - self.clock.monotonic()


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(tmp_path)


def nobody_runs() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return True


def test_without_logs_there_is_nothing_to_wake_up_for(watch: Watch) -> None:
    watch.look()
    assert watch.keeper.next_look is None


def test_logs_that_are_small_enough_are_only_looked_at(watch: Watch) -> None:
    watch.log("web", 100)

    watch.look()

    assert nobody_runs()
    assert watch.until_next == 1.0


def test_what_is_too_large_is_rotated_one_after_the_other_the_largest_first(watch: Watch) -> None:
    large, larger = watch.log("large", 100_000), watch.log("larger", 150_000)

    watch.look()
    watch.reap()
    assert (larger.stat().st_size <= SMALL.max_size, large.stat().st_size) == (True, 100_000)
    watch.look()
    watch.reap()

    assert large.stat().st_size <= SMALL.max_size
    watch.look()
    assert nobody_runs()
    assert watch.said == []


def test_a_log_that_grows_quickly_is_looked_at_soon(watch: Watch) -> None:
    log = watch.log("web", 100)
    watch.look()
    with log.open("a") as file:
        file.write("x" * 20_000)

    watch.look(after=1.0)
    assert watch.until_next == pytest.approx(0.1)
    watch.look(after=0.1)
    assert watch.until_next == pytest.approx(1.0)


def test_a_log_that_cannot_be_rotated_is_told_of_and_left_alone_for_a_minute(watch: Watch) -> None:
    log = watch.log("web", 100_000)
    part = Path(f"{log}.part")
    part.mkdir()

    watch.look()
    watch.reap()
    assert len(watch.said) == 1
    assert watch.said[0].endswith(f"{log} is not rotated: Is a directory")
    watch.look(after=59.0)
    assert nobody_runs()

    part.rmdir()
    watch.look(after=2.0)
    watch.reap()
    assert log.stat().st_size <= SMALL.max_size


def test_what_had_to_be_dropped_is_told_once_a_minute(watch: Watch) -> None:
    log = watch.log("web", 0)
    told = []
    for after in (0.0, 1.0, 61.0):
        log.write_text("x" * 1_000_000)
        watch.look(after=after)
        watch.reap()
        told.append(len(watch.said))

    assert told == [1, 1, 2]


def test_a_log_that_is_gone_is_no_trouble(watch: Watch) -> None:
    watch.log("web", 100_000).unlink()

    watch.look()

    assert nobody_runs()
