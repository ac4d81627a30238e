"""Tests of tekton.core.resources.sensor: readings that fail, hang, and come back."""

import threading

import pytest

from tekton.core.resources.sensor import LONGEST_PAUSE, Sensor
from tekton.testing import ManualClock


class Probe:
    """A reading that does what it is told, and counts."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.reads = 0

    def __call__(self) -> int:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return self.reads


class AbsentError(Exception):
    pass


@pytest.fixture
def probe() -> Probe:
    return Probe()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def sensor(probe: Probe, clock: ManualClock) -> Sensor[int]:
    return Sensor("the probe", probe, clock, absent=AbsentError)


def test_what_was_read_lately_is_good_enough_for_who_says_so(sensor: Sensor[int], clock: ManualClock) -> None:
    assert sensor.read(1.0) == 1
    clock.advance(1.0)
    assert sensor.read(1.0) == 1
    assert sensor.read() == 2


def test_a_failure_is_no_value_and_says_why(sensor: Sensor[int], probe: Probe) -> None:
    probe.error = OSError(5, "Input/output error")

    assert sensor.read() is None
    assert sensor.problem == "[Errno 5] Input/output error"


def test_an_error_without_words_is_told_by_its_name(sensor: Sensor[int], probe: Probe) -> None:
    probe.error = ZeroDivisionError()
    sensor.read()

    assert sensor.problem == "ZeroDivisionError"


def test_one_that_fails_for_an_hour_is_asked_ever_more_seldom_and_logged_twice(
    sensor: Sensor[int], probe: Probe, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tekton.resources")
    probe.error = OSError("dead")
    for _ in range(3600):
        assert sensor.read() is None
        clock.advance(1)
    assert probe.reads < 70
    probe.error = None
    clock.advance(LONGEST_PAUSE)

    assert sensor.read() is not None
    assert sensor.problem is None
    assert [record.message for record in caplog.records] == [
        "the probe cannot be read: dead",
        "the probe can be read again",
    ]


def test_what_is_not_there_is_no_line_in_the_log(
    sensor: Sensor[int], probe: Probe, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    probe.error = AbsentError("no driver")
    for _ in range(100):
        sensor.read()
        clock.advance(1)

    assert (probe.reads, sensor.problem, sensor.is_absent) == (2, "no driver", True)
    assert not caplog.records


class Hanging:
    """A reading that hangs until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.let_go = threading.Event()
        self.threads: list[threading.Thread] = []

    def __call__(self) -> int:
        self.threads.append(threading.current_thread())
        self.begun.set()
        self.let_go.wait()
        return len(self.threads)


def test_one_that_hangs_is_left_alone_until_it_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tekton.resources")
    clock, hanging = ManualClock(), Hanging()
    sensor = Sensor("the probe", hanging, clock, deadline=0.01)
    for _ in range(100):
        assert sensor.read() is None
        clock.advance(LONGEST_PAUSE)
    hanging.begun.wait()
    assert sensor.problem == "it still has not answered"
    assert len(hanging.threads) == 1

    hanging.let_go.set()
    hanging.threads[0].join()
    sensor._deadline = 30.0  # whatever else this machine is doing
    assert sensor.read() == 2
    assert [record.message for record in caplog.records] == [
        "the probe cannot be read: no answer within 0.01 s",
        "the probe can be read again",
    ]


def test_without_a_thread_it_is_tried_again(probe: Probe, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    sensor = Sensor("the probe", probe, clock, deadline=30.0)
    with monkeypatch.context() as exhausted:
        exhausted.setattr(threading.Thread, "start", refuse)
        assert sensor.read() is None
    clock.advance(1)

    assert sensor.read() is not None


def test_a_reading_with_a_deadline_fails_like_any_other(probe: Probe, clock: ManualClock) -> None:
    sensor = Sensor("the probe", probe, clock, deadline=30.0)
    probe.error = OSError("dead")

    assert sensor.read() is None
    assert sensor.problem == "dead"


def test_threads_that_ask_at_once_share_a_reading(clock: ManualClock) -> None:
    hanging = Hanging()
    sensor = Sensor("the probe", hanging, clock)
    seen: list[int | None] = []
    threads = [threading.Thread(target=lambda: seen.append(sensor.read(1.0))) for _ in range(4)]
    for thread in threads:
        thread.start()
    hanging.let_go.set()
    for thread in threads:
        thread.join()

    assert seen == [1, 1, 1, 1]
