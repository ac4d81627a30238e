"""Tests of tekton.core.resource_monitor: samples, history, thresholds, constraints; and what may break beside them."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tekton.core.resource_monitor import ResourceMonitor
from tekton.core.resources.gpu import Gpus, NoGpuError
from tekton.core.resources.sample import GAUGES, GIB, GpuUsage, MemoryUsage, ProcessTree, ResourceSample
from tekton.core.resources.thresholds import ThresholdEvent
from tekton.testing import ManualClock


class MadeUpGpus(Gpus):
    """As many GPUs as a test wants, or what reading them comes to."""

    def __init__(self, *gpus: GpuUsage, error: Exception | None = None) -> None:
        self.gpus = gpus
        self.error = error
        self.closed = False

    def read(self) -> Sequence[GpuUsage]:
        if self.error is not None:
            raise self.error
        if not self.gpus:
            raise NoGpuError("there is no GPU")
        return self.gpus

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def gpus() -> MadeUpGpus:
    return MadeUpGpus(GpuUsage(0, "X", 45.0, 6.0, 8.0, 2.0, processes={7: 1.5, 8: 2.5}))


@pytest.fixture
def monitor(clock: ManualClock, gpus: MadeUpGpus) -> ResourceMonitor:
    """One that samples when it is told to."""
    trees = {"rhetor": ProcessTree(0.5, 2 * GIB, (7, 9)), "hermes": ProcessTree(0.0, GIB, (10,))}
    return ResourceMonitor(clock=clock, gpus=gpus, processes=lambda: trees)


class Memory:
    """Takes the place of what is read of the memory: *percent* of 100 GiB."""

    def __init__(self) -> None:
        self.percent = 50.0
        self.error: Exception | None = None

    def __call__(self, _: Path) -> Any:
        if self.error is not None:
            raise self.error
        return MemoryUsage(100.0, 100.0 - self.percent)


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    made_up = Memory()
    monkeypatch.setattr("tekton.core.resources.sampler.memory", made_up)
    return made_up


@contextmanager
def running(monitor: ResourceMonitor) -> Iterator[None]:
    monitor.start()
    try:
        yield
    finally:
        monitor.stop()


class TestNow:
    def test_before_the_first_sample_one_is_taken(self, monitor: ResourceMonitor) -> None:
        assert monitor.latest is None
        assert all(0 <= core <= 1 for core in monitor.get_cpu_usage())
        assert monitor.latest is not None

    def test_memory_is_told_in_gib(self, monitor: ResourceMonitor) -> None:
        assert monitor.get_memory_usage() == {
            "total": 100.0,
            "used": 50.0,
            "free": 50.0,
            "percent": 50.0,
            "swap_total": 0.0,
            "swap_used": 0.0,
        }

    def test_gpus_are_told_with_what_they_do(self, monitor: ResourceMonitor) -> None:
        (gpu,) = monitor.get_gpu_usage()

        assert (gpu["id"], gpu["util"], gpu["mem_used"], gpu["mem_free"]) == (0, 45.0, 6.0, 2.0)
        assert gpu["processes"] == {7: 1.5, 8: 2.5}

    def test_no_gpu_is_an_empty_list_and_no_problem(self, clock: ManualClock) -> None:
        monitor = ResourceMonitor(clock=clock, gpus=MadeUpGpus())

        assert monitor.get_gpu_usage() == []
        assert monitor.sample().problems == {}

    def test_disks_and_network_are_told(self, clock: ManualClock, tmp_path: Path) -> None:
        monitor = ResourceMonitor(clock=clock, gpus=MadeUpGpus(), disks=(str(tmp_path),))

        (disk,) = monitor.get_disk_usage()

        assert disk["path"] == str(tmp_path)
        assert set(disk) == {"path", "total", "used", "free", "percent"}
        assert set(monitor.get_network_usage()) == {"received", "sent", "received_total", "sent_total"}

    def test_components_are_told_with_their_part_of_the_gpus(self, monitor: ResourceMonitor) -> None:
        rhetor, hermes = (monitor.get_component_usage()[name] for name in ("rhetor", "hermes"))

        assert (rhetor.cpu, rhetor.memory, rhetor.processes, rhetor.gpu_memory) == (0.5, 2.0, 2, 1.5)
        assert (hermes.memory, hermes.gpu_memory) == (1.0, 0.0)

    def test_an_old_sample_is_not_told_by_a_monitor_that_does_not_run(
        self, monitor: ResourceMonitor, clock: ManualClock, memory: Memory
    ) -> None:
        monitor.get_memory_usage()
        memory.percent = 70.0
        clock.advance(0.5)
        assert monitor.get_memory_usage()["percent"] == 50.0
        clock.advance(1.0)

        assert monitor.get_memory_usage()["percent"] == 70.0


class TestTrouble:
    def test_a_sensor_that_fails_for_an_hour_takes_nothing_with_it(
        self,
        monitor: ResourceMonitor,
        clock: ManualClock,
        memory: Memory,
        gpus: MadeUpGpus,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level("INFO", "tekton.resources")
        memory.error, gpus.error = OSError("no memory"), RuntimeError("Unknown Error")
        for _ in range(360):
            sample = monitor.sample()
            assert (sample.memory, sample.gpus) == (None, ())
            assert sample.cpu is not None
            clock.advance(10)

        assert monitor.sample().problems == {"memory": "no memory", "gpu": "Unknown Error"}
        assert monitor.get_memory_usage() == {}
        memory.error = gpus.error = None
        clock.advance(60)
        assert monitor.sample().problems == {}
        assert len(caplog.records) == 4

    def test_a_driver_that_hangs_takes_nothing_with_it(
        self, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tekton.core.resources.sampler.DEADLINE", 0.01)
        let_go = threading.Event()

        class Hanging(Gpus):
            def read(self) -> Sequence[GpuUsage]:
                let_go.wait()
                return ()

        monitor = ResourceMonitor(clock=clock, gpus=Hanging())
        samples = []
        for _ in range(10):
            samples.append(monitor.sample())
            clock.advance(60)
        let_go.set()

        assert all(sample.memory is not None for sample in samples)
        assert [sample.problems["gpu"] for sample in samples] == [
            "no answer within 0.01 s",
            *["it still has not answered"] * 9,
        ]

    def test_a_listener_that_raises_takes_nothing_with_it(
        self, monitor: ResourceMonitor, caplog: pytest.LogCaptureFixture
    ) -> None:
        seen: list[ResourceSample] = []

        def fail(sample: ResourceSample) -> None:
            raise ZeroDivisionError("here")

        monitor.add_listener(fail)
        remove = monitor.add_listener(seen.append)

        sample = monitor.sample()
        remove()
        remove()
        monitor.sample()

        assert seen == [sample]
        assert "ZeroDivisionError: here" in caplog.text


class TestHistory:
    def test_every_number_has_one(self, monitor: ResourceMonitor, clock: ManualClock, memory: Memory) -> None:
        start = clock.time()
        for percent in (10.0, 20.0, 30.0):
            memory.percent = percent
            monitor.sample()
            clock.advance(1)

        windows = monitor.history(["memory", "rhetor.cpu", "gpu", "missing"], since=start, until=start + 2)

        assert set(windows) == {"memory", "rhetor.cpu", "gpu"}
        assert windows["memory"].since == start
        assert [round(value or 0) for value in windows["memory"].mean] == [10, 20, 30]
        assert set(windows["rhetor.cpu"].mean) == {50.0}

    def test_without_names_it_is_that_of_the_machine_for_the_last_ten_minutes(self, monitor: ResourceMonitor) -> None:
        monitor.sample()

        windows = monitor.history()

        assert {"cpu", "memory", "disk", "gpu", "gpu_memory.0"} <= set(windows)
        assert not any(name.startswith("rhetor") for name in windows)
        assert len(windows["memory"].mean) == 601
        assert "rhetor.gpu_memory" in monitor.measured()

    def test_it_is_found_again_after_the_wall_clock_has_been_set(
        self, monitor: ResourceMonitor, clock: ManualClock
    ) -> None:
        for wall in (None, clock.time() - 3600, clock.time() + 86400):
            if wall is not None:
                clock.set_wall(wall)
            monitor.sample()
            clock.advance(1)

        (window,) = monitor.history(["memory"], since=clock.time() - 3, until=clock.time() - 1).values()

        assert window.mean == (50.0, 50.0, 50.0)

    def test_its_memory_does_not_grow(self, monitor: ResourceMonitor, clock: ManualClock) -> None:
        monitor.sample()
        before = monitor.history_bytes
        for _ in range(50):
            clock.advance(600)
            monitor.sample()

        assert monitor.history_bytes == before

    def test_components_that_are_gone_make_room_for_new_ones(self, clock: ManualClock) -> None:
        names = iter(range(10_000))
        monitor = ResourceMonitor(
            60.0,
            clock=clock,
            gpus=MadeUpGpus(),
            processes=lambda: {f"c{next(names)}": ProcessTree(0, 0) for _ in range(20)},
        )
        for _ in range(35):
            monitor.sample()
            clock.advance(60)

        assert len(monitor.measured()) < 1050
        assert "c699.cpu" in monitor.measured()


class TestThresholds:
    def test_a_callback_is_called_when_the_number_rises_above_it(
        self, monitor: ResourceMonitor, memory: Memory
    ) -> None:
        called, cleared = threading.Event(), threading.Event()
        monitor.register_threshold_callback("memory", 80.0, called.set, on_cleared=cleared.set)
        monitor.sample()
        memory.percent = 81.0
        monitor.sample()
        called.wait()
        memory.percent = 70.0
        monitor.sample()
        cleared.wait()

    def test_what_cannot_be_read_neither_crosses_nor_clears(self, monitor: ResourceMonitor, memory: Memory) -> None:
        events: list[ThresholdEvent] = []
        called = threading.Event()

        def note(event: ThresholdEvent) -> None:
            events.append(event)
            called.set()

        monitor.register_threshold_callback("memory", 80.0, note, on_cleared=note)
        memory.percent = 90.0
        monitor.sample()
        called.wait()
        memory.error = OSError("gone")
        monitor.sample()

        assert [event.kind for event in events] == ["crossed"]

    def test_a_registration_that_was_cancelled_is_called_no_more(
        self, monitor: ResourceMonitor, memory: Memory
    ) -> None:
        called, other = threading.Event(), threading.Event()
        registration = monitor.register_threshold_callback("memory", 80.0, called.set)
        monitor.register_threshold_callback("memory", 80.0, other.set)
        registration.cancel()
        registration.cancel()
        memory.percent = 90.0
        monitor.sample()
        other.wait()

        assert not called.is_set()

    def test_a_callback_may_call_the_monitor_and_stop_it(self, memory: Memory) -> None:
        monitor = ResourceMonitor(0.1, gpus=MadeUpGpus())
        done = threading.Event()
        memory.percent = 90.0

        def reenter() -> None:
            monitor.register_threshold_callback("cpu", 99.0, lambda: None)
            monitor.get_memory_usage()
            monitor.sample()
            monitor.check_constraints({"memory_free_min": 1.0})
            monitor.stop()
            done.set()

        monitor.register_threshold_callback("memory", 80.0, reenter)
        monitor.start()
        done.wait()

        assert not monitor.running

    def test_while_a_callback_hangs_samples_go_on(self, memory: Memory) -> None:
        monitor = ResourceMonitor(0.1, gpus=MadeUpGpus())
        hanging, let_go, more = threading.Event(), threading.Event(), threading.Event()
        memory.percent = 90.0

        def hang() -> None:
            hanging.set()
            let_go.wait()

        monitor.register_threshold_callback("memory", 80.0, hang)
        with running(monitor):
            hanging.wait()
            monitor.add_listener(lambda _: more.set())
            more.wait()
        let_go.set()

    async def test_a_coroutine_function_is_cancelled_when_the_monitor_stops(self, memory: Memory) -> None:
        monitor = ResourceMonitor(0.1, gpus=MadeUpGpus())
        begun, ended = asyncio.Event(), asyncio.Event()
        memory.percent = 90.0

        async def hang(event: ThresholdEvent) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        monitor.register_threshold_callback("memory", 80.0, hang)
        async with asyncio.timeout(5):
            monitor.start()
            await begun.wait()
            await asyncio.to_thread(monitor.stop)
            await ended.wait()

    def test_a_number_that_there_is_not_is_refused_with_the_nearest(self, monitor: ResourceMonitor) -> None:
        with pytest.raises(ValueError, match=r"no resource 'memroy'; did you mean 'memory'\?"):
            monitor.register_threshold_callback("memroy", 80.0, lambda: None)

    def test_each_number_of_a_sample_that_a_threshold_can_be_set_for_is_in_the_list(
        self, monitor: ResourceMonitor
    ) -> None:
        # Those of single cores, GPUs and the swap of a machine that has none, aside.
        plain = {name for name in monitor.sample().gauges() if not name.rpartition(".")[2].isdigit()}

        assert set(GAUGES) - {"swap"} == plain - {"swap"}


class TestConstraints:
    def test_the_verdict_is_true_or_false_and_says_why(self, monitor: ResourceMonitor) -> None:
        satisfied = monitor.check_constraints({"memory_percent_max": 60.0, "gpu_mem_free_min": 2.0})
        missed = monitor.check_constraints({"memory_free_min": 60.0, "gpu_mem_free_min": 3.0})

        assert satisfied
        assert not missed
        assert missed.reasons == (
            "memory_free_min: 50.0 GiB free of 60.0 wanted",
            "gpu_mem_free_min: 2.0 GiB free of 3.0 wanted",
        )

    def test_a_disk_that_cannot_be_read_is_a_reason(self, monitor: ResourceMonitor) -> None:
        (reason,) = monitor.check_constraints({"disk_free_min": 1.0}, cwd="/" + 300 * "x").reasons

        assert reason.startswith("disk_free_min: 0.0 GiB free of 1.0 wanted (")
        assert "File name too long" in reason

    def test_only_what_is_asked_for_is_read(self, monitor: ResourceMonitor, tmp_path: Path) -> None:
        found = monitor.readings({"disk_free_min"}, str(tmp_path))

        assert found.disk_free is not None
        assert (found.cpu_percent, found.memory_percent, found.memory_free, found.gpu_memory_free) == (
            None,
            None,
            None,
            [],
        )

    def test_memory_is_that_of_now_and_not_that_of_the_last_sample(
        self, monitor: ResourceMonitor, memory: Memory
    ) -> None:
        monitor.sample()
        memory.percent = 99.0

        assert not monitor.check_constraints({"memory_percent_max": 60.0})

    def test_cpu_usage_is_a_percentage_of_the_machine(self, monitor: ResourceMonitor) -> None:
        assert monitor.check_constraints({"cpu_percent_max": 100.0})
        assert not monitor.check_constraints({"cpu_percent_max": -1.0})

    def test_without_a_gpu_none_of_its_memory_is_free_and_the_reason_is_said(self, clock: ManualClock) -> None:
        monitor = ResourceMonitor(clock=clock, gpus=MadeUpGpus())

        verdict = monitor.check_constraints({"gpu_mem_free_min": 2.0})

        assert verdict.reasons == ("gpu_mem_free_min: 0.0 GiB free of 2.0 wanted (there is no GPU)",)


class TestLife:
    def test_one_thread_samples_from_start_to_stop(self, gpus: MadeUpGpus) -> None:
        monitor = ResourceMonitor(0.1, gpus=gpus)
        seen: list[threading.Thread] = []
        three = threading.Event()

        def note(_: ResourceSample) -> None:
            seen.append(threading.current_thread())
            if len(seen) == 3:
                three.set()

        monitor.add_listener(note)
        with running(monitor):
            three.wait()
            with pytest.raises(RuntimeError, match="runs already"):
                monitor.start()
        count = len(seen)

        assert len(set(seen)) == 1
        assert seen[0].daemon
        assert not seen[0].is_alive()
        assert gpus.closed
        monitor.stop()
        assert len(seen) == count

    def test_it_can_be_started_again(self) -> None:
        monitor = ResourceMonitor(0.1, gpus=MadeUpGpus())
        for _ in range(2):
            sampled = threading.Event()
            remove = monitor.add_listener(lambda _: sampled.set())  # noqa: B023
            with running(monitor):
                sampled.wait()
            remove()

    def test_another_interval_takes_hold_at_once(self) -> None:
        monitor = ResourceMonitor(3600.0, gpus=MadeUpGpus())
        first, sampled = threading.Event(), threading.Event()
        remove = monitor.add_listener(lambda _: first.set())
        with running(monitor):
            first.wait()
            remove()
            monitor.add_listener(lambda _: sampled.set())
            monitor.set_interval(0.1)
            sampled.wait()
            assert monitor.history(["memory"], resolution=0.1)["memory"].step == 0.1

    @pytest.mark.parametrize("interval", [0.0, -1.0, 0.01, float("nan")])
    def test_an_interval_that_is_too_short_is_refused(self, interval: float) -> None:
        with pytest.raises(ValueError, match="at least"):
            ResourceMonitor(interval)

    def test_samples_are_taken_in_the_middle_of_an_interval(self, monitor: ResourceMonitor, clock: ManualClock) -> None:
        for wait in (0.0, 0.3, 0.7, 0.999):
            clock.advance(wait)
            clock.advance(monitor._pause())
            assert clock.monotonic() % 1.0 == pytest.approx(0.5)
