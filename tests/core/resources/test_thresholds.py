"""Tests of tekton.core.resources.thresholds: when a callback is called, where it runs, what it cannot harm."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from tekton.core.resources.thresholds import Delivery, Threshold, ThresholdEvent

EVENT = ThresholdEvent("crossed", "cpu", 80.0, 93.0, 5.0, 1e9)


def judged(values: Sequence[float], **settings: float) -> list[str]:
    """What becomes of one value a second."""
    told: list[ThresholdEvent] = []
    one = Threshold("cpu", 80.0, on_crossed=told.append, on_cleared=told.append, **settings)
    for at, value in enumerate(values):
        one.judge(value, float(at), 1e9 + at)
    return [f"{event.kind} {event.at:g}" for event in told]


@pytest.mark.parametrize(
    ("values", "settings", "expected"),
    [
        ((70, 80), {}, []),
        ((70, 81, 90, 95), {}, ["crossed 1"]),
        ((90,), {}, ["crossed 0"]),
        ((90, 79, 90, 77, 81, 76.5, 81), {}, ["crossed 0"]),
        ((90, 76, 90), {}, ["crossed 0", "cleared 1", "crossed 2"]),
        ((90, 79, 71, 70, 90), {"hysteresis": 10.0}, ["crossed 0", "cleared 3", "crossed 4"]),
        ((90, 80, 90), {"hysteresis": 0.0}, ["crossed 0", "cleared 1", "crossed 2"]),
        ((90, 90, 79, 90, 90, 90, 90), {"hold": 3.0}, ["crossed 6"]),
        ((90, 90, 90), {"hold": 2.0}, ["crossed 2"]),
    ],
)
def test_a_threshold_is_crossed_once_and_again_after_it_was_cleared(
    values: Sequence[float], settings: dict[str, float], expected: list[str]
) -> None:
    assert judged(values, **settings) == expected


def test_an_event_says_what_happened() -> None:
    told: list[ThresholdEvent] = []
    Threshold("memory", 80.0, on_crossed=told.append).judge(93.0, 5.0, 1e9)

    assert told == [ThresholdEvent("crossed", "memory", 80.0, 93.0, 5.0, 1e9)]


@pytest.mark.parametrize("settings", [{"hysteresis": -1.0}, {"hold": -1.0}, {"hysteresis": float("nan")}])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="not negative"):
        judged((), **settings)


class Recorder:
    """Callbacks, and what they were called with."""

    def __init__(self) -> None:
        self.called = threading.Event()
        self.threads: list[threading.Thread] = []
        self.events: list[ThresholdEvent | None] = []

    def note(self, event: ThresholdEvent | None) -> None:
        self.threads.append(threading.current_thread())
        self.events.append(event)
        self.called.set()

    def without(self) -> None:
        self.note(None)

    def with_event(self, event: ThresholdEvent) -> None:
        self.note(event)

    async def in_loop(self, event: ThresholdEvent) -> None:
        self.note(event)

    async def __call__(self) -> None:
        self.note(None)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


class TestFunctions:
    @pytest.mark.parametrize(
        ("choose", "event"),
        [
            (lambda recorder: recorder.without, None),
            (lambda recorder: recorder.with_event, EVENT),
            (lambda recorder: partial(recorder.note, EVENT), EVENT),
        ],
    )
    def test_they_are_called_with_the_event_if_they_take_one(
        self, choose: Callable[[Recorder], Callable[..., object]], event: ThresholdEvent | None, recorder: Recorder
    ) -> None:
        Delivery(choose(recorder), "a callback")(EVENT)
        recorder.called.wait()

        assert recorder.events == [event]

    def test_they_run_in_a_thread_of_their_own(self, recorder: Recorder) -> None:
        Delivery(recorder.without, "a callback")(EVENT)
        recorder.called.wait()

        assert recorder.threads[0] is not threading.current_thread()
        assert recorder.threads[0].daemon

    def test_one_that_raises_is_logged_and_called_again_next_time(
        self, recorder: Recorder, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail() -> None:
            recorder.without()
            raise ZeroDivisionError("here")

        delivery = Delivery(fail, "my callback")
        for count in (1, 2):
            delivery(EVENT)
            recorder.called.wait()
            recorder.threads[-1].join()
            recorder.called.clear()
            assert len(recorder.events) == count

        assert [record.message for record in caplog.records] == ["my callback failed"] * 2
        assert "ZeroDivisionError: here" in caplog.text

    def test_one_that_hangs_keeps_nothing_but_itself(
        self, recorder: Recorder, caplog: pytest.LogCaptureFixture
    ) -> None:
        let_go = threading.Event()

        def hang() -> None:
            recorder.without()
            let_go.wait()

        delivery = Delivery(hang, "my callback")
        for _ in range(5):
            delivery(EVENT)
        recorder.called.wait()
        assert len(recorder.events) == 1
        assert caplog.messages == ["my callback still runs; it is not told that cpu was crossed"] * 4
        other = Recorder()
        Delivery(other.without, "another")(EVENT)
        other.called.wait()

        let_go.set()
        recorder.threads[0].join()
        recorder.called.clear()
        delivery(EVENT)
        recorder.called.wait()


class TestCoroutines:
    async def test_they_run_on_the_loop_that_ran_when_they_were_registered(self, recorder: Recorder) -> None:
        delivery = Delivery(recorder.in_loop, "a callback")
        await asyncio.to_thread(delivery, EVENT)
        await asyncio.to_thread(recorder.called.wait)

        assert recorder.events == [EVENT]
        assert recorder.threads == [threading.current_thread()]

    async def test_so_do_those_of_objects_and_of_plain_functions(self, recorder: Recorder) -> None:
        for callback in (recorder, lambda: recorder.in_loop(EVENT)):
            await asyncio.to_thread(Delivery(callback, "a callback"), EVENT)
            await asyncio.to_thread(recorder.called.wait)
            recorder.called.clear()

        assert recorder.threads == [threading.current_thread()] * 2

    def test_without_a_loop_a_coroutine_function_is_refused(self, recorder: Recorder) -> None:
        with pytest.raises(ValueError, match="running event loop"):
            Delivery(recorder.in_loop, "a callback")

    def test_and_the_coroutine_of_a_function_is_closed_and_logged(
        self, recorder: Recorder, caplog: pytest.LogCaptureFixture
    ) -> None:
        def make() -> object:
            recorder.without()
            return recorder.in_loop(EVENT)

        Delivery(make, "my callback")(EVENT)
        recorder.called.wait()
        recorder.threads[0].join()

        assert "my callback needs an event loop" in caplog.text

    async def test_one_that_raises_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        failed = asyncio.Event()

        async def fail() -> None:
            asyncio.get_running_loop().call_soon(failed.set)
            raise ZeroDivisionError("here")

        Delivery(fail, "my callback")(EVENT)
        async with asyncio.timeout(5):
            await failed.wait()
            await asyncio.sleep(0)

        assert "ZeroDivisionError: here" in caplog.text

    async def test_one_that_hangs_can_be_cancelled(self) -> None:
        ended = asyncio.Event()
        begun = asyncio.Event()

        async def hang() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        delivery = Delivery(hang, "my callback")
        async with asyncio.timeout(5):
            delivery(EVENT)
            await begun.wait()
            await asyncio.to_thread(delivery.cancel)
            await ended.wait()

    async def test_once_it_is_cancelled_nothing_is_told_not_even_what_was_on_its_way(self, recorder: Recorder) -> None:
        delivery = Delivery(recorder.in_loop, "a callback")
        delivery(EVENT)
        delivery.cancel()
        delivery(EVENT)
        for _ in range(3):
            await asyncio.sleep(0)

        assert recorder.events == []

    async def test_one_that_raises_before_it_begins_is_logged_and_called_again(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def needs_more(_event: object, _more: object) -> None: ...

        delivery = Delivery(needs_more, "my callback")
        for _ in range(2):
            delivery(EVENT)
            await asyncio.sleep(0)

        assert [record.message for record in caplog.records] == ["my callback failed"] * 2

    def test_a_loop_that_is_closed_is_no_error(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "tekton.resources")

        async def register() -> Delivery:
            async def never() -> None:
                raise AssertionError("called")

            return Delivery(never, "my callback")

        delivery = asyncio.run(register())
        delivery(EVENT)
        delivery.cancel()

        assert "an event loop that is closed" in caplog.text
