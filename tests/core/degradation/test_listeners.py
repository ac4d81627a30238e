"""Tests of tekton.core.degradation.listeners: order, and what a listener that misbehaves can do."""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable

import pytest

from tekton.core.degradation import listeners as module
from tekton.core.degradation.listeners import Listeners

PATIENCE = 20


def tell(listeners: Listeners[int], *events: int) -> None:
    for event in events:
        listeners.put(event)
        listeners.deliver()


def received(heard: "queue.Queue[int]", count: int) -> list[int]:
    return [heard.get(timeout=PATIENCE) for _ in range(count)]


def test_a_listener_gets_every_event_in_order_in_a_thread_of_its_own() -> None:
    listeners: Listeners[int] = Listeners()
    heard: queue.Queue[int] = queue.Queue()
    threads = set()

    def listen(event: int) -> None:
        threads.add(threading.current_thread())
        heard.put(event)

    listeners.add(listen)
    tell(listeners, *range(100))

    assert received(heard, 100) == list(range(100))
    assert threading.current_thread() not in threads


def test_a_listener_that_hangs_holds_up_neither_the_source_nor_the_others() -> None:
    listeners: Listeners[int] = Listeners()
    release, entered = threading.Event(), threading.Event()
    late: queue.Queue[int] = queue.Queue()
    heard: queue.Queue[int] = queue.Queue()

    def hang(event: int) -> None:
        entered.set()
        release.wait(PATIENCE)
        late.put(event)

    listeners.add(hang)
    listeners.add(heard.put)
    tell(listeners, 1)
    assert entered.wait(PATIENCE)
    tell(listeners, 2, 3)

    assert received(heard, 3) == [1, 2, 3]
    assert late.empty()
    release.set()
    assert received(late, 3) == [1, 2, 3]


def test_a_listener_that_is_far_behind_misses_the_oldest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "BACKLOG", 3)
    listeners: Listeners[int] = Listeners()
    release, entered = threading.Event(), threading.Event()
    heard: queue.Queue[int] = queue.Queue()

    def listen(event: int) -> None:
        heard.put(event)
        entered.set()
        release.wait(PATIENCE)

    listeners.add(listen)
    tell(listeners, 0)
    assert entered.wait(PATIENCE)
    tell(listeners, *range(1, 6))
    release.set()

    assert received(heard, 4) == [0, 3, 4, 5]
    assert "misses 1" in caplog.text


def test_a_listener_without_a_thread_is_told_with_the_next_event(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    listeners: Listeners[int] = Listeners()
    heard: queue.Queue[int] = queue.Queue()
    listeners.add(heard.put)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        tell(listeners, 1)

    tell(listeners, 2)

    assert received(heard, 2) == [1, 2]


@pytest.mark.parametrize("direct", [True, False])
def test_what_a_listener_raises_is_logged_and_it_is_told_the_next(
    direct: bool, caplog: pytest.LogCaptureFixture
) -> None:
    listeners: Listeners[int] = Listeners()
    heard: queue.Queue[int] = queue.Queue()

    def listen(event: int) -> None:
        heard.put(event)
        if event == 1:
            raise RuntimeError("oops")

    listeners.add(listen, direct=direct)
    with caplog.at_level(logging.ERROR, logger="tekton.degradation"):
        tell(listeners, 1, 2)
        assert received(heard, 2) == [1, 2]

    assert "a listener failed at 1" in caplog.text


@pytest.mark.parametrize("direct", [True, False])
def test_events_that_a_listener_causes_come_after_the_present_one(direct: bool) -> None:
    listeners: Listeners[int] = Listeners()
    heard: queue.Queue[int] = queue.Queue()

    def listen(event: int) -> None:
        if event < 3:
            tell(listeners, event + 1)
        heard.put(event)

    listeners.add(listen, direct=direct)
    tell(listeners, 1)

    assert received(heard, 3) == [1, 2, 3]


def test_many_threads_tell_every_event_once() -> None:
    listeners: Listeners[int] = Listeners()
    heard: list[int] = []
    listeners.add(heard.append, direct=True)

    def source(first: int) -> None:
        tell(listeners, *range(first, first + 200))

    threads = [threading.Thread(target=source, args=(1000 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    listeners.deliver()

    assert sorted(heard) == sorted(1000 * number + event for number in range(8) for event in range(200))
    for number in range(8):
        own = [event for event in heard if event // 1000 == number]
        assert own == sorted(own)


def test_a_listener_that_is_removed_hears_nothing_more() -> None:
    listeners: Listeners[int] = Listeners()
    heard: list[int] = []
    remove: Callable[[], None] = listeners.add(heard.append, direct=True)
    tell(listeners, 1)

    remove()
    remove()
    tell(listeners, 2)

    assert heard == [1]


async def test_an_async_listener_runs_on_the_loop_it_was_added_on() -> None:
    listeners: Listeners[int] = Listeners()
    heard: asyncio.Queue[tuple[int, bool]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    async def listen(event: int) -> None:
        await heard.put((event, asyncio.get_running_loop() is loop))

    listeners.add(listen)
    tell(listeners, 1, 2)

    async with asyncio.timeout(PATIENCE):
        assert [await heard.get(), await heard.get()] == [(1, True), (2, True)]


def test_an_async_listener_without_a_loop_gets_one_of_its_own() -> None:
    listeners: Listeners[int] = Listeners()
    heard: queue.Queue[int] = queue.Queue()

    async def listen(event: int) -> None:
        heard.put(event)

    listeners.add(listen)
    tell(listeners, 1, 2)

    assert received(heard, 2) == [1, 2]


def test_an_async_listener_whose_loop_is_closed_is_not_told() -> None:
    listeners: Listeners[int] = Listeners()
    heard: queue.Queue[int] = queue.Queue()
    told: queue.Queue[int] = queue.Queue()

    async def listen(event: int) -> None:
        heard.put(event)

    async def add() -> None:
        listeners.add(listen)

    asyncio.run(add())
    listeners.add(told.put)
    tell(listeners, 1)

    assert received(told, 1) == [1]
    assert heard.empty()
